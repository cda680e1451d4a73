//! API, executor and broker in one process.

use tidemill_api::Server;
use tidemill_executor::Executor;
use tidemill_process::process::{self, Process};
use tidemill_process::signals::Stop;
use tidemill_process::{drain, options, queue, store};

use super::parts;
use crate::args::ServerArgs;
use crate::config::Role;
use crate::config::settings::Settings;

/// Runs until a signal.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    process::run(Role::Standalone, &args.settings, serve)
}

async fn serve(settings: Settings, process: Process, stop: Stop) -> anyhow::Result<()> {
    process::hide();
    let Process { chosen, metrics, level } = process;
    let broker = store::open(&settings.access(), &metrics)?;
    let executor = Executor::new(broker.clone(), parts::handlers(&settings)?, options::executor(&settings, true));
    executor.show(&metrics);
    let api = parts::api(&settings, Some(&executor), level)?;
    let server = store::or_close(Server::bind(api, broker.clone(), metrics).await, &broker).await?;
    process::announce(Role::Standalone, &settings, server.local_addr(), &broker.describe());

    let ends = stop.clone();
    let running = tokio::spawn(async move {
        let _whatever_ends_it = ends.stop.clone().drop_guard();
        executor.run(ends.stop, ends.abort).await
    });
    let contact = async {
        store::first_contact(broker.clone(), stop.stop.clone()).await?;
        queue::settle(&broker, &settings.queue, &chosen, &stop.stop).await
    };
    let result = process::together(&stop, contact, server.run(stop.stop.clone())).await;
    let report = running.await?;
    store::close(&broker).await;
    drain::tell(&report);
    result
}
