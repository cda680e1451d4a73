//! The records.

use serde::{Deserialize, Serialize};
use tidemill::core::{FailureKind, NewTask, Outcome, QueueStats, State};

/// What [`Record::NotExchanged`] says where the incarnation was over.
pub const RETIRED: &str = "retired";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A producer is about to hand a batch in. `call` is its own number of the call.
    Enqueue {
        /// Which call of this process.
        call: u64,
        /// Into which queue.
        queue: String,
        /// What.
        tasks: Vec<Handed>,
    },
    /// That call was answered, or will never be.
    Enqueued {
        /// Which call of this process.
        call: u64,
        /// How.
        answer: Answer,
    },
    /// An incarnation is registered.
    Registered {
        /// On which queue.
        queue: String,
        /// Which.
        worker: String,
    },
    /// A worker is about to send an exchange.
    Exchange {
        /// On which queue.
        queue: String,
        /// Which incarnation.
        worker: String,
        /// The number of the exchange.
        number: u64,
        /// What it settles.
        finished: Vec<Finished>,
    },
    /// The exchange was answered.
    Exchanged {
        /// On which queue.
        queue: String,
        /// Which incarnation.
        worker: String,
        /// The number of the exchange.
        number: u64,
        /// Where each settled task stands; `None` is a refusal.
        settled: Vec<Option<State>>,
        /// What was claimed.
        claims: Vec<Claimed>,
    },
    /// The exchange was answered with the end of the incarnation, or not at all.
    NotExchanged {
        /// Which incarnation.
        worker: String,
        /// The number of the exchange.
        number: u64,
        /// What was said.
        error: String,
    },
    /// A worker is about to sign off.
    Retire {
        /// On which queue.
        queue: String,
        /// Which incarnation.
        worker: String,
    },
    /// Maintenance said what it did.
    Maintained {
        /// Of which queue.
        queue: String,
        /// Which claims ended as lost.
        lost: Vec<LostClaim>,
        /// Whether leases were renewed because the store had been away.
        renewed: bool,
    },
    /// A handler began.
    Started {
        /// In which queue.
        queue: String,
        /// Which task.
        task: String,
        /// Which life of that id.
        life: String,
        /// Which attempt.
        attempt: u32,
    },
    /// A cancellation is about to be asked for.
    Cancel {
        /// Which call of this process.
        call: u64,
        /// In which queue.
        queue: String,
        /// Which task.
        task: String,
    },
    /// It was answered.
    Cancelled {
        /// Which call of this process.
        call: u64,
        /// `now`, `asked`, the state in which it had ended, `unknown` or an error.
        answer: String,
    },
    /// A line of the program's own log about a task.
    Told {
        /// In which queue.
        queue: String,
        /// Which task.
        task: String,
        /// The word for what happened.
        event: String,
        /// The claim, where it was the doing of one.
        token: Option<String>,
        /// Which attempt.
        attempt: Option<u32>,
        /// How long it ran, in milliseconds.
        ran_ms: Option<u64>,
        /// What was said beside it.
        error: Option<String>,
    },
    /// A process was started.
    Spawned {
        /// Its name and life.
        process: String,
        /// By how much its clock is off, in milliseconds.
        skew_ms: i64,
    },
    /// A process ended.
    Ended {
        /// Its name and life.
        process: String,
        /// By what.
        how: String,
    },
    /// A fault begins.
    Fault {
        /// Its place in the schedule.
        number: usize,
        /// What sort.
        kind: String,
        /// Whom it befalls.
        target: String,
        /// How exactly.
        text: String,
    },
    /// It is over.
    Healed {
        /// Its place in the schedule.
        number: usize,
    },
    /// From here on the store takes nothing in (`true`), or did until here (`false`).
    StoreFull {
        /// Which of both.
        full: bool,
    },
    /// The registered workers, as they were seen from beside all faults.
    Workers {
        /// Of which queue.
        queue: String,
        /// All of them.
        workers: Vec<SeenWorker>,
    },
    /// The store could not be asked.
    Away {
        /// What was said.
        error: String,
    },
    /// The queue's figures.
    Figures {
        /// Of which queue.
        queue: String,
        /// All of them.
        stats: QueueStats,
        /// Whether everything was over by then.
        last: bool,
    },
    /// What the store announced in one message.
    Announced {
        /// Of which queue.
        queue: String,
        /// The number of the message.
        number: u64,
        /// Of each task, in order.
        announced: Vec<(String, Announcement)>,
    },
    /// Announcements are missing here.
    Gap {
        /// Of which queue.
        queue: String,
    },
    /// Where a task stood at the end.
    Kept {
        /// In which queue.
        queue: String,
        /// Which task.
        task: String,
        /// Which life of that id.
        life: String,
        /// Where it stands.
        state: State,
        /// Attempts that failed.
        failures: u32,
        /// Workers lost with it.
        losses: u32,
    },
    /// By which settings all of this went on.
    Rules {
        /// How long a silent worker keeps its claims, in milliseconds.
        lease_ms: u64,
        /// How many lost workers end a task as dead.
        loss_limit: u32,
        /// The queues whose workers all write histories, so that no claim is unknown that reached a worker.
        told_in_full: Vec<String>,
    },
}

