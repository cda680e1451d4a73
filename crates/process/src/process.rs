//! What all roles have in common: settings, logs, a runtime, signals, and an end in order.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::ServeError;
use tidemill_telemetry::metrics::Metrics;
use tidemill_telemetry::{LogLevel, Logs, Traces};

use crate::args::SettingArgs;
use crate::config::Role;
use crate::config::settings::Settings;
use crate::logs::{log_panics, logs, traces};
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
    /// What it logs, unless the program sees to that itself.
    pub level: Option<LogLevel>,
}

/// Starts the runtime and listens for signals, resolves the settings, starts traces and logs, runs `serve` to its end and flushes
/// traces and logs.
pub fn run<F, Fut>(role: Role, args: &SettingArgs, serve: F) -> anyhow::Result<()>
where
    F: FnOnce(Settings, Process, Stop) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let stop = Stop::default();
    // Before all else: the first process of a container is not told of signals that it does not listen for. A pod that is deleted
    // as soon as it has begun would go on as if nothing were, until it is killed with all that it runs.
    let within = runtime.enter();
    let _listening = stop.listen()?;
    let config = resolve(role, Vec::new(), args)?;
    let settings = config.settings()?;
    let (process, mut telemetry) = Process::begin(&settings, config.chosen_queue_settings())?;
    drop(within);
    let result = runtime.block_on(serve(settings, process, stop));
    telemetry.end_traces();
    runtime.shutdown_timeout(RUNTIME_TIMEOUT);
    drop(telemetry);
    result
}

impl Process {
    /// One that sets up nothing: logs and traces are the business of whoever runs it.
    pub fn bare() -> Self {
        Self { chosen: Chosen::default(), metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))), level: None }
    }

    /// Begins a process within a runtime. Where the program has set logging up itself, it stays as it is, and there are no
    /// traces but its own.
    pub fn begin(settings: &Settings, chosen: Chosen) -> anyhow::Result<(Self, Telemetry)> {
        let mut process = Self { chosen, ..Self::bare() };
        let mut telemetry = Telemetry::default();
        if !tracing::dispatcher::has_been_set() {
            let (traces, layer) = traces(settings, &process.metrics)?;
            let logs = logs(&settings.log, layer)?;
            process.metrics.log_lines_dropped(logs.count_dropped());
            process.level = Some(logs.level());
            telemetry = Telemetry { traces, logs: Some(logs) };
            log_panics();
        }
        raise_open_files();
        Ok((process, telemetry))
    }
}

/// What is flushed at the end of a process. Dropping it writes the log lines that wait.
#[derive(Default)]
pub struct Telemetry {
    traces: Option<Traces>,
    logs: Option<Logs>,
}

impl Telemetry {
    /// Sends the spans that wait. The runtime must still turn, on another thread.
    pub fn end_traces(&mut self) {
        if let Some(traces) = self.traces.take() {
            traces.end();
        }
    }

    /// Both, for whoever is within the runtime.
    pub async fn end(mut self) {
        let logs = self.logs.take();
        let ending = tokio::task::spawn_blocking(move || {
            self.end_traces();
            drop(logs);
        });
        if ending.await.is_err() {
            tracing::error!("what ends traces and logs panicked");
        }
    }
}

/// Each connection is an open file, and the usual limit of 1,024 is far below what the API grants: it is raised as far as
/// this process may raise it.
fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised: connections may be refused early");
        }
    }
}

/// Hides the environment and the memory of this process from others of the same user, for good: what handlers start must not
/// find there what the broker's password is. Nor can it be traced any more, and it leaves no core.
pub fn hide() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "what handlers start can read the environment of this process");
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn a_hidden_process_still_finds_itself() {
        super::hide();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        assert!(std::fs::File::open("/proc/self/exe").is_ok());
    }
}
