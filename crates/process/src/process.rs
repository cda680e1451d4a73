//! What all roles have in common: settings, logs, a runtime, signals, and an end in order.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::ServeError;
use tidemill_telemetry::LogLevel;
use tidemill_telemetry::metrics::Metrics;

use crate::args::SettingArgs;
use crate::config::Role;
use crate::config::settings::Settings;
use crate::sight::{Sight, log_panics};
use crate::signals::Stop;
use crate::{local_url, resolve};

/// How long blocking work may outlive everything else before the process ends without it.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);

/// What was set of a queue's settings, as JSON.
pub type Chosen = serde_json::Map<String, serde_json::Value>;

/// What a role is handed beside its settings.
pub struct Process {
    /// What was set of the queue's settings.
    pub chosen: Chosen,
    /// What this process counts.
    pub metrics: Arc<Metrics>,
    /// What it logs, where that can be changed.
    pub level: Option<LogLevel>,
}

/// Resolves the settings, starts runtime, traces and logs, runs `serve` to its end and flushes traces and logs.
pub fn run<F, Fut>(role: Role, args: &SettingArgs, serve: F) -> anyhow::Result<()>
where
    F: FnOnce(Settings, Process) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let config = resolve(role, Vec::new(), args)?;
    let settings = config.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let sight = {
        let _within = runtime.enter();
        Sight::open(&settings, &metrics)?
    };
    log_panics();
    raise_open_files();
    let process = Process { chosen: config.chosen_queue_settings(), metrics, level: Some(sight.level()) };
    let result = runtime.block_on(serve(settings, process));
    let logs = sight.end_traces();
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    drop(logs);
    result
}

/// Each connection is an open file, and the usual limit of 1,024 is far below what the API grants: it is raised as far as
/// this process may raise it.
pub fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised: connections may be refused early");
        }
    }
}

/// Says where the process is found, and warns of a door that stands open.
pub fn announce(role: Role, settings: &Settings, address: Option<SocketAddr>, broker: &str) {
    let address = address.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.app.port)));
    let url = format!("{}/", local_url(&address.ip().to_string(), address.port()));
    tracing::info!(
        role = role.as_str(),
        %address,
        broker,
        queue = settings.queue.name.as_str(),
        version = env!("CARGO_PKG_VERSION"),
        url,
        "tidemill is at {url}",
    );
    let guarded = !settings.auth.tokens.is_empty() || !settings.auth.tokens_file.is_empty();
    if !guarded && !address.ip().is_loopback() && role != Role::Worker {
        tracing::warn!(%address, "no token is asked for: whoever reaches this address may do everything; see auth.tokens_file");
    }
}

/// Runs the contact with the store and the HTTP server until both have ended. What fails stops the process.
pub async fn together(
    stop: &Stop,
    contact: impl Future<Output = anyhow::Result<()>>,
    http: impl Future<Output = Result<(), ServeError>>,
) -> anyhow::Result<()> {
    let contact = async {
        let result = contact.await;
        if result.is_err() {
            stop.stop.cancel();
        }
        result
    };
    let http = async {
        let result = tokio::select! {
            result = http => result,
            () = stop.abort.cancelled() => Ok(()),
        };
        stop.stop.cancel();
        result
    };
    let (contact, http) = tokio::join!(contact, http);
    contact?;
    Ok(http?)
}
