//! The stores that are measured, each of its own making.

use std::sync::Arc;

use tempfile::TempDir;
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, Result};

/// A store, and what keeps it alive.
pub(crate) struct Store {
    pub name: &'static str,
    producer: Arc<dyn Broker>,
    worker: Arc<dyn Broker>,
    _server: Option<RedisServer>,
    _folder: Option<TempDir>,
}

impl Store {
    /// A Redis without persistence, and two connections to it.
    pub(crate) fn redis() -> anyhow::Result<Self> {
        let server = RedisServer::start();
        let (producer, worker) = (RedisBroker::open(&server.url())?, RedisBroker::open(&server.url())?);
        Ok(Self { name: "redis", producer, worker, _server: Some(server), _folder: None })
    }

    /// A database that commits durably.
    pub(crate) fn sqlite() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let broker = SqliteBroker::open(SqliteOptions::new(folder.path()))?;
        Ok(Self {
            name: "sqlite",
            producer: Arc::<SqliteBroker>::clone(&broker),
            worker: broker,
            _server: None,
            _folder: Some(folder),
        })
    }

    /// The side that enqueues.
    pub(crate) fn producer(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.producer)
    }

    /// The side that runs.
    pub(crate) fn worker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.worker)
    }

    /// What it is.
    pub(crate) fn describe(&self) -> String {
        self.producer.describe()
    }

    /// The least that a call to the store can cost: a bare round trip, or one durable commit (`odd` makes it a change).
    pub(crate) async fn least(&self, odd: bool) -> Result<()> {
        if self.name == "redis" {
            return self.producer.queues().await.map(|_| ());
        }
        let queue = tidemill_core::QueueName::default_queue();
        self.producer.ensure_queue(&queue, &tidemill_core::QueueSettings::default()).await?;
        self.producer.pause(&queue, odd).await.map(|_| ())
    }
}
