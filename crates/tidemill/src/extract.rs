//! What a handler function may take.

use serde::de::DeserializeOwned;
use tidemill_core::{QueueName, TaskId, TaskType};
use tidemill_executor::{Context, HandlerError};
use tokio_util::sync::CancellationToken;

/// An argument of a handler function, made of the task at hand and of the worker's state `S`.
///
/// | argument | what it is |
/// |---|---|
/// | [`Payload<T>`] | the payload as a `T`; one that does not fit is a permanent error that names the member |
/// | [`Context`] | the attempt: its number, its deadline, progress, blocking work |
/// | [`State<S>`] | a clone of what [`WorkerBuilder::state`](crate::WorkerBuilder::state) was given |
/// | [`CancellationToken`] | cancelled when the attempt should end early |
/// | [`TaskId`], [`TaskType`], [`QueueName`] | which task |
///
/// Implement it for what several handlers make of a task in the same way:
///
/// ```
/// use tidemill::{Context, FromTask, HandlerError};
///
/// /// Who asked, as a member of each payload says.
/// struct Tenant(String);
///
/// impl<S> FromTask<S> for Tenant {
///     fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
///         #[derive(serde::Deserialize)]
///         struct Part {
///             tenant: String,
///         }
///         Ok(Self(cx.payload::<Part>()?.tenant))
///     }
/// }
///
/// async fn bill(Tenant(tenant): Tenant) -> Result<String, HandlerError> {
///     Ok(format!("the bill of {tenant}"))
/// }
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let outcome = tidemill::testing::run(bill, serde_json::json!({"tenant": "acme"})).await;
/// assert_eq!(outcome.result::<String>().unwrap(), "the bill of acme");
/// # });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that a handler can take",
    label = "not an argument of a handler",
    note = "take `Payload<T>` where `T: serde::de::DeserializeOwned`, `Context`, `State<S>`, `TaskId` or `CancellationToken`, or implement `FromTask`",
    note = "`State<S>` needs `.state(…)` with a value of that very type before `.handler(…)`"
)]
pub trait FromTask<S>: Sized {
    /// Makes it. The error is the end of the attempt.
    fn from_task(cx: &Context, state: &S) -> Result<Self, HandlerError>;
}

/// The payload as a `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Payload<T>(pub T);

/// The state that the worker was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State<S>(pub S);

impl<S, T: DeserializeOwned> FromTask<S> for Payload<T> {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        cx.payload().map(Self)
    }
}

impl<S: Clone> FromTask<S> for State<S> {
    fn from_task(_: &Context, state: &S) -> Result<Self, HandlerError> {
        Ok(Self(state.clone()))
    }
}

impl<S> FromTask<S> for Context {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        Ok(cx.clone())
    }
}

impl<S> FromTask<S> for CancellationToken {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        Ok(cx.cancellation())
    }
}

impl<S> FromTask<S> for TaskId {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        Ok(cx.task().clone())
    }
}

impl<S> FromTask<S> for TaskType {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        Ok(cx.task_type().clone())
    }
}

impl<S> FromTask<S> for QueueName {
    fn from_task(cx: &Context, _: &S) -> Result<Self, HandlerError> {
        Ok(cx.queue().clone())
    }
}
