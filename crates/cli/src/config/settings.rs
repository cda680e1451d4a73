//! The settings as the roles use them: one typed field per entry of the table.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tidemill_broker::{Access, Authorities};
use tidemill_core::{QueueName, QueueSettings};

/// All settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// HTTP.
    pub app: App,
    /// The executor.
    pub executor_service: ExecutorService,
    /// What the application offers.
    pub form: String,
    /// What keeps the tasks.
    pub broker: Broker,
    /// What is asked of it before a write is acknowledged.
    pub durability: Durability,
    /// The queue.
    pub queue: Queue,
    /// Logs.
    pub log: Log,
    /// Mail.
    pub smtp: Smtp,
    /// Who may do what.
    pub auth: Auth,
    /// Metrics.
    pub metrics: Metrics,
    /// Traces.
    pub traces: Traces,
    /// The operator.
    pub operator: Operator,
}

impl Settings {
    /// The broker with all that belongs to it, as it takes it.
    pub fn access(&self) -> Access {
        Access { durability: self.durability.asked(), ..self.broker.access() }
    }
}

/// HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path of static files.
    pub static_endpoint: String,
    /// Folder of static files.
    pub public_folder: String,
    /// Folder of templates.
    pub views_folder: String,
    /// How templates' names end.
    pub templates_ext: String,
    /// What open requests get at shutdown.
    pub fiber_shutdown_timeout_ms: u64,
    /// What running tasks get at shutdown.
    pub executor_shutdown_timeout_ms: u64,
}

/// The executor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutorService {
    /// Slots.
    pub workers_limit: usize,
}

/// What keeps the tasks.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where.
    pub url: String,
    /// The user, empty for the one in the URL.
    pub username: String,
    /// The password, empty for the one in the URL.
    pub password: String,
    /// The file of certificate authorities, empty for the usual ones.
    pub ca_file: String,
}

impl Broker {
    /// The same, as the broker takes it.
    fn access(&self) -> Access {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Access {
            url: self.url.clone(),
            username: given(&self.username),
            password: given(&self.password),
            authorities: given(&self.ca_file).map(|file| Authorities::File(file.into())),
            durability: tidemill_broker::Durability::default(),
        }
    }
}

/// What is asked of the broker before a write is acknowledged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Durability {
    /// Replicas that must have it.
    pub replicas: u32,
    /// How long they have for that.
    pub timeout_ms: u64,
}

impl Durability {
    fn asked(&self) -> tidemill_broker::Durability {
        tidemill_broker::Durability { replicas: self.replicas, timeout: Duration::from_millis(self.timeout_ms) }
    }
}

/// Without passwords.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.access().fmt(f)
    }
}

/// The queue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// Its defaults and bounds.
    pub settings: QueueSettings,
}

/// Logs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is logged.
    pub level: String,
    /// How lines look.
    pub format: String,
    /// The file, empty for none.
    pub file: String,
    /// When it is rotated.
    pub file_max_bytes: u64,
    /// How many are kept.
    pub files: usize,
}

/// Mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smtp {
    /// The server, empty for none.
    pub url: String,
    /// The sender.
    pub from: String,
    /// Where mails go when there is no server.
    pub outbox: String,
}

/// Who may do what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The file of tokens, empty for none.
    pub tokens_file: String,
    /// Tokens.
    pub tokens: Vec<String>,
    /// Foreign origins.
    pub allowed_origins: Vec<String>,
}

/// Metrics.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether the figures of whole queues are shown: `auto`, `on` or `off`.
    pub queues: String,
    /// A port of their own, 0 for none.
    pub port: u16,
}

/// Traces.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector, empty for none.
    pub endpoint: String,
    /// Which part of the requests without a `traceparent` is traced.
    #[serde(deserialize_with = "part")]
    pub sample_ratio: f64,
}

fn part<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// The operator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Whose `TaskQueue`s it serves, empty for all namespaces.
    pub namespace: String,
    /// The image of worker pods whose `TaskQueue` names none.
    pub worker_image: String,
    /// Which namespaces the installation's broker is offered to; `*` is all.
    pub offered_namespaces: Vec<String>,
    /// Where the Lease is, empty for the pod's namespace.
    pub lease_namespace: String,
    /// What the Lease is called.
    pub lease_name: String,
    /// What tells this cluster from others, empty for the uid of `kube-system`.
    pub cluster: String,
    /// Whether worker pods get a `NetworkPolicy`: `on` or `off`.
    pub network_policies: String,
}
