//! What a process shows of its work as it goes on: logs, and traces where there is a collector for them.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_telemetry::metrics::Metrics;
use tidemill_telemetry::traces::TraceLayer;
use tidemill_telemetry::{LogFormat, LogLevel, LogOptions, Logs, TraceOptions, Traces};
use tokio::runtime::Handle;

use crate::config::settings::{Log, Settings};
use crate::exit::usage;
use crate::options::process_name;

/// Logs and traces in force.
pub struct Sight {
    logs: Logs,
    traces: Option<Traces>,
}

impl Sight {
    /// Sets them up, as the settings want it. Must be called within a runtime.
    pub fn open(settings: &Settings, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let (traces, layer) = traces(settings, metrics)?;
        let logs = Logs::start(&options(&settings.log), layer)?;
        metrics.log_lines_dropped(logs.count_dropped());
        Ok(Self { logs, traces })
    }

    /// What is logged.
    pub fn level(&self) -> LogLevel {
        self.logs.level()
    }

    /// Sends the last spans, for some seconds at most; the runtime must still turn, on another thread. The logs are flushed
    /// when what is given back is dropped.
    pub fn end_traces(self) -> Logs {
        if let Some(traces) = self.traces {
            traces.end();
        }
        self.logs
    }
}

fn traces(settings: &Settings, metrics: &Arc<Metrics>) -> anyhow::Result<(Option<Traces>, Option<TraceLayer>)> {
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

fn options(log: &Log) -> LogOptions {
    LogOptions {
        level: log.level.clone(),
        format: match log.format.as_str() {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Auto,
        },
        color: wants_colour() && std::io::IsTerminal::is_terminal(&std::io::stderr()),
        file: (!log.file.is_empty()).then(|| PathBuf::from(&log.file)),
        file_max_bytes: log.file_max_bytes,
        files: log.files,
    }
}

/// Whether nobody asked for no colour.
pub fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::env::var("TERM").as_deref() != Ok("dumb")
}

/// A panic is a line of the log like any other, so that it is found where people look.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("a panic without a message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, panic = message, "a part of the program panicked");
    }));
}
