//! The one table of settings. It drives the file, the environment, `--set`, `config --print` and the suggestions.
//!
//! A setting added here is a setting everywhere; its typed home is a field of [`super::settings::Settings`].

/// What values a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text. Empty means none.
    Text,
    /// Text that must not be empty.
    Given,
    /// A whole number within bounds.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// Several texts: a YAML list; separated by commas in the environment and in flags.
    List,
    /// A name of a queue.
    Queue,
    /// A level of logging, in the words of `EnvFilter`.
    Level,
    /// A part of all: a number from 0 to 1.
    Part,
}

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its path in the file, joined by dots.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its default, written as in the environment.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// Whether its value is never shown.
    pub secret: bool,
}

/// The environment variable of a setting: `app.port` is `TIDEMILL_APP__PORT`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// What the names of all our environment variables begin with.
pub const PREFIX: &str = "TIDEMILL_";

/// The setting of this key.
pub fn find(key: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.key == key)
}

const fn setting(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting { key, kind, default, doc, secret: false }
}

const fn number(key: &'static str, min: u64, max: u64, default: &'static str, doc: &'static str) -> Setting {
    setting(key, Kind::Number { min, max }, default, doc)
}

const fn secret(mut setting: Setting) -> Setting {
    setting.secret = true;
    setting
}

const PORT_MAX: u64 = u16::MAX as u64;
const U32_MAX: u64 = u32::MAX as u64;
/// Longest shutdown that may be asked for, in milliseconds: an hour. Whoever needs more should make tasks shorter.
const SHUTDOWN_MS_MAX: u64 = 3_600_000;
/// Most slots of one process; beyond it, more processes serve better than more slots.
const WORKERS_MAX: u64 = 10_000;
/// Largest log file, in bytes: what editors still open.
const LOG_BYTES_MAX: u64 = 1 << 34;
/// Smallest log file, in bytes: a few lines, so that a wrong unit is noticed.
const LOG_BYTES_MIN: u64 = 1 << 10;
/// Most replicas that may be waited for: more than anyone keeps of a Redis.
const REPLICAS_MAX: u64 = 16;
/// What replicas may take to have a write, in milliseconds: from what a healthy one needs to what fits into an operation.
const REPLICAS_MS: (u64, u64) = (10, 1_500);
/// Largest payload of a task that a queue may allow, in bytes: the largest body of a request.
const PAYLOAD_MAX: u64 = 8 << 20;

