//! What a store has to offer so that the suite can test it.

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use tidemill_core::QueueName;
use tokio::runtime::Runtime;

use crate::Broker;

/// A queue as it was at some moment, in whatever form its store keeps that.
pub type Snapshot = Box<dyn Any + Send + Sync>;

/// A store under test. One serves many tests at once, each on queues of its own.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The store.
    fn broker(&self) -> Arc<dyn Broker>;

    /// The same store as another process sees it, as far as that can be had.
    fn another(&self) -> Arc<dyn Broker>;

    /// A handle (of another store of the kind, where a store allows but one) that a test may close.
    async fn to_close(&self) -> Arc<dyn Broker>;

    /// Moves the store's clock forward as `queue` sees it.
    async fn advance(&self, queue: &QueueName, ms: u64);

    /// Keeps what the store has of `queue`.
    async fn snapshot(&self, queue: &QueueName) -> Snapshot;

    /// Puts `queue` back as it was, as a store does that lost its last writes. The clock stays.
    async fn roll_back(&self, queue: &QueueName, snapshot: &Snapshot);
}

/// The runtime that all tests of a binary share, so that a store can outlive the test that first used it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be started")
});

/// Numbers the queues of this process.
static QUEUES: AtomicU32 = AtomicU32::new(1);

/// Runs one test to its end.
pub fn block_on<F: Future>(test: F) -> F::Output {
    RUNTIME.block_on(test)
}

/// A name that no other test of this process uses.
pub fn fresh_queue() -> QueueName {
    let number = QUEUES.fetch_add(1, Ordering::Relaxed);
    QueueName::new(format!("q-{}-{number}", std::process::id())).expect("digits and dashes make a queue name")
}
