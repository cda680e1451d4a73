//! The commands that speak to a running server over HTTP.

pub mod enqueue;
pub mod healthcheck;
pub mod http;
pub mod queues;
pub mod schedule;
pub mod task_view;
pub mod tasks;

use std::io::Read;

use anyhow::Context;
use clap::Args;

use crate::exit::usage;

/// Largest input that is read from a file or stdin, in bytes: the server takes no larger body.
const INPUT_MAX: u64 = 8 << 20;

/// Which server.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The server to speak to.
    #[arg(long, value_name = "URL", env = "TIDEMILL_SERVER", default_value = "http://127.0.0.1:8080", global = true)]
    pub server: String,
    /// Bearer token, where the server asks for one.
    #[arg(long, value_name = "TOKEN", env = "TIDEMILL_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
}

/// The text of an argument: `@FILE` is the file's, `-` is stdin's, anything else is itself.
pub fn text_of(argument: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    match argument.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| usage(format!("{path} cannot be read: {error}")))?;
            file.take(INPUT_MAX + 1).read_to_string(&mut text).with_context(|| format!("{path} cannot be read"))?;
        }
        None if argument == "-" => {
            std::io::stdin().take(INPUT_MAX + 1).read_to_string(&mut text).context("stdin cannot be read")?;
        }
        None => text.push_str(argument),
    }
    if text.len() as u64 > INPUT_MAX {
        return Err(usage(format!(
            "the input is larger than {INPUT_MAX} bytes, which no server takes; send it in parts"
        )));
    }
    Ok(text)
}

/// Reads `text` as JSON. `what` begins the sentence of the error.
pub fn json_of(what: &str, text: &str) -> anyhow::Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| usage(format!("{what} is not JSON: {error}")))
}
