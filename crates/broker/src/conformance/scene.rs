//! A queue of its own for one test, and short words for what tests do to it.

use std::sync::Arc;
use std::time::Duration;

use tidemill_core::{
    Claim, Counters, Event, Failure, FailureKind, NewTask, Outcome, QueueName, QueueOwner, QueueSettings, RequestId,
    Settlement, State, TaskId, TaskRef, TaskType, TaskView, WorkerId, WorkerInfo,
};
use uuid::Uuid;

use super::harness::{Backend, Snapshot, fresh_queue};
use crate::{
    Broker, Delivery, Enqueued, Exchange, Exchanged, Heartbeat, ListQuery, Maintained, Result, Settled, Subscription,
};

/// How long a test waits for what must come: far longer than any store takes, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// The type of tasks whose type does not matter.
pub const WORK: &str = "work";
/// The id that [`Watch::events`] uses up as a mark.
const MARK: &str = "the mark of the watcher";
/// How far ahead the mark is due: beyond all that a test does to the clock.
const MARK_DUE_MS: u64 = 300 * 24 * 3_600_000;

/// A queue under test.
pub struct Scene<'a> {
    /// The store.
    pub broker: Arc<dyn Broker>,
    /// The queue.
    pub queue: QueueName,
    backend: &'a dyn Backend,
}

/// A worker's incarnation as its process sees it.
pub struct Worker<'a> {
    /// Which incarnation.
    pub id: WorkerId,
    /// The number of its last exchange.
    pub number: u64,
    last: Option<Exchange>,
    scene: &'a Scene<'a>,
}

/// A watcher of a scene's events.
pub struct Watch<'a> {
    subscription: Subscription,
    number: Option<u64>,
    scene: &'a Scene<'a>,
}

/// An id.
pub fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

/// A task with nothing special.
pub fn task(text: &str) -> NewTask {
    NewTask::new(id(text), TaskType::new(WORK).unwrap(), "{}")
}

/// The words of ids.
pub fn words<'i>(ids: impl IntoIterator<Item = &'i TaskId>) -> Vec<String> {
    ids.into_iter().map(ToString::to_string).collect()
}

/// A request id that nothing else has.
pub fn request() -> RequestId {
    RequestId(rand::random())
}

/// An owner of this name and uid, at a place where all others are too.
pub fn owner(name: &str, uid: &str) -> QueueOwner {
    let [cluster, namespace, name, uid] = ["east", "mill", name, uid].map(str::to_owned);
    QueueOwner { cluster, namespace, name, uid }
}

/// What events call a task without duration.
pub fn named(text: &str) -> TaskRef {
    TaskRef { id: id(text), duration_ms: 0 }
}

/// A failure that is tried again after `retry_in_ms`, or not.
pub fn failed(retry_in_ms: Option<u64>) -> Outcome {
    Outcome::Failed { failure: Failure::new(FailureKind::Transient, "it broke"), retry_in_ms }
}

/// A success without result.
pub const SUCCEEDED: Outcome = Outcome::Succeeded { result: None };

/// The settlement of a claim that ran for 5 ms.
pub fn settlement(claim: &Claim, outcome: Outcome) -> Settlement {
    Settlement { task: claim.task.clone(), token: claim.token, outcome, ran_ms: 5 }
}

impl<'a> Scene<'a> {
    /// A queue with default settings.
    pub async fn new(backend: &'a dyn Backend) -> Self {
        Self::with(backend, QueueSettings::default()).await
    }

    /// A queue with these settings.
    pub async fn with(backend: &'a dyn Backend, settings: QueueSettings) -> Self {
        let scene = Self { broker: backend.broker(), queue: fresh_queue(), backend };
        assert!(scene.broker.ensure_queue(&scene.queue, &settings).await.unwrap(), "the queue is new");
        scene
    }

