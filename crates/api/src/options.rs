//! What a server is told at its start.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{QueueName, QueueSettings};
use tidemill_telemetry::LogLevel;

/// Which parts of the application are served. What a form leaves out answers 404.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// REST alone.
    Rest,
    /// REST and WebSocket.
    Ws,
    /// REST and the web page.
    Html,
    /// All of it.
    HtmlWs,
}

/// A word that names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown form {0:?}; a form is one of rest, ws, html, html_ws")]
pub struct UnknownForm(pub String);

impl Form {
    /// Every form.
    pub const ALL: [Form; 4] = [Form::Rest, Form::Ws, Form::Html, Form::HtmlWs];

    /// The word that names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Ws => "ws",
            Self::Html => "html",
            Self::HtmlWs => "html_ws",
        }
    }

    /// Whether `/ws` is served.
    pub fn has_ws(self) -> bool {
        matches!(self, Self::Ws | Self::HtmlWs)
    }

    /// Whether the page and its static files are served.
    pub fn has_page(self) -> bool {
        matches!(self, Self::Html | Self::HtmlWs)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Form {
    type Err = UnknownForm;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Form::ALL.into_iter().find(|form| form.as_str() == text).ok_or_else(|| UnknownForm(text.to_owned()))
    }
}

/// What an executor in this process says of itself, for `/readyz` and the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerGauge {
    /// How many tasks it runs at a time.
    pub slots: u32,
    /// How many it runs now.
    pub busy: u32,
    /// Whether it takes new tasks: registered with the broker, and not draining.
    pub taking: bool,
    /// For how long its loop has not turned.
    pub still_for: Duration,
}

/// Asks an executor of this process how it is.
pub type WorkerProbe = Arc<dyn Fn() -> WorkerGauge + Send + Sync>;

/// How [`Server`](crate::Server) serves.
#[derive(Clone)]
pub struct Options {
    /// The address or name to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Which parts are served.
    pub form: Form,
    /// The queue of the routes of the root when none is named. It is created at the first contact with the broker.
    pub default_queue: QueueName,
    /// Whether a queue that someone writes to or watches comes into being (standalone), or is 404 (a cluster).
    pub creates_queues: bool,
    /// The settings that a queue is created with, and those that a `PUT` of settings leaves out.
    pub default_settings: QueueSettings,
    /// The path of static files: begins with `/`.
    pub static_endpoint: String,
    /// Where static files are taken from; what is not there comes from the program.
    pub public_folder: PathBuf,
    /// Where the page's template is taken from; one that is not there comes from the program.
    pub views_folder: PathBuf,
    /// How the names of templates end.
    pub templates_ext: String,
    /// How long open requests get at shutdown.
    pub http_shutdown_timeout: Duration,
    /// A file of bearer tokens, read again every few seconds: one a line, plain or `sha256:<hex>`; `#` begins a comment.
    pub tokens_file: Option<PathBuf>,
    /// Bearer tokens in the same two forms. Without these and without a file, no token is asked for.
    pub tokens: Vec<String>,
    /// Origins (`https://example.com`) whose pages may use this API beside its own; `*` means all.
    pub allowed_origins: Vec<String>,
    /// Another port of the same host, for metrics as text and health.
    pub metrics_port: Option<u16>,
    /// Whether `/metrics` shows whole queues as text. One process of an installation should, so that no sum doubles.
    pub queue_metrics: bool,
    /// The executor of this process, where it has one.
    pub worker: Option<WorkerProbe>,
    /// What this process logs, where that may be changed by way of the API.
    pub log_level: Option<LogLevel>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 8080,
            form: Form::HtmlWs,
            default_queue: QueueName::default_queue(),
            creates_queues: true,
            default_settings: QueueSettings::default(),
            static_endpoint: "/static".to_owned(),
            public_folder: PathBuf::from("./public"),
            views_folder: PathBuf::from("./views"),
            templates_ext: ".html".to_owned(),
            http_shutdown_timeout: Duration::from_secs(1),
            tokens_file: None,
            tokens: Vec::new(),
            allowed_origins: Vec::new(),
            metrics_port: None,
            queue_metrics: false,
            worker: None,
            log_level: None,
        }
    }
}

/// How [`HealthServer`](crate::HealthServer) serves: what a worker without API shows.
#[derive(Clone)]
pub struct HealthOptions {
    /// The address or name to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// The queue that the JSON form of `/metrics` shows.
    pub queue: QueueName,
    /// How long open requests get at shutdown.
    pub http_shutdown_timeout: Duration,
    /// As in [`Options::tokens_file`]; guards `/metrics`.
    pub tokens_file: Option<PathBuf>,
    /// As in [`Options::tokens`]; guards `/metrics`.
    pub tokens: Vec<String>,
    /// The executor of this process.
    pub worker: Option<WorkerProbe>,
    /// As in [`Options::log_level`].
    pub log_level: Option<LogLevel>,
}

impl From<HealthOptions> for Options {
    fn from(options: HealthOptions) -> Self {
        let HealthOptions { host, port, queue, http_shutdown_timeout, tokens_file, tokens, worker, log_level } =
            options;
        Self {
            host,
            port,
            default_queue: queue,
            creates_queues: false,
            http_shutdown_timeout,
            tokens_file,
            tokens,
            worker,
            log_level,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_reads_the_word_that_it_writes() {
        for form in Form::ALL {
            assert_eq!(form.to_string().parse(), Ok(form));
        }
        assert!("app_rest".parse::<Form>().is_err());
    }
}
