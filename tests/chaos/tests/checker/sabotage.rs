//! A broker with one defect: a real store, and what a fault in it would do to its callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tidemill::Broker;
use tidemill::broker::{Cancelled, Enqueued, Exchange, Exchanged, Maintained, Result};
use tidemill::core::{
    Claim, ClaimToken, NewTask, QueueName, QueueStats, RequestId, Settlement, Start, TaskId, WorkerId, WorkerInfo,
};
use tidemill_chaos::pass_on;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    None,
    /// It settles by whatever token comes.
    MissingFence,
    /// It acknowledges one task that it does not keep.
    LostAcknowledgement,
    /// It hands a claim to a second worker while the first holds it.
    DoubleClaim,
    /// It counts one success too many.
    CounterOff,
    /// It forgets that tasks are to wait.
    EarlyStart,
    /// It takes a repeated request for a new one.
    ForgetsRequests,
}

/// The task of which an acknowledgement is lost.
pub(crate) const DOOMED: &str = "doomed";

#[derive(Default)]
struct Known {
    holders: HashMap<TaskId, Claim>,
    /// The last number of each worker's exchanges in the store, and how far it is ahead of the worker's own.
    numbers: HashMap<WorkerId, (u64, u64)>,
    doubled: bool,
    requests: u8,
}

pub(crate) struct Sabotaged {
    inner: Arc<dyn Broker>,
    defect: Defect,
    known: Mutex<Known>,
}

impl Sabotaged {
    pub(crate) fn new(inner: Arc<dyn Broker>, defect: Defect) -> Arc<Self> {
        Arc::new(Self { inner, defect, known: Mutex::default() })
    }

    fn number(&self, worker: WorkerId, number: u64) -> u64 {
        let mut known = self.known.lock().unwrap();
        let (last, ahead) = known.numbers.entry(worker).or_default();
        *last = number + *ahead;
        *last
    }

    /// Settles in the name of whoever holds the task.
    async fn settle_for(&self, queue: &QueueName, settlement: &Settlement, holder: ClaimToken) -> Result<Exchanged> {
        let number = {
            let mut known = self.known.lock().unwrap();
            let (last, ahead) = known.numbers.entry(holder.worker).or_default();
            *last += 1;
            *ahead += 1;
            *last
        };
        let finished = vec![Settlement { token: holder, ..settlement.clone() }];
        self.inner.exchange(queue, &Exchange { worker: holder.worker, number, finished, want: 0 }).await
    }

    /// A claim of another worker, once.
    fn second_claim(&self, exchange: &Exchange) -> Option<Claim> {
        let mut known = self.known.lock().unwrap();
        if known.doubled || exchange.want == 0 {
            return None;
        }
        let mut claim = known.holders.values().find(|claim| claim.token.worker != exchange.worker)?.clone();
        known.doubled = true;
        claim.token = ClaimToken { worker: exchange.worker, counter: exchange.number };
        claim.started_at_ms += 1;
        Some(claim)
    }
}

pass_on!(Sabotaged {
    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        let mut batch = batch.to_vec();
        let mut request = request;
        match self.defect {
            Defect::LostAcknowledgement => batch.retain(|task| task.id.as_str() != DOOMED),
            Defect::EarlyStart => batch.iter_mut().for_each(|task| task.start = Start::Now),
            Defect::ForgetsRequests => {
                let mut known = self.known.lock().unwrap();
                known.requests += 1;
                request = RequestId([known.requests; 8]);
            }
            _ => {}
        }
        if batch.is_empty() {
            return Ok(vec![Enqueued::Created(tidemill::core::State::Pending)]);
        }
        self.inner.enqueue(queue, &batch, request).await
    }

    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        if self.defect == Defect::MissingFence && let [settlement] = &exchange.finished[..] {
            let holder = self.known.lock().unwrap().holders.get(&settlement.task).map(|claim| claim.token);
            if let Some(holder) = holder.filter(|holder| *holder != settlement.token) {
                return self.settle_for(queue, settlement, holder).await;
            }
        }
        let number = self.number(exchange.worker, exchange.number);
        let asked = Exchange { number, ..exchange.clone() };
        let mut answer = self.inner.exchange(queue, &asked).await?;
        if let Exchanged::Done { claims, .. } = &mut answer {
            if self.defect == Defect::DoubleClaim {
                claims.extend(self.second_claim(exchange));
            }
            let mut known = self.known.lock().unwrap();
            for settlement in &exchange.finished {
                known.holders.remove(&settlement.task);
            }
            known.holders.extend(claims.iter().map(|claim| (claim.task.clone(), claim.clone())));
        }
        Ok(answer)
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        let mut stats = self.inner.stats(queue).await?;
        stats.counters.succeeded += u64::from(self.defect == Defect::CounterOff);
        Ok(stats)
    }

    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        self.inner.register(queue, worker).await
    }

    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        self.inner.retire(queue, worker).await
    }

    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        self.inner.maintain(queue).await
    }

    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        self.inner.cancel(queue, task).await
    }
});
