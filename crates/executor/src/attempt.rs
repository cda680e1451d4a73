//! One attempt under supervision: contained, timed, stopped when it must be, and judged.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tidemill_core::policy::{DELAY_MS_MAX, TIMEOUT_MS_MAX};
use tidemill_core::{Claim, Failure, FailureKind, Outcome, QueueSettings};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::handler::{Handler, HandlerError, HandlerResult};
use crate::link::millis;

/// Time for a handler to end by itself once its time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// Why an attempt is stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Someone cancelled the task.
    Asked,
    /// The worker shuts down.
    Draining,
    /// The claim is no longer this worker's.
    Fenced,
}

/// The brake of one attempt. Its first use counts.
#[derive(Debug, Default)]
pub(crate) struct Stop(Mutex<Brake>);

#[derive(Debug, Default)]
struct Brake {
    why: Option<(Reason, Duration)>,
    /// Made for the first who asks: most attempts are over before anybody does.
    token: Option<CancellationToken>,
}

impl Stop {
    /// Tells the handler to end, and has its future dropped after `grace`.
    pub(crate) fn pull(&self, reason: Reason, grace: Duration) {
        let mut brake = self.brake();
        if brake.why.is_none() {
            brake.why = Some((reason, grace));
            let token = brake.token.clone();
            drop(brake);
            // Outside of the lock: it wakes whoever waits.
            token.inspect(CancellationToken::cancel);
        }
    }

    pub(crate) fn why(&self) -> Option<(Reason, Duration)> {
        self.brake().why
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.why().map(|why| why.0)
    }

    /// Whether the attempt should end: it was told to, or its time is up.
    pub(crate) fn is_pulled(&self) -> bool {
        let brake = self.brake();
        brake.why.is_some() || brake.token.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    /// The token that is cancelled when the attempt should end.
    pub(crate) fn token(&self) -> CancellationToken {
        let mut brake = self.brake();
        let pulled = brake.why.is_some();
        let token = brake.token.get_or_insert_default().clone();
        drop(brake);
        if pulled {
            token.cancel();
        }
        token
    }

    fn brake(&self) -> MutexGuard<'_, Brake> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an attempt ended, before it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded(Option<Bytes>),
    Failed(HandlerError),
    Panicked(String),
    TimedOut,
    Stopped(Reason),
    /// The type is not served here: nothing ran.
    Unserved,
}

impl End {
    /// What sort of failure it is and in which words, for its trace. What was stopped has not failed.
    pub(crate) fn failure(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Succeeded(_) | Self::Stopped(_) | Self::Unserved => None,
            Self::Failed(error) if error.is_permanent() => Some(("permanent", error.message())),
            Self::Failed(error) => Some(("transient", error.message())),
            Self::Panicked(message) => Some(("panic", message)),
            Self::TimedOut => Some(("timeout", "it took longer than it may")),
        }
    }
}

/// Runs `handler` to its end, or until it is stopped or late and a grace has passed. A handler that returns `Ok` has
/// done the work, however late.
pub(crate) async fn supervise(handler: Arc<dyn Handler>, cx: Context, stop: Arc<Stop>) -> End {
    let deadline = cx.deadline();
    let run = AssertUnwindSafe(async move { handler.run(cx).await }).catch_unwind();
    tokio::pin!(run);
    if let Poll::Ready(done) = futures::poll!(&mut run) {
        return settled(done, &stop);
    }
    let token = stop.token();
    let (end, grace) = tokio::select! {
        biased;
        done = &mut run => return settled(done, &stop),
        () = token.cancelled() => {
            let (reason, grace) = stop.why().unwrap_or((Reason::Fenced, Duration::ZERO));
            (End::Stopped(reason), grace)
        }
        () = sleep_until(deadline) => (End::TimedOut, TIMEOUT_GRACE),
    };
    token.cancel();
    match timeout(grace, &mut run).await {
        Ok(Ok(Ok(output))) => End::Succeeded(output.0),
        _ => end,
    }
}

/// A handler that ended by itself. One that was told to end and did is stopped, unless it has done the work.
fn settled(done: Result<HandlerResult, Box<dyn Any + Send>>, stop: &Stop) -> End {
    match (ended(done), stop.reason()) {
        (end @ End::Succeeded(_), _) | (end, None) => end,
        (_, Some(reason)) => End::Stopped(reason),
    }
}

