//! Task types of one's own, by configuration: served by a command of the worker's image, or by a URL.

mod remote;

use std::time::Duration;

use tidemill_core::TaskType;
use tidemill_executor::Registry;

use crate::SetupError;
use crate::exec::{CommandOptions, Exec};
pub use remote::{Remote, RemoteError};

/// What serves a type.
#[derive(Debug, Clone)]
pub enum OwnHandler {
    /// A command, as `exec` runs it.
    Command(CommandOptions),
    /// A URL that payloads are posted to.
    Url {
        /// `http://` or `https://`.
        url: String,
        /// How long an answer may take, where the task's own timeout is no less.
        timeout: Option<Duration>,
    },
}

/// Adds `handler` for the type `name`, which no built-in type may have.
pub(crate) fn add(registry: &mut Registry, name: &str, handler: &OwnHandler) -> Result<(), SetupError> {
    if TaskType::BUILT_IN.contains(&name) {
        return Err(SetupError::BuiltIn(name.to_owned()));
    }
    match handler {
        OwnHandler::Command(options) => registry.add(name, Exec::new(options).map_err(|error| error.of(name))?),
        OwnHandler::Url { url, timeout } => {
            let remote = Remote::new(url, *timeout);
            registry.add(name, remote.map_err(|source| SetupError::Remote { handler: name.to_owned(), source })?)
        }
    }?;
    Ok(())
}
