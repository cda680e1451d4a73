//! `tidemill healthcheck`: asks a server whether it is ready, for containers that have neither shell nor curl.

use clap::Args;
use tidemill_process::args::SettingArgs;
use tidemill_process::{local_url, resolve};

use super::Connection;
use super::http::Server;
use crate::config::Role;
use crate::exit::{Exit, UNREACHABLE, failed};
use crate::output::print;

const EXAMPLES: &str = "\
EXAMPLES:
  tidemill healthcheck                           the server that the same settings would start here
  tidemill healthcheck --port 9090
  tidemill healthcheck --server http://api:8080  another one
  HEALTHCHECK CMD [\"/tidemill\", \"healthcheck\"]   in a Containerfile

EXIT CODES:
  0 ready   1 not ready, or no answer   2 wrong usage or configuration";

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HealthcheckArgs {
    /// Ask this server instead.
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Asks once.
pub fn run(args: &HealthcheckArgs) -> anyhow::Result<()> {
    let server = if let Some(server) = &args.server {
        server.clone()
    } else {
        let app = resolve(Role::Standalone, Vec::new(), &args.settings)?.settings()?.app;
        local_url(&app.host, app.port)
    };
    let (status, text) = Server::new(&Connection { server, token: None })?
        .probe("/readyz")
        // Container runtimes know 0 and 1.
        .map_err(|error| {
            if error.downcast_ref::<Exit>().is_some_and(|exit| exit.code == UNREACHABLE) {
                failed(error.to_string())
            } else {
                error
            }
        })?;
    match status {
        200 => print(|out| writeln!(out, "ready")),
        _ => Err(failed(format!("not ready ({status}): {}", text.trim()))),
    }
}
