//! Async functions as handlers.

use std::marker::PhantomData;

use serde::Serialize;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output, async_trait};

use crate::extract::FromTask;

/// An async function that handles tasks: up to six arguments, each a [`FromTask`], in any order, and a result that is an
/// [`IntoOutput`]. `Args` and `S` are inferred.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of tasks",
    label = "not an async function of the kind that handles tasks",
    note = "a handler is an `async fn` of up to six arguments such as `Payload<T>`, `Context` and `State<S>`, returning `()` or `Result<T, E>` with `T: serde::Serialize` and `E: Into<HandlerError>`",
    note = "`State<S>` needs `.state(…)` with a value of that very type before `.handler(…)`",
    note = "its future must be `Send`: hold no `Rc`, no `RefCell` borrow and no `std::sync::MutexGuard` across an `.await`",
    note = "a type that implements `Handler` is added with `.serve(…)`"
)]
pub trait TaskFunction<Args, S>: Clone + Send + Sync + 'static {
    /// Runs one attempt.
    fn call(&self, cx: Context, state: S) -> impl Future<Output = HandlerResult> + Send;
}

/// What a handler function may return: `()`, or a `Result` whose value is kept with the task as JSON. Of a value that is
/// `null` in JSON, such as `()` or `None`, nothing is kept.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "not what a handler returns",
    note = "return `()`, or `Result<T, E>` with `T: serde::Serialize` and `E: Into<HandlerError>` (any `std::error::Error` will do; of `anyhow::Error`, make one by `HandlerError::transient(error.to_string())`)"
)]
pub trait IntoOutput {
    /// As the executor takes it.
    fn into_output(self) -> HandlerResult;
}

impl IntoOutput for () {
    fn into_output(self) -> HandlerResult {
        Ok(Output::NONE)
    }
}

impl<T: Serialize, E: Into<HandlerError>> IntoOutput for Result<T, E> {
    fn into_output(self) -> HandlerResult {
        let output = Output::json(&self.map_err(Into::into)?)?;
        Ok(if output.as_json().is_some_and(|json| json == "null") { Output::NONE } else { output })
    }
}

macro_rules! functions {
    ($($argument:ident)*) => {
        impl<F, Fut, S, $($argument),*> TaskFunction<($($argument,)*), S> for F
        where
            F: Fn($($argument),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output: IntoOutput> + Send,
            S: Send + Sync + 'static,
            $($argument: FromTask<S> + Send,)*
        {
            #[allow(unused_variables)] // a function without arguments needs neither
            async fn call(&self, cx: Context, state: S) -> HandlerResult {
                let future = self($($argument::from_task(&cx, &state)?),*);
                future.await.into_output()
            }
        }
    };
}

functions!();
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);
functions!(A B C D E);
functions!(A B C D E G);

/// A function with its state, as the executor's registry takes it.
pub(crate) struct Function<F, Args, S> {
    call: F,
    state: S,
    arguments: PhantomData<fn(Args)>,
}

impl<F, Args, S> Function<F, Args, S> {
    pub(crate) fn new(function: F, state: S) -> Self {
        Self { call: function, state, arguments: PhantomData }
    }
}

#[async_trait]
impl<F, Args, S> Handler for Function<F, Args, S>
where
    F: TaskFunction<Args, S>,
    Args: 'static,
    S: Clone + Send + Sync + 'static,
{
    async fn run(&self, cx: Context) -> HandlerResult {
        self.call.call(cx, self.state.clone()).await
    }
}
