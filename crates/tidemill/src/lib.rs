//! Write a Tidemill worker of your own, and enqueue from your own program.
//!
//! A task type is an async function. Its arguments say what it needs, in any order, and its result is kept with the task:
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use tidemill::{Context, HandlerError, OrFail, Payload, Worker};
//!
//! #[derive(Deserialize)]
//! struct Count {
//!     text: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Counted {
//!     words: usize,
//! }
//!
//! async fn count(cx: Context, Payload(task): Payload<Count>) -> Result<Counted, HandlerError> {
//!     if task.text.is_empty() {
//!         return Err(HandlerError::permanent("there is no text")); // trying again would not help
//!     }
//!     cx.progress(50, "counting");
//!     let words = cx.blocking(move || task.text.split_whitespace().count()).await?;
//!     Ok(Counted { words })
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), tidemill::WorkerError> {
//!     Worker::from_environment().handler("count", count).run().await
//! }
//! ```
//!
//! # What a handler should know
//!
//! - It may run more than once for the same task (a worker was lost, a reply was lost), so what it does should bear
//!   repetition. [`Context::task`] is the same each time.
//! - An error is *transient* by default (`?` makes one of any [`std::error::Error`]): the task is tried again while it has
//!   retries left, after its backoff or the [`retry_after`](HandlerError::retry_after) that the error asks for. A
//!   [permanent](HandlerError::permanent) one ends the task as dead; [`OrFail`] turns errors into either.
//! - A panic fails the attempt and nothing else.
//! - Long computations belong into [`Context::blocking`]. When an attempt should end early (cancelled, late, the worker
//!   drains, its lease is lost) [`Context::cancelled`] comes, and a moment later the function is dropped at its `.await`.
//! - A result has at most 256 KiB of JSON. What is larger belongs into an object store, its URL into the result.
//!
//! # Where a worker runs
//!
//! [`Worker::from_environment`] takes the arguments, the settings file and the `TIDEMILL_*` environment that
//! `tidemill worker` takes, and serves the same `/livez`, `/readyz` and `/metrics`: an image around it can be the
//! `spec.worker.image` of a `TaskQueue`, and the operator scales it. [`Worker::builder`] says everything in code instead.
//! Both end in order on SIGTERM: what can end within the shutdown timeout does, the rest goes back to the queue.
//!
//! # Tests
//!
//! [`testing::run`] calls a handler without any broker; [`testing::Mill`] runs a whole worker on a store of its own until
//! nothing is left to do:
//!
//! ```
//! use tidemill::{HandlerError, Payload, testing};
//!
//! async fn double(Payload(n): Payload<std::collections::BTreeMap<String, u32>>) -> Result<u32, HandlerError> {
//!     Ok(n.values().sum::<u32>() * 2)
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let outcome = testing::run(double, serde_json::json!({"a": 1, "b": 2})).await;
//! assert_eq!(outcome.result::<u32>().unwrap(), 6);
//! # });
//! ```
//!
//! # Enqueueing
//!
//! [`client::Client`] speaks to a Tidemill server: enqueue, look, wait for a result, cancel.
//!
//! # Deeper
//!
//! A type that implements [`Handler`] does what a function does and is added by
//! [`serve`](WorkerBuilder::serve); a [`Registry`] and an [`Executor`] on any [`Broker`] are what a [`Worker`] is made of:
//!
//! ```no_run
//! use std::sync::Arc;
//! use tidemill::{Broker, CancellationToken, Executor, ExecutorOptions, Registry};
//!
//! # async fn run(store: Arc<dyn Broker>, registry: Registry) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ExecutorOptions { slots: 20, ..ExecutorOptions::new("greetings".parse()?) };
//! let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
//! let report = Executor::new(store, Arc::new(registry), options).run(stop, abort).await;
//! println!("{} tasks were not settled", report.unsettled.len());
//! # Ok(())
//! # }
//! ```

pub mod client;
mod error;
mod extract;
mod function;
pub mod testing;
mod worker;

pub use error::WorkerError;
pub use extract::{FromTask, Payload, State};
pub use function::{IntoOutput, TaskFunction};
pub use tidemill_broker as broker;
pub use tidemill_broker::{Broker, BrokerError};
pub use tidemill_core as core;
pub use tidemill_core::{
    Backoff, FailureKind, NewTask, Priority, QueueName, QueueSettings, RequestId, Start, TaskId, TaskType,
};
pub use tidemill_executor::{
    Context, Executor, ExecutorOptions, Handler, HandlerError, HandlerResult, Metrics, OrFail, Output, Registry,
    RegistryError, Report, Status, Threads, async_trait,
};
/// The arguments by which any process of Tidemill is told its settings, for [`WorkerBuilder::configured_by`].
pub use tidemill_process::args::SettingArgs;
pub use tokio_util::sync::CancellationToken;
pub use worker::{Worker, WorkerBuilder};