/// All settings, in the order in which they are shown.
pub static SETTINGS: &[Setting] = &[
    setting("app.host", Kind::Given, "0.0.0.0", "address that HTTP listens on"),
    number("app.port", 0, PORT_MAX, "8080", "port that HTTP listens on; 0 takes a free one"),
    setting("app.static_endpoint", Kind::Given, "/static", "path that static files are served under"),
    setting(
        "app.public_folder",
        Kind::Text,
        "./public",
        "folder of static files, used instead of the built-in ones where it exists",
    ),
    setting(
        "app.views_folder",
        Kind::Text,
        "./views",
        "folder of HTML templates, used instead of the built-in ones where it exists",
    ),
    setting("app.templates_ext", Kind::Given, ".html", "how the names of HTML templates end"),
    number(
        "app.fiber_shutdown_timeout_ms",
        0,
        SHUTDOWN_MS_MAX,
        "1000",
        "how long open requests get to end at shutdown",
    ),
    number(
        "app.executor_shutdown_timeout_ms",
        0,
        SHUTDOWN_MS_MAX,
        "5000",
        "how long running tasks get to end at shutdown, before they go back to the queue",
    ),
    number("executor_service.workers_limit", 1, WORKERS_MAX, "10", "how many tasks run at a time in this process"),
    setting(
        "form",
        Kind::Word(&["rest", "ws", "html", "html_ws"]),
        "html_ws",
        "what the application offers: REST alone, with WebSocket, with the web page, or all",
    ),
    setting(
        "broker.url",
        Kind::Given,
        "sqlite:./tidemill-data",
        "what keeps the tasks: sqlite:FOLDER, redis://HOST:PORT/DB, redis+sentinel://HOST,HOST/NAME, redis+cluster://HOST,HOST (rediss… for TLS) or unix:SOCKET",
    ),
    setting("broker.username", Kind::Text, "", "user at the broker, instead of the one in broker.url"),
    secret(setting("broker.password", Kind::Text, "", "password at the broker, instead of the one in broker.url")),
    setting(
        "broker.ca_file",
        Kind::Text,
        "",
        "file of the certificate authorities (PEM) that TLS to the broker trusts; none means those of SSL_CERT_FILE, else the public ones",
    ),
    number(
        "durability.replicas",
        0,
        REPLICAS_MAX,
        "0",
        "how many replicas of Redis must have what is enqueued, cancelled or changed before that is acknowledged",
    ),
    number(
        "durability.timeout_ms",
        REPLICAS_MS.0,
        REPLICAS_MS.1,
        "1000",
        "how long replicas have for that; then the request is answered as unavailable, and can be repeated",
    ),
    setting(
        "queue.name",
        Kind::Queue,
        "default",
        "queue that the routes of the root serve and that the worker works on",
    ),
    number(
        "queue.settings.retries",
        0,
        tidemill_core::policy::RETRIES_MAX as u64,
        "0",
        "retries of a task that names none",
    ),
    number(
        "queue.settings.backoff.initial_ms",
        0,
        U32_MAX,
        "1000",
        "longest wait before the first retry; it doubles with each failure",
    ),
    number("queue.settings.backoff.max_ms", 0, U32_MAX, "600000", "longest wait before any retry"),
    number(
        "queue.settings.timeout_ms",
        1,
        tidemill_core::policy::TIMEOUT_MS_MAX,
        "3600000",
        "how long an attempt may take of a task that says nothing of it",
    ),
    number("queue.settings.retention.succeeded.count", 0, U32_MAX, "10000", "how many tasks that succeeded are kept"),
    number("queue.settings.retention.succeeded.age_s", 0, U32_MAX, "3600", "how long tasks that succeeded are kept"),
    number("queue.settings.retention.dead.count", 0, U32_MAX, "100000", "how many dead tasks are kept"),
    number("queue.settings.retention.dead.age_s", 0, U32_MAX, "7776000", "how long dead tasks are kept"),
    number("queue.settings.retention.cancelled.count", 0, U32_MAX, "10000", "how many cancelled tasks are kept"),
    number("queue.settings.retention.cancelled.age_s", 0, U32_MAX, "86400", "how long cancelled tasks are kept"),
    number("queue.settings.max_tasks", 1, U32_MAX, "10000000", "how many tasks may wait or run; more are refused"),
    number("queue.settings.max_payload_bytes", 2, PAYLOAD_MAX, "1048576", "how large the payload of a task may be"),
    number(
        "queue.settings.lease_ms",
        1_000,
        SHUTDOWN_MS_MAX,
        "10000",
        "how long a worker that says nothing keeps its tasks",
    ),
    number("queue.settings.loss_limit", 1, 1_000, "5", "how many lost workers end a task as dead"),
    setting(
        "log.level",
        Kind::Level,
        "info",
        "what is logged: error, warn, info, debug or trace, also per part: info,tidemill::task=warn",
    ),
    setting(
        "log.format",
        Kind::Word(&["auto", "text", "json"]),
        "auto",
        "how lines look on stderr: auto is text on a terminal and JSON elsewhere",
    ),
    setting(
        "log.file",
        Kind::Text,
        "logs.txt",
        "file that is written besides stderr; none where empty, and in api and worker unless set",
    ),
    number(
        "log.file_max_bytes",
        LOG_BYTES_MIN,
        LOG_BYTES_MAX,
        "10485760",
        "how large the log file grows before it is rotated",
    ),
    number("log.files", 1, 1_000, "5", "how many log files are kept, the present one included"),
    setting(
        "smtp.url",
        Kind::Text,
        "",
        "mail server: smtp://, smtps://, with user, password and ?tls=required for STARTTLS; none writes mails to the outbox",
    ),
    setting("smtp.from", Kind::Given, "tidemill@localhost", "sender of mails"),
    setting("smtp.outbox", Kind::Given, "./outbox", "folder that mails are written to where there is no mail server"),
    setting(
        "auth.tokens_file",
        Kind::Text,
        "",
        "file of bearer tokens, one a line, read anew when it changes; none means that everyone may do everything",
    ),
    secret(setting("auth.tokens", Kind::List, "", "bearer tokens themselves; a file is safer")),
    setting(
        "auth.allowed_origins",
        Kind::List,
        "",
        "origins of foreign web pages that may use the API: https://example.org",
    ),
    setting(
        "metrics.queues",
        Kind::Word(&["auto", "on", "off"]),
        "auto",
        "whether /metrics shows the figures of whole queues: auto is yes in standalone and no in api, since the operator shows them; where there is none, turn it on in one api alone",
    ),
    number(
        "metrics.port",
        0,
        PORT_MAX,
        "0",
        "port of its own for Prometheus metrics, which asks for no token; 0 is none",
    ),
    setting(
        "traces.endpoint",
        Kind::Text,
        "",
        "OpenTelemetry collector that traces are sent to, by OTLP over HTTP: http://HOST:4318; none means no traces",
    ),
    setting(
        "traces.sample_ratio",
        Kind::Part,
        "1",
        "which part of the requests that come without a traceparent is traced, from 0 to 1; a caller's traceparent decides for itself",
    ),
    setting("operator.namespace", Kind::Text, "", "namespace whose TaskQueues the operator serves; none means all"),
    setting("operator.worker_image", Kind::Text, "", "image of worker pods whose TaskQueue names none"),
    setting(
        "operator.offered_namespaces",
        Kind::List,
        "",
        "namespaces that the broker of this installation is offered to; * means all",
    ),
    setting(
        "operator.lease_namespace",
        Kind::Text,
        "",
        "namespace of the Lease by which operators agree on a leader; none means that of the pod (POD_NAMESPACE), else default",
    ),
    setting(
        "operator.lease_name",
        Kind::Given,
        "tidemill-operator",
        "name of the Lease by which operators agree on a leader",
    ),
    setting(
        "operator.cluster",
        Kind::Text,
        "",
        "what tells this cluster from others that share a broker; none means the uid of the namespace kube-system",
    ),
    setting(
        "operator.network_policies",
        Kind::Word(&["on", "off"]),
        "off",
        "whether worker pods get a NetworkPolicy that admits scrapers and probes alone",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_every_variable_stands_once() {
        let mut keys: Vec<_> = SETTINGS.iter().map(|setting| setting.key.to_owned()).collect();
        let mut variables: Vec<_> = SETTINGS.iter().map(|setting| variable(setting.key)).collect();
        for list in [&mut keys, &mut variables] {
            list.sort();
            list.dedup();
            assert_eq!(list.len(), SETTINGS.len());
        }
        assert_eq!(variable("app.port"), "TIDEMILL_APP__PORT");
        assert_eq!(variable("form"), "TIDEMILL_FORM");
    }
}