fn ended(done: Result<HandlerResult, Box<dyn Any + Send>>) -> End {
    match done {
        Ok(Ok(output)) => End::Succeeded(output.0),
        Ok(Err(error)) => End::Failed(error),
        Err(payload) => End::Panicked(panic_message(payload.as_ref())),
    }
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the handler panicked: {}", text.unwrap_or("(no message)"))
}

/// How long an attempt of `claim` may take.
pub(crate) fn time_limit(claim: &Claim, settings: &QueueSettings) -> Duration {
    Duration::from_millis(claim.record.timeout_ms.unwrap_or(settings.timeout_ms).min(TIMEOUT_MS_MAX))
}

/// When an attempt that starts at `now` has to be over.
pub(crate) fn deadline(now: Instant, claim: &Claim, settings: &QueueSettings) -> Instant {
    now + time_limit(claim, settings)
}

/// What is told to the store: whether a failure is tried again, and when. `unit` (0 ≤ unit < 1) is the draw for jitter.
pub(crate) fn judge(end: End, claim: &Claim, settings: &QueueSettings, unit: f64) -> Outcome {
    let (failure, wait) = match end {
        End::Succeeded(result) => return Outcome::Succeeded { result },
        End::Stopped(Reason::Asked) => return Outcome::Cancelled,
        End::Stopped(Reason::Draining | Reason::Fenced) => return Outcome::Released,
        End::Unserved => return Outcome::Unserved,
        End::Failed(error) => (Failure::new(error.kind(), error.message()), error.wait()),
        End::Panicked(message) => (Failure::new(FailureKind::Panic, message), None),
        End::TimedOut => {
            let limit = millis(time_limit(claim, settings));
            (Failure::new(FailureKind::Timeout, format!("took longer than {limit} ms")), None)
        }
    };
    let retries = u32::from(claim.record.retries.unwrap_or(settings.retries));
    let again = failure.kind != FailureKind::Permanent && claim.attempt <= retries;
    let retry_in_ms = again.then(|| {
        let backoff = claim.record.backoff.unwrap_or(settings.backoff);
        wait.map_or_else(|| backoff.delay_ms(claim.attempt, unit), |wait| millis(wait).min(DELAY_MS_MAX))
    });
    Outcome::Failed { failure, retry_in_ms }
}

#[cfg(test)]
mod tests {
    use tidemill_core::envelope::body;
    use tidemill_core::{ClaimToken, NewTask, Record, RequestId, TaskId, WorkerId};

    use super::*;

    fn claim(attempt: u32, retries: Option<u16>) -> Claim {
        let task = NewTask { retries, ..NewTask::sleep(TaskId::new("a").unwrap(), 0) };
        let record = Record::decode(&Record::stamp(&body(&task, RequestId([0; 8])).unwrap(), 1).into()).unwrap();
        let token = ClaimToken { worker: WorkerId::from_uuid(uuid::Uuid::nil()), counter: 1 };
        Claim { task: task.id, token, record, attempt, losses: 0, started_at_ms: 1 }
    }

    fn retry_in(end: End, attempt: u32, retries: Option<u16>) -> Option<u64> {
        let settings = QueueSettings { retries: 1, ..QueueSettings::default() };
        match judge(end, &claim(attempt, retries), &settings, 0.5) {
            Outcome::Failed { retry_in_ms, .. } => retry_in_ms,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_failure_is_tried_again_while_retries_are_left_and_a_permanent_one_never() {
        let failed = || End::Failed(HandlerError::transient("x"));
        assert_eq!(retry_in(failed(), 1, None), Some(500));
        assert_eq!(retry_in(failed(), 2, None), None, "the queue's default is one retry");
        assert_eq!(retry_in(failed(), 2, Some(2)), Some(1_000));
        assert_eq!(retry_in(failed(), 1, Some(0)), None);
        assert_eq!(retry_in(End::TimedOut, 1, None), Some(500));
        assert_eq!(retry_in(End::Panicked("x".to_owned()), 1, None), Some(500));
        assert_eq!(retry_in(End::Failed(HandlerError::permanent("x")), 1, Some(9)), None);
        let asked = HandlerError::transient("x").retry_after(Duration::from_secs(7));
        assert_eq!(retry_in(End::Failed(asked), 1, None), Some(7_000));
    }
}
