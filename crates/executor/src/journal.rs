//! One line in the log, and one count, for each transition that this worker makes.

use std::sync::atomic::Ordering;

use tidemill_broker::Settled;
use tidemill_core::{Claim, FailureKind, Outcome, QueueName, Settlement, State};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};

use crate::executor::Shared;
use crate::instruments::Ending;
use crate::status::{Metrics, add};

fn line<'a>(queue: &'a QueueName, claim: &'a Claim) -> TaskLine<'a> {
    TaskLine {
        traceparent: claim.record.traceparent.as_deref(),
        task_type: Some(&claim.record.task_type),
        attempt: Some(claim.attempt),
        claim: Some(claim.token),
        ..TaskLine::new(queue, &claim.task)
    }
}

/// An attempt began.
pub(crate) fn started(shared: &Shared, claim: &Claim) {
    add(&shared.metrics.runs, 1);
    shared.instruments.began(claim);
    line(&shared.options.queue, claim).log(TaskEvent::Started);
}

/// The store answered a settlement.
pub(crate) fn settled(shared: &Shared, claim: &Claim, settlement: &Settlement, answer: Settled) {
    let mut line = TaskLine { ran_ms: Some(settlement.ran_ms), ..line(&shared.options.queue, claim) };
    shared.instruments.ended(claim, Ending::of(&settlement.outcome, answer));
    if let Outcome::Failed { failure, retry_in_ms } = &settlement.outcome {
        line.error = Some(&failure.message);
        line.retry_in_ms = *retry_in_ms;
    }
    let Settled::Now(state) = answer else {
        add(&shared.metrics.refused, 1);
        line.error = Some("it came too late: the claim is no longer this worker's");
        line.log(TaskEvent::Refused);
        return;
    };
    count(&settlement.outcome, &shared.metrics);
    let event = match state {
        State::Succeeded => TaskEvent::Succeeded,
        State::Retrying => TaskEvent::Retrying,
        State::Dead => TaskEvent::Dead,
        State::Cancelled => TaskEvent::Cancelled,
        State::Pending | State::Delayed | State::Active => TaskEvent::Released,
    };
    if event == TaskEvent::Dead {
        line.retry_in_ms = None;
        line.error = line.error.or(Some("unsupported task"));
    }
    line.log(event);
}

/// A settlement that is not sent, or whose outcome nobody will know, because its incarnation is over.
pub(crate) fn refused(shared: &Shared, claim: &Claim) {
    add(&shared.metrics.refused, 1);
    shared.instruments.ended(claim, Ending::Refused);
    let why = "its worker's incarnation is over, so that the claim is or will be another's";
    TaskLine { error: Some(why), ..line(&shared.options.queue, claim) }.log(TaskEvent::Refused);
}

fn count(outcome: &Outcome, metrics: &Metrics) {
    let counter = match outcome {
        Outcome::Succeeded { .. } => &metrics.succeeded,
        Outcome::Released | Outcome::Unserved => &metrics.released,
        Outcome::Cancelled => &metrics.cancelled,
        Outcome::Failed { failure, .. } => {
            match failure.kind {
                FailureKind::Timeout => metrics.timed_out.fetch_add(1, Ordering::Relaxed),
                FailureKind::Panic => metrics.panicked.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            &metrics.failed
        }
    };
    add(counter, 1);
}
