//! Tidemill as a user would use it: a producer and a worker on the public library, in the words of the benchmark.
//!
//! `tidemill-peer redis://HOST:PORT` or `tidemill-peer sqlite:FOLDER`; the store is the only difference. Beside the
//! words of every system it knows `listen`, which follows the queue's events as an API pod does, `settled`, the store's
//! own count, and `pause` and `resume`.

use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use peer_protocol::{Ids, Peer, Tally, payload, serve};
use serde_json::{Value, json};
use tidemill::broker::Delivery;
use tidemill::broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill::broker::redis::RedisBroker;
use tidemill::core::{Keep, Retention};
use tidemill::{
    Broker, CancellationToken, Context, Executor, ExecutorOptions, NewTask, Output, QueueName, QueueSettings, Registry,
    RequestId, TaskId, TaskType,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The type of the tasks that do nothing.
const TYPE: &str = "nothing";

/// Enqueues and works, as told on standard input.
#[derive(Debug, Parser)]
struct Args {
    /// Where tasks are kept: `redis://HOST:PORT` or `sqlite:FOLDER`.
    url: String,
}

struct Tidemill {
    store: Arc<dyn Broker>,
    /// The client that the store's Redis half uses, for bare round trips.
    client: Option<redis::aio::ConnectionManager>,
    queue: QueueName,
    task_type: TaskType,
    payload: Vec<u8>,
    ids: Ids,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (store, client): (Arc<dyn Broker>, _) = if let Some(folder) = args.url.strip_prefix("sqlite:") {
        (SqliteBroker::open(SqliteOptions::new(folder))?, None)
    } else {
        let client = redis::Client::open(args.url.as_str())?.get_connection_manager().await?;
        (RedisBroker::open(&args.url)?, Some(client))
    };
    let queue = QueueName::new("bench".to_owned())?;
    store.ensure_queue(&queue, &without_history()).await?;
    let task_type = TaskType::new(TYPE)?;
    serve(Tidemill { store, client, queue, task_type, payload: payload(), ids: Ids::default() }).await
}

/// The defaults, but that what succeeded is forgotten, as with every system that allows it.
fn without_history() -> QueueSettings {
    let retention = Retention { succeeded: Keep { count: 0, age_s: 0 }, ..Retention::default() };
    QueueSettings { retention, ..QueueSettings::default() }
}

impl Tidemill {
    fn task(&self) -> anyhow::Result<NewTask> {
        Ok(NewTask::new(TaskId::new(self.ids.next())?, self.task_type.clone(), self.payload.clone()))
    }

    fn request() -> RequestId {
        RequestId(rand::random())
    }

    /// Follows the events until the store is closed; how many there were is nobody's business.
    async fn listen(&self) -> anyhow::Result<Value> {
        let mut events = self.store.subscribe(&self.queue).await?;
        tokio::spawn(async move {
            let mut gaps = 0_u64;
            while let Some(delivery) = events.next().await {
                gaps += u64::from(matches!(delivery, Delivery::Gap));
            }
            gaps
        });
        Ok(json!({}))
    }
}

impl Peer for Tidemill {
    fn version(&self) -> String {
        format!("tidemill {} on {}", env!("CARGO_PKG_VERSION"), self.store.describe())
    }

    async fn enqueue_batch(&self, count: usize) -> anyhow::Result<()> {
        let batch = (0..count).map(|_| self.task()).collect::<anyhow::Result<Vec<_>>>()?;
        self.store.enqueue(&self.queue, &batch, Self::request()).await?;
        Ok(())
    }

    async fn enqueue(&self) -> anyhow::Result<()> {
        self.store.enqueue(&self.queue, &[self.task()?], Self::request()).await?;
        Ok(())
    }

    async fn ping(&self) -> anyhow::Result<()> {
        match &self.client {
            Some(client) => Ok(redis::cmd("PING").query_async(&mut client.clone()).await?),
            None => Ok(self.store.ping().await?),
        }
    }

    async fn work(&self, slots: usize, tally: Arc<Tally>) -> anyhow::Result<()> {
        let mut registry = Registry::new();
        registry.add(TYPE, move |_: Context| {
            tally.started();
            async { Ok(Output::NONE) }
        })?;
        let options = ExecutorOptions { slots, ..ExecutorOptions::new(self.queue.clone()) };
        let executor = Executor::new(Arc::clone(&self.store), Arc::new(registry), options);
        // It ends with the process: nothing is left to settle when the figures are in.
        tokio::spawn(executor.run(CancellationToken::new(), CancellationToken::new()));
        Ok(())
    }

    async fn other(&self, command: &str) -> anyhow::Result<Value> {
        match command {
            "listen" => self.listen().await,
            "settled" => {
                Ok(json!({ "settled": self.store.stats(&self.queue).await.context("stats")?.counters.succeeded }))
            }
            "pause" | "resume" => {
                self.store.pause(&self.queue, command == "pause").await?;
                Ok(json!({}))
            }
            _ => anyhow::bail!("there is no command '{command}'"),
        }
    }
}
