//! What a task, a queue, a policy and an event are.
//!
//! Everything else in Tidemill leans on this crate, so it leans on nothing: it does no I/O, awaits nothing, reads no
//! clock and draws no random number (callers pass times and random units in). It holds
//!
//! - [`name`] and [`id`]: validated names, so that a wrong one cannot be built;
//! - [`task`]: what a caller hands in, what a worker is handed and how an attempt ends;
//! - [`state`]: the states of a task and the moves between them;
//! - [`policy`]: retries, backoff, retention and the defaults of a queue;
//! - [`envelope`]: the bytes in which a store keeps a task, behind a format byte;
//! - [`event`]: what is announced when tasks move;
//! - [`owner`]: who reconciles a queue;
//! - [`view`]: what can be read of tasks, workers and queues;
//! - [`problem`]: errors for people and programs (RFC 9457), and [`suggest`], the nearest right word.

pub mod envelope;
pub mod event;
pub mod id;
pub mod name;
pub mod owner;
pub mod policy;
pub mod problem;
pub mod state;
pub mod suggest;
pub mod task;
pub mod view;

pub use envelope::{Record, RecordError};
pub use event::{Event, EventBatch, TaskRef};
pub use id::{ClaimToken, RequestId, TaskId, WorkerId};
pub use name::{NameError, QueueName, TaskType};
pub use owner::QueueOwner;
pub use policy::{Backoff, Keep, Priority, QueueSettings, Retention};
pub use problem::{FieldError, Problem};
pub use state::{State, Transition};
pub use task::{Claim, Failure, FailureKind, NewTask, Outcome, Settlement, Start};
pub use view::{AttemptView, Counters, Progress, QueueStats, TaskView, WorkerInfo, WorkerView};
