//! The bytes in which a store keeps a task.
//!
//! ```text
//! byte  0      format, 1
//! bytes 1–6    when the store took it, ms since the Unix epoch, big endian (written by the store)
//! byte  7      priority + 128
//! bytes 8–11   declared duration, ms, big endian
//! bytes 12–19  request id
//! bytes 20–    type, policy and trace, in postcard, then the payload
//! ```
//!
//! The fixed head, and the type that follows it (a byte that counts its bytes, and they), are what a store's script reads
//! without decoding the rest. A caller hands over the *body*, bytes 7 and
//! on; the store puts format and time before it ([`Record::stamp`], or the same in a script).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::RequestId;
use crate::name::TaskType;
use crate::policy::{Backoff, Priority};
use crate::task::NewTask;

/// The format that this build writes.
pub const FORMAT: u8 = 1;
const HEAD: usize = 20;
const STAMP: usize = 7;

/// A task as a store keeps it: everything but its id and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When the store took it, in milliseconds since the Unix epoch, by the store's clock.
    pub enqueued_at_ms: u64,
    /// Who goes first.
    pub priority: Priority,
    /// How long it says it will take, in milliseconds.
    pub duration_ms: u32,
    /// The request that brought it.
    pub request: RequestId,
    /// Picks the handler.
    pub task_type: TaskType,
    /// How often it is tried again; `None` is the queue's default.
    pub retries: Option<u16>,
    /// How retries are spaced; `None` is the queue's default.
    pub backoff: Option<Backoff>,
    /// How long an attempt may take, in milliseconds; `None` is the queue's default.
    pub timeout_ms: Option<u64>,
    /// The trace that it belongs to.
    pub traceparent: Option<String>,
    /// A JSON object.
    pub payload: Bytes,
}

/// Stored bytes that this build cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short to be a record.
    #[error("a stored task has {0} bytes, fewer than its head of 20")]
    Truncated(usize),
    /// Written by another version.
    #[error("a stored task has format {found}; this build reads format {FORMAT}: use a newer tidemill for this queue")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// Damaged.
    #[error("a stored task is damaged: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Tail<'a> {
    #[serde(borrow)]
    task_type: &'a str,
    retries: Option<u16>,
    backoff: Option<Backoff>,
    timeout_ms: Option<u64>,
    #[serde(borrow)]
    traceparent: Option<&'a str>,
}

/// The bytes of `task` that its caller hands to a store: all but format and time.
pub fn body(task: &NewTask, request: RequestId) -> Result<Vec<u8>, RecordError> {
    let mut bytes = Vec::with_capacity(HEAD - STAMP + task.task_type.as_str().len() + 16 + task.payload.len());
    bytes.push(biased(task.priority));
    bytes.extend(task.duration_ms.to_be_bytes());
    bytes.extend(request.0);
    let tail = Tail {
        task_type: task.task_type.as_str(),
        retries: task.retries,
        backoff: task.backoff,
        timeout_ms: task.timeout_ms,
        traceparent: task.traceparent.as_deref(),
    };
    let mut bytes = postcard::to_extend(&tail, bytes).map_err(|error| RecordError::Damaged(error.to_string()))?;
    bytes.extend_from_slice(&task.payload);
    Ok(bytes)
}

impl Record {
    /// What a store keeps: format and time before a [`body`].
    pub fn stamp(body: &[u8], now_ms: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STAMP + body.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&now_ms.to_be_bytes()[2..]);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Reads what a store kept. The payload shares `bytes`, uncopied.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let found = *bytes.first().ok_or(RecordError::Truncated(0))?;
        if found != FORMAT {
            return Err(RecordError::Format { found });
        }
        let (Some(head), Some(rest)) = (bytes.get(1..HEAD), bytes.get(HEAD..)) else {
            return Err(RecordError::Truncated(bytes.len()));
        };
        let damaged = |why: String| RecordError::Damaged(why);
        let (tail, payload) = postcard::take_from_bytes::<Tail<'_>>(rest).map_err(|e| damaged(e.to_string()))?;
        Ok(Self {
            enqueued_at_ms: head[..6].iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)),
            priority: Priority::new(i64::from(head[6]) - 128).map_err(|e| damaged(e.to_string()))?,
            duration_ms: head[7..11].iter().fold(0, |ms, byte| ms << 8 | u32::from(*byte)),
            request: RequestId(head[11..19].try_into().map_err(|_| RecordError::Truncated(bytes.len()))?),
            task_type: TaskType::new(tail.task_type).map_err(|e| damaged(e.to_string()))?,
            retries: tail.retries,
            backoff: tail.backoff,
            timeout_ms: tail.timeout_ms,
            traceparent: tail.traceparent.map(str::to_owned),
            payload: bytes.slice(bytes.len() - payload.len()..),
        })
    }
}

#[allow(clippy::cast_sign_loss, clippy::cast_possible_truncation)] // −100..=100 + 128 fits a byte
fn biased(priority: Priority) -> u8 {
    (i16::from(priority.get()) + 128) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TaskId;

    fn full() -> NewTask {
        NewTask {
            priority: Priority::new(-7).unwrap(),
            retries: Some(3),
            backoff: Some(Backoff { initial_ms: 5, max_ms: 50 }),
            timeout_ms: Some(9_000),
            duration_ms: 1_234,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            ..NewTask::new(TaskId::new("x").unwrap(), TaskType::new("mail").unwrap(), r#"{"to":"a@b"}"#)
        }
    }

    #[test]
    fn a_record_reads_what_was_written() {
        let task = full();
        let request = RequestId([1, 2, 3, 4, 5, 6, 7, 8]);
        let bytes = Bytes::from(Record::stamp(&body(&task, request).unwrap(), 1_790_000_000_123));
        let record = Record::decode(&bytes).unwrap();
        assert_eq!(record.enqueued_at_ms, 1_790_000_000_123);
        assert_eq!(record.request, request);
        assert_eq!(record.priority, task.priority);
        assert_eq!(record.duration_ms, 1_234);
        assert_eq!(record.retries, Some(3));
        assert_eq!(record.backoff, task.backoff);
        assert_eq!(record.timeout_ms, Some(9_000));
        assert_eq!(record.traceparent, task.traceparent);
        assert_eq!(record.task_type, task.task_type);
        assert_eq!(record.payload, task.payload);
    }

    #[test]
    fn a_newer_format_is_refused_in_words() {
        let mut bytes = Record::stamp(&body(&full(), RequestId([0; 8])).unwrap(), 1);
        bytes[0] = 2;
        let error = Record::decode(&Bytes::from(bytes)).unwrap_err().to_string();
        assert!(error.contains("format 2") && error.contains("newer tidemill"), "{error}");
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let whole = Record::stamp(&body(&full(), RequestId([0; 8])).unwrap(), 1);
        for end in 0..whole.len() - full().payload.len() {
            assert!(Record::decode(&Bytes::copy_from_slice(&whole[..end])).is_err(), "{end}");
        }
    }

    #[test]
    fn a_plain_task_costs_less_than_thirty_bytes_beside_its_payload() {
        let task = NewTask::new(TaskId::new("x").unwrap(), TaskType::sleep(), "{}");
        let bytes = Record::stamp(&body(&task, RequestId([0; 8])).unwrap(), 1);
        assert!(bytes.len() - task.payload.len() < 35, "{}", bytes.len());
    }
}
