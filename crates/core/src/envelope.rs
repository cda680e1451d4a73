//! The bytes in which a store keeps a task.
//!
//! ```text
//! byte  0      format, 2
//! bytes 1–6    when the store took it, ms since the Unix epoch, big endian (written by the store)
//! bytes 7–14   request id
//! byte  15     what follows the type: 1 a priority, 2 a duration, 4 a policy
//! bytes 16–    a byte that counts the bytes of the type, and they
//!              priority + 128, a byte            \
//!              declared duration, ms, big endian  } each where there is one
//!              policy and trace, in postcard     /
//!              the payload
//! ```
//!
//! All but the policy is what a store's script reads, without decoding the rest. Most tasks have none of the three, and a head of
//! 17 bytes and a type. A caller hands over the *body*, bytes 7 and on; the store puts format and time before it
//! ([`Record::stamp`], or the same in a script).
//!
//! Format 1 had all of it in every record, in another order. It is still read.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::id::RequestId;
use crate::name::TaskType;
use crate::policy::{Backoff, Priority};
use crate::task::NewTask;

/// The format that this build writes.
pub const FORMAT: u8 = 2;
/// The one before, which is read as well.
const FORMER: u8 = 1;
const STAMP: usize = 7;
/// Format, time, request, what follows the type, and the length of the type.
const HEAD: usize = 17;
const HAS_PRIORITY: u8 = 1;
const HAS_DURATION: u8 = 2;
const HAS_POLICY: u8 = 4;

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
    #[error("a stored task has {0} bytes, fewer than its head")]
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

/// What few tasks have.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Policy<'a> {
    retries: Option<u16>,
    backoff: Option<Backoff>,
    timeout_ms: Option<u64>,
    #[serde(borrow)]
    traceparent: Option<&'a str>,
}

/// The bytes of `task` that its caller hands to a store: all but format and time.
pub fn body(task: &NewTask, request: RequestId) -> Result<Vec<u8>, RecordError> {
    let task_type = task.task_type.as_str();
    let damaged = |why: &dyn std::fmt::Display| RecordError::Damaged(why.to_string());
    let mut bytes = Vec::with_capacity(HEAD - STAMP + task_type.len() + task.payload.len());
    bytes.extend(request.0);
    bytes.push(0);
    bytes.push(u8::try_from(task_type.len()).map_err(|error| damaged(&error))?);
    bytes.extend(task_type.as_bytes());
    let mut has = 0;
    if task.priority != Priority::NORMAL {
        has |= HAS_PRIORITY;
        bytes.push(biased(task.priority));
    }
    if task.duration_ms != 0 {
        has |= HAS_DURATION;
        bytes.extend(task.duration_ms.to_be_bytes());
    }
    let policy = Policy {
        retries: task.retries,
        backoff: task.backoff,
        timeout_ms: task.timeout_ms,
        traceparent: task.traceparent.as_deref(),
    };
    if policy != Policy::default() {
        has |= HAS_POLICY;
        bytes = postcard::to_extend(&policy, bytes).map_err(|error| damaged(&error))?;
    }
    bytes[8] = has;
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
        let mut reader = Reader(bytes);
        let [format] = reader.array().ok_or(RecordError::Truncated(0))?;
        let head = match format {
            FORMAT => reader.head(),
            FORMER => reader.former_head(),
            found => return Err(RecordError::Format { found }),
        };
        let head = head.ok_or(RecordError::Truncated(bytes.len()))?;
        let damaged = |why: String| RecordError::Damaged(why);
        let (policy, payload) = if head.has_policy {
            postcard::take_from_bytes::<Policy<'_>>(reader.0).map_err(|e| damaged(e.to_string()))?
        } else {
            (Policy::default(), reader.0)
        };
        let task_type = std::str::from_utf8(head.task_type).map_err(|e| damaged(e.to_string()))?;
        Ok(Self {
            enqueued_at_ms: head.enqueued_at_ms,
            priority: Priority::new(i64::from(head.priority) - 128).map_err(|e| damaged(e.to_string()))?,
            duration_ms: head.duration_ms,
            request: RequestId(head.request),
            task_type: TaskType::new(task_type).map_err(|e| damaged(e.to_string()))?,
            retries: policy.retries,
            backoff: policy.backoff,
            timeout_ms: policy.timeout_ms,
            traceparent: policy.traceparent.map(str::to_owned),
            payload: bytes.slice(bytes.len() - payload.len()..),
        })
    }
}

