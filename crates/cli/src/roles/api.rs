//! HTTP, WebSocket and the page: no executor.

use tidemill_api::Server;
use tidemill_process::process::{self, Process};
use tidemill_process::signals::Stop;
use tidemill_process::{queue, store};

use super::parts;
use crate::args::ServerArgs;
use crate::config::Role;
use crate::config::settings::Settings;

/// Runs until a signal.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    process::run(Role::Api, &args.settings, serve)
}

async fn serve(settings: Settings, process: Process, stop: Stop) -> anyhow::Result<()> {
    let Process { chosen, metrics, level } = process;
    let broker = store::open_shared(&settings.access(), Role::Api, &metrics)?;
    let options = parts::api(&settings, None, level)?;
    let server = store::or_close(Server::bind(options, broker.clone(), metrics).await, &broker).await?;
    process::announce(Role::Api, &settings, server.local_addr(), &broker.describe());
    let contact = async {
        store::first_contact(broker.clone(), stop.stop.clone()).await?;
        queue::settle(&broker, &settings.queue, &chosen, &stop.stop).await
    };
    let result = process::together(&stop, contact, server.run(stop.stop.clone())).await;
    store::close(&broker).await;
    tracing::info!("stopped");
    result
}
