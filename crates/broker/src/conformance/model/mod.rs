//! The contract as plain code in memory, and a random walk that compares a store with it.
//!
//! A [`Model`] is one queue. [`operations`] are the moves, written as the contract tells them and not as a store would
//! do them; [`walk`] does the same to a store and to a model, and compares what both say; [`random`] draws the walks.

pub mod compare;
pub mod operations;
pub mod random;
mod settling;
pub mod steps;
pub mod walk;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidemill_core::{
    AttemptView, ClaimToken, Counters, Event, NewTask, Progress, QueueOwner, QueueSettings, QueueStats, RequestId,
    State, TaskId, TaskRef, TaskView, WorkerId, WorkerInfo,
};

use crate::Settled;

/// One queue, in memory. Its time moves when told to.
#[derive(Debug, Clone)]
pub struct Model {
    /// The time, in milliseconds since some moment.
    pub now_ms: u64,
    /// What the queue grants.
    pub settings: QueueSettings,
    /// Whether claims are held back.
    pub paused: bool,
    /// Who owns it.
    pub owner: Option<QueueOwner>,
    /// What was counted.
    pub counters: Counters,
    /// What was announced since someone took it away. The order within a group is free.
    pub told: Vec<Vec<Event>>,
    tasks: BTreeMap<TaskId, Task>,
    line: BTreeMap<Reverse<i8>, VecDeque<TaskId>>,
    workers: BTreeMap<WorkerId, Incarnation>,
    maintained_ms: u64,
    /// Counts what happens, to tell apart what happened in the same millisecond.
    tick: u64,
}

#[derive(Debug, Clone)]
struct Task {
    new: NewTask,
    request: RequestId,
    enqueued_at_ms: u64,
    place: Place,
    failures: u32,
    losses: u32,
    attempts: Vec<AttemptView>,
    result: Option<Bytes>,
}

#[derive(Debug, Clone)]
enum Place {
    Pending,
    Delayed { due_ms: u64, aside: bool },
    Retrying { due_ms: u64 },
    Active(Held),
    Ended { state: State, at_ms: u64, tick: u64 },
}

#[derive(Debug, Clone)]
struct Held {
    token: ClaimToken,
    tick: u64,
    place: usize,
    started_ms: u64,
    asked: bool,
    progress: Option<Progress>,
}

#[derive(Debug, Clone)]
struct Incarnation {
    info: WorkerInfo,
    lease_end_ms: u64,
    number: u64,
    settled: Vec<Settled>,
    claims: Vec<(TaskId, ClaimToken)>,
}

impl Task {
    fn state(&self) -> State {
        match self.place {
            Place::Pending => State::Pending,
            Place::Delayed { .. } => State::Delayed,
            Place::Retrying { .. } => State::Retrying,
            Place::Active(_) => State::Active,
            Place::Ended { state, .. } => state,
        }
    }

    fn due_ms(&self) -> Option<u64> {
        match self.place {
            Place::Delayed { due_ms, .. } | Place::Retrying { due_ms } => Some(due_ms),
            _ => None,
        }
    }

    fn name(&self) -> TaskRef {
        TaskRef { id: self.new.id.clone(), duration_ms: self.new.duration_ms }
    }
}

impl Model {
    /// An empty queue.
    pub fn new(settings: QueueSettings) -> Self {
        Self {
            now_ms: 0,
            settings,
            paused: false,
            owner: None,
            counters: Counters::default(),
            told: Vec::new(),
            tasks: BTreeMap::new(),
            line: BTreeMap::new(),
            workers: BTreeMap::new(),
            maintained_ms: 0,
            tick: 0,
        }
    }

    /// One task.
    pub fn view(&self, id: &TaskId) -> Option<TaskView> {
        let task = self.tasks.get(id)?;
        let held = if let Place::Active(held) = &task.place { Some(held) } else { None };
        Some(TaskView {
            id: id.clone(),
            task_type: task.new.task_type.clone(),
            state: task.state(),
            priority: task.new.priority,
            payload: task.new.payload.clone(),
            duration_ms: task.new.duration_ms,
            retries: task.new.retries,
            timeout_ms: task.new.timeout_ms,
            enqueued_at_ms: task.enqueued_at_ms,
            due_at_ms: task.due_ms(),
            started_at_ms: held.map(|held| held.started_ms),
            worker: held.map(|held| held.token.worker),
            progress: held.and_then(|held| held.progress.clone()),
            ended_at_ms: if let Place::Ended { at_ms, .. } = task.place { Some(at_ms) } else { None },
            failures: task.failures,
            losses: task.losses,
            attempts: task.attempts.clone(),
            result: task.result.clone(),
        })
    }

