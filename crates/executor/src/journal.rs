//! One line in the log, and one count, for each transition that this worker makes.

use std::sync::atomic::Ordering;

use tidemill_broker::Settled;
use tidemill_core::{Claim, FailureKind, Outcome, QueueName, Settlement, State};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};

use crate::status::{Metrics, add};

fn line<'a>(queue: &'a QueueName, claim: &'a Claim) -> TaskLine<'a> {
    TaskLine {
        task_type: Some(&claim.record.task_type),
        attempt: Some(claim.attempt),
        claim: Some(claim.token),
        ..TaskLine::new(queue, &claim.task)
    }
}

/// An attempt began.
pub(crate) fn started(queue: &QueueName, claim: &Claim, metrics: &Metrics) {
    add(&metrics.runs, 1);
    line(queue, claim).log(TaskEvent::Started);
}

/// The store answered a settlement.
pub(crate) fn settled(queue: &QueueName, claim: &Claim, settlement: &Settlement, answer: Settled, metrics: &Metrics) {
    let mut line = TaskLine { ran_ms: Some(settlement.ran_ms), ..line(queue, claim) };
    if let Outcome::Failed { failure, retry_in_ms } = &settlement.outcome {
        line.error = Some(&failure.message);
        line.retry_in_ms = *retry_in_ms;
    }
    let Settled::Now(state) = answer else {
        add(&metrics.refused, 1);
        line.error = Some("it came too late: the claim is no longer this worker's");
        line.log(TaskEvent::Refused);
        return;
    };
    count(&settlement.outcome, metrics);
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
pub(crate) fn refused(queue: &QueueName, claim: &Claim, metrics: &Metrics) {
    add(&metrics.refused, 1);
    let why = "its worker's incarnation is over, so that the claim is or will be another's";
    TaskLine { error: Some(why), ..line(queue, claim) }.log(TaskEvent::Refused);
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
