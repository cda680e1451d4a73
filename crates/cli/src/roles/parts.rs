//! From settings to the options of each part.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::{HealthOptions, Options, WorkerGauge, WorkerProbe};
use tidemill_executor::{Executor, ExecutorOptions, Registry};
use tidemill_handlers::{HandlerOptions, SmtpOptions};
use tidemill_telemetry::metrics::Metrics;
use tidemill_telemetry::traces::TraceLayer;
use tidemill_telemetry::{LogFormat, LogLevel, LogOptions, Logs, TraceOptions, Traces};
use tokio::runtime::Handle;

use crate::config::settings::{Log, Settings};
use crate::exit::usage;
use crate::output::wants_colour;

/// Sets traces up, where there is a collector for them. Must be called within a runtime.
pub(super) fn traces(
    settings: &Settings,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Option<Traces>, Option<TraceLayer>)> {
    if settings.traces.endpoint.is_empty() {
        return Ok((None, None));
    }
    let options = TraceOptions {
        endpoint: settings.traces.endpoint.clone(),
        sample_ratio: settings.traces.sample_ratio,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: process_name(),
    };
    let (traces, layer) =
        Traces::start(&options, Handle::current(), metrics.clone()).map_err(|error| usage(error.to_string()))?;
    Ok((Some(traces), Some(layer)))
}

/// Sets logging up.
pub(super) fn logs(log: &Log, traces: Option<TraceLayer>) -> anyhow::Result<Logs> {
    let options = LogOptions {
        level: log.level.clone(),
        format: match log.format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
        color: wants_colour() && std::io::IsTerminal::is_terminal(&std::io::stderr()),
        file: path(&log.file),
        file_max_bytes: log.file_max_bytes,
        files: log.files,
    };
    Ok(Logs::start(&options, traces)?)
}

/// The options of the API. `executor` is the one of this process.
pub(super) fn api(settings: &Settings, executor: Option<&Executor>, level: &LogLevel) -> anyhow::Result<Options> {
    let app = &settings.app;
    Ok(Options {
        host: app.host.clone(),
        port: app.port,
        form: settings.form.parse().map_err(|error: tidemill_api::UnknownForm| usage(error.to_string()))?,
        default_queue: settings.queue.name.clone(),
        creates_queues: executor.is_some(),
        default_settings: settings.queue.settings,
        static_endpoint: app.static_endpoint.clone(),
        public_folder: PathBuf::from(&app.public_folder),
        views_folder: PathBuf::from(&app.views_folder),
        templates_ext: app.templates_ext.clone(),
        http_shutdown_timeout: Duration::from_millis(app.fiber_shutdown_timeout_ms),
        tokens_file: path(&settings.auth.tokens_file),
        tokens: settings.auth.tokens.clone(),
        allowed_origins: settings.auth.allowed_origins.clone(),
        metrics_port: (settings.metrics.port != 0).then_some(settings.metrics.port),
        queue_metrics: match settings.metrics.queues.as_str() {
            "on" => true,
            "off" => false,
            _ => executor.is_some(),
        },
        worker: executor.map(probe),
        log_level: Some(level.clone()),
    })
}

/// The options of what a worker shows.
pub(super) fn health(settings: &Settings, executor: &Executor, level: &LogLevel) -> HealthOptions {
    HealthOptions {
        host: settings.app.host.clone(),
        port: settings.app.port,
        queue: settings.queue.name.clone(),
        http_shutdown_timeout: Duration::from_millis(settings.app.fiber_shutdown_timeout_ms),
        tokens_file: path(&settings.auth.tokens_file),
        tokens: settings.auth.tokens.clone(),
        worker: Some(probe(executor)),
        log_level: Some(level.clone()),
    }
}

/// The options of the executor.
pub(super) fn executor(settings: &Settings, create_queue: bool) -> ExecutorOptions {
    ExecutorOptions {
        slots: settings.executor_service.workers_limit,
        shutdown_timeout: Duration::from_millis(settings.app.executor_shutdown_timeout_ms),
        worker_name: process_name(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        create_queue,
        settings: settings.queue.settings,
        ..ExecutorOptions::new(settings.queue.name.clone())
    }
}

/// The built-in task types.
pub(super) fn handlers(settings: &Settings) -> anyhow::Result<Arc<Registry>> {
    let smtp = &settings.smtp;
    let smtp = SmtpOptions {
        url: Some(smtp.url.clone()).filter(|url| !url.is_empty()),
        from: smtp.from.clone(),
        outbox: PathBuf::from(&smtp.outbox),
    };
    tidemill_handlers::registry(&HandlerOptions { smtp }).map(Arc::new).map_err(|error| usage(error.to_string()))
}

fn probe(executor: &Executor) -> WorkerProbe {
    let (status, pulse) = (executor.status(), executor.pulse());
    Arc::new(move || {
        let status = status.borrow();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        WorkerGauge {
            slots: count(status.slots),
            busy: count(status.active.min(status.slots)),
            taking: status.is_registered() && !status.draining,
            still_for: pulse.still_for(),
        }
    })
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The pod, or the host and the process.
pub(super) fn process_name() -> String {
    let pod = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        format!("{}-{}", if host.is_empty() { "host" } else { host }, std::process::id())
    })
}
