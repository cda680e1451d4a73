//! A broker that writes down what is asked of another, and what it answers.
//!
//! The question is written before it is sent and the answer before anyone acts on it, so that a history never lacks what a
//! process did: at most it lacks what the process never learned.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidemill::Broker;
use tidemill::broker::{BrokerError, Cancelled, Enqueued, Exchange, Exchanged, Lost, Maintained, Result, Settled};
use tidemill::core::{Claim, NewTask, QueueName, QueueStats, RequestId, Settlement, TaskId, WorkerId, WorkerInfo};

use crate::history::record::{RETIRED, life, outcome};
use crate::history::{Answer, Claimed, Finished, Handed, LostClaim, Record, Writer};
use crate::pass_on;

/// Writes down what passes between its caller and another broker.
pub struct Recorder {
    inner: Arc<dyn Broker>,
    history: Writer,
    calls: AtomicU64,
}

impl Recorder {
    /// Writes down in `history` what passes to and from `inner`.
    pub fn new(inner: Arc<dyn Broker>, history: Writer) -> Arc<Self> {
        Arc::new(Self { inner, history, calls: AtomicU64::new(0) })
    }

    fn call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }
}

/// What an answer to an enqueue says of its tasks.
pub fn answer(done: &Result<Vec<Enqueued>>) -> Answer {
    match done {
        Ok(_) => Answer::Acknowledged,
        Err(BrokerError::TaskExists { .. }) => Answer::Exists,
        Err(BrokerError::StoreFull { reason, .. }) => Answer::StoreFull { status: 0, reason: reason.clone() },
        Err(
            error @ (BrokerError::UnknownQueue { .. }
            | BrokerError::QueueFull { .. }
            | BrokerError::DuplicateId(_)
            | BrokerError::Unfit(_)),
        ) => Answer::Wrong { status: 0, reason: error.to_string() },
        Err(error) => Answer::Unknown { status: 0, reason: error.to_string() },
    }
}

fn finished(exchange: &Exchange) -> Vec<Finished> {
    let one = |settlement: &Settlement| {
        let (word, retry_in_ms, timed_out) = outcome(&settlement.outcome);
        let (task, token) = (settlement.task.to_string(), settlement.token.to_string());
        Finished { task, token, outcome: word.to_owned(), retry_in_ms, timed_out }
    };
    exchange.finished.iter().map(one).collect()
}

fn claimed(claim: &Claim) -> Claimed {
    Claimed {
        task: claim.task.to_string(),
        token: claim.token.to_string(),
        life: life(&claim.record.payload),
        attempt: claim.attempt,
        losses: claim.losses,
        started_ms: claim.started_at_ms,
        enqueued_ms: claim.record.enqueued_at_ms,
    }
}

pass_on!(Recorder {
    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        let call = self.call();
        let tasks = batch.iter().map(Handed::from).collect();
        self.history.note(&Record::Enqueue { call, queue: queue.to_string(), tasks });
        let done = self.inner.enqueue(queue, batch, request).await;
        self.history.note(&Record::Enqueued { call, answer: answer(&done) });
        done
    }

    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        self.inner.register(queue, worker).await?;
        self.history.note(&Record::Registered { queue: queue.to_string(), worker: worker.id.to_string() });
        Ok(())
    }

    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        let (queue_name, worker, number) = (queue.to_string(), exchange.worker.to_string(), exchange.number);
        let asked = Record::Exchange {
            queue: queue_name.clone(),
            worker: worker.clone(),
            number,
            finished: finished(exchange),
        };
        self.history.note(&asked);
        let done = self.inner.exchange(queue, exchange).await;
        let record = match &done {
            Ok(Exchanged::Done { settled, claims, .. }) => {
                let state = |settled: &Settled| match settled {
                    Settled::Now(state) => Some(*state),
                    Settled::Refused => None,
                };
                let settled = settled.iter().map(state).collect();
                let claims = claims.iter().map(claimed).collect();
                Record::Exchanged { queue: queue_name, worker, number, settled, claims }
            }
            Ok(Exchanged::Retired) => Record::NotExchanged { worker, number, error: RETIRED.to_owned() },
            Err(error) => Record::NotExchanged { worker, number, error: error.to_string() },
        };
        self.history.note(&record);
        done
    }

    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        self.history.note(&Record::Retire { queue: queue.to_string(), worker: worker.to_string() });
        self.inner.retire(queue, worker).await
    }

    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        let done = self.inner.maintain(queue).await?;
        if done.renewed || !done.lost.is_empty() {
            let lost = |lost: &Lost| LostClaim {
                task: lost.task.to_string(),
                worker: lost.worker.to_string(),
                state: lost.state,
            };
            let lost = done.lost.iter().map(lost).collect();
            self.history.note(&Record::Maintained { queue: queue.to_string(), lost, renewed: done.renewed });
        }
        Ok(done)
    }

    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        let call = self.call();
        self.history.note(&Record::Cancel { call, queue: queue.to_string(), task: task.to_string() });
        let done = self.inner.cancel(queue, task).await;
        let answer = match &done {
            Ok(Cancelled::Now) => "now".to_owned(),
            Ok(Cancelled::Asked) => "asked".to_owned(),
            Ok(Cancelled::Ended(state)) => state.to_string(),
            Ok(Cancelled::Unknown) => "unknown".to_owned(),
            Err(error) => error.to_string(),
        };
        self.history.note(&Record::Cancelled { call, answer });
        done
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        self.inner.stats(queue).await
    }
});
