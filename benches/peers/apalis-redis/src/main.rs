//! apalis on Redis in the words of the benchmark: `peer-apalis-redis redis://HOST:PORT`.

use std::sync::Arc;

use apalis::layers::WorkerBuilderExt;
use apalis::prelude::*;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use futures::stream;
use peer_protocol::{Ids, Peer, Tally, filling, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Storage = RedisStorage<String, ConnectionManager>;

struct Apalis {
    storage: Storage,
    connection: ConnectionManager,
    filling: String,
    ids: Ids,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let connection = apalis_redis::connect(url.as_str()).await?;
    let config = Config::default().queue("bench").persist_results(false);
    let storage = RedisStorage::new(connection.clone()).with_config(config);
    serve(Apalis { storage, connection, filling: filling(), ids: Ids::default() }).await
}

impl Apalis {
    fn task(&self) -> Task<String> {
        TaskBuilder::new(self.filling.clone()).task_id(TaskId::from_string(self.ids.next())).build()
    }
}

impl Peer for Apalis {
    fn version(&self) -> String {
        "apalis 1.0.0, apalis-redis 1.0.0".to_owned()
    }

    async fn enqueue_batch(&self, count: usize) -> anyhow::Result<()> {
        let tasks: Vec<_> = (0..count).map(|_| self.task()).collect();
        self.storage.clone().push_all(stream::iter(tasks)).await?;
        Ok(())
    }

    async fn enqueue(&self) -> anyhow::Result<()> {
        self.storage.clone().push_task(self.task()).await?;
        Ok(())
    }

    async fn ping(&self) -> anyhow::Result<()> {
        Ok(redis::cmd("PING").query_async(&mut self.connection.clone()).await?)
    }

    async fn work(&self, slots: usize, tally: Arc<Tally>) -> anyhow::Result<()> {
        let storage = self.storage.clone();
        let worker = WorkerBuilder::new("bench").backend(storage).concurrency(slots).build(move |_: String| {
            tally.started();
            async { Ok::<(), BoxDynError>(()) }
        });
        tokio::spawn(worker.run());
        Ok(())
    }
}
