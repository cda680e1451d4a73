//! The executor of one queue, with health and metrics beside it.

use tidemill_api::HealthServer;
use tidemill_executor::Executor;
use tokio_util::sync::CancellationToken;

use super::process::Process;
use super::signals::Stop;
use super::{drain, parts, process, store};
use crate::args::ServerArgs;
use crate::config::Role;
use crate::config::settings::Settings;

/// Runs until a signal.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    process::run(Role::Worker, &args.settings, serve)
}

async fn serve(settings: Settings, process: Process) -> anyhow::Result<()> {
    let Process { metrics, level, .. } = process;
    let stop = Stop::default();
    let _listening = stop.listen()?;
    let broker = store::open_shared(&settings.access(), Role::Worker, &metrics)?;
    let executor = Executor::new(broker.clone(), parts::handlers(&settings)?, parts::executor(&settings, true));
    executor.show(&metrics);
    let options = parts::health(&settings, &executor, &level);
    let server = store::or_close(HealthServer::bind(options, broker.clone(), metrics).await, &broker).await?;
    process::announce(Role::Worker, &settings, server.local_addr(), &broker.describe());

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
