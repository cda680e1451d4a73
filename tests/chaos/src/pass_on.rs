//! A broker that changes a little of another, written without the rest.

/// Implements `Broker` for a type whose field `inner` is an `Arc<dyn Broker>`: the operations given, and all others handed
/// on. Given must be `enqueue`, `register`, `exchange`, `retire`, `maintain`, `cancel` and `stats`.
#[macro_export]
macro_rules! pass_on {
    ($broker:ty { $($given:tt)* }) => {
        #[tidemill::async_trait]
        impl tidemill::Broker for $broker {
            $($given)*

            fn describe(&self) -> String {
                self.inner.describe()
            }
            async fn ping(&self) -> tidemill::broker::Result<()> {
                self.inner.ping().await
            }
            async fn ensure_queue(
                &self,
                queue: &tidemill::QueueName,
                settings: &tidemill::QueueSettings,
            ) -> tidemill::broker::Result<bool> {
                self.inner.ensure_queue(queue, settings).await
            }
            async fn configure(
                &self,
                queue: &tidemill::QueueName,
                settings: &tidemill::QueueSettings,
            ) -> tidemill::broker::Result<()> {
                self.inner.configure(queue, settings).await
            }
            async fn settings(
                &self,
                queue: &tidemill::QueueName,
            ) -> tidemill::broker::Result<tidemill::QueueSettings> {
                self.inner.settings(queue).await
            }
            async fn own(
                &self,
                queue: &tidemill::QueueName,
                owner: &tidemill::core::QueueOwner,
                instead_of: Option<&tidemill::core::QueueOwner>,
            ) -> tidemill::broker::Result<tidemill::broker::Ownership> {
                self.inner.own(queue, owner, instead_of).await
            }
            async fn disown(
                &self,
                queue: &tidemill::QueueName,
                owner: &tidemill::core::QueueOwner,
            ) -> tidemill::broker::Result<bool> {
                self.inner.disown(queue, owner).await
            }
            async fn owner(
                &self,
                queue: &tidemill::QueueName,
            ) -> tidemill::broker::Result<Option<tidemill::core::QueueOwner>> {
                self.inner.owner(queue).await
            }
            async fn drop_queue(
                &self,
                queue: &tidemill::QueueName,
                owner: &tidemill::core::QueueOwner,
            ) -> tidemill::broker::Result<bool> {
                self.inner.drop_queue(queue, owner).await
            }
            async fn queues(&self) -> tidemill::broker::Result<Vec<tidemill::QueueName>> {
                self.inner.queues().await
            }
            async fn wait(
                &self,
                queue: &tidemill::QueueName,
                until: std::time::Duration,
            ) -> tidemill::broker::Result<()> {
                self.inner.wait(queue, until).await
            }
            async fn heartbeat(
                &self,
                queue: &tidemill::QueueName,
                worker: &tidemill::core::WorkerId,
                progress: &[(tidemill::TaskId, tidemill::core::Progress)],
            ) -> tidemill::broker::Result<tidemill::broker::Heartbeat> {
                self.inner.heartbeat(queue, worker, progress).await
            }
            async fn get(
                &self,
                queue: &tidemill::QueueName,
                task: &tidemill::TaskId,
            ) -> tidemill::broker::Result<Option<tidemill::core::TaskView>> {
                self.inner.get(queue, task).await
            }
            async fn list(
                &self,
                queue: &tidemill::QueueName,
                query: &tidemill::broker::ListQuery,
            ) -> tidemill::broker::Result<tidemill::broker::Page> {
                self.inner.list(queue, query).await
            }
            async fn workers(
                &self,
                queue: &tidemill::QueueName,
            ) -> tidemill::broker::Result<Vec<tidemill::core::WorkerView>> {
                self.inner.workers(queue).await
            }
            async fn retry(
                &self,
                queue: &tidemill::QueueName,
                task: &tidemill::TaskId,
            ) -> tidemill::broker::Result<tidemill::broker::Requeued> {
                self.inner.retry(queue, task).await
            }
            async fn delete(
                &self,
                queue: &tidemill::QueueName,
                task: &tidemill::TaskId,
            ) -> tidemill::broker::Result<tidemill::broker::Deleted> {
                self.inner.delete(queue, task).await
            }
            async fn pause(&self, queue: &tidemill::QueueName, paused: bool) -> tidemill::broker::Result<bool> {
                self.inner.pause(queue, paused).await
            }
            async fn purge(
                &self,
                queue: &tidemill::QueueName,
                state: tidemill::core::State,
            ) -> tidemill::broker::Result<u64> {
                self.inner.purge(queue, state).await
            }
            async fn subscribe(
                &self,
                queue: &tidemill::QueueName,
            ) -> tidemill::broker::Result<tidemill::broker::Subscription> {
                self.inner.subscribe(queue).await
            }
            async fn close(&self) {
                self.inner.close().await;
            }
        }
    };
}
