//! One operation on one queue: the moves of tasks, with their counts, counters and events.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Params, params};
use tidemill_core::task::ERRORS_KEPT;
use tidemill_core::{AttemptView, Event, FailureKind, Keep, QueueName, State, TaskId, TaskRef, TaskType, WorkerId};

use super::fault::Outcome;
use super::rows::{Task, Worker, code, int, select_task};
use super::store::{Figures, Queue};

/// An operation that ends tasks forgets at most so many for each of them, so that settling stays cheap and the ended
/// never exceed their count for long (only settings that became stricter leave an excess, which shrinks).
const FORGOTTEN_PER_ENDED: u64 = 2;

/// An operation under way.
pub(super) struct Session<'a> {
    pub(super) connection: &'a Connection,
    pub(super) name: &'a QueueName,
    pub(super) queue: Queue,
    pub(super) now_ms: u64,
    /// Types that other live workers serve, once someone has asked.
    pub(super) served_elsewhere: Option<HashSet<TaskType>>,
    watched: bool,
    events: Vec<Event>,
    head: Option<Head>,
    ended: [u64; State::ALL.len()],
}

/// The task that is claimed next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    pk: i64,
    task: TaskRef,
}

/// An attempt that did not end well.
pub(super) struct Attempt {
    pub(super) worker: WorkerId,
    pub(super) kind: FailureKind,
    pub(super) message: String,
    pub(super) ran_ms: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        name: &'a QueueName,
        queue: Queue,
        now_ms: u64,
        watched: bool,
    ) -> Outcome<Self> {
        let mut session = Self {
            connection,
            name,
            queue,
            now_ms,
            served_elsewhere: None,
            watched,
            events: Vec::new(),
            head: None,
            ended: [0; State::ALL.len()],
        };
        if watched {
            session.head = session.find_head()?;
        }
        Ok(session)
    }

    /// Forgets the ended that are too many now, and hands over what is to be committed and told.
    pub(super) fn finish(mut self) -> Outcome<(Queue, Vec<Event>)> {
        for state in [State::Succeeded, State::Dead, State::Cancelled] {
            let may_forget = self.ended[code(state)] * FORGOTTEN_PER_ENDED;
            if may_forget > 0 {
                self.forget_excess(state, may_forget)?;
            }
        }
        Ok((self.queue, self.events))
    }

    pub(super) fn figures(&mut self) -> &mut Figures {
        &mut self.queue.figures
    }

    pub(super) fn announce(&mut self, event: impl FnOnce() -> Event) {
        if self.watched {
            self.events.push(event());
        }
    }

    /// Announces the head of the queue if it is another than at the start of the operation.
    pub(super) fn announce_head(&mut self) -> Outcome<()> {
        if self.watched {
            let head = self.find_head()?;
            if head != self.head
                && let Some(Head { task, .. }) = &head
            {
                self.events.push(Event::Next(task.clone()));
            }
            self.head = head;
        }
        Ok(())
    }

    /// The task that is claimed next.
    pub(super) fn head_task(&self) -> Outcome<Option<TaskRef>> {
        Ok(if self.watched { self.find_head()?.map(|head| head.task) } else { None })
    }

    pub(super) fn find(&self, id: &TaskId) -> Outcome<Option<Task>> {
        self.task(select_task!("FROM tasks WHERE queue = ?1 AND id = ?2"), params![self.queue.pk, id.as_str()])
    }

    pub(super) fn task(&self, sql: &str, params: impl Params) -> Outcome<Option<Task>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        rows.next()?.map(Task::read).transpose()
    }

    pub(super) fn tasks(&self, sql: &str, params: impl Params) -> Outcome<Vec<Task>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        let mut tasks = Vec::new();
        while let Some(row) = rows.next()? {
            tasks.push(Task::read(row)?);
        }
        Ok(tasks)
    }

    /// A registered incarnation, lost ones included.
    pub(super) fn worker(&self, id: &WorkerId) -> Outcome<Option<Worker>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT pk, id, lost, active, number FROM workers WHERE queue = ?1 AND id = ?2")?;
        let mut rows = statement.query(params![self.queue.pk, id.to_string()])?;
        rows.next()?.map(Worker::read).transpose()
    }

    /// To the tail of its priority.
    pub(super) fn put_at_tail(&mut self, task: &mut Task) -> Outcome<()> {
        let (rank, seq) = (-task.priority, self.next_tail());
        self.stand(task, State::Pending, rank, seq)
    }

    /// To the head of its priority.
    pub(super) fn put_at_head(&mut self, task: &mut Task) -> Outcome<()> {
        self.figures().head -= 1;
        let (rank, seq) = (-task.priority, self.queue.figures.head);
        self.stand(task, State::Pending, rank, seq)
    }

    /// To wait in `state`, delayed or retrying, until `due_ms`.
    pub(super) fn put_off(&mut self, task: &mut Task, state: State, due_ms: u64, aside: bool) -> Outcome<()> {
        task.aside = aside;
        let seq = self.next_tail();
        self.stand(task, state, int(due_ms), seq)
    }

    /// Into the hands of a worker.
    pub(super) fn hand_to(&mut self, task: &mut Task, worker: &Worker, number: u64) -> Outcome<()> {
        let (rank, seq) = (int(self.now_ms), self.next_tail());
        self.leave_standing(task);
        task.state = State::Active;
        task.rank = rank;
        self.figures().enter(State::Active);
        self.connection
            .prepare_cached(
                "UPDATE tasks SET state = ?2, rank = ?3, seq = ?4, worker = ?5, counter = ?6 WHERE pk = ?1",
            )?
            .execute(params![task.pk, int(code(State::Active)), rank, seq, worker.pk, int(number)])?;
        Ok(())
    }

    /// Ends a task for good: keeps or forgets it, counts it and announces it.
    pub(super) fn end(&mut self, task: &mut Task, state: State, result: Option<&[u8]>) -> Outcome<()> {
        let counters = &mut self.queue.figures.counters;
        match state {
            State::Succeeded => counters.succeeded += 1,
            State::Dead => counters.dead += 1,
            _ => counters.cancelled += 1,
        }
        if self.keep(state).count == 0 {
            self.erase(task)?;
            task.state = state;
        } else {
            let (rank, seq) = (int(self.now_ms), self.next_tail());
            self.stand(task, state, rank, seq)?;
            self.ended[code(state)] += 1;
            if let Some(result) = result {
                self.connection
                    .prepare_cached("UPDATE tasks SET result = ?2 WHERE pk = ?1")?
                    .execute(params![task.pk, result])?;
            }
        }
        self.announce(|| Event::Done(task.reference(), state));
        Ok(())
    }

    /// Forgets a task and its errors.
    pub(super) fn erase(&mut self, task: &Task) -> Outcome<()> {
        self.leave_standing(task);
        self.connection.prepare_cached("DELETE FROM tasks WHERE pk = ?1")?.execute([task.pk])?;
        if task.errors > 0 {
            self.connection.prepare_cached("DELETE FROM attempts WHERE task = ?1")?.execute([task.pk])?;
        }
        Ok(())
    }

    /// Notes an attempt that did not end well, and forgets the oldest beyond what is kept. `task` is to be moved after.
    pub(super) fn note_attempt(&mut self, task: &mut Task, attempt: Attempt) -> Outcome<()> {
        let Attempt { worker, kind, message, ran_ms } = attempt;
        let number = task.failures.saturating_add(1);
        let view = AttemptView { attempt: number, worker, kind, message, ended_at_ms: self.now_ms, ran_ms };
        task.errors += 1;
        self.connection
            .prepare_cached("INSERT INTO attempts (task, number, view) VALUES (?1, ?2, ?3)")?
            .execute(params![task.pk, task.errors, serde_json::to_string(&view)?])?;
        self.connection
            .prepare_cached("DELETE FROM attempts WHERE task = ?1 AND number <= ?2")?
            .execute(params![task.pk, task.errors - int(ERRORS_KEPT)])?;
        Ok(())
    }

    /// Forgets up to `limit` of the oldest ended tasks beyond the count that is kept. How many.
    pub(super) fn forget_excess(&mut self, state: State, limit: u64) -> Outcome<u64> {
        let excess = self.queue.figures.count(state).saturating_sub(u64::from(self.keep(state).count)).min(limit);
        if excess == 0 {
            return Ok(0);
        }
        let oldest = self.tasks(
            select_task!("FROM tasks WHERE queue = ?1 AND state = ?2 ORDER BY rank, seq LIMIT ?3"),
            params![self.queue.pk, int(code(state)), int(excess)],
        )?;
        for task in &oldest {
            self.erase(task)?;
        }
        Ok(oldest.len() as u64)
    }

    pub(super) fn keep(&self, state: State) -> Keep {
        let retention = &self.queue.settings.retention;
        match state {
            State::Dead => retention.dead,
            State::Cancelled => retention.cancelled,
            _ => retention.succeeded,
        }
    }

    pub(super) fn next_tail(&mut self) -> i64 {
        self.figures().tail += 1;
        self.queue.figures.tail
    }

    fn stand(&mut self, task: &mut Task, state: State, rank: i64, seq: i64) -> Outcome<()> {
        self.leave_standing(task);
        task.state = state;
        task.rank = rank;
        task.worker = None;
        task.counter = 0;
        task.cancel = false;
        task.aside &= state == State::Delayed;
        self.figures().enter(state);
        self.connection
            .prepare_cached(
                "UPDATE tasks SET state = ?2, rank = ?3, seq = ?4, worker = NULL, counter = 0, cancel = 0, aside = ?5, \
                 failures = ?6, losses = ?7, errors = ?8, progress = NULL WHERE pk = ?1",
            )?
            .execute(params![
                task.pk,
                int(code(state)),
                rank,
                seq,
                task.aside,
                task.failures,
                task.losses,
                task.errors
            ])?;
        Ok(())
    }

    fn leave_standing(&mut self, task: &Task) {
        self.figures().leave(task.state);
    }

    fn find_head(&self) -> Outcome<Option<Head>> {
        let head = self
            .connection
            .prepare_cached(
                "SELECT pk, id, duration_ms FROM tasks WHERE queue = ?1 AND state = 0 ORDER BY rank, seq LIMIT 1",
            )?
            .query_row([self.queue.pk], |row| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get(2)?)))
            .optional()?;
        let Some((pk, id, duration_ms)) = head else {
            return Ok(None);
        };
        let id = TaskId::new(id).map_err(super::fault::Fault::damaged)?;
        Ok(Some(Head { pk, task: TaskRef { id, duration_ms } }))
    }
}
