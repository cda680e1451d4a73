//! Logging and traces, as the settings want them.

use std::path::PathBuf;
use std::sync::Arc;

use tidemill_telemetry::metrics::Metrics;
use tidemill_telemetry::traces::TraceLayer;
use tidemill_telemetry::{LogFormat, LogOptions, Logs, TraceOptions, Traces};
use tokio::runtime::Handle;

use crate::config::settings::{Log, Settings};
use crate::exit::usage;
use crate::options::process_name;

/// Sets traces up, where there is a collector for them. Must be called within a runtime.
pub fn traces(settings: &Settings, metrics: &Arc<Metrics>) -> anyhow::Result<(Option<Traces>, Option<TraceLayer>)> {
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
pub fn logs(log: &Log, traces: Option<TraceLayer>) -> anyhow::Result<Logs> {
    let options = LogOptions {
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
    };
    Ok(Logs::start(&options, traces)?)
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