/// What the store announces of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Announcement {
    /// It was taken in.
    Scheduled,
    /// An attempt began.
    Started,
    /// It ended.
    Ended,
}

/// A task as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The id.
    pub task: String,
    /// Tells this request for the id from all others: see [`life`].
    pub life: String,
    /// When it may start.
    pub start: Start,
}

/// When a task may start, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// At once.
    Now,
    /// So many milliseconds after the store took it.
    After(u64),
    /// At this time, in milliseconds since the Unix epoch.
    At(u64),
}

/// What became of an enqueue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is there.
    Acknowledged,
    /// Nothing was taken in, since ids are alive.
    Exists,
    /// Nothing was taken in, since the store is full.
    StoreFull {
        /// The status of HTTP, 0 elsewhere.
        status: u16,
        /// What was said.
        reason: String,
    },
    /// Nothing was taken in, since it was wrong.
    Wrong {
        /// The status of HTTP, 0 elsewhere.
        status: u16,
        /// What was said.
        reason: String,
    },
    /// It may be there, or come to be.
    Unknown {
        /// The status of HTTP, 0 where none came.
        status: u16,
        /// What was said.
        reason: String,
    },
}

/// A settlement as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Which task.
    pub task: String,
    /// By which claim.
    pub token: String,
    /// `succeeded`, `failed`, `released`, `unserved` or `cancelled`.
    pub outcome: String,
    /// Milliseconds until the next attempt.
    pub retry_in_ms: Option<u64>,
    /// Whether it failed because its time was up.
    pub timed_out: bool,
}

/// A claim as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// Which task.
    pub task: String,
    /// The fence.
    pub token: String,
    /// Which life of that id.
    pub life: String,
    /// Which attempt.
    pub attempt: u32,
    /// Workers lost with it before.
    pub losses: u32,
    /// When it was claimed, in milliseconds, by the store's clock.
    pub started_ms: u64,
    /// When it was taken in, in milliseconds, by the store's clock.
    pub enqueued_ms: u64,
}

/// A claim that ended with its worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostClaim {
    /// Which task.
    pub task: String,
    /// Which worker.
    pub worker: String,
    /// Where the task stands then.
    pub state: State,
}

/// A worker as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenWorker {
    /// The incarnation.
    pub worker: String,
    /// Its name for people.
    pub name: String,
    /// How many tasks it holds.
    pub active: u32,
    /// What is left of its lease, in milliseconds.
    pub lease_left_ms: i64,
}

impl Record {
    /// The record with nothing in its lists but what is about `task`.
    #[must_use]
    pub fn about(&self, task: &str) -> Self {
        let mut record = self.clone();
        match &mut record {
            Self::Enqueue { tasks, .. } => tasks.retain(|handed| handed.task == task),
            Self::Exchange { finished, .. } => finished.retain(|finished| finished.task == task),
            Self::Exchanged { claims, .. } => claims.retain(|claim| claim.task == task),
            Self::Maintained { lost, .. } => lost.retain(|lost| lost.task == task),
            Self::Announced { announced, .. } => announced.retain(|(of, _)| of == task),
            _ => {}
        }
        record
    }
}

impl From<&NewTask> for Handed {
    fn from(task: &NewTask) -> Self {
        let start = match task.start {
            tidemill::Start::Now | tidemill::Start::AfterMs(0) => Start::Now,
            tidemill::Start::AfterMs(ms) => Start::After(ms),
            tidemill::Start::AtMs(ms) => Start::At(ms),
        };
        Self { task: task.id.to_string(), life: life(&task.payload), start }
    }
}

/// The life of an id that a payload belongs to: its member `life`, or else its `duration_ms`. Whoever hands an id in again by
/// another request gives it another life.
pub fn life(payload: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Marks {
        life: Option<String>,
        duration_ms: Option<u64>,
    }
    match serde_json::from_slice(payload) {
        Ok(Marks { life: Some(life), .. }) => life,
        Ok(Marks { duration_ms: Some(ms), .. }) => format!("ms:{ms}"),
        _ => "unmarked".to_owned(),
    }
}

/// What a settlement says, in the words of [`Finished`].
pub fn outcome(outcome: &Outcome) -> (&'static str, Option<u64>, bool) {
    match outcome {
        Outcome::Succeeded { .. } => ("succeeded", None, false),
        Outcome::Failed { failure, retry_in_ms } => ("failed", *retry_in_ms, failure.kind == FailureKind::Timeout),
        Outcome::Released => ("released", None, false),
        Outcome::Unserved => ("unserved", None, false),
        Outcome::Cancelled => ("cancelled", None, false),
    }
}
