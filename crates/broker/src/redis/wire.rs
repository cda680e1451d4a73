//! How tasks and their ends travel to the scripts, and how tasks come back.

use std::collections::HashMap;

use bytes::Bytes;
use redis::Cmd;
use tidemill_core::{
    AttemptView, Claim, ClaimToken, FailureKind, NewTask, Outcome, Priority, QueueName, Record, RequestId, Settlement,
    Start, State, TaskId, TaskView, WorkerId, envelope,
};

use super::reply::Reply;
use crate::contract::{Enqueued, Exchange, Exchanged, MAINTAIN_MAX, SET_ASIDE_MS, Settled, UNREADABLE};
use crate::error::{BrokerError, Result};

/// A batch with what `enqueue.lua` takes of it, encoded before it is known with which others it travels.
#[derive(Debug)]
pub(super) struct Call {
    request: RequestId,
    ids: Vec<TaskId>,
    bodies: Vec<Vec<u8>>,
    /// Empty where all tasks start now with priority 0.
    starts: Vec<String>,
}

impl Call {
    /// Encodes a batch.
    pub(super) fn new(batch: &[NewTask], request: RequestId) -> Result<Self> {
        let body = |task| {
            envelope::body(task, request).map_err(|source| BrokerError::Unreadable { operation: "enqueue", source })
        };
        let plain = |task: &NewTask| start_of(task).is_empty() && task.priority == Priority::NORMAL;
        Ok(Self {
            request,
            ids: batch.iter().map(|task| task.id.clone()).collect(),
            bodies: batch.iter().map(body).collect::<Result<_>>()?,
            starts: if batch.iter().all(plain) { Vec::new() } else { batch.iter().map(start_of).collect() },
        })
    }

    /// How many tasks it brings.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// How many bytes they have, about.
    pub(super) fn bytes(&self) -> usize {
        self.bodies.iter().map(Vec::len).sum()
    }

    /// Appends it to a command.
    pub(super) fn put(&self, command: &mut Cmd) {
        command.arg(&self.request.0[..]).arg(if self.starts.is_empty() { "p" } else { "m" }).arg(self.len());
        for id in &self.ids {
            command.arg(id.as_str());
        }
        for body in &self.bodies {
            command.arg(&body[..]);
        }
        for start in &self.starts {
            command.arg(start);
        }
    }
}

fn start_of(task: &NewTask) -> String {
    match task.start {
        Start::Now | Start::AfterMs(0) => String::new(),
        Start::AfterMs(ms) => format!("+{ms}"),
        Start::AtMs(ms) => format!("@{ms}"),
    }
}

/// What one call was answered.
pub(super) fn enqueued(queue: &QueueName, reply: &mut Reply) -> Result<Vec<Enqueued>> {
    let Some(mut refusal) = reply.list_or_text()? else {
        let state = |letter| if letter == 'd' { State::Delayed } else { State::Pending };
        return Ok(reply.text()?.chars().map(|letter| Enqueued::Created(state(letter))).collect());
    };
    match refusal.text()?.as_str() {
        "FULL" => Err(BrokerError::QueueFull { queue: queue.clone(), max: refusal.parse()? }),
        "TAKEN" => {
            let mut ids = Vec::new();
            while !refusal.is_empty() {
                ids.push(refusal.parse()?);
            }
            Err(BrokerError::TaskExists { queue: queue.clone(), ids })
        }
        other => Err(refusal.wrong(&other)),
    }
}

/// Appends an exchange to a command, as `exchange.lua` takes it, and returns the order in which settlements are answered.
pub(super) fn put_exchange(command: &mut Cmd, exchange: &Exchange) -> Vec<usize> {
    command.arg(exchange.worker.to_string()).arg(exchange.number).arg(exchange.want);
    command.arg(MAINTAIN_MAX).arg(SET_ASIDE_MS);
    put_settlements(command, exchange.worker, &exchange.finished)
}

/// Reads the answer to it.
pub(super) fn exchanged(word: &str, reply: &mut Reply, exchange: &Exchange, order: &[usize]) -> Result<Exchanged> {
    if word == "RETIRED" {
        return Ok(Exchanged::Retired);
    }
    let settled = settled_in_order(reply, order)?;
    let (pending, next_due_ms) = (reply.parse()?, reply.maybe()?);
    let paused = reply.parse::<u8>()? == 1;
    let started_at_ms = reply.parse()?;
    let token = ClaimToken { worker: exchange.worker, counter: exchange.number };
    let claims = claims(reply, token, started_at_ms)?;
    Ok(Exchanged::Done { settled, claims, pending, next_due_ms, paused })
}

