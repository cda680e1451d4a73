//! Reads: one task, lists, figures, workers.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tidemill_core::{
    AttemptView, QueueName, QueueOwner, QueueSettings, QueueStats, Record, State, TaskId, TaskView, WorkerInfo,
    WorkerView,
};

use super::fault::{Fault, Outcome};
use super::rows::{code, int, small, state, unsigned, worker_id};
use super::store::{Queue, load, next_due};
use crate::contract::{ListQuery, PAGE_MAX, Page};
use crate::error::BrokerError;

/// Most tasks that one page looks at in search of a type.
const SCANNED_MAX: usize = 5_000;
/// A page ends early when its payloads come to so many bytes.
const PAGE_BYTES: usize = 16 << 20;

/// `SELECT` of the columns that [`view`] takes, then what is given.
macro_rules! select_view {
    ($rest:literal) => {
        concat!(
            "SELECT t.pk, t.id, t.state, t.rank, t.seq, t.failures, t.losses, t.progress, w.id, t.result, t.record ",
            "FROM tasks t LEFT JOIN workers w ON w.pk = t.worker ",
            $rest
        )
    };
}

/// The place of a task in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    rank: i64,
    seq: i64,
}

pub(super) fn queue(connection: &Connection, operation: &'static str, name: &QueueName) -> Outcome<Queue> {
    load(connection, name)?.ok_or_else(|| BrokerError::UnknownQueue { operation, queue: name.clone() }.into())
}

pub(super) fn queues(connection: &Connection) -> Outcome<Vec<QueueName>> {
    let mut statement = connection.prepare_cached("SELECT name FROM queues ORDER BY name")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.map(|name| QueueName::new(name?).map_err(Fault::damaged)).collect()
}

pub(super) fn settings(connection: &Connection, name: &QueueName) -> Outcome<QueueSettings> {
    Ok(queue(connection, "settings", name)?.settings)
}

pub(super) fn owner(connection: &Connection, name: &QueueName) -> Outcome<Option<QueueOwner>> {
    Ok(queue(connection, "owner", name)?.owner)
}

