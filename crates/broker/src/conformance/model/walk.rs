//! Does the same to a store and to a model, step by step, and compares.
//!
//! All waits of a walk are multiples of [`STEP_MS`], and no lease, delay or age is: so a store whose clock runs on by
//! itself sees each of them end in the same step as the model does.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tidemill_core::{
    ClaimToken, Event, Failure, FailureKind, Keep, NewTask, Outcome, Priority, Progress, QueueName, QueueOwner,
    QueueSettings, RequestId, Retention, Settlement, Start, State, TaskId, TaskType, WorkerId, WorkerInfo,
};
use uuid::Uuid;

use super::Model;
use super::compare::{Clocks, Difference, heartbeats, maintained, same};
use super::operations::{Refusal, Taken};
use super::steps::{End, IDS, Op, SLOTS};
use crate::conformance::harness::{Backend, Snapshot, fresh_queue};
use crate::{Broker, BrokerError, Delivery, Exchange, Exchanged, ListQuery, Subscription};

/// The unit of waits.
pub const STEP_MS: u64 = 30_000;
/// The unit of leases, delays and ages, never taken in threes.
const PART_MS: u64 = 10_000;
/// How far apart due times are that were given for the same part: further than the store's real clock and the model's drift
/// apart in a walk, also where a batch is sent again some steps later.
const APART_MS: u64 = 100;
/// Most settlements of ended claims that are kept to be sent late.
const STALE_MAX: usize = 8;
/// Events come within this time.
const EVENT_DEADLINE: Duration = Duration::from_secs(5);

struct Process {
    info: WorkerInfo,
    number: u64,
    unanswered: Option<Exchange>,
    held: Vec<(TaskId, ClaimToken)>,
}

/// A walk under way.
pub struct Walk<'a> {
    backend: &'a dyn Backend,
    broker: std::sync::Arc<dyn Broker>,
    queue: QueueName,
    model: Model,
    clocks: Clocks,
    processes: Vec<Option<Process>>,
    stale: VecDeque<(TaskId, ClaimToken)>,
    last_batch: Option<(Vec<NewTask>, RequestId)>,
    backup: Option<(Snapshot, Model)>,
    subscription: Subscription,
    unique: u64,
}

/// The settings that walks use, by number.
fn settings(choice: u8) -> QueueSettings {
    let keep = |count, parts: u64| Keep { count, age_s: u32::try_from(parts * PART_MS / 1_000).unwrap_or(u32::MAX) };
    let (counts, parts) = match choice % 4 {
        0 => ([100, 100, 100], 100_000),
        1 => ([1, 2, 1], 100_000),
        2 => ([0, 3, 0], 100_000),
        _ => ([100, 100, 100], 4),
    };
    let retention = Retention {
        succeeded: keep(counts[0], parts),
        dead: keep(counts[1], parts),
        cancelled: keep(counts[2], parts),
    };
    QueueSettings {
        retention,
        max_tasks: if choice.is_multiple_of(3) { 4 } else { 1_000 },
        lease_ms: if choice.is_multiple_of(2) { 40_000 } else { 100_000 },
        loss_limit: 1 + u32::from(choice % 3),
        ..QueueSettings::default()
    }
}

/// The id of a number.
pub fn name(number: u8) -> TaskId {
    TaskId::new(format!("task{}", number % IDS)).unwrap()
}

/// The owner of a number: place and uid.
fn owner(number: u8) -> QueueOwner {
    QueueOwner {
        cluster: "cluster".to_owned(),
        namespace: "default".to_owned(),
        name: format!("owner \"{}\"", number / 2),
        uid: format!("uid{}", number % 2),
    }
}

fn task_type(number: u8) -> TaskType {
    TaskType::new(["work", "mail", "fax"][usize::from(number % 3)]).unwrap()
}

#[allow(clippy::needless_pass_by_value)] // the shape of map_err
fn failed(error: BrokerError) -> Difference {
    format!("the store failed: {error}")
}

impl<'a> Walk<'a> {
    /// Walks all steps on a fresh queue. What differed, and at which step.
    pub async fn run(backend: &'a dyn Backend, ops: &[Op]) -> Result<(), Difference> {
        let mut walk = Self::begin(backend).await?;
        for (n, op) in ops.iter().enumerate() {
            walk.step(op).await.map_err(|difference| format!("at step {} ({op:?}): {difference}", n + 1))?;
        }
        walk.end().await.map_err(|difference| format!("at the end: {difference}"))
    }

