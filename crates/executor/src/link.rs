//! Whether the store answers, said once when that changes; and how calls that failed are repeated.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidemill_broker::BrokerError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::status::Status;

/// The contract has operations answer in about two seconds; one that took so long will not.
const OPERATION_DEADLINE: Duration = Duration::from_secs(5);
/// How often a trouble that lasts is said again.
const REMIND_AFTER: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Repetitions are never further apart, so that a store that returns is noticed within a second.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Awaits an operation of the store, but not for ever.
pub(crate) async fn within<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    timeout(OPERATION_DEADLINE, call).await.unwrap_or_else(|_| {
        let reason = format!("no answer within {} s", OPERATION_DEADLINE.as_secs());
        Err(BrokerError::Unavailable { operation, reason })
    })
}

/// The connection as people see it.
#[derive(Debug)]
pub(crate) struct Link {
    status: watch::Sender<Status>,
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    since: Option<Instant>,
    said: Option<Instant>,
}

impl Link {
    pub(crate) fn new(status: watch::Sender<Status>) -> Self {
        Self { status, troubled: AtomicBool::new(false), trouble: Mutex::default() }
    }

    /// The store answered.
    pub(crate) fn answered(&self) {
        if !self.troubled.swap(false, Ordering::Relaxed) {
            self.status.send_if_modified(|status| !std::mem::replace(&mut status.reachable, true));
            return;
        }
        let since = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).since.take();
        self.status.send_modify(|status| {
            status.reachable = true;
            status.problem = None;
        });
        if let Some(since) = since {
            tracing::info!(away_ms = millis(since.elapsed()), "the store is back");
        }
    }

    /// An operation failed.
    pub(crate) fn failed(&self, error: &BrokerError) {
        let away = error.is_unavailable();
        let now = Instant::now();
        {
            let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = away && trouble.since.is_none();
            if away {
                trouble.since.get_or_insert(now);
            }
            if fresh || trouble.said.is_none_or(|said| now - said >= REMIND_AFTER) {
                trouble.said = Some(now);
                let away_ms = trouble.since.map(|since| millis(now - since));
                tracing::warn!(error = %error, away_ms, "the store did not do what it was asked; trying on");
            }
        }
        self.troubled.store(true, Ordering::Relaxed);
        self.status.send_modify(|status| {
            status.reachable = !away;
            status.problem = Some(error.to_string());
        });
    }
}

/// When to try again: at first soon, then every second, with jitter.
#[derive(Debug, Default)]
pub(crate) struct Retry(u32);

impl Retry {
    pub(crate) fn next(&mut self) -> Duration {
        let bound = RETRY_FIRST.saturating_mul(1 << self.0.min(8)).min(RETRY_MAX);
        self.0 = self.0.saturating_add(1);
        bound.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }

    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_grow_apart_up_to_a_second() {
        let mut retry = Retry::default();
        let waits: Vec<Duration> = (0..20).map(|_| retry.next()).collect();
        assert!(waits[0] <= RETRY_FIRST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= RETRY_MAX), "{waits:?}");
        assert!(waits[19] >= RETRY_MAX / 2, "{waits:?}");
    }
}
