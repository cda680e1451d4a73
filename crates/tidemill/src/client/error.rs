//! What a client is told instead of an answer.

use std::time::Duration;

use tidemill_core::id::TaskIdError;
use tidemill_core::{NameError, Problem, State, TaskId};

/// What a client is told instead of an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// That is no address of a server.
    #[error("{0:?} is no address of a server: write http://HOST:PORT or https://HOST")]
    Address(String),
    /// An address with a user or a password in it, which would be shown in errors.
    #[error("an address of a server holds no user and no password; a token is given to `Client::token`")]
    Credentials,
    /// TLS cannot be set up with the authorities of `SSL_CERT_FILE`.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The payload is no JSON object.
    #[error("the payload of a task is a JSON object: {0}")]
    Payload(String),
    /// A name of a queue that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An id of a task that is none.
    #[error(transparent)]
    Id(#[from] TaskIdError),
    /// No answer came. Whether the request was carried out is not known.
    #[error("{server} gave no answer: {reason}")]
    Unreachable {
        /// The server.
        server: String,
        /// Why, as far as it is known.
        reason: String,
    },
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// Something answered that is no Tidemill server.
    #[error("what answers there does not answer as Tidemill does")]
    NoTidemill,
    /// The task had not ended in time. It goes on.
    #[error("task {id} has not ended after {waited:?}: it is {state}")]
    Late {
        /// The task.
        id: TaskId,
        /// How long it was waited for.
        waited: Duration,
        /// Where it stands.
        state: State,
    },
    /// The task ended otherwise than well.
    #[error("task {id} is {state}: {message}")]
    Failed {
        /// The task.
        id: TaskId,
        /// Dead or cancelled.
        state: State,
        /// What its last attempt said.
        message: String,
    },
    /// The server does not know the task (any more).
    #[error("there is no task {0}: it was never enqueued, or its retention is over")]
    Unknown(TaskId),
    /// The result is not of the type that was asked for.
    #[error("the result of task {id} does not fit: {reason}")]
    Result {
        /// The task.
        id: TaskId,
        /// Why not.
        reason: String,
    },
}

impl ClientError {
    /// Whether it may pass by itself: no answer, or a server that is not ready.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(problem) => matches!(problem.status, 502..=504),
            _ => false,
        }
    }
}
