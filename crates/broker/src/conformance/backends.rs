//! The stores as the suite sees them.

use std::sync::Arc;

use async_trait::async_trait;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tidemill_core::QueueName;

use super::fleet::Cluster;
use super::harness::{Backend, Snapshot};
use super::scene::DEADLINE;
use super::server::RedisServer;
use crate::Broker;
use crate::embedded::{ManualClock, SqliteBroker, SqliteOptions};
use crate::redis::{Mutation, RedisBroker};

/// An embedded store in a directory of its own. Its clock stands still unless it is moved.
pub struct Sqlite {
    broker: Arc<SqliteBroker>,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

/// Queues of a Redis or Valkey. Its clock is the server's, and moved on where a test says so.
pub struct Redis {
    url: String,
    broker: Arc<RedisBroker>,
    another: Arc<RedisBroker>,
    /// A connection to each primary.
    raw: Vec<MultiplexedConnection>,
}

/// The keys of a queue of Redis, by what `DUMP` made of them.
struct Dump(Vec<(Vec<u8>, Vec<u8>)>);

impl Sqlite {
    /// A new store.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("tidemill-sqlite-").tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::default());
        let options = SqliteOptions { clock: clock.clone(), durable: false, ..SqliteOptions::new(dir.path()) };
        Self { broker: SqliteBroker::open(options).expect("a new store opens"), clock, _dir: dir }
    }
}

#[async_trait]
impl Backend for Sqlite {
    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn another(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    async fn to_close(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    async fn advance(&self, _queue: &QueueName, ms: u64) {
        self.clock.advance(ms);
    }

    async fn snapshot(&self, _queue: &QueueName) -> Snapshot {
        Box::new(self.broker.snapshot().await.expect("a snapshot can be taken"))
    }

    async fn roll_back(&self, _queue: &QueueName, snapshot: &Snapshot) {
        let snapshot = snapshot.downcast_ref().expect("a snapshot of this store");
        self.broker.restore(snapshot).await.expect("a snapshot can be put back");
    }
}

impl Redis {
    /// Connects to `server`.
    pub async fn connect(server: &RedisServer) -> Self {
        Self::over(server.url(), std::slice::from_ref(server)).await
    }

    /// Connects to a Cluster, whose slots are where they were at first.
    pub async fn connect_cluster(cluster: &Cluster) -> Self {
        Self::over(cluster.url(), &cluster.primaries).await
    }

    /// Connects to `server` with scripts of which a part says something else.
    pub async fn connect_mutated(server: &RedisServer, mutation: Mutation) -> Self {
        let sound = Self::connect(server).await;
        let open = || RedisBroker::open_mutated(&sound.url, mutation).expect("a broker opens");
        Self { broker: open(), another: open(), ..sound }
    }

    async fn over(url: String, primaries: &[RedisServer]) -> Self {
        let mut raw = Vec::new();
        for server in primaries {
            let client = redis::Client::open(server.url()).expect("the URL of a server");
            let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(DEADLINE));
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            raw.push(connection.expect("the server takes connections"));
        }
        Self { broker: open(&url), another: open(&url), url, raw }
    }

    /// A connection to the server that keeps a queue.
    async fn raw(&self, queue: &QueueName) -> MultiplexedConnection {
        if let [only] = &self.raw[..] {
            return only.clone();
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("KEYSLOT").arg(format!("tidemill:{{{queue}}}:meta"));
        let slot: usize = command.query_async(&mut self.raw[0].clone()).await.expect("the server answers");
        let home = (0..self.raw.len()).rfind(|n| n * usize::from(crate::redis::SLOTS) / self.raw.len() <= slot);
        self.raw[home.expect("the first slot is somewhere")].clone()
    }

    async fn keys(&self, queue: &QueueName) -> Vec<Vec<u8>> {
        let pattern = format!("tidemill:{{{queue}}}:*");
        self.raw(queue).await.keys(pattern).await.expect("the server answers")
    }
}

fn open(url: &str) -> Arc<RedisBroker> {
    RedisBroker::open_with_skewed_clock(url).expect("the URL of a server")
}

#[async_trait]
impl Backend for Redis {
    fn broker(&self) -> Arc<dyn Broker> {
        self.broker.clone()
    }

    fn another(&self) -> Arc<dyn Broker> {
        self.another.clone()
    }

    async fn to_close(&self) -> Arc<dyn Broker> {
        open(&self.url)
    }

    async fn advance(&self, queue: &QueueName, ms: u64) {
        self.broker.advance_clock(queue, ms).await.expect("the clock of a queue can be moved");
    }

    async fn snapshot(&self, queue: &QueueName) -> Snapshot {
        let mut dump = Vec::new();
        let mut raw = self.raw(queue).await;
        for key in self.keys(queue).await {
            let value: Option<Vec<u8>> =
                redis::cmd("DUMP").arg(&key).query_async(&mut raw).await.expect("the server answers");
            dump.extend(value.map(|value| (key, value)));
        }
        Box::new(Dump(dump))
    }

    async fn roll_back(&self, queue: &QueueName, snapshot: &Snapshot) {
        let Dump(dump) = snapshot.downcast_ref().expect("a snapshot of this store");
        let meta = format!("tidemill:{{{queue}}}:meta");
        let mut raw = self.raw(queue).await;
        let skew: Option<i64> = raw.hget(&meta, "skew").await.expect("the server answers");
        let mut all = redis::pipe();
        all.atomic();
        for key in self.keys(queue).await {
            all.del(key).ignore();
        }
        for (key, value) in dump {
            all.cmd("RESTORE").arg(key).arg(0).arg(value).ignore();
        }
        if let Some(skew) = skew {
            all.hset(&meta, "skew", skew).ignore();
        }
        all.query_async::<()>(&mut raw).await.expect("the keys can be put back");
    }
}
