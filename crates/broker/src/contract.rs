//! The contract: few operations, batch first, because a batch costs one round trip.

use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::{
    Claim, NewTask, Progress, QueueName, QueueOwner, QueueSettings, QueueStats, RequestId, Settlement, State, TaskId,
    TaskType, TaskView, WorkerId, WorkerInfo, WorkerView,
};

use crate::error::Result;
use crate::subscription::Subscription;

/// Most tasks in one [`Broker::enqueue`], and most settlements or claims in one [`Broker::exchange`].
pub const BATCH_MAX: usize = 10_000;
/// Most tasks that one [`Broker::maintain`] promotes, returns or forgets: it is bounded, and says when it left some.
pub const MAINTAIN_MAX: usize = 1_000;
/// How long a task is set aside that its worker does not serve, in milliseconds, before the next worker may claim it.
pub const SET_ASIDE_MS: u64 = 200;
/// Most tasks in one page of [`Broker::list`].
pub const PAGE_MAX: usize = 1_000;

/// What is logged of a claim that is not handed out because its record cannot be read.
pub(crate) const UNREADABLE: &str = "a claimed task cannot be read and is not run; it stays active until this worker ends, and dies after its last loss";

/// A store of tasks. The invariants that each store keeps are in the project's ARCHITECTURE.md, each with its test.
///
/// Times are the store's: no caller's clock is compared with another's. Every operation answers within a deadline of
/// about two seconds ([`Broker::wait`] within the one it is given), with [`BrokerError::Unavailable`] if need be.
/// An operation on a queue that does not exist is [`BrokerError::UnknownQueue`].
///
/// [`BrokerError::Unavailable`]: crate::BrokerError::Unavailable
/// [`BrokerError::UnknownQueue`]: crate::BrokerError::UnknownQueue
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// What keeps the tasks, for people: `redis 7.0.15 at 127.0.0.1:6379`, `sqlite at ./tidemill-data`. No secrets.
    fn describe(&self) -> String;

    /// Whether the store answers.
    async fn ping(&self) -> Result<()>;

    /// Creates the queue with these settings if there is none. Whether it did.
    async fn ensure_queue(&self, queue: &QueueName, settings: &QueueSettings) -> Result<bool>;

    /// Replaces the settings of a queue, and creates it if there is none.
    async fn configure(&self, queue: &QueueName, settings: &QueueSettings) -> Result<()>;

    /// The settings of a queue.
    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings>;

    /// Makes `owner` the one who reconciles the queue, if nobody else is.
    ///
    /// The record is set where there is none. It stays [`Ours`](Ownership::Ours) where the kept one has the same cluster,
    /// namespace and name: a uid that differs is that of a newer object of the same name and replaces the older.
    /// A record that equals `instead_of` in all parts is replaced, whoever it names. Otherwise nothing changes.
    ///
    /// The owner binds nobody but those who ask for it: tasks come and go whoever owns the queue. It outlives
    /// [`configure`](Broker::configure) and [`purge`](Broker::purge). A part that is too long is `BadOwner`.
    async fn own(&self, queue: &QueueName, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Result<Ownership>;

    /// Removes the record of who owns the queue, if it equals `owner` in all parts. Whether it did.
    async fn disown(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool>;

    /// Who owns the queue, if anybody does.
    async fn owner(&self, queue: &QueueName) -> Result<Option<QueueOwner>>;

    /// Forgets the queue with its tasks, workers and settings, if its owner equals `owner` in all parts. Whether it did:
    /// `false` where somebody else or nobody owns it, and where there is no such queue.
    ///
    /// From then on it is unknown to every operation, also to a worker that holds claims of it; whoever ensures it
    /// creates it anew. Watchers are told of a gap. A large queue may go in steps: an error leaves a part of it, and the
    /// call may be repeated.
    async fn drop_queue(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool>;

    /// All queues, by name.
    async fn queues(&self) -> Result<Vec<QueueName>>;

    /// Takes in a batch, whole or not at all, in order. At most [`BATCH_MAX`].
    ///
    /// An id is free unless a live task has it; an ended task of that id is forgotten with its errors. Where a task
    /// (live, or ended and kept) came with this very `request`, the batch has been taken in before and the answer is as
    /// it was then. Otherwise ids that are taken refuse the whole batch with `TaskExists`, all of them named; an id twice
    /// in the batch with `DuplicateId`; one task too many with `QueueFull`.
    ///
    /// Announces one `Scheduled`, then `Next` if the head of the queue is another than before. Wakes one waiter.
    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>>;

    /// Registers a worker's incarnation and grants it a lease. Its first exchange has number 1.
    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()>;

    /// In one round trip: settles what ended, promotes what is due (at most [`MAINTAIN_MAX`]), claims up to `want`.
    ///
    /// Exchanges are numbered 1, 2, 3, … per incarnation. The number of the last one repeated gives the same answer
    /// again, less the claims that have ended since, and does nothing (so a lost reply neither loses a claim nor settles
    /// twice). A number further on than the next (the store was rolled back) ends the incarnation as if it were lost; an
    /// older one is a duplicate that came late and does nothing. Both, and an incarnation that is not registered or was
    /// lost, are answered [`Exchanged::Retired`], nothing being settled.
    ///
    /// Claims are taken by priority, then in order of arrival. Nothing is claimed while the queue is paused.
    /// A settlement whose claim is not (or no longer) this one is refused and counted.
    /// A claim whose record this build cannot read is not handed out but logged: with its worker it is lost, in the end dead.
    /// A failure or release of a task that someone cancelled meanwhile ends it as cancelled. What is released in one exchange
    /// stands at the head in the order of its settlements. The ends of one exchange are announced in any order.
    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged>;

    /// Blocks until there is work for some waiter, something falls due, or `until` has passed; may return early.
    /// An enqueue wakes one waiter within milliseconds. Whoever claims and leaves work behind wakes the next.
    /// Safe to drop while it waits: no wake-up is lost for longer than five seconds.
    async fn wait(&self, queue: &QueueName, until: Duration) -> Result<()>;

    /// [`Broker::wait`] and then [`Broker::exchange`], in one operation that a store may answer sooner than both in turn.
    /// For a worker that has nothing else to do: `until` should not lie beyond the due time that the exchange before told.
    /// Safe to drop, as an exchange is whose reply was lost: it may be carried out yet, and is repeated under its number.
    async fn exchange_after_wait(&self, queue: &QueueName, exchange: &Exchange, until: Duration) -> Result<Exchanged> {
        self.wait(queue, until).await?;
        self.exchange(queue, exchange).await
    }

    /// Renews the lease of an incarnation, which keeps all of its claims, stores the progress of its tasks and brings
    /// back which of them were cancelled. To be sent at least three times per lease.
    async fn heartbeat(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        progress: &[(TaskId, Progress)],
    ) -> Result<Heartbeat>;

    /// Ends an incarnation in good order. What it still holds is released: no retry, no loss, head of its priority.
    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()>;

    /// Promotes what is due, returns the tasks of lost workers (to the head of their priority; dead with `worker lost` at
    /// the `loss_limit`-th loss), forgets the ended beyond retention. Each at most [`MAINTAIN_MAX`] a call.
    ///
    /// To be run about every second by every process that serves the queue; any number may. When nobody ran it for
    /// [`QueueSettings::outage_ms`], the store was away: it then renews all leases once instead of returning tasks.
    async fn maintain(&self, queue: &QueueName) -> Result<Maintained>;

    /// One task, or `None` where the store knows none of that id.
    async fn get(&self, queue: &QueueName, task: &TaskId) -> Result<Option<TaskView>>;

    /// Tasks of one state: pending in claim order, delayed and retrying by due time, active by time of claim, ended ones
    /// newest first. Attempts and results are left out ([`Broker::get`] has them).
    async fn list(&self, queue: &QueueName, query: &ListQuery) -> Result<Page>;

    /// The queue at a glance, at a cost that does not grow with the number of tasks.
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats>;

    /// The registered workers, lost ones included until their tasks have been returned.
    async fn workers(&self, queue: &QueueName) -> Result<Vec<WorkerView>>;

    /// Cancels a task: at once where it waits; where it is active, its worker is asked with the next heartbeat.
    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled>;

    /// Runs a dead or cancelled task again, or a delayed or retrying one now: to the tail of its priority, with its
    /// failures and losses back at none; its past errors stay. Announces `Scheduled` where it had ended.
    async fn retry(&self, queue: &QueueName, task: &TaskId) -> Result<Requeued>;

    /// Forgets a task that waits (which cancels it) or has ended. An active one is refused.
    async fn delete(&self, queue: &QueueName, task: &TaskId) -> Result<Deleted>;

    /// Holds back (`true`) or grants (`false`) claims. What runs goes on. Whether that changed anything.
    async fn pause(&self, queue: &QueueName, paused: bool) -> Result<bool>;

    /// Deletes all tasks of a state (not `Active`), as [`Broker::delete`] does, in bounded steps. How many.
    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64>;

    /// The events of the queue from now on, from all processes. When this returns, the subscription is in force.
    async fn subscribe(&self, queue: &QueueName) -> Result<Subscription>;

    /// Lets go of connections and files. Waiters and watchers end.
    async fn close(&self);
}

/// What became of one task of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It stands here now, or did when its request first came.
    Created(State),
}

/// Whose a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The one's who asked.
    Ours,
    /// Somebody else's.
    Theirs(QueueOwner),
}

