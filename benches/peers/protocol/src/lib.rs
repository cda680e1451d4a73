//! The words in which the benchmark speaks to a system: a command a line in, a JSON object a line out.
//!
//! benches/README.md lists them. A system is a [`Peer`]; [`serve`] does the rest, the same for each: it calls, it
//! counts, it takes the time.

mod serve;
mod tally;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

pub use serve::serve;
pub use tally::{Tally, monotonic_ns};

/// Bytes of a payload, as JSON where a system wants JSON.
pub const PAYLOAD_BYTES: usize = 100;
/// What is around the filling of a payload that is a JSON object.
const FRAME: &str = r#"{"p":""}"#;

/// A task queue that is measured. Each method does a thing once; the caller repeats it and takes the time.
pub trait Peer: Send + Sync + 'static {
    /// Names and versions of what is measured.
    fn version(&self) -> String;

    /// Enqueues `count` tasks in one call.
    fn enqueue_batch(&self, count: usize) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Enqueues one task, and returns when that is acknowledged.
    fn enqueue(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// A bare round trip to the same server with the same client.
    fn ping(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Starts a worker of so many slots whose handler tells `tally` and does nothing else. It runs until the process ends.
    fn work(&self, slots: usize, tally: Arc<Tally>) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// A command that only this system knows.
    fn other(&self, command: &str) -> impl Future<Output = anyhow::Result<Value>> + Send {
        let answer = Err(anyhow::anyhow!("there is no command '{command}'"));
        async { answer }
    }
}

/// Ids of 20 characters, none twice in a process.
#[derive(Debug, Default)]
pub struct Ids(AtomicU64);

impl Ids {
    /// The next.
    pub fn next(&self) -> String {
        format!("task-{:015}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What fills a payload that a system wraps as `{"p": …}`, so that the whole has [`PAYLOAD_BYTES`].
pub fn filling() -> String {
    "x".repeat(PAYLOAD_BYTES - FRAME.len())
}

/// A payload of [`PAYLOAD_BYTES`] that is a JSON object.
pub fn payload() -> Vec<u8> {
    format!(r#"{{"p":"{}"}}"#, filling()).into_bytes()
}
