//! How the pods reach the broker: by environment variables, which point at Secrets wherever a secret is.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, Secret, SecretKeySelector, SecretProjection, VolumeProjection,
};
use tidemill_broker::{Access, Authorities};

use super::Inputs;
use super::labels::{Component, metadata};
use crate::crd::{BrokerSpec, SecretKey};

const URL: &str = "TIDEMILL_BROKER__URL";
const USERNAME: &str = "TIDEMILL_BROKER__USERNAME";
const PASSWORD: &str = "TIDEMILL_BROKER__PASSWORD";
const REPLICAS: &str = "TIDEMILL_DURABILITY__REPLICAS";
const REPLICAS_MS: &str = "TIDEMILL_DURABILITY__TIMEOUT_MS";
const CA_FILE: &str = "TIDEMILL_BROKER__CA_FILE";
/// Where the certificate authorities are found, below the folder of the settings.
const CA_PATH: &str = "broker/ca.crt";

const URL_KEY: &str = "url";
const USERNAME_KEY: &str = "username";
const PASSWORD_KEY: &str = "password";
const CA_KEY: &str = "ca.crt";

/// How the pods reach the broker.
#[derive(Clone, Copy)]
pub enum BrokerAccess<'a> {
    /// As `spec.broker` says: the pods read the Secrets that it names themselves.
    Own(&'a BrokerSpec),
    /// The installation's broker. Its values are copied to a Secret beside the pods. Authorities in a file are left out:
    /// whoever observes reads the file and gives its content.
    Installation(&'a Access),
}

/// What a pod needs of it.
pub(super) struct Wiring {
    /// Environment variables of the program.
    pub(super) env: Vec<EnvVar>,
    /// The certificate authorities, to be laid into the folder of the settings.
    pub(super) authorities: Option<VolumeProjection>,
}

/// The environment variables and the file that lead a pod to the broker.
pub(super) fn wiring(inputs: &Inputs<'_>, folder: &str) -> Wiring {
    let (url, username, password, authorities) = match inputs.broker {
        BrokerAccess::Own(BrokerSpec { url, url_from, username_from, password_from, tls }) => {
            let plain = url.as_deref().map(|url| variable(URL, url));
            let url = plain.or_else(|| url_from.as_ref().map(|from| secret_variable(URL, from)));
            (url, username_from.clone(), password_from.clone(), tls.as_ref().map(|tls| tls.ca_from.clone()))
        }
        BrokerAccess::Installation(access) => {
            let name = inputs.names().broker_secret;
            let key = |key: &str| SecretKey { name: name.clone(), key: key.to_owned() };
            (
                Some(secret_variable(URL, &key(URL_KEY))),
                access.username.as_ref().map(|_| key(USERNAME_KEY)),
                access.password.as_ref().map(|_| key(PASSWORD_KEY)),
                pem(access).map(|_| key(CA_KEY)),
            )
        }
    };
    let credentials = [(USERNAME, username), (PASSWORD, password)];
    let mut env: Vec<_> = url.into_iter().collect();
    env.extend(credentials.iter().filter_map(|(name, from)| Some(secret_variable(name, from.as_ref()?))));
    if let BrokerAccess::Installation(Access { durability, .. }) = inputs.broker
        && durability.replicas > 0
    {
        env.push(variable(REPLICAS, &durability.replicas.to_string()));
        env.push(variable(REPLICAS_MS, &durability.timeout.as_millis().to_string()));
    }
    env.extend(authorities.as_ref().map(|_| variable(CA_FILE, &format!("{folder}/{CA_PATH}"))));
    Wiring { env, authorities: authorities.map(|from| projection(from, CA_PATH)) }
}

/// The Secret with a copy of the installation's broker access. A broker of the resource's own needs none.
pub(super) fn secret(inputs: &Inputs<'_>) -> Option<Secret> {
    let BrokerAccess::Installation(access) = inputs.broker else { return None };
    let values = [
        (URL_KEY, Some(access.url.as_bytes())),
        (USERNAME_KEY, access.username.as_deref().map(str::as_bytes)),
        (PASSWORD_KEY, access.password.as_deref().map(str::as_bytes)),
        (CA_KEY, pem(access)),
    ];
    let data: BTreeMap<_, _> =
        values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), ByteString(value?.to_vec())))).collect();
    Some(Secret {
        metadata: metadata(inputs, &inputs.names().broker_secret, Component::Worker),
        type_: Some("Opaque".to_owned()),
        data: Some(data),
        ..Secret::default()
    })
}

/// One key of a Secret as a file of this path.
pub(super) fn projection(from: SecretKey, path: &str) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: from.name,
            items: Some(vec![KeyToPath { key: from.key, path: path.to_owned(), mode: None }]),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn pem(access: &Access) -> Option<&[u8]> {
    match access.authorities.as_ref()? {
        Authorities::Pem(pem) => Some(pem),
        Authorities::File(_) => None,
    }
}

/// A variable of this very value. The kubelet would expand `$(NAME)` in it, and reads `$$` as a dollar sign.
fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.replace('$', "$$")), ..EnvVar::default() }
}

fn secret_variable(name: &str, from: &SecretKey) -> EnvVar {
    let key = SecretKeySelector { name: from.name.clone(), key: from.key.clone(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value_from: Some(source), ..EnvVar::default() }
}
