//! What a worker's handlers tell.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Counts the handlers that started, and when the first and the last of them did.
#[derive(Debug)]
pub struct Tally {
    handled: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    /// Whether each start is told at once, as measuring idle latency needs.
    tells: bool,
}

impl Tally {
    /// None yet. `tells`: each start is printed at once.
    pub fn new(tells: bool) -> Self {
        Self { handled: AtomicU64::new(0), first: AtomicU64::new(0), last: AtomicU64::new(0), tells }
    }

    /// A handler has started.
    pub fn started(&self) {
        let now = monotonic_ns();
        if self.first.load(Ordering::Relaxed) == 0 {
            // Whoever comes second finds it set.
            self.first.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
        self.last.fetch_max(now, Ordering::Relaxed);
        self.handled.fetch_add(1, Ordering::Relaxed);
        if self.tells {
            println!("{}", json!({ "started": now }));
        }
    }

    /// What it has come to.
    pub fn told(&self) -> Value {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({ "handled": of(&self.handled), "first": of(&self.first), "last": of(&self.last) })
    }
}

/// The machine's monotonic clock, in nanoseconds: one clock for all processes of a machine.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