/// Appends settlements to a command, as `exchange.lua` takes them, and returns the order in which it answers them.
fn put_settlements(command: &mut Cmd, worker: WorkerId, finished: &[Settlement]) -> Vec<usize> {
    let mut times = HashMap::with_capacity(finished.len());
    for settlement in finished {
        *times.entry(&settlement.task).or_insert(0_u32) += 1;
    }
    let mut groups: Vec<(u64, Vec<usize>)> = Vec::new();
    let mut others = Vec::new();
    let mut said = false;
    for (place, settlement) in finished.iter().enumerate() {
        match &settlement.outcome {
            Outcome::Succeeded { result } if settlement.token.worker == worker && times[&settlement.task] == 1 => {
                said |= result.is_some();
                let counter = settlement.token.counter;
                match groups.iter_mut().find(|(known, _)| *known == counter) {
                    Some((_, places)) => places.push(place),
                    None => groups.push((counter, vec![place])),
                }
            }
            _ => others.push(place),
        }
    }
    let plain = || groups.iter().flat_map(|(_, places)| places).map(|place| &finished[*place]);
    let together: u64 = plain().map(|settlement| settlement.ran_ms).sum();
    let mut each = String::with_capacity(2 * finished.len());
    for settlement in plain() {
        each += &settlement.ran_ms.to_string();
        each.push(',');
    }
    command.arg(finished.len() - others.len()).arg(together).arg(each).arg(u8::from(said)).arg(groups.len());
    for (counter, places) in &groups {
        command.arg(*counter).arg(places.len());
    }
    for settlement in plain() {
        command.arg(settlement.task.as_str());
    }
    if said {
        for settlement in plain() {
            let Outcome::Succeeded { result } = &settlement.outcome else { continue };
            command.arg(result.as_deref().unwrap_or_default());
        }
    }
    for place in &others {
        put_other(command, worker, &finished[*place]);
    }
    groups.into_iter().flat_map(|(_, places)| places).chain(others).collect()
}

/// A settlement that needs more than its id.
fn put_other(command: &mut Cmd, worker: WorkerId, settlement: &Settlement) {
    command.arg(settlement.task.as_str());
    if settlement.token.worker == worker {
        command.arg(settlement.token.counter);
    } else {
        command.arg("");
    }
    command.arg(settlement.ran_ms);
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

/// What became of settlements, in the order in which they were given: `order` says which of them each letter is of.
/// The answer to another exchange of that number (of a store that was rolled back) comes as it was given then.
fn settled_in_order(reply: &mut Reply, order: &[usize]) -> Result<Vec<Settled>> {
    let letters = reply.text()?;
    let told = letters
        .chars()
        .map(|letter| settled(letter).ok_or_else(|| reply.wrong(&format!("a settlement {letter:?}"))))
        .collect::<Result<Vec<_>>>()?;
    if told.len() != order.len() {
        return Ok(told);
    }
    let mut settled = vec![Settled::Refused; told.len()];
    for (outcome, place) in told.into_iter().zip(order) {
        settled[*place] = outcome;
    }
    Ok(settled)
}

/// The letters with which `exchange.lua` tells what became of settlements.
fn settled(letter: char) -> Option<Settled> {
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

/// The claims of an exchange's reply: ids, records, and tries of each or of none. One whose id or record cannot be read is
/// left out.
fn claims(reply: &mut Reply, token: ClaimToken, started_at_ms: u64) -> Result<Vec<Claim>> {
    let (mut ids, mut records, mut notes) = (reply.list()?, reply.list()?, reply.list()?);
    let mut claims = Vec::with_capacity(ids.len());
    while !ids.is_empty() {
        let (task, record) = (ids.bytes()?, records.bytes()?);
        let (failures, losses) = if notes.is_empty() { (0, 0) } else { tries(&mut notes)? };
        let read = id_of(&task).and_then(|id| Ok((id, Record::decode(&record).map_err(|error| error.to_string())?)));
        match read {
            Ok((task, record)) => {
                let attempt = failures.saturating_add(1);
                claims.push(Claim { task, token, record, attempt, losses, started_at_ms });
            }
            Err(error) => {
                let task = String::from_utf8_lossy(&task[..task.len().min(SHOWN)]).into_owned();
                tracing::error!(task, error, "{UNREADABLE}");
            }
        }
    }
    Ok(claims)
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