    async fn begin(backend: &'a dyn Backend) -> Result<Self, Difference> {
        let (broker, queue) = (backend.broker(), fresh_queue());
        let settings = settings(4);
        broker.ensure_queue(&queue, &settings).await.map_err(failed)?;
        let subscription = broker.subscribe(&queue).await.map_err(failed)?;
        Ok(Self {
            backend,
            broker,
            queue,
            model: Model::new(settings),
            clocks: Clocks::default(),
            processes: (0..SLOTS).map(|_| None).collect(),
            stale: VecDeque::new(),
            last_batch: None,
            backup: None,
            subscription,
            unique: 0,
        })
    }

    async fn end(&mut self) -> Result<(), Difference> {
        self.maintain().await?;
        let mark = NewTask::new(TaskId::new("mark").unwrap(), task_type(0), "{}");
        self.configure(settings(4)).await?;
        self.broker.purge(&self.queue, State::Pending).await.map_err(failed)?;
        self.model.purge(State::Pending);
        self.enqueue(vec![mark], RequestId(rand::random())).await?;
        self.compare().await?;
        self.events().await
    }

    async fn step(&mut self, op: &Op) -> Result<(), Difference> {
        self.wait_ms(1).await;
        match op {
            Op::Enqueue { ids, delay, priority } => self.enqueue_new(ids, *delay, *priority).await?,
            Op::EnqueueAgain => {
                if let Some((batch, request)) = self.last_batch.clone() {
                    self.enqueue(batch, request).await?;
                }
            }
            Op::Register { slot } => self.register(*slot).await?,
            Op::Exchange { slot, ends, want, lost } => self.exchange(*slot, ends, *want, *lost).await?,
            Op::Skip { slot, by } => self.skip(*slot, *by).await?,
            Op::Heartbeat { slot, progress } => self.heartbeat(*slot, *progress).await?,
            Op::Crash { slot } => self.forget_process(*slot),
            Op::Retire { slot } => self.retire(*slot).await?,
            Op::Cancel { id } => {
                let id = name(*id);
                let store = self.broker.cancel(&self.queue, &id).await.map_err(failed)?;
                same("cancel", &store, &self.model.cancel(&id))?;
            }
            Op::Retry { id } => self.retry(&name(*id)).await?,
            Op::Delete { id } => {
                let id = name(*id);
                let store = self.broker.delete(&self.queue, &id).await.map_err(failed)?;
                same("delete", &store, &self.model.delete(&id))?;
            }
            Op::Purge { state } => {
                let store = self.broker.purge(&self.queue, *state).await.map_err(failed)?;
                same("purge", &store, &self.model.purge(*state))?;
            }
            Op::Pause { paused } => {
                let store = self.broker.pause(&self.queue, *paused).await.map_err(failed)?;
                same("pause", &store, &self.model.pause(*paused))?;
            }
            Op::Maintain => self.maintain().await?,
            Op::Wait { steps } => self.wait_ms(*steps * STEP_MS).await,
            Op::Snapshot => self.backup = Some((self.backend.snapshot(&self.queue).await, self.model.clone())),
            Op::RollBack => self.roll_back().await?,
            Op::Configure { choice } => self.configure(settings(*choice)).await?,
            Op::Own { who, instead_of } => {
                let (owner, instead_of) = (owner(*who), instead_of.map(owner));
                let store = self.broker.own(&self.queue, &owner, instead_of.as_ref()).await.map_err(failed)?;
                same("own", &store, &self.model.own(&owner, instead_of.as_ref()))?;
            }
            Op::Disown { who } => {
                let owner = owner(*who);
                let store = self.broker.disown(&self.queue, &owner).await.map_err(failed)?;
                same("disown", &store, &self.model.disown(&owner))?;
            }
            Op::DropQueue { who } => self.drop_queue(&owner(*who)).await?,
            Op::Compare => {
                self.compare().await?;
                self.events().await?;
            }
        }
        // A store may forget what is overdue at any time from now on: from here to the next step it does.
        if self.model.has_overdue() { self.maintain().await } else { Ok(()) }
    }

