//! What all roles have in common: settings, logs, a runtime, signals, and an end in order.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidemill_api::ServeError;

use crate::args::SettingArgs;
use crate::config::Role;
use crate::config::settings::Settings;
use crate::logs::{log_panics, logs};
use crate::signals::Stop;
use crate::{local_url, resolve};

/// How long blocking work may outlive everything else before the process ends without it.
const RUNTIME_TIMEOUT: Duration = Duration::from_secs(1);

/// What was set of a queue's settings, as JSON.
pub type Chosen = serde_json::Map<String, serde_json::Value>;

/// Resolves the settings, starts logs and runtime, runs `serve` to its end and flushes the logs.
pub fn run<F, Fut>(role: Role, args: &SettingArgs, serve: F) -> anyhow::Result<()>
where
    F: FnOnce(Settings, Chosen) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let config = resolve(role, Vec::new(), args)?;
    let settings = config.settings()?;
    let logging = logs(&settings.log)?;
    log_panics();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(settings, config.chosen_queue_settings()));
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    drop(logging);
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
