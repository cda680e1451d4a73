//! How tasks and their ends travel to the scripts, and how tasks come back.

use bytes::Bytes;
use redis::Cmd;
use tidemill_core::{
    AttemptView, Claim, ClaimToken, FailureKind, NewTask, Outcome, Record, RequestId, Settlement, Start, State, TaskId,
    TaskView, envelope,
};

use super::reply::Reply;
use crate::contract::{Settled, UNREADABLE};
use crate::error::{BrokerError, Result};

/// A batch, as `enqueue.lua` takes it.
pub(super) fn put_batch(command: &mut Cmd, batch: &[NewTask], request: RequestId) -> Result<()> {
    command.arg(&request.0[..]);
    for task in batch {
        let start = match task.start {
            Start::Now | Start::AfterMs(0) => String::new(),
            Start::AfterMs(ms) => format!("+{ms}"),
            Start::AtMs(ms) => format!("@{ms}"),
        };
        let body =
            envelope::body(task, request).map_err(|source| BrokerError::Unreadable { operation: "enqueue", source })?;
        command.arg(task.id.as_str()).arg(start).arg(body);
    }
    Ok(())
}

/// A settlement, as `exchange.lua` takes it.
pub(super) fn put_settlement(command: &mut Cmd, settlement: &Settlement) {
    command.arg(settlement.task.as_str()).arg(settlement.token.to_string()).arg(settlement.ran_ms);
    match &settlement.outcome {
        Outcome::Succeeded { result } => {
            command.arg("s").arg(result.as_deref().unwrap_or_default());
        }
        Outcome::Failed { failure, retry_in_ms } => {
            let delay = retry_in_ms.map(|ms| ms.to_string()).unwrap_or_default();
            let message = serde_json::Value::from(failure.message.as_str()).to_string();
            command.arg("f").arg(delay).arg(kind_word(failure.kind)).arg(message);
        }
        Outcome::Released => {
            command.arg("l");
        }
        Outcome::Unserved => {
            command.arg("u");
        }
        Outcome::Cancelled => {
            command.arg("c");
        }
    }
}

/// The letters with which `exchange.lua` tells what became of settlements.
pub(super) fn settled(letter: char) -> Option<Settled> {
    Some(match letter {
        'x' => Settled::Refused,
        's' => Settled::Now(State::Succeeded),
        'd' => Settled::Now(State::Dead),
        'c' => Settled::Now(State::Cancelled),
        'r' => Settled::Now(State::Retrying),
        'p' => Settled::Now(State::Pending),
        'y' => Settled::Now(State::Delayed),
        _ => return None,
    })
}

/// As much of an id that is none as the log shows.
const SHOWN: usize = 128;

/// An id, where the bytes are one.
pub(super) fn id_of(bytes: &[u8]) -> std::result::Result<TaskId, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    TaskId::new(text).map_err(|error| error.to_string())
}

/// One claim of an exchange's reply; `None` where its record cannot be read.
pub(super) fn claim(reply: &mut Reply, token: ClaimToken, started_at_ms: u64) -> Result<Option<Claim>> {
    let (task, record) = (reply.bytes()?, reply.bytes()?);
    let (failures, losses) = tries(reply)?;
    let read = id_of(&task).and_then(|id| Ok((id, Record::decode(&record).map_err(|error| error.to_string())?)));
    match read {
        Ok((task, record)) => {
            Ok(Some(Claim { task, token, record, attempt: failures.saturating_add(1), losses, started_at_ms }))
        }
        Err(error) => {
            let task = String::from_utf8_lossy(&task[..task.len().min(SHOWN)]).into_owned();
            tracing::error!(task, error, "{UNREADABLE}");
            Ok(None)
        }
    }
}

/// A task of a list: id, record, tries, a time or claim, progress. `None` where it cannot be read: the others are listed.
pub(super) fn listed(reply: &mut Reply, state: State) -> Result<Option<TaskView>> {
    let (id, bytes) = (reply.bytes()?, reply.bytes()?);
    let (tries, note, progress) = (tries(reply), reply.text(), reply.json());
    let view = || -> std::result::Result<TaskView, String> {
        let record = Record::decode(&bytes).map_err(|error| error.to_string())?;
        let mut view = TaskView::of(id_of(&id)?, record, state);
        let in_words = |error: BrokerError| error.to_string();
        (view.failures, view.losses) = tries.map_err(in_words)?;
        note_place(&mut view, reply, &note.map_err(in_words)?).map_err(in_words)?;
        view.progress = progress.map_err(in_words)?;
        Ok(view)
    };
    let view = view();
    if let Err(error) = &view {
        let task = String::from_utf8_lossy(&id[..id.len().min(SHOWN)]).into_owned();
        tracing::warn!(task, error, "a task cannot be read and is left out of a list");
    }
    Ok(view.ok())
}

