//! What a handler is handed with each attempt.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidemill_core::{Claim, ClaimToken, Priority, QueueName, Record, RequestId, TaskId, TaskType, WorkerId};
use tidemill_telemetry::subject::{Fields, Subject, about_blocking};
use tidemill_telemetry::traceparent::trace_id;
use tidemill_telemetry::traces;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt::Stop;
use crate::handler::HandlerError;
use crate::progress::Board;

/// One attempt of one task, from the inside. Cheap to clone, so that it can go along to other threads.
#[derive(Debug, Clone)]
pub struct Context(Arc<Attempt>);

#[derive(Debug)]
struct Attempt {
    queue: QueueName,
    claim: Arc<Claim>,
    deadline: Instant,
    stop: Arc<Stop>,
    progress: Arc<Board>,
    /// The span of this attempt, where its trace is recorded.
    trace: Option<traces::Attempt>,
}

impl Subject for Attempt {
    fn fields(&self) -> Fields<'_> {
        Fields {
            queue: self.queue.as_str(),
            task: self.claim.task.as_str(),
            task_type: self.claim.record.task_type.as_str(),
            attempt: self.claim.attempt,
            trace_id: trace_id(self.claim.record.traceparent.as_deref()),
        }
    }
}

impl Context {
    pub(crate) fn new(
        queue: QueueName,
        claim: Arc<Claim>,
        deadline: Instant,
        stop: Arc<Stop>,
        progress: Arc<Board>,
    ) -> Self {
        let trace = traces::attempt(&queue, &claim);
        Self(Arc::new(Attempt { queue, claim, deadline, stop, progress, trace }))
    }

    /// What its lines in the log are about.
    pub(crate) fn subject(&self) -> Arc<dyn Subject> {
        self.0.clone()
    }

    /// The span of this attempt, where its trace is recorded.
    pub(crate) fn trace(&self) -> Option<&traces::Attempt> {
        self.0.trace.as_ref()
    }

    /// A context that belongs to no executor, to try a handler in a test: the first attempt of a task of the default
    /// queue, with an hour of time. Cancelling the token is what a worker does that wants the attempt to end.
    pub fn detached(task: TaskId, task_type: TaskType, payload: impl Into<Bytes>) -> (Self, CancellationToken) {
        const HOUR: Duration = Duration::from_hours(1);
        let token = ClaimToken { worker: WorkerId::from_uuid(uuid::Uuid::nil()), counter: 1 };
        let record = Record {
            enqueued_at_ms: 0,
            priority: Priority::NORMAL,
            duration_ms: 0,
            request: RequestId([0; 8]),
            task_type,
            retries: None,
            backoff: None,
            timeout_ms: None,
            traceparent: None,
            payload: payload.into(),
        };
        let claim = Claim { task, token, record, attempt: 1, losses: 0, started_at_ms: 0 };
        let stop = Arc::new(Stop::default());
        let token = stop.token();
        let (queue, deadline) = (QueueName::default_queue(), Instant::now() + HOUR);
        (Self::new(queue, Arc::new(claim), deadline, stop, Arc::default()), token)
    }

    /// The queue.
    pub fn queue(&self) -> &QueueName {
        &self.0.queue
    }

    /// Which task: the same in every attempt, so it serves to recognise a repetition.
    pub fn task(&self) -> &TaskId {
        &self.0.claim.task
    }

    /// Its type.
    pub fn task_type(&self) -> &TaskType {
        &self.0.claim.record.task_type
    }

    /// Which attempt this is, from 1. Lost workers and releases do not count.
    pub fn attempt(&self) -> u32 {
        self.0.claim.attempt
    }

    /// How many workers were lost with this task so far.
    pub fn losses(&self) -> u32 {
        self.0.claim.losses
    }

    /// When the store took the task, in milliseconds since the Unix epoch, by the store's clock. With the id it tells
    /// this task from an earlier or later one that used the same id.
    pub fn enqueued_at_ms(&self) -> u64 {
        self.0.claim.record.enqueued_at_ms
    }

