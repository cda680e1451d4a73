//! Identities: of a task, of a worker's incarnation, of a request and of a claim.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::text_newtype;

/// Longest [`TaskId`], in characters.
pub const TASK_ID_MAX: usize = 128;

/// The caller's name for a task: 1–128 printable characters, unique among the live tasks of its queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskId(Arc<str>);

/// Why a text is not a valid [`TaskId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskIdError {
    /// The text is empty.
    #[error("task id is empty; an id has 1 to 128 printable characters")]
    Empty,
    /// The text is too long.
    #[error("task id has {0} characters; at most 128 are allowed")]
    TooLong(usize),
    /// The text has a control character (a line break, a tab, …).
    #[error("task id has the control character {found:?} at character {at}; an id has printable characters only")]
    Unprintable {
        /// The offending character.
        found: char,
        /// Its place, counted from 1.
        at: usize,
    },
}

impl TaskId {
    /// Checks `text` and makes it an id.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, TaskIdError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TaskIdError::Empty);
        }
        let length = text.chars().count();
        if length > TASK_ID_MAX {
            return Err(TaskIdError::TooLong(length));
        }
        let unprintable = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if let Some((index, found)) = text.chars().enumerate().find(|(_, c)| unprintable(*c)) {
            return Err(TaskIdError::Unprintable { found, at: index + 1 });
        }
        Ok(Self(text))
    }

    /// The id of a task whose caller named none: a UUID, version 7 by custom.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(Arc::from(&*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer())))
    }
}

text_newtype!(TaskId, TaskIdError);

/// One life of a worker process on one queue: its *incarnation*. A process that had to start anew has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Uuid);

impl WorkerId {
    /// Takes a fresh UUID (version 4 or 7) for a new incarnation.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for WorkerId {
    /// 32 hexadecimal digits, the form in which stores keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl FromStr for WorkerId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Random bytes that tell one enqueue request from another, so that a request repeated after a lost reply is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 8]);

/// The fence of a claim: which incarnation made it, and in which of its exchanges. Only its holder settles the task.
///
/// Never an attempt number: those repeat when an id is used again or a store is rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimToken {
    /// The incarnation that claimed.
    pub worker: WorkerId,
    /// The number of the exchange in which it claimed, from 1.
    pub counter: u64,
}

impl fmt::Display for ClaimToken {
    /// `<worker>:<counter>`, the form in which stores keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.worker, self.counter)
    }
}

/// A text is not `<worker>:<counter>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a claim token of the form <worker>:<counter>")]
pub struct ClaimTokenError(String);

impl FromStr for ClaimToken {
    type Err = ClaimTokenError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ClaimTokenError(text.to_owned());
        let (worker, counter) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self { worker: worker.parse().map_err(|_| wrong())?, counter: counter.parse().map_err(|_| wrong())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_is_anything_printable_up_to_128_characters() {
        for good in ["a", "task 1/2 \"x\"", "日本", &"é".repeat(128)] {
            assert!(TaskId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "tab\t", "\u{7f}", &"x".repeat(129)] {
            assert!(TaskId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_claim_token_reads_what_it_writes() {
        let token = ClaimToken { worker: WorkerId::from_uuid(Uuid::from_u128(7)), counter: 42 };
        assert_eq!(token.to_string().parse::<ClaimToken>().unwrap(), token);
        assert!("nonsense".parse::<ClaimToken>().is_err());
    }
}
