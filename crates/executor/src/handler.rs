//! What runs a task, and how it says how that went.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use tidemill_core::FailureKind;

use crate::context::Context;

/// Largest result that is kept with a task, in bytes: results are for looking at, not a way to ship files.
pub const RESULT_MAX_BYTES: usize = 256 * 1024;

/// Runs the tasks of one type.
///
/// A handler may be called for the same task more than once (a worker that died, a reply that was lost), so what it does
/// should bear repetition; [`Context::task`] is the same each time. A panic fails the attempt and nothing else.
///
/// Any `Fn(Context) -> impl Future<Output = HandlerResult>` is a handler too.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt. `Ok` says that the work is done, even where the task was cancelled or late meanwhile.
    async fn run(&self, cx: Context) -> HandlerResult;
}

#[async_trait]
impl<F, Fut> Handler for F
where
    F: Fn(Context) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = HandlerResult> + Send + 'static,
{
    async fn run(&self, cx: Context) -> HandlerResult {
        self(cx).await
    }
}

/// How an attempt went, in the handler's words.
pub type HandlerResult = Result<Output, HandlerError>;

/// What a handler leaves behind: nothing ([`Output::default`]), or a JSON value that is kept with the task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output(pub(crate) Option<Bytes>);

impl Output {
    /// Nothing to keep.
    pub const NONE: Self = Self(None);

    /// Keeps `value`, at most [`RESULT_MAX_BYTES`] of JSON.
    pub fn json(value: &impl Serialize) -> HandlerResult {
        let bytes = serde_json::to_vec(value).or_permanent()?;
        if bytes.len() > RESULT_MAX_BYTES {
            return Err(HandlerError::permanent(format!(
                "the result has {} bytes of JSON; at most {RESULT_MAX_BYTES} are kept",
                bytes.len()
            )));
        }
        Ok(Self(Some(bytes.into())))
    }

    /// The JSON that is kept, if any.
    pub fn as_json(&self) -> Option<&Bytes> {
        self.0.as_ref()
    }
}

/// Why an attempt failed, and whether another may succeed.
///
/// Any error becomes a transient one by `?`; [`OrFail::or_permanent`] makes it permanent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    permanent: bool,
    message: String,
    retry_after: Option<Duration>,
}

impl HandlerError {
    /// Would fail every time: the task is dead at once, whatever retries it has left.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { permanent: true, message: message.into(), retry_after: None }
    }

    /// May well succeed another time: the task is tried again while it has retries left.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { permanent: false, message: message.into(), retry_after: None }
    }

    /// Asks for the next attempt after `wait`, in place of the task's backoff.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whether it would fail every time.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The wait that was asked for.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn kind(&self) -> FailureKind {
        if self.permanent { FailureKind::Permanent } else { FailureKind::Transient }
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// So that `?` works on any error. `HandlerError` itself is for that reason no `std::error::Error`.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::transient(chain(&error))
    }
}

/// Says of a `Result` whether its error is worth another attempt.
pub trait OrFail<T> {
    /// The error would come every time.
    fn or_permanent(self) -> Result<T, HandlerError>;
    /// The error may pass.
    fn or_transient(self) -> Result<T, HandlerError>;
}

impl<T, E: std::error::Error> OrFail<T> for Result<T, E> {
    fn or_permanent(self) -> Result<T, HandlerError> {
        self.map_err(|error| HandlerError::permanent(chain(&error)))
    }

    fn or_transient(self) -> Result<T, HandlerError> {
        self.map_err(HandlerError::from)
    }
}

/// An error and what caused it, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_is_transient_by_question_mark_and_permanent_when_told() {
        fn parse(text: &str) -> Result<u8, HandlerError> {
            Ok(text.parse::<u8>()?)
        }
        let error = parse("x").unwrap_err();
        assert!(!error.is_permanent());
        assert_eq!(error.message(), "invalid digit found in string");
        assert!("x".parse::<u8>().or_permanent().unwrap_err().is_permanent());
    }

    #[test]
    fn a_result_beyond_its_bound_is_refused_in_words() {
        assert_eq!(Output::json(&5).unwrap(), Output(Some("5".into())));
        let error = Output::json(&"x".repeat(RESULT_MAX_BYTES)).unwrap_err();
        assert_eq!(error.message(), "the result has 262146 bytes of JSON; at most 262144 are kept");
    }
}