pub(super) fn get(connection: &Connection, name: &QueueName, id: &TaskId) -> Outcome<Option<TaskView>> {
    let queue = queue(connection, "get", name)?;
    let mut statement = connection.prepare_cached(select_view!("WHERE t.queue = ?1 AND t.id = ?2"))?;
    let mut rows = statement.query(params![queue.pk, id.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let mut view = view(row)?;
    view.result = row.get::<_, Option<Vec<u8>>>(9)?.map(Bytes::from);
    view.attempts = attempts(connection, row.get(0)?)?;
    Ok(Some(view))
}

pub(super) fn list(connection: &Connection, name: &QueueName, query: &ListQuery) -> Outcome<Page> {
    let queue = queue(connection, "list", name)?;
    let ended = !query.state.is_live();
    let from = match &query.cursor {
        Some(cursor) => cursor.parse()?,
        None if ended => Place { rank: i64::MAX, seq: i64::MAX },
        None => Place { rank: i64::MIN, seq: i64::MIN },
    };
    let limit = query.limit.clamp(1, PAGE_MAX);
    let most = if query.task_type.is_some() { SCANNED_MAX } else { limit };
    let mut statement = connection.prepare_cached(if ended {
        select_view!(
            "WHERE t.queue = ?1 AND t.state = ?2 AND (t.rank, t.seq) < (?3, ?4) ORDER BY t.rank DESC, t.seq DESC LIMIT ?5"
        )
    } else {
        select_view!("WHERE t.queue = ?1 AND t.state = ?2 AND (t.rank, t.seq) > (?3, ?4) ORDER BY t.rank, t.seq LIMIT ?5")
    })?;
    let mut rows = statement.query(params![queue.pk, int(code(query.state)), from.rank, from.seq, int(most + 1)])?;
    let (mut tasks, mut seen, mut bytes, mut last) = (Vec::new(), 0, 0, from);
    while let Some(row) = rows.next()? {
        if tasks.len() >= limit || seen >= most || bytes >= PAGE_BYTES {
            return Ok(Page { tasks, cursor: Some(last.to_string()) });
        }
        last = Place { rank: row.get(3)?, seq: row.get(4)? };
        seen += 1;
        let view = view(row)?;
        if query.task_type.as_ref().is_none_or(|wanted| *wanted == view.task_type) {
            bytes += view.payload.len();
            tasks.push(view);
        }
    }
    Ok(Page { tasks, cursor: None })
}

pub(super) fn stats(connection: &Connection, name: &QueueName, now_ms: u64) -> Outcome<QueueStats> {
    let Queue { pk, figures, .. } = queue(connection, "stats", name)?;
    let head: Option<i64> = connection
        .prepare_cached("SELECT enqueued_at FROM tasks WHERE queue = ?1 AND state = 0 ORDER BY rank, seq LIMIT 1")?
        .query_row([pk], |row| row.get(0))
        .optional()?;
    let workers = connection
        .prepare_cached("SELECT count(*) FROM workers WHERE queue = ?1 AND lost = 0 AND lease_until > ?2")?
        .query_row(params![pk, int(now_ms)], |row| row.get(0))?;
    Ok(QueueStats {
        pending: figures.count(State::Pending),
        delayed: figures.count(State::Delayed),
        active: figures.count(State::Active),
        retrying: figures.count(State::Retrying),
        succeeded: figures.count(State::Succeeded),
        dead: figures.count(State::Dead),
        cancelled: figures.count(State::Cancelled),
        paused: figures.paused,
        oldest_pending_ms: head.map(|enqueued_at| now_ms.saturating_sub(unsigned(enqueued_at))),
        next_due_ms: next_due(connection, pk)?.map(|due_ms| due_ms.saturating_sub(now_ms)),
        workers,
        counters: figures.counters,
    })
}

pub(super) fn workers(connection: &Connection, name: &QueueName, now_ms: u64) -> Outcome<Vec<WorkerView>> {
    let queue = queue(connection, "workers", name)?;
    let mut statement = connection.prepare_cached(
        "SELECT info, registered_at, lease_until, active, \
         (SELECT coalesce(sum(max(?2 - t.rank, 0)), 0) FROM tasks t WHERE t.worker = w.pk) \
         FROM workers w WHERE queue = ?1 ORDER BY pk",
    )?;
    let mut rows = statement.query(params![queue.pk, int(now_ms)])?;
    let mut workers = Vec::new();
    while let Some(row) = rows.next()? {
        let info: WorkerInfo = serde_json::from_str(&row.get::<_, String>(0)?)?;
        let lease_until: i64 = row.get(2)?;
        workers.push(WorkerView {
            info,
            registered_at_ms: unsigned(row.get(1)?),
            lease_left_ms: lease_until.saturating_sub(int(now_ms)),
            active: row.get(3)?,
            running_ms: unsigned(row.get(4)?),
        });
    }
    Ok(workers)
}

fn attempts(connection: &Connection, task: i64) -> Outcome<Vec<AttemptView>> {
    let mut statement = connection.prepare_cached("SELECT view FROM attempts WHERE task = ?1 ORDER BY number")?;
    let views = statement.query_map([task], |row| row.get::<_, String>(0))?;
    views.map(|view| Ok(serde_json::from_str(&view?)?)).collect()
}

/// A task without its attempts and result.
fn view(row: &Row<'_>) -> Outcome<TaskView> {
    let state = state(row.get(2)?)?;
    let time_ms = unsigned(row.get(3)?);
    let record = Record::decode(&Bytes::from(row.get::<_, Vec<u8>>(10)?))?;
    let progress: Option<String> = row.get(7)?;
    let worker: Option<String> = row.get(8)?;
    let id = TaskId::new(row.get::<_, String>(1)?).map_err(Fault::damaged)?;
    Ok(TaskView {
        due_at_ms: matches!(state, State::Delayed | State::Retrying).then_some(time_ms),
        started_at_ms: (state == State::Active).then_some(time_ms),
        worker: worker.map(|id| worker_id(&id)),
        progress: progress.map(|progress| serde_json::from_str(&progress)).transpose()?,
        ended_at_ms: (!state.is_live()).then_some(time_ms),
        failures: small(row.get(5)?),
        losses: small(row.get(6)?),
        ..TaskView::of(id, record, state)
    })
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.rank, self.seq)
    }
}

impl std::str::FromStr for Place {
    type Err = Fault;
    fn from_str(text: &str) -> Outcome<Self> {
        let place = text
            .split_once(':')
            .and_then(|(rank, seq)| Some(Self { rank: rank.parse().ok()?, seq: seq.parse().ok()? }));
        place.ok_or_else(|| BrokerError::BadCursor(text.to_owned()).into())
    }
}