    async fn wait_ms(&mut self, ms: u64) {
        self.backend.advance(&self.queue, ms).await;
        self.model.now_ms += ms;
    }

    async fn configure(&mut self, settings: QueueSettings) -> Result<(), Difference> {
        self.broker.configure(&self.queue, &settings).await.map_err(failed)?;
        self.model.configure(settings);
        same("settings", &self.broker.settings(&self.queue).await.map_err(failed)?, &settings)
    }

    async fn enqueue_new(&mut self, ids: &[u8], delay: Option<u8>, priority: i8) -> Result<(), Difference> {
        let mut seen = BTreeSet::new();
        let mut batch = Vec::new();
        for number in ids.iter().filter(|number| seen.insert(**number % IDS)) {
            let start = match delay {
                // No two tasks are due at once, and of two that nearly are, the older is first.
                Some(parts) => Start::AfterMs(self.delay_ms(parts)),
                None => Start::Now,
            };
            let payload = format!("{{\"n\":{}}}", self.unique);
            batch.push(NewTask {
                start,
                priority: Priority::new(i64::from(priority)).unwrap(),
                duration_ms: u32::from(*number),
                ..NewTask::new(name(*number), task_type(*number), payload)
            });
        }
        let request = RequestId(rand::random());
        self.last_batch = Some((batch.clone(), request));
        self.enqueue(batch, request).await
    }

    async fn enqueue(&mut self, batch: Vec<NewTask>, request: RequestId) -> Result<(), Difference> {
        let store = self.broker.enqueue(&self.queue, &batch, request).await;
        match (store, self.model.enqueue(&batch, request)) {
            (Ok(store), Ok(Taken::New(model))) => same("enqueue", &store, &model),
            (Ok(store), Ok(Taken::Before(count))) => same("enqueue again", &store.len(), &count),
            (Err(BrokerError::TaskExists { ids, .. }), Err(Refusal::Taken(model))) => same("taken", &ids, &model),
            (Err(BrokerError::QueueFull { max, .. }), Err(Refusal::Full(model))) => same("full", &max, &model),
            (store, model) => Err(format!("enqueue:\n  store: {store:?}\n  model: {model:?}")),
        }
    }

    /// A delay that is never a multiple of a step.
    fn delay_ms(&mut self, parts: u8) -> u64 {
        self.unique += 1;
        let parts = u64::from(parts);
        (parts + parts / 2 + 1) * PART_MS + self.unique * APART_MS
    }

    async fn register(&mut self, slot: usize) -> Result<(), Difference> {
        let types = [vec![0], vec![0, 1], vec![1]][slot].iter().map(|n| task_type(*n)).collect();
        let process = self.processes[slot].get_or_insert_with(|| Process {
            info: WorkerInfo {
                id: WorkerId::from_uuid(Uuid::new_v4()),
                name: format!("host:{slot}"),
                types,
                slots: 4,
                version: "0.1.0".to_owned(),
            },
            number: 0,
            unanswered: None,
            held: Vec::new(),
        });
        if process.number > 0 {
            return Ok(());
        }
        self.broker.register(&self.queue, &process.info).await.map_err(failed)?;
        self.model.register(&process.info);
        Ok(())
    }

    async fn exchange(&mut self, slot: usize, ends: &[(u8, End)], want: usize, lost: bool) -> Result<(), Difference> {
        if self.processes[slot].is_none() {
            self.register(slot).await?;
        }
        if self.model.has_aside() {
            self.wait_ms(STEP_MS).await;
        }
        let repeated = self.processes[slot].as_ref().and_then(|process| process.unanswered.clone());
        let exchange = match repeated.clone() {
            Some(exchange) => exchange,
            None => self.new_exchange(slot, ends, want),
        };
        let store = self.broker.exchange(&self.queue, &exchange).await.map_err(failed)?;
        let model = self.model.exchange(&exchange);
        self.clocks.exchanged(&store, &model, repeated.is_some())?;
        let process = self.processes[slot].as_mut().expect("a process");
        process.unanswered = None;
        match model {
            Exchanged::Retired => self.forget_process(slot),
            Exchanged::Done { .. } if lost => process.unanswered = Some(exchange),
            Exchanged::Done { claims, .. } => {
                process.held.extend(claims.into_iter().map(|claim| (claim.task, claim.token)));
            }
        }
        Ok(())
    }

