//! Trying handlers without a broker, and whole workers without a server.
//!
//! [`run`] calls one handler once:
//!
//! ```
//! use tidemill::{HandlerError, Payload, testing};
//!
//! #[derive(serde::Deserialize)]
//! struct Division {
//!     dividend: u32,
//!     divisor: u32,
//! }
//!
//! async fn divide(Payload(task): Payload<Division>) -> Result<u32, HandlerError> {
//!     task.dividend.checked_div(task.divisor).ok_or_else(|| HandlerError::permanent("division by zero"))
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let outcome = testing::run(divide, serde_json::json!({"dividend": 12, "divisor": 4})).await;
//! assert_eq!(outcome.result::<u32>().unwrap(), 3);
//!
//! let outcome = testing::run(divide, serde_json::json!({"dividend": 12, "divisor": 0})).await;
//! assert!(outcome.error().unwrap().is_permanent());
//! # });
//! ```
//!
//! [`Mill`] runs a worker on a store of its own until nothing is left to do, with retries and delays, whose time it skips:
//!
//! ```
//! use tidemill::core::State;
//! use tidemill::{Context, HandlerError, NewTask, Worker, testing::Mill};
//!
//! async fn third_time_lucky(cx: Context) -> Result<u32, HandlerError> {
//!     if cx.attempt() < 3 { Err(HandlerError::transient("not yet")) } else { Ok(cx.attempt()) }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mill = Mill::start(Worker::builder().handler("try", third_time_lucky)).await?;
//! let task = NewTask { retries: Some(5), ..NewTask::new("a".parse()?, "try".parse()?, "{}") };
//! mill.enqueue(vec![task]).await?;
//! mill.run_until_idle().await?;
//! let task = mill.task("a").await?;
//! assert_eq!((task.state, task.failures, task.result.as_deref()), (State::Succeeded, 2, Some(&b"3"[..])));
//! mill.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult};
use uuid::Uuid;

use crate::function::{Function, TaskFunction};

mod mill;

pub use mill::{Mill, MillError};

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome(HandlerResult);

impl Outcome {
    /// The result as a `T` (no result is `null`), or the error.
    pub fn result<T: DeserializeOwned>(self) -> Result<T, HandlerError> {
        let output = self.0?;
        let json = output.as_json().map_or(&b"null"[..], |json| json);
        serde_json::from_slice(json).map_err(HandlerError::from)
    }

    /// The error, where there is one.
    pub fn error(&self) -> Option<&HandlerError> {
        self.0.as_ref().err()
    }

    /// Whether another attempt would be made, retries left.
    pub fn is_retried(&self) -> bool {
        self.error().is_some_and(|error| !error.is_permanent())
    }

    /// The wait before it that the handler asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        self.error().and_then(HandlerError::wait)
    }
}

/// Runs a handler function once, as the first attempt of a task with this payload. A panic is the test's.
pub async fn run<F, Args>(function: F, payload: impl Serialize) -> Outcome
where
    F: TaskFunction<Args, ()>,
    Args: 'static,
{
    run_with((), function, payload).await
}

/// The same for a function that asks for a state.
pub async fn run_with<F, Args, S>(state: S, function: F, payload: impl Serialize) -> Outcome
where
    F: TaskFunction<Args, S>,
    Args: 'static,
    S: Clone + Send + Sync + 'static,
{
    run_handler(&Function::new(function, state), payload).await
}

/// The same for a type that implements [`Handler`].
pub async fn run_handler(handler: &impl Handler, payload: impl Serialize) -> Outcome {
    let attempt = async {
        let payload = serde_json::to_vec(&payload)?;
        let (cx, _stop) = Context::detached(TaskId::from_uuid(Uuid::now_v7()), TaskType::new("test")?, payload);
        handler.run(cx).await
    };
    Outcome(attempt.await)
}