struct Head<'a> {
    enqueued_at_ms: u64,
    request: [u8; 8],
    task_type: &'a [u8],
    /// Plus 128.
    priority: u8,
    duration_ms: u32,
    has_policy: bool,
}

/// The bytes that are left to read. `None` is too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn head(&mut self) -> Option<Head<'a>> {
        let (enqueued_at_ms, request, [has]) = (self.time()?, self.array()?, self.array()?);
        let task_type = self.counted()?;
        let [priority] = if has & HAS_PRIORITY == 0 { [biased(Priority::NORMAL)] } else { self.array()? };
        let duration_ms = if has & HAS_DURATION == 0 { 0 } else { u32::from_be_bytes(self.array()?) };
        let has_policy = has & HAS_POLICY != 0;
        Some(Head { enqueued_at_ms, request, task_type, priority, duration_ms, has_policy })
    }

    fn former_head(&mut self) -> Option<Head<'a>> {
        let (enqueued_at_ms, [priority]) = (self.time()?, self.array()?);
        let (duration_ms, request) = (u32::from_be_bytes(self.array()?), self.array()?);
        Some(Head { enqueued_at_ms, request, task_type: self.counted()?, priority, duration_ms, has_policy: true })
    }

    fn time(&mut self) -> Option<u64> {
        let bytes: [u8; 6] = self.array()?;
        Some(bytes.iter().fold(0, |ms, byte| ms << 8 | u64::from(*byte)))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let [many] = self.array()?;
        let (counted, rest) = self.0.split_at_checked(many.into())?;
        self.0 = rest;
        Some(counted)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
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
        bytes[0] = 3;
        let error = Record::decode(&Bytes::from(bytes)).unwrap_err().to_string();
        assert!(error.contains("format 3") && error.contains("newer tidemill"), "{error}");
    }

    #[test]
    fn a_record_of_the_former_format_is_still_read() {
        let mut bytes = vec![1, 0, 0, 0, 0, 0, 5, 128 - 7, 0, 0, 4, 210, 1, 2, 3, 4, 5, 6, 7, 8];
        bytes.extend(b"\x04mail\x01\x03\x00\x00\x00{}");
        let record = Record::decode(&Bytes::from(bytes)).unwrap();
        assert_eq!((record.enqueued_at_ms, record.priority.get(), record.duration_ms), (5, -7, 1_234));
        assert_eq!(record.request, RequestId([1, 2, 3, 4, 5, 6, 7, 8]));
        assert_eq!((record.task_type.as_str(), record.retries, record.timeout_ms), ("mail", Some(3), None));
        assert_eq!(record.payload, "{}");
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        let whole = Record::stamp(&body(&full(), RequestId([0; 8])).unwrap(), 1);
        for end in 0..whole.len() - full().payload.len() {
            assert!(Record::decode(&Bytes::copy_from_slice(&whole[..end])).is_err(), "{end}");
        }
    }

    #[test]
    fn a_plain_task_costs_seventeen_bytes_and_its_type_beside_its_payload() {
        let task = NewTask::new(TaskId::new("x").unwrap(), TaskType::sleep(), "{}");
        let bytes = Record::stamp(&body(&task, RequestId([0; 8])).unwrap(), 1);
        assert_eq!(bytes.len() - task.payload.len(), HEAD + "sleep".len());
    }
}
