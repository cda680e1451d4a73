//! Whether the loop still turns, for whoever would start a wedged process anew.
//!
//! The loop turns when it is polled and gives its thread back. It does not when something in it blocks that thread, and
//! when it gets no thread to run on. A store that is away is neither: the loop asks it again and again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::link::millis;

/// A loop with nothing to do is turned over so often, well within any patience with it.
const TURN_EVERY: Duration = Duration::from_secs(5);
/// In place of a time: the loop has ended in good order, so it is not expected to turn.
const ENDED: u64 = u64::MAX;

/// The turns of an executor's loop. Cheap to clone; all clones tell of the same loop.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    born: Instant,
    last_ms: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Beats { born: Instant::now(), last_ms: AtomicU64::new(0) }))
    }

    /// For how long the loop has not turned, by this machine's monotonic clock. Up to some five seconds is usual.
    /// Nothing, once it has ended.
    pub fn still_for(&self) -> Duration {
        match self.0.last_ms.load(Ordering::Acquire) {
            ENDED => Duration::ZERO,
            last => self.0.born.elapsed().saturating_sub(Duration::from_millis(last)),
        }
    }

    fn turned(&self) {
        self.0.last_ms.store(millis(self.0.born.elapsed()), Ordering::Release);
    }

    fn ended(&self) {
        self.0.last_ms.store(ENDED, Ordering::Release);
    }

    /// Runs the loop to its end and tells of its turns.
    pub(crate) async fn of<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut tick = interval(TURN_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = poll_fn(|cx| {
            while tick.poll_tick(cx).is_ready() {}
            let turn = work.as_mut().poll(cx);
            self.turned();
            turn
        })
        .await;
        self.ended();
        ended
    }
}
