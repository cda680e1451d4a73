//! Taking tasks in.

use std::collections::HashSet;

use rusqlite::params;
use tidemill_core::{Event, NewTask, Record, RequestId, Start, State, TaskRef, envelope};

use super::fault::{Fault, Outcome};
use super::rows::{code, int, select_task, state, unsigned};
use super::session::Session;
use crate::contract::{BATCH_MAX, Enqueued};
use crate::error::BrokerError;

const OPERATION: &str = "enqueue";

/// A batch, checked and packed before it comes to the writer.
pub(super) struct Batch {
    tasks: Vec<NewTask>,
    bodies: Vec<Vec<u8>>,
    request: RequestId,
}

/// A task that has the id of a new one.
struct Present {
    pk: i64,
    state: State,
    request: RequestId,
    enqueued_at_ms: u64,
}

impl Batch {
    pub(super) fn new(tasks: &[NewTask], request: RequestId) -> crate::error::Result<Self> {
        if tasks.len() > BATCH_MAX {
            let reason = format!("a batch has at most {BATCH_MAX} tasks, not {}", tasks.len());
            return Err(BrokerError::Store { operation: OPERATION, reason });
        }
        let mut seen = HashSet::with_capacity(tasks.len());
        if let Some(twice) = tasks.iter().find(|task| !seen.insert(&task.id)) {
            return Err(BrokerError::DuplicateId(twice.id.clone()));
        }
        let bodies = tasks.iter().map(|task| envelope::body(task, request)).collect::<Result<_, _>>();
        let bodies = bodies.map_err(|source| BrokerError::Unreadable { operation: OPERATION, source })?;
        Ok(Self { tasks: tasks.to_vec(), bodies, request })
    }
}

impl Session<'_> {
    /// Takes the batch in, whole or not at all.
    pub(super) fn enqueue(&mut self, batch: &Batch) -> Outcome<Vec<Enqueued>> {
        let mut taken = Vec::new();
        let mut ended = Vec::new();
        for task in &batch.tasks {
            let Some(present) = self.present(task)? else {
                continue;
            };
            if present.request == batch.request {
                return Ok(answer(batch, present.enqueued_at_ms));
            }
            if present.state.is_live() {
                taken.push(task.id.clone());
            } else {
                ended.push(present.pk);
            }
        }
        if !taken.is_empty() {
            return Err(BrokerError::TaskExists { queue: self.name.clone(), ids: taken }.into());
        }
        let max = self.queue.settings.max_tasks;
        if self.queue.figures.live() + batch.tasks.len() as u64 > max {
            return Err(BrokerError::QueueFull { queue: self.name.clone(), max }.into());
        }
        for pk in ended {
            if let Some(task) = self.task(select_task!("FROM tasks WHERE pk = ?1"), [pk])? {
                self.erase(&task)?;
            }
        }
        for (task, body) in batch.tasks.iter().zip(&batch.bodies) {
            self.insert(task, body, batch.request)?;
        }
        self.figures().counters.enqueued += batch.tasks.len() as u64;
        if !batch.tasks.is_empty() {
            self.announce(|| {
                Event::Scheduled(
                    batch
                        .tasks
                        .iter()
                        .map(|task| TaskRef { id: task.id.clone(), duration_ms: task.duration_ms })
                        .collect(),
                )
            });
        }
        self.announce_head()?;
        Ok(answer(batch, self.now_ms))
    }

    fn present(&self, task: &NewTask) -> Outcome<Option<Present>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT pk, state, request, enqueued_at FROM tasks WHERE queue = ?1 AND id = ?2")?;
        let mut rows = statement.query(params![self.queue.pk, task.id.as_str()])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        Ok(Some(Present {
            pk: row.get(0)?,
            state: state(row.get(1)?)?,
            request: RequestId(row.get(2).map_err(Fault::from)?),
            enqueued_at_ms: unsigned(row.get(3)?),
        }))
    }

    fn insert(&mut self, task: &NewTask, body: &[u8], request: RequestId) -> Outcome<()> {
        let due_ms = due_ms(task, self.now_ms);
        let priority = i64::from(task.priority);
        let (state, rank) = match due_ms {
            Some(due_ms) => (State::Delayed, int(due_ms)),
            None => (State::Pending, -priority),
        };
        let seq = self.next_tail();
        self.figures().enter(state);
        self.connection
            .prepare_cached(
                "INSERT INTO tasks (queue, id, state, rank, seq, priority, duration_ms, enqueued_at, request, record) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                self.queue.pk,
                task.id.as_str(),
                int(code(state)),
                rank,
                seq,
                priority,
                task.duration_ms,
                int(self.now_ms),
                request.0,
                Record::stamp(body, self.now_ms),
            ])?;
        Ok(())
    }
}

/// Where each task of the batch stood when it was taken in.
fn answer(batch: &Batch, taken_in_ms: u64) -> Vec<Enqueued> {
    let state = |task| if due_ms(task, taken_in_ms).is_some() { State::Delayed } else { State::Pending };
    batch.tasks.iter().map(|task| Enqueued::Created(state(task))).collect()
}

/// When a task is due that was taken in at `now_ms`; `None` is at once.
fn due_ms(task: &NewTask, now_ms: u64) -> Option<u64> {
    let due_ms = match task.start {
        Start::Now => now_ms,
        Start::AfterMs(wait_ms) => now_ms.saturating_add(wait_ms),
        Start::AtMs(at_ms) => at_ms,
    };
    (due_ms > now_ms).then_some(due_ms)
}