/// One exchange of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Which incarnation.
    pub worker: WorkerId,
    /// The number of this exchange, from 1.
    pub number: u64,
    /// What ended. At most [`BATCH_MAX`].
    pub finished: Vec<Settlement>,
    /// How many tasks it would take. At most [`BATCH_MAX`].
    pub want: usize,
}

/// The answer to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchanged {
    /// Done.
    Done {
        /// What became of each settlement, in order.
        settled: Vec<Settled>,
        /// What the worker now holds in addition, in claim order.
        claims: Vec<Claim>,
        /// Tasks that still wait.
        pending: u64,
        /// Milliseconds until the next delayed or retrying task is due.
        next_due_ms: Option<u64>,
        /// Whether claims are held back.
        paused: bool,
    },
    /// The incarnation is not (or no longer) registered: nothing was settled or claimed, and what it held is or will
    /// be other workers'. Register a new one.
    Retired,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The task stands here now.
    Now(State),
    /// The claim was not (or no longer) the worker's: nothing was done, except that it was counted.
    Refused,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// The lease is renewed.
    Renewed {
        /// Which of its tasks were cancelled and not settled yet.
        cancelled: Vec<TaskId>,
    },
    /// The incarnation is not (or no longer) registered.
    Retired,
}

/// What one run of maintenance did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Maintained {
    /// How many due tasks were promoted.
    pub promoted: u64,
    /// The claims that were lost, and where their tasks stand now.
    pub lost: Vec<Lost>,
    /// How many ended tasks were forgotten.
    pub forgotten: u64,
    /// Whether all leases were renewed because the store had been away.
    pub renewed: bool,
    /// Whether more is left to do than one run does.
    pub more: bool,
}

/// A claim that ended with its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Which task.
    pub task: TaskId,
    /// Which worker.
    pub worker: WorkerId,
    /// Pending, dead, or cancelled (where someone had asked for that).
    pub state: State,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Tasks of this state.
    pub state: State,
    /// Only of this type. Where few are, a page may be short, or even empty, and still have a cursor.
    pub task_type: Option<TaskType>,
    /// Where to go on: the cursor of the page before.
    pub cursor: Option<String>,
    /// At most so many, at most [`PAGE_MAX`].
    pub limit: usize,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The tasks.
    pub tasks: Vec<TaskView>,
    /// Where to go on; `None` at the end. Tasks that move meanwhile may be missed or seen twice.
    pub cursor: Option<String>,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled.
    Now,
    /// It is active; its worker will be asked.
    Asked,
    /// It had ended already, so.
    Ended(State),
    /// The store knows none of that id.
    Unknown,
}

/// What became of a retry by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// It is pending.
    Pending,
    /// It is in a state from which it cannot be requeued.
    Refused(State),
    /// The store knows none of that id.
    Unknown,
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is forgotten.
    Forgotten,
    /// It is active: cancel it first.
    Active,
    /// The store knows none of that id.
    Unknown,
}
