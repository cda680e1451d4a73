//! The moves of the model: each operation of the contract, told as the contract tells it.

use std::collections::BTreeSet;

use tidemill_core::{
    Claim, ClaimToken, Event, FailureKind, Keep, NewTask, Progress, QueueOwner, QueueSettings, Record, RequestId,
    Start, State, TaskId, WorkerId, WorkerInfo,
};

use super::{Held, Incarnation, Model, Place, Task};
use crate::{
    Cancelled, Deleted, Enqueued, Exchange, Exchanged, Heartbeat, Lost, Maintained, Ownership, Requeued, Settled,
};

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// These ids are taken.
    Taken(Vec<TaskId>),
    /// So many tasks may live.
    Full(u64),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was new.
    New(Vec<Enqueued>),
    /// It had been taken before.
    Before(usize),
}

impl Model {
    /// Replaces the settings.
    pub fn configure(&mut self, settings: QueueSettings) {
        self.settings = settings;
    }

    /// Makes someone the owner.
    pub fn own(&mut self, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Ownership {
        match &self.owner {
            Some(kept) if !kept.same_place(owner) && Some(kept) != instead_of => Ownership::Theirs(kept.clone()),
            _ => {
                self.owner = Some(owner.clone());
                Ownership::Ours
            }
        }
    }

    /// Removes the owner.
    pub fn disown(&mut self, owner: &QueueOwner) -> bool {
        let theirs = self.owner.as_ref() == Some(owner);
        if theirs {
            self.owner = None;
        }
        theirs
    }

    /// Forgets everything but the time, as when the queue is dropped and created anew with the same settings.
    pub fn drop_queue(&mut self, owner: &QueueOwner) -> bool {
        let theirs = self.owner.as_ref() == Some(owner);
        if theirs {
            *self = Self { now_ms: self.now_ms, maintained_ms: self.now_ms, ..Self::new(self.settings) };
        }
        theirs
    }

    /// Takes in a batch in which no id stands twice.
    pub fn enqueue(&mut self, batch: &[NewTask], request: RequestId) -> Result<Taken, Refusal> {
        if batch.iter().any(|new| self.tasks.get(&new.id).is_some_and(|task| task.request == request)) {
            return Ok(Taken::Before(batch.len()));
        }
        let lives = |new: &&NewTask| self.tasks.get(&new.id).is_some_and(|task| task.state().is_live());
        let taken: Vec<_> = batch.iter().filter(lives).map(|new| new.id.clone()).collect();
        if !taken.is_empty() {
            return Err(Refusal::Taken(taken));
        }
        if self.live() + batch.len() as u64 > self.settings.max_tasks {
            return Err(Refusal::Full(self.settings.max_tasks));
        }
        let before = self.head();
        let mut created = Vec::new();
        let mut names = Vec::new();
        for new in batch {
            let due_ms = match new.start {
                Start::Now => 0,
                Start::AfterMs(ms) => self.now_ms + ms,
                Start::AtMs(ms) => ms,
            };
            let task = Task {
                new: new.clone(),
                request,
                enqueued_at_ms: self.now_ms,
                place: Place::Delayed { due_ms, aside: false },
                failures: 0,
                losses: 0,
                attempts: Vec::new(),
                result: None,
            };
            names.push(task.name());
            self.tasks.insert(new.id.clone(), task);
            if due_ms <= self.now_ms {
                self.put_last(&new.id);
            }
            created.push(Enqueued::Created(self.tasks[&new.id].state()));
        }
        self.counters.enqueued += batch.len() as u64;
        self.tell(Event::Scheduled(names));
        self.tell_head(before.as_ref());
        Ok(Taken::New(created))
    }

    /// Registers an incarnation, or renews its lease.
    pub fn register(&mut self, info: &WorkerInfo) {
        let lease_end_ms = self.now_ms + u64::from(self.settings.lease_ms);
        let new = Incarnation { info: info.clone(), lease_end_ms, number: 0, settled: Vec::new(), claims: Vec::new() };
        self.workers.entry(info.id).or_insert(new).lease_end_ms = lease_end_ms;
    }

    /// One exchange.
    pub fn exchange(&mut self, exchange: &Exchange) -> Exchanged {
        let Some(worker) = self.workers.get(&exchange.worker) else { return Exchanged::Retired };
        if exchange.number == worker.number && exchange.number > 0 {
            return self.answer_again(&exchange.worker);
        }
        if exchange.number < worker.number {
            return Exchanged::Retired;
        }
        let before = self.head();
        if exchange.number != worker.number + 1 {
            self.lose_all(&[exchange.worker]);
            self.tell_head(before.as_ref());
            return Exchanged::Retired;
        }
        let from = self.told.len();
        let settled = self.settle_all(&exchange.worker, &exchange.finished);
        self.in_any_order(from);
        self.promote();
        self.tell_head(before.as_ref());
        let want = if self.paused { 0 } else { exchange.want };
        self.tick += 1;
        let mut claims = Vec::new();
        for place in 0..want {
            let Some(id) = self.head() else { break };
            claims.push(self.claim(&id, ClaimToken { worker: exchange.worker, counter: exchange.number }, place));
            self.tell_head(None);
        }
        let worker = self.workers.get_mut(&exchange.worker).expect("a registered worker");
        worker.number = exchange.number;
        worker.settled.clone_from(&settled);
        worker.claims = claims.iter().map(|claim| (claim.task.clone(), claim.token)).collect();
        self.done(settled, claims)
    }

    /// Renews a lease.
    pub fn heartbeat(&mut self, worker: &WorkerId, progress: &[(TaskId, Progress)]) -> Heartbeat {
        let lease_end_ms = self.now_ms + u64::from(self.settings.lease_ms);
        let Some(known) = self.workers.get_mut(worker) else { return Heartbeat::Retired };
        known.lease_end_ms = lease_end_ms;
        for (id, progress) in progress {
            if let Some(Place::Active(held)) = self.tasks.get_mut(id).map(|task| &mut task.place)
                && held.token.worker == *worker
            {
                held.progress = Some(progress.clone());
            }
        }
        let asked = |task: &&Task| matches!(&task.place, Place::Active(h) if h.asked && h.token.worker == *worker);
        Heartbeat::Renewed { cancelled: self.tasks.values().filter(asked).map(|task| task.new.id.clone()).collect() }
    }

    /// Ends an incarnation in good order.
    pub fn retire(&mut self, worker: &WorkerId) {
        let before = self.head();
        let from = self.told.len();
        self.tick += 1;
        for (id, held) in self.held_by(&[*worker]).into_iter().rev() {
            self.release(&id, &held);
        }
        self.in_any_order(from);
        self.workers.remove(worker);
        self.tell_head(before.as_ref());
    }

    /// Maintenance. What was forgotten is not told: a store may have forgotten it before. Of tasks that ended at once,
    /// any may be forgotten first: `survivors` are those that the store kept.
    pub fn maintain(&mut self, survivors: &BTreeSet<TaskId>) -> Maintained {
        let before = self.head();
        let renewed = self.now_ms - self.maintained_ms > self.settings.outage_ms();
        self.maintained_ms = self.now_ms;
        let promoted = self.promote();
        let mut lost = Vec::new();
        if renewed {
            for worker in self.workers.values_mut() {
                worker.lease_end_ms = self.now_ms + u64::from(self.settings.lease_ms);
            }
        } else {
            let gone: Vec<WorkerId> =
                self.workers.iter().filter(|(_, w)| w.lease_end_ms <= self.now_ms).map(|(id, _)| *id).collect();
            lost = self.lose_all(&gone);
        }
        for state in [State::Succeeded, State::Dead, State::Cancelled] {
            for id in self.overdue(state, survivors) {
                self.tasks.remove(&id);
            }
        }
        self.tell_head(before.as_ref());
        Maintained { promoted, lost, forgotten: 0, renewed, more: false }
    }

    fn overdue(&self, state: State, survivors: &BTreeSet<TaskId>) -> Vec<TaskId> {
        let Keep { count, age_s } = self.keep(state);
        let mut groups = self.list(state);
        for group in &mut groups {
            group.sort_by_key(|id| !survivors.contains(id));
        }
        let kept: Vec<TaskId> = groups.into_iter().flatten().collect();
        let old = |id: &TaskId| match self.tasks[id].place {
            Place::Ended { at_ms, .. } => at_ms + u64::from(age_s) * 1_000 <= self.now_ms,
            _ => false,
        };
        kept.iter().enumerate().filter(|(n, id)| *n >= count as usize || old(id)).map(|(_, id)| id.clone()).collect()
    }

    /// Whether the next maintenance forgets any task.
    pub fn has_overdue(&self) -> bool {
        let none = BTreeSet::new();
        [State::Succeeded, State::Dead, State::Cancelled].into_iter().any(|s| !self.overdue(s, &none).is_empty())
    }

    /// Cancels a task.
    pub fn cancel(&mut self, id: &TaskId) -> Cancelled {
        let Some(task) = self.tasks.get_mut(id) else { return Cancelled::Unknown };
        match &mut task.place {
            Place::Ended { state, .. } => Cancelled::Ended(*state),
            Place::Active(held) => {
                held.asked = true;
                Cancelled::Asked
            }
            _ => {
                let before = self.head();
                self.tick += 1;
                self.end(id, State::Cancelled);
                self.tell_head(before.as_ref());
                Cancelled::Now
            }
        }
    }

    /// Runs a task again, or now.
    pub fn retry(&mut self, id: &TaskId) -> Requeued {
        let Some(task) = self.tasks.get_mut(id) else { return Requeued::Unknown };
        let state = task.state();
        if !matches!(state, State::Dead | State::Cancelled | State::Delayed | State::Retrying) {
            return Requeued::Refused(state);
        }
        (task.failures, task.losses) = (0, 0);
        let before = self.head();
        self.counters.requeued += 1;
        self.put_last(id);
        if !state.is_live() {
            let name = self.name(id);
            self.tell(Event::Scheduled(vec![name]));
        }
        self.tell_head(before.as_ref());
        Requeued::Pending
    }

    /// Forgets a task.
    pub fn delete(&mut self, id: &TaskId) -> Deleted {
        match self.tasks.get(id).map(Task::state) {
            None => Deleted::Unknown,
            Some(State::Active) => Deleted::Active,
            Some(state) => {
                let before = self.head();
                if state.is_live() {
                    self.end(id, State::Cancelled);
                }
                self.tasks.remove(id);
                self.counters.deleted += 1;
                self.tell_head(before.as_ref());
                Deleted::Forgotten
            }
        }
    }

    /// Forgets all tasks of a state. They are told in any order, and no head between them.
    pub fn purge(&mut self, state: State) -> u64 {
        let before = self.head();
        let all: Vec<TaskId> = self.list(state).into_iter().flatten().collect();
        let from = self.told.len();
        for id in &all {
            if state.is_live() {
                self.end(id, State::Cancelled);
            }
            self.tasks.remove(id);
        }
        self.in_any_order(from);
        self.counters.deleted += all.len() as u64;
        self.tell_head(before.as_ref());
        all.len() as u64
    }

    /// Holds back or grants claims.
    pub fn pause(&mut self, paused: bool) -> bool {
        std::mem::replace(&mut self.paused, paused) != paused
    }

    fn done(&self, settled: Vec<Settled>, claims: Vec<Claim>) -> Exchanged {
        Exchanged::Done {
            settled,
            claims,
            pending: self.stats().pending,
            next_due_ms: self.next_due_ms(),
            paused: self.paused,
        }
    }

    fn answer_again(&self, worker: &WorkerId) -> Exchanged {
        let Incarnation { settled, claims, .. } = &self.workers[worker];
        let still = |(id, token): &&(TaskId, ClaimToken)| {
            self.tasks.get(id).is_some_and(|t| matches!(&t.place, Place::Active(held) if held.token == *token))
        };
        let claims = claims.iter().filter(still).map(|(id, _)| self.as_claim(id)).collect();
        self.done(settled.clone(), claims)
    }

    fn claim(&mut self, id: &TaskId, token: ClaimToken, place: usize) -> Claim {
        self.out_of_line(id);
        let held = Held { token, tick: self.tick, place, started_ms: self.now_ms, asked: false, progress: None };
        self.tasks.get_mut(id).expect("a pending task").place = Place::Active(held);
        self.counters.started += 1;
        let name = self.name(id);
        self.tell(Event::Start(name));
        self.as_claim(id)
    }

    fn as_claim(&self, id: &TaskId) -> Claim {
        let task = &self.tasks[id];
        let Place::Active(held) = &task.place else { panic!("{id} is active") };
        let record = Record {
            enqueued_at_ms: task.enqueued_at_ms,
            priority: task.new.priority,
            duration_ms: task.new.duration_ms,
            request: task.request,
            task_type: task.new.task_type.clone(),
            retries: task.new.retries,
            backoff: task.new.backoff,
            timeout_ms: task.new.timeout_ms,
            traceparent: task.new.traceparent.clone(),
            payload: task.new.payload.clone(),
        };
        Claim {
            task: id.clone(),
            token: held.token,
            record,
            attempt: task.failures + 1,
            losses: task.losses,
            started_at_ms: held.started_ms,
        }
    }

    pub(super) fn release(&mut self, id: &TaskId, held: &Held) {
        if held.asked {
            return self.end(id, State::Cancelled);
        }
        self.counters.released += 1;
        self.put_first(id);
    }

    fn lose_all(&mut self, gone: &[WorkerId]) -> Vec<Lost> {
        self.tick += 1;
        let held = self.held_by(gone);
        let from = self.told.len();
        let mut lost = Vec::new();
        for (id, held) in held.into_iter().rev() {
            self.counters.lost += 1;
            self.note(&id, &held, FailureKind::Lost, "worker lost", self.now_ms - held.started_ms);
            let task = self.tasks.get_mut(&id).expect("an active task");
            task.losses += 1;
            let state = if held.asked {
                State::Cancelled
            } else if task.losses >= self.settings.loss_limit {
                State::Dead
            } else {
                State::Pending
            };
            if state == State::Pending {
                self.put_first(&id);
            } else {
                self.end(&id, state);
            }
            lost.push(Lost { task: id, worker: held.token.worker, state });
        }
        for worker in gone {
            self.workers.remove(worker);
        }
        self.in_any_order(from);
        lost.reverse();
        lost
    }

    /// What these workers hold, by time of claim and then in order of the claim.
    fn held_by(&self, workers: &[WorkerId]) -> Vec<(TaskId, Held)> {
        let mut held: Vec<(TaskId, Held)> = self
            .tasks
            .iter()
            .filter_map(|(id, task)| match &task.place {
                Place::Active(held) if workers.contains(&held.token.worker) => Some((id.clone(), held.clone())),
                _ => None,
            })
            .collect();
        held.sort_by_key(|(_, held)| (held.tick, held.place));
        held
    }

    fn promote(&mut self) -> u64 {
        let now_ms = self.now_ms;
        let mut due: Vec<(u64, TaskId, bool)> = self
            .tasks
            .iter()
            .filter_map(|(id, task)| {
                let aside = matches!(task.place, Place::Delayed { aside: true, .. });
                task.due_ms().filter(|due| *due <= now_ms).map(|due| (due, id.clone(), aside))
            })
            .collect();
        due.sort();
        for (_, id, _) in due.iter().filter(|(_, _, aside)| !aside) {
            self.put_last(id);
        }
        for (_, id, _) in due.iter().rev().filter(|(_, _, aside)| *aside) {
            self.put_first(id);
        }
        due.len() as u64
    }

    /// Ends a live task. One whose state keeps none is forgotten at once.
    pub(super) fn end(&mut self, id: &TaskId, state: State) {
        self.out_of_line(id);
        let counter = match state {
            State::Succeeded => &mut self.counters.succeeded,
            State::Dead => &mut self.counters.dead,
            _ => &mut self.counters.cancelled,
        };
        *counter += 1;
        let name = self.name(id);
        self.tell(Event::Done(name, state));
        if self.keep(state).count == 0 {
            self.tasks.remove(id);
        } else if let Some(task) = self.tasks.get_mut(id) {
            task.place = Place::Ended { state, at_ms: self.now_ms, tick: self.tick };
        }
    }

    /// Makes one group of what was told since there were `from` groups.
    fn in_any_order(&mut self, from: usize) {
        let group: Vec<Event> = self.told.drain(from..).flatten().collect();
        if !group.is_empty() {
            self.told.push(group);
        }
    }

    fn keep(&self, state: State) -> Keep {
        match state {
            State::Succeeded => self.settings.retention.succeeded,
            State::Dead => self.settings.retention.dead,
            _ => self.settings.retention.cancelled,
        }
    }
}
