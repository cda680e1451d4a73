//! The threads on which handlers run.
//!
//! A handler that blocks its thread (a long computation, `std::thread::sleep`, a driver that is not async) stalls whatever
//! shares that thread. On threads of their own, handlers stall at most each other: heartbeats, exchanges, cancellation,
//! the drain, health and signals go on, so that no lease is lost, however many block and for however long. A handler that
//! blocks and also uses a broker should have one of its own: connections are served by the threads that made them.

use std::num::NonZeroUsize;

use tokio::runtime::{Builder, Handle, Runtime};

/// Where handlers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// On the runtime that runs the executor. For handlers that never block, as those of a test on a paused clock: as many
    /// blocking handlers as this runtime has threads stall the worker, and its leases end.
    Shared,
    /// On so many threads of their own.
    Own(NonZeroUsize),
}

impl Threads {
    /// One for each processor that this process may use.
    pub fn per_processor() -> Self {
        Self::Own(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }
}

/// A runtime for handlers, where they have one.
#[derive(Debug)]
pub(crate) struct Ground {
    own: Option<Runtime>,
    handle: Handle,
}

impl Ground {
    /// Starts the threads. Must be called within a runtime.
    pub(crate) fn lay(threads: Threads) -> Self {
        let own = match threads {
            Threads::Shared => None,
            Threads::Own(count) => own(count),
        };
        let handle = own.as_ref().map_or_else(Handle::current, |own| own.handle().clone());
        Self { own, handle }
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

fn own(count: NonZeroUsize) -> Option<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(count.get()).thread_name("handlers").enable_all().build();
    runtime
        .inspect_err(|error| {
            tracing::warn!(%error, "handlers get no threads of their own: one that blocks may cost leases");
        })
        .ok()
}

impl Drop for Ground {
    /// A thread that a handler blocks cannot be waited for: the tasks on it have been aborted, and end with it.
    fn drop(&mut self) {
        if let Some(own) = self.own.take() {
            own.shutdown_background();
        }
    }
}
