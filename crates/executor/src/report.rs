//! How an executor ended, and by when it has to.

use std::time::Duration;

use tidemill_core::TaskId;
use tokio::time::Instant;

/// Time for handlers to end by themselves once they are told to.
const CUT_GRACE: Duration = Duration::from_millis(500);
/// Time after the shutdown timeout in which the last settlements must reach the store.
const LAST_WORDS: Duration = Duration::from_millis(1_800);
/// The same after an abort.
const ABORT_WORDS: Duration = Duration::from_millis(500);

/// What became of the tasks that an executor held when it was told to stop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// How many ended, one way or another, and were settled.
    pub settled: u64,
    /// How many were given back.
    pub released: u64,
    /// Those of which the store was not told in time. Their claims expire, and they run again.
    pub unsettled: Vec<TaskId>,
}

/// By when what has to happen once an executor was told to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    /// Running tasks are told to end.
    pub(crate) cancel_at: Instant,
    /// Those that did not are dropped.
    pub(crate) drop_at: Instant,
    /// It is over, whatever is left.
    pub(crate) end_at: Instant,
    pub(crate) cancelled: bool,
    pub(crate) dropped: bool,
    pub(crate) aborting: bool,
}

impl Closing {
    pub(crate) fn drain(now: Instant, timeout: Duration) -> Self {
        let cancel_at = now + timeout;
        let (drop_at, end_at) = (cancel_at + CUT_GRACE, cancel_at + LAST_WORDS);
        Self { cancel_at, drop_at, end_at, cancelled: false, dropped: false, aborting: false }
    }

    pub(crate) fn abort(now: Instant) -> Self {
        let end_at = now + ABORT_WORDS;
        Self { cancel_at: now, drop_at: now, end_at, cancelled: false, dropped: false, aborting: true }
    }

    /// When the next of these is due.
    pub(crate) fn next(&self) -> Instant {
        match (self.cancelled, self.dropped) {
            (false, _) => self.cancel_at,
            (true, false) => self.drop_at,
            (true, true) => self.end_at,
        }
    }
}