    fn new_exchange(&mut self, slot: usize, ends: &[(u8, End)], want: usize) -> Exchange {
        let mut chosen = Vec::new();
        let mut late = Vec::new();
        let mut process = self.processes[slot].take().expect("a process");
        for (pick, end) in ends {
            let pick = usize::from(*pick);
            if matches!(end, End::Late) {
                let ways = [End::Succeed { result: true }, End::Die { timeout: false }, End::Release, End::Cancel];
                let stale = self.stale.get(pick % self.stale.len().max(1)).cloned();
                late.extend(stale.map(|(task, token)| (task, token, ways[pick % ways.len()].clone())));
            } else if !process.held.is_empty() {
                let at = pick % process.held.len();
                if !chosen.iter().any(|(taken, _)| *taken == at) {
                    chosen.push((at, end));
                }
            }
        }
        // What goes back together is handed in in the order of its claims.
        chosen.sort_by_key(|(at, _)| *at);
        let mut finished = Vec::new();
        let mut set_aside = false;
        for (at, end) in &chosen {
            let (task, token) = process.held[*at].clone();
            let mut end = (*end).clone();
            // Which of two tasks goes first that were set aside at once is free: there is but one.
            if matches!(end, End::Unserved) && std::mem::replace(&mut set_aside, true) {
                end = End::Release;
            }
            finished.push(self.settlement(task, token, &end));
        }
        for (at, _) in chosen.iter().rev() {
            let ended = process.held.remove(*at);
            self.remember_stale(ended);
        }
        for (task, token, end) in late {
            finished.push(self.settlement(task, token, &end));
        }
        process.number += 1;
        let exchange = Exchange { worker: process.info.id, number: process.number, finished, want };
        self.processes[slot] = Some(process);
        exchange
    }

    fn settlement(&mut self, task: TaskId, token: ClaimToken, end: &End) -> Settlement {
        let mut failure = |timeout: &bool, retry: bool| {
            let kind = if *timeout { FailureKind::Timeout } else { FailureKind::Transient };
            let retry_in_ms = retry.then(|| self.delay_ms(0));
            Outcome::Failed { failure: Failure::new(kind, "it broke"), retry_in_ms }
        };
        let (outcome, ran_ms) = match end {
            End::Succeed { result } => {
                (Outcome::Succeeded { result: result.then(|| Bytes::from_static(b"{\"ok\":true}")) }, 7)
            }
            End::Retry { timeout } => (failure(timeout, true), 11),
            End::Die { timeout } => (failure(timeout, false), 13),
            End::Release => (Outcome::Released, 0),
            End::Unserved => (Outcome::Unserved, 0),
            End::Cancel | End::Late => (Outcome::Cancelled, 0),
        };
        Settlement { task, token, outcome, ran_ms }
    }

    async fn skip(&mut self, slot: usize, by: u64) -> Result<(), Difference> {
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        let number = if by == 0 { process.number.saturating_sub(1) } else { process.number + 1 + by };
        let exchange = Exchange { worker: process.info.id, number, finished: Vec::new(), want: 1 };
        let store = self.broker.exchange(&self.queue, &exchange).await.map_err(failed)?;
        let model = self.model.exchange(&exchange);
        self.clocks.exchanged(&store, &model, true)?;
        self.forget_process(slot);
        Ok(())
    }

    async fn heartbeat(&mut self, slot: usize, progress: Option<u8>) -> Result<(), Difference> {
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        let worker = process.info.id;
        let progress: Vec<_> =
            progress.map(|n| (name(n), Progress { percent: n, message: format!("{n} done") })).into_iter().collect();
        let store = self.broker.heartbeat(&self.queue, &worker, &progress).await.map_err(failed)?;
        let model = self.model.heartbeat(&worker, &progress);
        if model == crate::Heartbeat::Retired {
            self.forget_process(slot);
        }
        heartbeats(store, model)
    }

    fn forget_process(&mut self, slot: usize) {
        for held in self.processes[slot].take().map(|process| process.held).unwrap_or_default() {
            self.remember_stale(held);
        }
    }

    fn remember_stale(&mut self, ended: (TaskId, ClaimToken)) {
        self.stale.push_front(ended);
        self.stale.truncate(STALE_MAX);
    }

