//! What a built-in task type says of itself, for the registry, the reference and the tests.

use schemars::Schema;
use tidemill_executor::Registry;

use crate::{HandlerOptions, SetupError};

/// A task type of the program. Each is a `TYPE` in a file of its own.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// What tasks call it.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its documentation, in Markdown: what it does with the payload, which errors are permanent and which are tried again,
    /// its limits and its result.
    pub doc: &'static str,
    /// A payload that works, as JSON.
    pub example: &'static str,
    /// The JSON Schema of its payload.
    pub payload: fn() -> Schema,
    /// Sets it up and adds it.
    pub add: fn(&mut Registry, &HandlerOptions) -> Result<(), SetupError>,
}
