//! A broker whose operations are timed: for metrics, whatever the store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidemill_core::{
    NewTask, Progress, QueueName, QueueOwner, QueueSettings, QueueStats, RequestId, State, TaskId, TaskView, WorkerId,
    WorkerInfo, WorkerView,
};
use tokio::time::Instant;

use crate::contract::{
    Broker, Cancelled, Deleted, Enqueued, Exchange, Exchanged, Heartbeat, ListQuery, Maintained, Ownership, Page,
    Requeued,
};
use crate::error::Result;
use crate::subscription::Subscription;

/// One operation that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Which: the name of the method of [`Broker`].
    pub operation: &'static str,
    /// How long it took; `None` of one that waits on purpose, as [`Broker::wait`] does.
    pub took: Option<Duration>,
    /// What sort of error it ended with ([`BrokerError::kind`](crate::BrokerError::kind)).
    pub error: Option<&'static str>,
}

/// Is told of each operation.
type Tell = Box<dyn Fn(Call) + Send + Sync>;

/// Tells of each operation of a broker how it ended and how long it took. One that is given up before it has ended is not
/// told of. It costs two looks at the clock and an allocation a call, and calls carry batches.
pub struct Measured {
    inner: Arc<dyn Broker>,
    tell: Tell,
}

impl Measured {
    /// Measures `inner`.
    pub fn over(inner: Arc<dyn Broker>, tell: impl Fn(Call) + Send + Sync + 'static) -> Arc<dyn Broker> {
        Arc::new(Self { inner, tell: Box::new(tell) })
    }

    async fn timed<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let began = Instant::now();
        let done = call.await;
        let error = done.as_ref().err().map(crate::BrokerError::kind);
        (self.tell)(Call { operation, took: Some(began.elapsed()), error });
        done
    }

    async fn untimed<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let done = call.await;
        if let Err(error) = &done {
            (self.tell)(Call { operation, took: None, error: Some(error.kind()) });
        }
        done
    }
}

#[async_trait]
impl Broker for Measured {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn ping(&self) -> Result<()> {
        self.timed("ping", self.inner.ping()).await
    }

    async fn ensure_queue(&self, queue: &QueueName, settings: &QueueSettings) -> Result<bool> {
        self.timed("ensure_queue", self.inner.ensure_queue(queue, settings)).await
    }

    async fn configure(&self, queue: &QueueName, settings: &QueueSettings) -> Result<()> {
        self.timed("configure", self.inner.configure(queue, settings)).await
    }

    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings> {
        self.timed("settings", self.inner.settings(queue)).await
    }

    async fn own(&self, queue: &QueueName, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Result<Ownership> {
        self.timed("own", self.inner.own(queue, owner, instead_of)).await
    }

    async fn disown(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        self.timed("disown", self.inner.disown(queue, owner)).await
    }

    async fn owner(&self, queue: &QueueName) -> Result<Option<QueueOwner>> {
        self.timed("owner", self.inner.owner(queue)).await
    }

    async fn drop_queue(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        self.timed("drop_queue", self.inner.drop_queue(queue, owner)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.timed("queues", self.inner.queues()).await
    }

    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        self.timed("enqueue", self.inner.enqueue(queue, batch, request)).await
    }

    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        self.timed("register", self.inner.register(queue, worker)).await
    }

    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        self.timed("exchange", self.inner.exchange(queue, exchange)).await
    }

    async fn wait(&self, queue: &QueueName, until: Duration) -> Result<()> {
        self.untimed("wait", self.inner.wait(queue, until)).await
    }

    async fn exchange_after_wait(&self, queue: &QueueName, exchange: &Exchange, until: Duration) -> Result<Exchanged> {
        self.untimed("exchange_after_wait", self.inner.exchange_after_wait(queue, exchange, until)).await
    }

    async fn heartbeat(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        progress: &[(TaskId, Progress)],
    ) -> Result<Heartbeat> {
        self.timed("heartbeat", self.inner.heartbeat(queue, worker, progress)).await
    }

    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        self.timed("retire", self.inner.retire(queue, worker)).await
    }

    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        self.timed("maintain", self.inner.maintain(queue)).await
    }

    async fn get(&self, queue: &QueueName, task: &TaskId) -> Result<Option<TaskView>> {
        self.timed("get", self.inner.get(queue, task)).await
    }

    async fn list(&self, queue: &QueueName, query: &ListQuery) -> Result<Page> {
        self.timed("list", self.inner.list(queue, query)).await
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        self.timed("stats", self.inner.stats(queue)).await
    }

    async fn workers(&self, queue: &QueueName) -> Result<Vec<WorkerView>> {
        self.timed("workers", self.inner.workers(queue)).await
    }

    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        self.timed("cancel", self.inner.cancel(queue, task)).await
    }

    async fn retry(&self, queue: &QueueName, task: &TaskId) -> Result<Requeued> {
        self.timed("retry", self.inner.retry(queue, task)).await
    }

    async fn delete(&self, queue: &QueueName, task: &TaskId) -> Result<Deleted> {
        self.timed("delete", self.inner.delete(queue, task)).await
    }

    async fn pause(&self, queue: &QueueName, paused: bool) -> Result<bool> {
        self.timed("pause", self.inner.pause(queue, paused)).await
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64> {
        self.timed("purge", self.inner.purge(queue, state)).await
    }

    async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        self.timed("subscribe", self.inner.subscribe(queue)).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::embedded::{SqliteBroker, SqliteOptions};

    #[tokio::test]
    async fn each_operation_is_told_of_with_its_time_and_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let ear = told.clone();
        let store = SqliteBroker::open(SqliteOptions::new(folder.path().to_owned())).unwrap();
        let broker = Measured::over(store, move |call| ear.lock().unwrap().push(call));
        let queue = QueueName::default_queue();
        assert!(broker.stats(&queue).await.is_err());
        broker.ensure_queue(&queue, &QueueSettings::default()).await.unwrap();
        broker.wait(&queue, Duration::from_millis(1)).await.unwrap();
        broker.close().await;
        let told: Vec<_> =
            told.lock().unwrap().iter().map(|call| (call.operation, call.took.is_some(), call.error)).collect();
        assert_eq!(told, [("stats", true, Some("unknown_queue")), ("ensure_queue", true, None)]);
    }
}
