//! The executor of one queue, with the built-in task types.

use tidemill_process::process::{self, Process};
use tidemill_process::signals::Stop;
use tidemill_process::worker;

use super::parts;
use crate::args::ServerArgs;
use crate::config::Role;
use crate::config::settings::Settings;

/// Runs until a signal.
pub fn run(args: &ServerArgs) -> anyhow::Result<()> {
    process::run(Role::Worker, &args.settings, serve)
}

async fn serve(settings: Settings, process: Process, stop: Stop) -> anyhow::Result<()> {
    worker::serve(&settings, parts::handlers(&settings)?, process, stop).await
}