    /// The tasks of a state, in order. The order within a group is free.
    pub fn list(&self, state: State) -> Vec<Vec<TaskId>> {
        if state == State::Pending {
            return self.line.values().flatten().map(|id| vec![id.clone()]).collect();
        }
        let mut groups: BTreeMap<u64, Vec<TaskId>> = BTreeMap::new();
        for (id, task) in self.tasks.iter().filter(|(_, task)| task.state() == state) {
            let place = match &task.place {
                Place::Delayed { due_ms, .. } | Place::Retrying { due_ms } => *due_ms,
                Place::Active(held) => held.tick,
                Place::Ended { tick, .. } => u64::MAX - tick,
                Place::Pending => 0,
            };
            groups.entry(place).or_default().push(id.clone());
        }
        groups.into_values().collect()
    }

    /// The queue at a glance.
    pub fn stats(&self) -> QueueStats {
        let count = |state| self.tasks.values().filter(|task| task.state() == state).count() as u64;
        QueueStats {
            pending: count(State::Pending),
            delayed: count(State::Delayed),
            active: count(State::Active),
            retrying: count(State::Retrying),
            succeeded: count(State::Succeeded),
            dead: count(State::Dead),
            cancelled: count(State::Cancelled),
            paused: self.paused,
            oldest_pending_ms: self.head().map(|_| 0),
            next_due_ms: self.next_due_ms(),
            workers: u32::try_from(self.workers.values().filter(|w| w.lease_end_ms > self.now_ms).count())
                .unwrap_or(u32::MAX),
            counters: self.counters,
        }
    }

    /// The registered workers: what they said, how long their leases hold, how much they hold and how old that is.
    pub fn workers(&self) -> Vec<(WorkerInfo, i64, u32, u64)> {
        let ages = |id: &WorkerId| -> Vec<u64> {
            let started = self.tasks.values().filter_map(|task| match &task.place {
                Place::Active(held) if held.token.worker == *id => Some(held.started_ms),
                _ => None,
            });
            started.map(|started_ms| self.now_ms - started_ms).collect()
        };
        self.workers
            .iter()
            .map(|(id, worker)| {
                let left = worker.lease_end_ms.cast_signed() - self.now_ms.cast_signed();
                let ages = ages(id);
                (worker.info.clone(), left, u32::try_from(ages.len()).unwrap_or(u32::MAX), ages.iter().sum())
            })
            .collect()
    }

    /// How many tasks live.
    pub fn live(&self) -> u64 {
        self.tasks.values().filter(|task| task.state().is_live()).count() as u64
    }

    /// Whether a task is set aside for another worker.
    pub fn has_aside(&self) -> bool {
        self.tasks.values().any(|task| matches!(task.place, Place::Delayed { aside: true, .. }))
    }

    /// Milliseconds until the next task is due.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.tasks.values().filter_map(Task::due_ms).min().map(|due| due.saturating_sub(self.now_ms))
    }

    fn head(&self) -> Option<TaskId> {
        self.line.values().flatten().next().cloned()
    }

    fn name(&self, id: &TaskId) -> TaskRef {
        self.tasks[id].name()
    }

    fn tell(&mut self, event: Event) {
        self.told.push(vec![event]);
    }

    fn tell_head(&mut self, before: Option<&TaskId>) {
        if let Some(head) = self.head().filter(|head| Some(head) != before) {
            let name = self.name(&head);
            self.tell(Event::Next(name));
        }
    }

    fn put_last(&mut self, id: &TaskId) {
        self.put(id, VecDeque::push_back);
    }

    fn put_first(&mut self, id: &TaskId) {
        self.put(id, VecDeque::push_front);
    }

    fn put(&mut self, id: &TaskId, push: fn(&mut VecDeque<TaskId>, TaskId)) {
        let task = self.tasks.get_mut(id).expect("a known task");
        task.place = Place::Pending;
        push(self.line.entry(Reverse(task.new.priority.get())).or_default(), id.clone());
    }

    fn out_of_line(&mut self, id: &TaskId) {
        for waiting in self.line.values_mut() {
            waiting.retain(|other| other != id);
        }
    }
}
