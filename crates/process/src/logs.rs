//! Logging, as the settings want it.

use std::path::PathBuf;

use tidemill_telemetry::{LogFormat, LogOptions, Logs};

use crate::config::settings::Log;

/// Sets logging up.
pub fn logs(log: &Log) -> anyhow::Result<Logs> {
    Ok(Logs::start(&options(log))?)
}

/// Sets logging up, unless the program has done so itself.
pub fn logs_unless_set(log: &Log) -> anyhow::Result<Option<Logs>> {
    if tracing::dispatcher::has_been_set() { Ok(None) } else { logs(log).map(Some) }
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
