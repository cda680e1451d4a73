//! The settings as the roles use them: one typed field per entry of the table.

use serde::Deserialize;
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where.
    pub url: String,
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
    /// A port of their own, 0 for none.
    pub port: u16,
}
