//! The first stage: what the spec only names is fetched.
//!
//! Secrets are got by name and never listed or watched, so that the operator sees none that nobody showed it.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use sha2::{Digest, Sha256};
use tidemill_broker::{Access, Authorities};

use crate::crd::{BrokerSpec, SecretKey, TaskQueue, reason};
use crate::options::OperatorOptions;

/// How a broker's address may begin: the one, then the other (or nothing), then `://`.
const SCHEMES: ([&str; 4], [&str; 2]) = (["redis", "rediss", "valkey", "valkeys"], ["+sentinel", "+cluster"]);
/// Characters of a checksum: enough to tell two values apart, too few to learn anything of them.
const CHECKSUM_LENGTH: usize = 16;

/// What the spec named.
#[derive(Debug, Clone)]
pub struct Dereferenced {
    /// How the queue's broker is reached.
    pub access: Access,
    /// Stands for all values: a change rolls the worker pods.
    pub checksum: String,
}

/// Why the spec's broker is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// No broker is named, and none is offered.
    #[error(
        "spec.broker is missing, and this installation offers no broker to namespace {0}: name one in spec.broker, or add the namespace to the chart's broker.allowedNamespaces"
    )]
    Broker(String),
    /// There is no such Secret.
    #[error("{field} names Secret {name}, which is not there: create it in namespace {namespace}")]
    Secret {
        /// Where it is named.
        field: &'static str,
        /// The Secret's name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The Secret lacks the key.
    #[error("{field} names key {key} of Secret {name}, which has {}", Keys(has))]
    Key {
        /// Where it is named.
        field: &'static str,
        /// The Secret's name.
        name: String,
        /// The key.
        key: String,
        /// The keys that it has.
        has: Vec<String>,
    },
    /// The value is not what it should be.
    #[error("{field}: key {key} of Secret {name} {problem}")]
    Value {
        /// Where it is named.
        field: &'static str,
        /// The Secret's name.
        name: String,
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The API server did not show it.
    #[error("{field}: Secret {name} cannot be read: {source}")]
    Api {
        /// Where it is named.
        field: &'static str,
        /// The Secret's name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

struct Keys<'a>(&'a [String]);

impl fmt::Display for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("no keys"),
            keys => write!(f, "only {}", keys.join(", ")),
        }
    }
}

impl Missing {
    /// The reason that the conditions give.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Broker(_) => reason::NO_BROKER,
            Self::Secret { .. } | Self::Key { .. } => reason::SECRET_MISSING,
            Self::Value { .. } => reason::INVALID_SPEC,
            Self::Api { .. } => reason::API_ERROR,
        }
    }
}

/// Fetches what `task_queue` names.
pub async fn dereference(
    client: &Client,
    options: &OperatorOptions,
    task_queue: &TaskQueue,
) -> Result<Dereferenced, Missing> {
    let namespace = task_queue.namespace().unwrap_or_default();
    let access = match &task_queue.spec.broker {
        Some(broker) => named(client, &namespace, broker).await?,
        None => match &options.installation {
            Some(access) if options.offers_broker_to(&namespace) => access.clone(),
            _ => return Err(Missing::Broker(namespace)),
        },
    };
    let checksum = checksum(task_queue.uid().as_deref().unwrap_or_default(), &access);
    Ok(Dereferenced { access, checksum })
}

async fn named(client: &Client, namespace: &str, broker: &BrokerSpec) -> Result<Access, Missing> {
    let mut secrets = Secrets { api: Api::namespaced(client.clone(), namespace), namespace, seen: BTreeMap::new() };
    let url = match (&broker.url, &broker.url_from) {
        (Some(url), _) => url.clone(),
        (None, Some(from)) => secrets.address("spec.broker.urlFrom", from).await?,
        (None, None) => return Err(Missing::Broker(namespace.to_owned())),
    };
    let mut text = async |field, from: &Option<SecretKey>| match from {
        Some(from) => secrets.text(field, from).await.map(Some),
        None => Ok(None),
    };
    let username = text("spec.broker.usernameFrom", &broker.username_from).await?;
    let password = text("spec.broker.passwordFrom", &broker.password_from).await?;
    let authorities = match &broker.tls {
        Some(tls) => Some(Authorities::Pem(secrets.value("spec.broker.tls.caFrom", &tls.ca_from).await?)),
        None => None,
    };
    Ok(Access { username, password, authorities, ..Access::new(url) })
}

fn begins_well(url: &str) -> bool {
    let (base, form) = SCHEMES;
    let Some((scheme, _)) = url.split_once("://") else { return false };
    form.iter().find_map(|form| scheme.strip_suffix(form)).or(Some(scheme)).is_some_and(|scheme| base.contains(&scheme))
}