    /// The same queue as another process sees it.
    #[must_use]
    pub fn elsewhere(&self) -> Scene<'a> {
        Scene { broker: self.backend.another(), queue: self.queue.clone(), backend: self.backend }
    }

    /// Moves the store's clock.
    pub async fn advance(&self, ms: u64) {
        self.backend.advance(&self.queue, ms).await;
    }

    /// Keeps the queue as it is.
    pub async fn snapshot(&self) -> Snapshot {
        self.backend.snapshot(&self.queue).await
    }

    /// Puts the queue back.
    pub async fn roll_back(&self, snapshot: &Snapshot) {
        self.backend.roll_back(&self.queue, snapshot).await;
    }

    /// Enqueues a batch in a request of its own.
    pub async fn enqueue(&self, batch: &[NewTask]) -> Result<Vec<Enqueued>> {
        self.broker.enqueue(&self.queue, batch, request()).await
    }

    /// Enqueues plain tasks, which are pending then.
    pub async fn add(&self, ids: &[&str]) {
        let batch: Vec<_> = ids.iter().map(|text| task(text)).collect();
        assert_eq!(self.enqueue(&batch).await.unwrap(), vec![Enqueued::Created(State::Pending); ids.len()]);
    }

    /// A registered worker that serves [`WORK`].
    pub async fn worker(&'a self) -> Worker<'a> {
        self.worker_of(&[WORK]).await
    }

    /// A registered worker that serves these types.
    pub async fn worker_of(&'a self, types: &[&str]) -> Worker<'a> {
        let worker = self.stranger();
        self.broker.register(&self.queue, &info(worker.id, types)).await.unwrap();
        worker
    }

    /// A worker that has not registered.
    pub fn stranger(&'a self) -> Worker<'a> {
        Worker { id: WorkerId::from_uuid(Uuid::new_v4()), number: 0, last: None, scene: self }
    }

    /// One task.
    pub async fn task(&self, text: &str) -> Option<TaskView> {
        self.broker.get(&self.queue, &id(text)).await.unwrap()
    }

    /// Where a task stands.
    pub async fn state(&self, text: &str) -> Option<State> {
        self.task(text).await.map(|view| view.state)
    }

    /// All tasks of a state, in order, page by page.
    pub async fn views(&self, state: State) -> Vec<TaskView> {
        let mut all = Vec::new();
        let mut query = ListQuery { state, task_type: None, cursor: None, limit: 1_000 };
        loop {
            let page = self.broker.list(&self.queue, &query).await.unwrap();
            all.extend(page.tasks);
            if page.cursor.is_none() {
                return all;
            }
            query.cursor = page.cursor;
        }
    }

    /// The ids of all tasks of a state, in order.
    pub async fn list(&self, state: State) -> Vec<String> {
        words(self.views(state).await.iter().map(|view| &view.id))
    }

    /// The ids of what is pending, in claim order.
    pub async fn pending(&self) -> Vec<String> {
        self.list(State::Pending).await
    }

    /// What was counted so far.
    pub async fn counters(&self) -> Counters {
        self.broker.stats(&self.queue).await.unwrap().counters
    }

    /// Runs maintenance.
    pub async fn maintain(&self) -> Maintained {
        self.broker.maintain(&self.queue).await.unwrap()
    }

    /// Lets the leases of all workers that say nothing meanwhile run out, with maintenance as usual. What that lost.
    pub async fn lose_the_silent(&self) -> Maintained {
        let lease_ms = u64::from(self.broker.settings(&self.queue).await.unwrap().lease_ms);
        self.maintain().await;
        self.advance(lease_ms / 2 + 1).await;
        let early = self.maintain().await;
        assert!(early.lost.is_empty(), "nobody is lost before the lease ends: {early:?}");
        self.advance(lease_ms / 2 + 1).await;
        self.maintain().await
    }

    /// A watcher of the events from now on.
    pub async fn watch(&'a self) -> Watch<'a> {
        Watch { subscription: self.broker.subscribe(&self.queue).await.unwrap(), number: None, scene: self }
    }
}

impl Worker<'_> {
    /// An exchange with the next number.
    pub async fn exchange(&mut self, finished: Vec<Settlement>, want: usize) -> Exchanged {
        self.number += 1;
        let exchange = Exchange { worker: self.id, number: self.number, finished, want };
        self.last = Some(exchange);
        self.repeat().await
    }

    /// The last exchange once more, as after a lost reply.
    pub async fn repeat(&self) -> Exchanged {
        let exchange = self.last.as_ref().expect("there was an exchange");
        self.scene.broker.exchange(&self.scene.queue, exchange).await.unwrap()
    }

    /// Waits for work, `until` at most, and then claims up to `want`.
    pub async fn claim_after_wait(&mut self, want: usize, until: std::time::Duration) -> Vec<Claim> {
        self.number += 1;
        let exchange = Exchange { worker: self.id, number: self.number, finished: Vec::new(), want };
        let exchange = self.last.insert(exchange);
        claims(self.scene.broker.exchange_after_wait(&self.scene.queue, exchange, until).await.unwrap())
    }

    /// Claims up to `want`.
    pub async fn claim(&mut self, want: usize) -> Vec<Claim> {
        claims(self.exchange(Vec::new(), want).await)
    }

    /// Claims exactly one.
    pub async fn claim_one(&mut self) -> Claim {
        let mut claims = self.claim(1).await;
        assert_eq!(claims.len(), 1, "there is one to claim");
        claims.remove(0)
    }

    /// Settles one claim and takes no other.
    pub async fn settle(&mut self, claim: &Claim, outcome: Outcome) -> Settled {
        let settled = settled(self.exchange(vec![settlement(claim, outcome)], 0).await);
        assert_eq!(settled.len(), 1, "one answer for one settlement");
        settled[0]
    }

    /// Says that it lives. What was cancelled.
    pub async fn heartbeat(&self) -> Vec<String> {
        match self.scene.broker.heartbeat(&self.scene.queue, &self.id, &[]).await.unwrap() {
            Heartbeat::Renewed { cancelled } => words(&cancelled),
            Heartbeat::Retired => panic!("the worker is registered"),
        }
    }

    /// Ends in good order.
    pub async fn retire(&self) {
        self.scene.broker.retire(&self.scene.queue, &self.id).await.unwrap();
    }
}

impl Watch<'_> {
    /// All events since the last call, in order. Fails on a gap.
    pub async fn events(&mut self) -> Vec<Event> {
        let text = format!("{MARK} {}", rand::random::<u64>());
        let mark = NewTask { start: tidemill_core::Start::AfterMs(MARK_DUE_MS), ..task(&text) };
        self.scene.enqueue(&[mark]).await.unwrap();
        let last = Event::Scheduled(vec![named(&text)]);
        let mut seen = Vec::new();
        loop {
            let delivery = tokio::time::timeout(DEADLINE, self.subscription.next()).await;
            match delivery.unwrap_or_else(|_| panic!("no further event within {DEADLINE:?} after {seen:?}")) {
                Some(Delivery::Batch(batch)) => {
                    assert!(self.number.is_none_or(|number| batch.number == number + 1), "numbers have no gap");
                    self.number = Some(batch.number);
                    seen.extend(batch.events.iter().cloned());
                }
                other => panic!("expected events, got {other:?} after {seen:?}"),
            }
            if seen.last() == Some(&last) {
                seen.pop();
                return seen;
            }
        }
    }
}

/// What a worker that serves `types` says of itself.
pub fn info(id: WorkerId, types: &[&str]) -> WorkerInfo {
    WorkerInfo {
        id,
        name: "host:1".to_owned(),
        types: types.iter().map(|text| TaskType::new(*text).unwrap()).collect(),
        slots: 10,
        version: "0.1.0".to_owned(),
    }
}

/// The claims of an exchange that was done.
pub fn claims(exchanged: Exchanged) -> Vec<Claim> {
    match exchanged {
        Exchanged::Done { claims, .. } => claims,
        Exchanged::Retired => panic!("the worker is registered"),
    }
}

/// The settlements of an exchange that was done.
pub fn settled(exchanged: Exchanged) -> Vec<Settled> {
    match exchanged {
        Exchanged::Done { settled, .. } => settled,
        Exchanged::Retired => panic!("the worker is registered"),
    }
}

/// The ids of claims, in order.
pub fn claimed(claims: &[Claim]) -> Vec<String> {
    words(claims.iter().map(|claim| &claim.task))
}