    async fn retire(&mut self, slot: usize) -> Result<(), Difference> {
        let Some(process) = &self.processes[slot] else { return Ok(()) };
        let worker = process.info.id;
        self.broker.retire(&self.queue, &worker).await.map_err(failed)?;
        self.model.retire(&worker);
        self.forget_process(slot);
        Ok(())
    }

    async fn retry(&mut self, id: &TaskId) -> Result<(), Difference> {
        // Whether someone may requeue an ended task into a full queue is free.
        let ended = self.model.view(id).is_some_and(|view| !view.state.is_live());
        if ended && self.model.live() >= self.model.settings.max_tasks {
            return Ok(());
        }
        let store = self.broker.retry(&self.queue, id).await.map_err(failed)?;
        same("retry", &store, &self.model.retry(id))
    }

    async fn maintain(&mut self) -> Result<(), Difference> {
        if self.model.has_aside() {
            self.wait_ms(STEP_MS).await;
        }
        let workers = !self.model.workers().is_empty();
        let store = self.broker.maintain(&self.queue).await.map_err(failed)?;
        let mut survivors = BTreeSet::new();
        for state in [State::Succeeded, State::Dead, State::Cancelled] {
            let query = ListQuery { state, task_type: None, cursor: None, limit: 100 };
            let page = self.broker.list(&self.queue, &query).await.map_err(failed)?;
            survivors.extend(page.tasks.into_iter().map(|view| view.id));
        }
        let model = self.model.maintain(&survivors);
        maintained(&store, &model, workers)
    }

    /// The dropped queue is created anew, and nothing of it is left. Its processes do not know that yet.
    async fn drop_queue(&mut self, owner: &QueueOwner) -> Result<(), Difference> {
        self.events().await?;
        let store = self.broker.drop_queue(&self.queue, owner).await.map_err(failed)?;
        let settings = self.model.settings;
        same("drop", &store, &self.model.drop_queue(owner))?;
        if store {
            let again = self.broker.drop_queue(&self.queue, owner).await.map_err(failed)?;
            same("drop again", &again, &false)?;
            let created = self.broker.ensure_queue(&self.queue, &settings).await.map_err(failed)?;
            same("created anew", &created, &true)?;
            // How far the clock of the queue had been moved on may have gone with it.
            (self.clocks, self.backup) = (Clocks::default(), None);
            let told = tokio::time::timeout(EVENT_DEADLINE, self.subscription.next()).await;
            same("told of the drop", &told.ok().flatten(), &Some(Delivery::Gap))?;
        }
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<(), Difference> {
        self.events().await?;
        let Some((snapshot, model)) = &self.backup else { return Ok(()) };
        self.backend.roll_back(&self.queue, snapshot).await;
        self.model = Model { now_ms: self.model.now_ms, told: Vec::new(), ..model.clone() };
        self.subscription = self.broker.subscribe(&self.queue).await.map_err(failed)?;
        Ok(())
    }

    /// The store told the same as the model.
    async fn events(&mut self) -> Result<(), Difference> {
        let groups = std::mem::take(&mut self.model.told);
        let expected: usize = groups.iter().map(Vec::len).sum();
        let mut told: Vec<Event> = Vec::new();
        while told.len() < expected {
            match tokio::time::timeout(EVENT_DEADLINE, self.subscription.next()).await {
                Ok(Some(Delivery::Batch(batch))) => told.extend(batch.events.iter().cloned()),
                other => return Err(format!("events: {other:?} after {told:?}; the model has {groups:?}")),
            }
        }
        let whole = format!("\n  store: {told:?}\n  model: {groups:?}");
        let mut rest = told.into_iter();
        for group in groups {
            let mut part: Vec<String> = rest.by_ref().take(group.len()).map(|event| format!("{event:?}")).collect();
            let mut group: Vec<String> = group.iter().map(|event| format!("{event:?}")).collect();
            part.sort();
            group.sort();
            if part != group {
                return Err(format!("events:{whole}"));
            }
        }
        if rest.len() > 0 { Err(format!("the store told more events:{whole}")) } else { Ok(()) }
    }

    async fn compare(&mut self) -> Result<(), Difference> {
        let ids: Vec<TaskId> = (0..IDS).map(name).collect();
        self.clocks.queue(&*self.broker, &self.queue, &self.model, &ids).await
    }
}