/// The Secrets of one namespace, each got once.
struct Secrets<'a> {
    api: Api<Secret>,
    namespace: &'a str,
    seen: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl Secrets<'_> {
    async fn address(&mut self, field: &'static str, from: &SecretKey) -> Result<String, Missing> {
        let url = self.text(field, from).await?;
        if begins_well(&url) {
            return Ok(url);
        }
        Err(wrong(
            field,
            from,
            "must begin with redis://, rediss://, valkey:// or valkeys://, or with +sentinel or +cluster before the ://",
        ))
    }

    async fn text(&mut self, field: &'static str, from: &SecretKey) -> Result<String, Missing> {
        let bytes = self.value(field, from).await?;
        let text = String::from_utf8(bytes).map_err(|_| wrong(field, from, "is not UTF-8"))?;
        // Pods are given the value as it is, so that what would differ there must not pass here.
        if text.trim() != text || text.is_empty() {
            return Err(wrong(field, from, "is empty, or begins or ends with white space (echo -n writes none)"));
        }
        Ok(text)
    }

    async fn value(&mut self, field: &'static str, from: &SecretKey) -> Result<Vec<u8>, Missing> {
        let SecretKey { name, key } = from;
        if !self.seen.contains_key(name) {
            let got = self.api.get_opt(name).await;
            let got = got.map_err(|error| Missing::Api { field, name: name.clone(), source: Box::new(error) })?;
            let Some(secret) = got else {
                return Err(Missing::Secret { field, name: name.clone(), namespace: self.namespace.to_owned() });
            };
            let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
            self.seen.insert(name.clone(), data);
        }
        let data = self.seen.get(name);
        data.and_then(|data| data.get(key)).cloned().ok_or_else(|| Missing::Key {
            field,
            name: name.clone(),
            key: key.clone(),
            has: data.map(|data| data.keys().cloned().collect()).unwrap_or_default(),
        })
    }
}

fn wrong(field: &'static str, from: &SecretKey, problem: &'static str) -> Missing {
    Missing::Value { field, name: from.name.clone(), key: from.key.clone(), problem }
}

/// Salted with the TaskQueue's uid, so that equal passwords of two queues cannot be seen to be equal.
fn checksum(salt: &str, access: &Access) -> String {
    let Access { url, username, password, authorities, durability } = access;
    let mut hash = Sha256::new();
    let authorities = match authorities {
        None => &[][..],
        Some(Authorities::Pem(pem)) => pem,
        Some(Authorities::File(path)) => path.as_os_str().as_encoded_bytes(),
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    // As it was before there was any, so that it replaces no pods where none is asked for.
    let durable = match durability.replicas {
        0 => String::new(),
        replicas => format!("{replicas} {}", durability.timeout.as_millis()),
    };
    for part in [salt.as_bytes(), url.as_bytes(), text(username).as_bytes(), text(password).as_bytes(), authorities] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(durable);
    let mut checksum = format!("{:x}", hash.finalize());
    checksum.truncate(CHECKSUM_LENGTH);
    checksum
}

#[cfg(test)]
mod tests {
    use tidemill_broker::Durability;

    use super::*;

    #[test]
    fn a_checksum_changes_with_each_value_and_with_nothing_else() {
        let plain = Access::new("redis://a:6379");
        let same = checksum("uid", &plain);
        assert_eq!(same, checksum("uid", &plain.clone()));
        let named = Access { username: Some("u".into()), ..plain.clone() };
        let secret = Access { password: Some("u".into()), ..plain.clone() };
        let trusting = Access { authorities: Some(Authorities::Pem(b"u".to_vec())), ..plain.clone() };
        let copied = Access { durability: Durability { replicas: 1, ..Durability::default() }, ..plain.clone() };
        let all = [
            same,
            checksum("uid", &copied),
            checksum("other", &plain),
            checksum("uid", &named),
            checksum("uid", &secret),
            checksum("uid", &trusting),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[index + 1..].contains(one), "{all:?}");
        }
    }

    #[test]
    fn addresses_of_all_forms_begin_well() {
        for url in ["redis://a", "rediss://a", "valkey+sentinel://a,b/m", "valkeys+cluster://a", "rediss+cluster://a,b"]
        {
            assert!(begins_well(url), "{url}");
        }
        for url in ["http://a", "redis", "redis+raft://a", "+cluster://a", "redis+unix:///a", "sqlite:a"] {
            assert!(!begins_well(url), "{url}");
        }
    }

    #[test]
    fn a_missing_key_says_which_keys_there_are() {
        let missing = Missing::Key {
            field: "spec.broker.urlFrom",
            name: "redis".into(),
            key: "url".into(),
            has: vec!["uri".into(), "user".into()],
        };
        assert_eq!(missing.to_string(), "spec.broker.urlFrom names key url of Secret redis, which has only uri, user");
    }
}