/// A task on its own, as `get.lua` brings it.
pub(super) fn whole(reply: &mut Reply, id: TaskId) -> Result<TaskView> {
    let state = reply.parse()?;
    let mut view = TaskView::of(id, record("get", &reply.bytes()?)?, state);
    let attempts = reply.text()?;
    if !attempts.is_empty() {
        let mut lines = attempts.lines();
        (view.failures, view.losses) = tries_of(lines.next().unwrap_or_default(), reply)?;
        view.attempts = lines
            .map(|line| attempt(line).ok_or_else(|| reply.wrong(&format!("an attempt {line:?}"))))
            .collect::<Result<_>>()?;
    }
    view.result = Some(reply.bytes()?).filter(|result| !result.is_empty());
    view.progress = reply.json()?;
    for _ in 0..3 {
        let note = reply.text()?;
        if !note.is_empty() {
            note_place(&mut view, reply, &note)?;
        }
    }
    Ok(view)
}

/// What a state has beside it: due time, claim, or time of its end.
fn note_place(view: &mut TaskView, reply: &Reply, note: &str) -> Result<()> {
    // A score may have a fraction, which is no part of the time.
    let time = || {
        let whole = note.split('.').next().unwrap_or_default();
        whole.parse().map_err(|_| reply.wrong(&format!("a time {note:?}")))
    };
    match view.state {
        State::Pending => {}
        State::Delayed | State::Retrying => view.due_at_ms = Some(time()?),
        State::Active => {
            let mut parts = note.split(':');
            let worker = parts.next().and_then(|worker| worker.parse().ok());
            let started = parts.nth(2).and_then(|started| started.parse().ok());
            let (Some(worker), Some(started)) = (worker, started) else {
                return Err(reply.wrong(&format!("a claim {note:?}")));
            };
            (view.worker, view.started_at_ms) = (Some(worker), Some(started));
        }
        State::Succeeded | State::Dead | State::Cancelled => view.ended_at_ms = Some(time()?),
    }
    Ok(())
}

fn record(operation: &'static str, bytes: &Bytes) -> Result<Record> {
    Record::decode(bytes).map_err(|source| BrokerError::Unreadable { operation, source })
}

/// Failures and losses: "2 0", or nothing for none.
fn tries(reply: &mut Reply) -> Result<(u32, u32)> {
    let text = reply.text()?;
    if text.is_empty() { Ok((0, 0)) } else { tries_of(&text, reply) }
}

fn tries_of(text: &str, reply: &Reply) -> Result<(u32, u32)> {
    // More than can be told is as many as can be told.
    let number = |digits: &str| {
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    text.split_once(' ')
        .and_then(|(failures, losses)| Some((number(failures)?, number(losses)?)))
        .ok_or_else(|| reply.wrong(&format!("tries {text:?}")))
}

/// A line of attempts: number, time, duration, worker, kind, message (JSON).
fn attempt(line: &str) -> Option<AttemptView> {
    let mut fields = line.splitn(6, ' ');
    Some(AttemptView {
        attempt: fields.next()?.parse().ok()?,
        ended_at_ms: fields.next()?.parse().ok()?,
        ran_ms: fields.next()?.parse().ok()?,
        worker: fields.next()?.parse().ok()?,
        kind: kind_of(fields.next()?)?,
        message: serde_json::from_str(fields.next()?).ok()?,
    })
}

fn kind_word(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "transient",
        FailureKind::Permanent => "permanent",
        FailureKind::Timeout => "timeout",
        FailureKind::Panic => "panic",
        FailureKind::Unsupported => "unsupported",
        FailureKind::Lost => "lost",
    }
}

fn kind_of(word: &str) -> Option<FailureKind> {
    use FailureKind::{Lost, Panic, Permanent, Timeout, Transient, Unsupported};
    [Transient, Permanent, Timeout, Panic, Unsupported, Lost].into_iter().find(|kind| kind_word(*kind) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_read_with_any_message() {
        let line = format!("2 1790000000000 35 {} timeout \"took too long\\nreally\"", "0".repeat(32));
        let attempt = attempt(&line).unwrap();
        assert_eq!((attempt.attempt, attempt.ran_ms, attempt.kind), (2, 35, FailureKind::Timeout));
        assert_eq!(attempt.message, "took too long\nreally");
    }
}
