//! The executor of one queue, with health and metrics beside it.

use std::sync::Arc;

use tidemill_api::HealthServer;
use tidemill_executor::{Executor, Registry};
use tokio_util::sync::CancellationToken;

use crate::config::Role;
use crate::config::settings::Settings;
use crate::process::{self, Process};
use crate::signals::Stop;
use crate::{drain, options, store};

/// Runs the tasks that `registry` serves until `stop` is told. What they start cannot look into this process (see
/// [`process::hide`]).
pub async fn serve(settings: &Settings, registry: Arc<Registry>, process: Process, stop: Stop) -> anyhow::Result<()> {
    process::hide();
    let Process { metrics, level, chosen: _ } = process;
    let broker = store::open_shared(&settings.access(), Role::Worker, &metrics)?;
    let executor = Executor::new(broker.clone(), registry, options::executor(settings, true));
    executor.show(&metrics);
    let health = options::health(settings, &executor, level);
    let server = store::or_close(HealthServer::bind(health, broker.clone(), metrics).await, &broker).await?;
    process::announce(Role::Worker, settings, server.local_addr(), &broker.describe());

    // Health is shown until the last task has ended or gone back.
    let (ends, done, health) = (stop.clone(), CancellationToken::new(), server.health());
    let last = done.clone();
    let running = tokio::spawn(async move {
        let _whatever_ends_it = (ends.stop.clone().drop_guard(), last.drop_guard());
        executor.run(ends.stop, ends.abort).await
    });
    let contact = async {
        store::first_contact(broker.clone(), stop.stop.clone()).await?;
        stop.stop.cancelled().await;
        health.drain();
        Ok(())
    };
    let result = process::together(&stop, contact, server.run(done)).await;
    let report = running.await?;
    store::close(&broker).await;
    drain::tell(&report);
    result
}

/// The same without a port: neither health nor metrics are shown.
pub async fn serve_unseen(
    settings: &Settings,
    registry: Arc<Registry>,
    process: Process,
    stop: Stop,
) -> anyhow::Result<()> {
    let metrics = process.metrics;
    let broker = store::open_shared(&settings.access(), Role::Worker, &metrics)?;
    let executor = Executor::new(broker.clone(), registry, options::executor(settings, true));
    tracing::info!(broker = broker.describe(), queue = settings.queue.name.as_str(), "the worker runs");
    let contact = async {
        let met = store::first_contact(broker.clone(), stop.stop.clone()).await;
        if met.is_err() {
            stop.stop.cancel();
        }
        met
    };
    let (met, report) = tokio::join!(contact, executor.run(stop.stop.clone(), stop.abort.clone()));
    store::close(&broker).await;
    drain::tell(&report);
    met
}