    /// The payload as it came: the bytes of a JSON object.
    pub fn payload_bytes(&self) -> &Bytes {
        &self.0.claim.record.payload
    }

    /// The payload as a `T`. One that does not fit is a permanent error that names the member.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, HandlerError> {
        let mut json = serde_json::Deserializer::from_slice(self.payload_bytes());
        serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let at = if path == "." { String::new() } else { format!(".{path}") };
            HandlerError::permanent(format!("payload{at}: {}", error.inner()))
        })
    }

    /// The trace that the task belongs to (W3C `traceparent`), to be sent along to whomever the handler calls: that of this
    /// attempt where it is recorded, else the one that the task came with, if any.
    pub fn traceparent(&self) -> Option<&str> {
        let came_with = self.0.claim.record.traceparent.as_deref();
        self.trace().map(|trace| trace.traceparent.as_str()).or(came_with)
    }

    /// When the attempt has to be over.
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// How much time is left until then.
    pub fn time_left(&self) -> Duration {
        self.0.deadline.saturating_duration_since(Instant::now())
    }

    /// A token that is cancelled when the attempt should end early: someone cancelled the task, its time is up, the worker
    /// drains, or its lease is lost. A moment later the handler's future is dropped.
    pub fn cancellation(&self) -> CancellationToken {
        self.0.stop.token().child_token()
    }

    /// Waits for that.
    pub async fn cancelled(&self) {
        self.0.stop.token().cancelled().await;
    }

    /// Whether it has happened.
    pub fn is_cancelled(&self) -> bool {
        self.0.stop.is_pulled()
    }

    /// Says how far the attempt is (0–100) and what it is doing (at most 256 bytes). The latest word is shown within a few
    /// seconds; call it as often as is handy.
    pub fn progress(&self, percent: u8, message: impl AsRef<str>) {
        self.0.progress.report(self.task(), percent, message.as_ref());
    }

    /// Runs `work` on the pool for blocking work, so that it never stalls other tasks or the lease.
    ///
    /// A thread cannot be stopped from outside: long work should ask [`Context::is_cancelled`] now and then.
    pub async fn blocking<T, F>(&self, work: F) -> Result<T, HandlerError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (span, subject) = (tracing::Span::current(), self.subject());
        match tokio::task::spawn_blocking(move || about_blocking(subject, || span.in_scope(work))).await {
            Ok(value) => Ok(value),
            Err(error) => match error.try_into_panic() {
                Ok(payload) => panic::resume_unwind(payload),
                Err(error) => Err(HandlerError::transient(format!("the blocking pool has shut down: {error}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sizes {
        #[allow(dead_code)] // only read by serde
        sizes: Vec<u32>,
    }

    fn refusal(payload: &'static str) -> String {
        let cx = Context::detached(TaskId::new("a").unwrap(), TaskType::sleep(), payload).0;
        let error = cx.payload::<Sizes>().unwrap_err();
        assert!(error.is_permanent());
        error.message().to_owned()
    }

    #[test]
    fn a_payload_that_does_not_fit_is_refused_for_good_and_the_member_is_named() {
        assert!(refusal("{}").starts_with("payload: missing field `sizes`"), "{}", refusal("{}"));
        let wrong = refusal(r#"{"sizes": [1, "x"]}"#);
        assert!(wrong.starts_with("payload.sizes[1]: invalid type: string \"x\", expected u32"), "{wrong}");
    }

    #[tokio::test]
    async fn blocking_work_runs_on_a_thread_of_its_own() {
        let cx = Context::detached(TaskId::new("a").unwrap(), TaskType::sleep(), "{}").0;
        let here = std::thread::current().id();
        assert_ne!(cx.blocking(|| std::thread::current().id()).await.unwrap(), here);
    }
}
