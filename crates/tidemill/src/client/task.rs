//! A task as a client sends it, and as it sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_core::{FailureKind, Progress, QueueName, State, TaskId, TaskType};

use super::ClientError;

/// A task to be enqueued. What is not said is the queue's default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_at: Option<u64>,
}

impl Task {
    /// A task of this type, whose payload is whatever serde makes a JSON object of.
    pub fn new(task_type: impl Into<String>, payload: &impl Serialize) -> Result<Self, ClientError> {
        let payload = serde_json::to_value(payload).map_err(|error| ClientError::Payload(error.to_string()))?;
        if !payload.is_object() {
            return Err(ClientError::Payload(format!("not {payload:.40}")));
        }
        Ok(Self {
            kind: task_type.into(),
            payload,
            id: None,
            retries: None,
            priority: None,
            timeout_ms: None,
            delay_ms: None,
            run_at: None,
        })
    }

    /// Names it: at most one live task of a queue has this id. Without, it has a new UUID.
    #[must_use]
    pub fn id(mut self, id: TaskId) -> Self {
        self.id = Some(id);
        self
    }

    /// How often it is tried again after a failure.
    #[must_use]
    pub fn retries(mut self, count: u16) -> Self {
        self.retries = Some(count);
        self
    }

    /// Who goes first: −100 to 100, the higher the sooner.
    #[must_use]
    pub fn priority(mut self, priority: i8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// How long an attempt may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(millis(timeout));
        self
    }

    /// Starts no sooner than after so long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        (self.delay_ms, self.run_at) = (Some(millis(delay)), None);
        self
    }

    /// Starts no sooner than at this time.
    #[must_use]
    pub fn at(mut self, time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        (self.delay_ms, self.run_at) = (None, Some(millis(since_epoch)));
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a task is found by: its queue and its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// The queue.
    pub queue: QueueName,
    /// The task.
    pub id: TaskId,
}

/// A task as the server shows it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task.
    pub id: TaskId,
    /// Its queue.
    pub queue: QueueName,
    /// Picks the handler.
    #[serde(rename = "type")]
    pub task_type: TaskType,
    /// Where it stands.
    pub state: State,
    /// What it is to be done with.
    pub payload: Value,
    /// When the store took it, RFC 3339.
    pub enqueued_at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
    /// How far it says it is, where it runs.
    pub progress: Option<Progress>,
    /// Attempts that failed so far.
    pub failures: u32,
    /// Workers lost with it so far.
    pub losses: u32,
    /// Its newest failed and lost attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<AttemptInfo>,
    /// What it left behind, where it succeeded with a result.
    pub result: Option<Value>,
}

/// A past attempt that did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AttemptInfo {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What sort of failure.
    pub kind: FailureKind,
    /// What went wrong.
    pub message: String,
    /// When it ended, RFC 3339.
    pub ended_at: String,
    /// How long it ran, in milliseconds.
    pub ran_ms: u64,
}

impl TaskInfo {
    /// What it is found by.
    pub fn ticket(&self) -> Ticket {
        Ticket { queue: self.queue.clone(), id: self.id.clone() }
    }

    /// Whether it has ended, however.
    pub fn has_ended(&self) -> bool {
        !self.state.is_live()
    }

    /// The result as a `T` (no result is `null`), or how it ended instead.
    pub fn into_result<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if self.state != State::Succeeded {
            let message = self.attempts.into_iter().next_back().map(|attempt| attempt.message);
            let message = message.unwrap_or_else(|| "it has no error".to_owned());
            return Err(ClientError::Failed { id: self.id, state: self.state, message });
        }
        let id = self.id;
        serde_json::from_value(self.result.unwrap_or(Value::Null))
            .map_err(|error| ClientError::Result { id, reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_an_object_and_only_what_was_said_is_sent() {
        let task =
            Task::new("resize", &serde_json::json!({"new_x": 1})).unwrap().retries(2).after(Duration::from_secs(1));
        let sent = serde_json::to_string(&task).unwrap();
        assert_eq!(sent, r#"{"type":"resize","payload":{"new_x":1},"retries":2,"delay_ms":1000}"#);
        let refused = Task::new("resize", &[1, 2]).unwrap_err().to_string();
        assert_eq!(refused, "the payload of a task is a JSON object: not [1,2]");
    }
}
