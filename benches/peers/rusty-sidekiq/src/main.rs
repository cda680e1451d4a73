//! rusty-sidekiq in the words of the benchmark: `peer-rusty-sidekiq redis://HOST:PORT`.

use std::sync::Arc;

use async_trait::async_trait;
use peer_protocol::{Peer, Tally, filling, serve};
use sidekiq::redis_rs::cmd;
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUEUE: &str = "bench";
/// Connections of a worker beyond those in which its slots wait for work.
const SPARE_CONNECTIONS: u32 = 10;

struct Sidekiq {
    url: String,
    pool: RedisPool,
    filling: String,
}

/// The job that does nothing.
#[derive(Clone)]
struct Nothing(Option<Arc<Tally>>);

#[async_trait]
impl Worker<String> for Nothing {
    async fn perform(&self, _: String) -> sidekiq::Result<()> {
        if let Some(tally) = &self.0 {
            tally.started();
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let pool = bb8::Pool::builder().build(RedisConnectionManager::new(url.as_str())?).await?;
    serve(Sidekiq { url, pool, filling: filling() }).await
}

impl Peer for Sidekiq {
    fn version(&self) -> String {
        "rusty-sidekiq 0.15.2".to_owned()
    }

    /// There is no call for many: the benchmark uses callers instead.
    async fn enqueue_batch(&self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            self.enqueue().await?;
        }
        Ok(())
    }

    async fn enqueue(&self) -> anyhow::Result<()> {
        sidekiq::perform_async(&self.pool, Nothing::class_name(), QUEUE.to_owned(), &self.filling).await?;
        Ok(())
    }

    async fn ping(&self) -> anyhow::Result<()> {
        let mut connection = self.pool.get().await?;
        cmd("PING").query_async::<()>(connection.unnamespaced_borrow_mut()).await?;
        Ok(())
    }

    async fn work(&self, slots: usize, tally: Arc<Tally>) -> anyhow::Result<()> {
        // Each slot holds a connection while it waits.
        let connections = u32::try_from(slots)? + SPARE_CONNECTIONS;
        let manager = RedisConnectionManager::new(self.url.as_str())?;
        let pool = bb8::Pool::builder().max_size(connections).build(manager).await?;
        let config = ProcessorConfig::default().num_workers(slots);
        let mut processor = Processor::new(pool, vec![QUEUE.to_owned()]).with_config(config);
        processor.register(Nothing(Some(tally)));
        tokio::spawn(processor.run());
        Ok(())
    }
}
