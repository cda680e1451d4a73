//! From settings to the options of the parts that several roles have.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::{HealthOptions, WorkerGauge, WorkerProbe};
use tidemill_executor::{Executor, ExecutorOptions};
use tidemill_telemetry::LogLevel;

use crate::config::settings::Settings;

/// The options of what a worker shows.
pub fn health(settings: &Settings, executor: &Executor, level: Option<LogLevel>) -> HealthOptions {
    HealthOptions {
        host: settings.app.host.clone(),
        port: settings.app.port,
        queue: settings.queue.name.clone(),
        http_shutdown_timeout: Duration::from_millis(settings.app.fiber_shutdown_timeout_ms),
        tokens_file: path(&settings.auth.tokens_file),
        tokens: settings.auth.tokens.clone(),
        worker: Some(probe(executor)),
        log_level: level,
    }
}

/// The options of the executor.
pub fn executor(settings: &Settings, create_queue: bool) -> ExecutorOptions {
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

/// What health and metrics ask of the executor of this process.
pub fn probe(executor: &Executor) -> WorkerProbe {
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

/// A path that a setting names; none where it is empty.
pub fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// The pod, or the host and the process.
pub fn process_name() -> String {
    let pod = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    pod.unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        format!("{}-{}", if host.is_empty() { "host" } else { host }, std::process::id())
    })
}
