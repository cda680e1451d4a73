//! Where the tasks are kept.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Redis or Valkey, 7 or later.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[x_kube(
    validation = Rule::new("has(self.url) != has(self.urlFrom)")
        .message("broker needs either url or urlFrom, and not both"),
    validation = Rule::new("!has(self.tls) || !has(self.url) || self.url.startsWith('rediss') || self.url.startsWith('valkeys')")
        .message("broker.tls needs a URL that asks for TLS: rediss://HOST:PORT, rediss+sentinel:// or rediss+cluster:// (or valkeys)")
)]
#[serde(rename_all = "camelCase")]
pub struct BrokerSpec {
    /// redis://HOST:PORT/DB, redis+sentinel://HOST:26379,HOST:26379/NAME/DB or redis+cluster://HOST:6379,HOST:6379; rediss
    /// instead of redis for TLS, and valkey or valkeys just as well. A password belongs in passwordFrom; one of
    /// the Sentinels' own is a part of the URL, which then belongs in urlFrom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 10, max = 1024),
        regex(pattern = r"^(redis|rediss|valkey|valkeys)([+](sentinel|cluster))?://[^\s]+$")
    )]
    pub url: Option<String>,
    /// The key of a Secret that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretKey>,
    /// The key of a Secret that holds the user's name. Default: what the URL says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username_from: Option<SecretKey>,
    /// The key of a Secret that holds the password. Default: what the URL says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_from: Option<SecretKey>,
    /// Whom TLS trusts. Default: the public authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Whom TLS trusts.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The key of a Secret that holds certificate authorities in PEM.
    pub ca_from: SecretKey,
}

/// A key of a Secret in the namespace of the TaskQueue. Read at each reconciliation, and every minute; when its value
/// changes, the workers are replaced one by one.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
