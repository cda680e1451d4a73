//! A server on a free port of this machine, its store in a folder of its own, and a client that shows everything.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tempfile::TempDir;
use tidemill_api::{Options, Server};
use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_broker::*;
use tidemill_core::*;
use tidemill_telemetry::metrics::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Within which everything that a test waits for must have happened.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The embedded store with a switch, and with events that a test can send itself.
pub(crate) struct Faulty {
    store: Arc<SqliteBroker>,
    /// Whether it is out of reach.
    pub(crate) down: AtomicBool,
    /// Whether it does not answer at all.
    pub(crate) hangs: AtomicBool,
    /// Whether the next enqueue takes effect but loses its answer.
    pub(crate) loses_reply: AtomicBool,
    /// Whether it is full from the answer on that it loses.
    pub(crate) fills_up: AtomicBool,
    /// Whether it is full: it takes nothing in, not even what it took in before.
    pub(crate) full: AtomicBool,
    /// What watchers are sent, where a test has taken that over.
    pub(crate) events: Option<Publisher>,
    _folder: TempDir,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions { durable: false, ..SqliteOptions::new(folder.path()) };
        Self {
            store: SqliteBroker::open(options).unwrap(),
            down: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            loses_reply: AtomicBool::new(false),
            fills_up: AtomicBool::new(false),
            full: AtomicBool::new(false),
            events: None,
            _folder: folder,
        }
    }

    async fn reach(&self) -> Result<&SqliteBroker> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(BrokerError::Unavailable { operation: "test", reason: "switched off".to_owned() });
        }
        Ok(&self.store)
    }

    /// Claims what waits, as a worker of these types.
    pub(crate) async fn claim(&self, queue: &str, want: usize) -> Vec<Claim> {
        let queue = QueueName::new(queue).unwrap();
        let worker = WorkerId::from_uuid(uuid::Uuid::now_v7());
        let info = WorkerInfo {
            id: worker,
            name: "tester".to_owned(),
            types: vec![TaskType::sleep()],
            slots: 4,
            version: "0".to_owned(),
        };
        self.store.register(&queue, &info).await.unwrap();
        let exchange = Exchange { worker, number: 1, finished: Vec::new(), want };
        match self.store.exchange(&queue, &exchange).await.unwrap() {
            Exchanged::Done { claims, .. } => claims,
            Exchanged::Retired => panic!("retired at once"),
        }
    }

    /// Settles one claim, the next exchange after [`Faulty::claim`].
    pub(crate) async fn settle(&self, queue: &str, claim: &Claim, outcome: Outcome) {
        let queue = QueueName::new(queue).unwrap();
        let finished = vec![Settlement { task: claim.task.clone(), token: claim.token, outcome, ran_ms: 5 }];
        let exchange = Exchange { worker: claim.token.worker, number: 2, finished, want: 0 };
        let done = self.store.exchange(&queue, &exchange).await.unwrap();
        assert!(matches!(done, Exchanged::Done { ref settled, .. } if settled[0] != Settled::Refused), "{done:?}");
    }
}

#[async_trait]
impl Broker for Faulty {
    fn describe(&self) -> String {
        "sqlite for tests".to_owned()
    }
    async fn ping(&self) -> Result<()> {
        self.reach().await?.ping().await
    }
    async fn ensure_queue(&self, queue: &QueueName, settings: &QueueSettings) -> Result<bool> {
        self.reach().await?.ensure_queue(queue, settings).await
    }
    async fn configure(&self, queue: &QueueName, settings: &QueueSettings) -> Result<()> {
        self.reach().await?.configure(queue, settings).await
    }
    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings> {
        self.reach().await?.settings(queue).await
    }
    async fn own(&self, queue: &QueueName, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Result<Ownership> {
        self.reach().await?.own(queue, owner, instead_of).await
    }
    async fn disown(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        self.reach().await?.disown(queue, owner).await
    }
    async fn owner(&self, queue: &QueueName) -> Result<Option<QueueOwner>> {
        self.reach().await?.owner(queue).await
    }
    async fn drop_queue(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        self.reach().await?.drop_queue(queue, owner).await
    }
    async fn queues(&self) -> Result<Vec<QueueName>> {
        self.reach().await?.queues().await
    }
    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        if self.full.load(Ordering::SeqCst) {
            return Err(BrokerError::StoreFull { operation: "enqueue", reason: "no room".to_owned() });
        }
        let done = self.reach().await?.enqueue(queue, batch, request).await?;
        if self.loses_reply.swap(false, Ordering::SeqCst) {
            self.full.store(self.fills_up.load(Ordering::SeqCst), Ordering::SeqCst);
            return Err(BrokerError::Unavailable { operation: "enqueue", reason: "the reply was lost".to_owned() });
        }
        Ok(done)
    }
    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        self.reach().await?.register(queue, worker).await
    }
    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        self.reach().await?.exchange(queue, exchange).await
    }
    async fn wait(&self, queue: &QueueName, until: Duration) -> Result<()> {
        self.reach().await?.wait(queue, until).await
    }
    async fn heartbeat(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        progress: &[(TaskId, Progress)],
    ) -> Result<Heartbeat> {
        self.reach().await?.heartbeat(queue, worker, progress).await
    }
    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        self.reach().await?.retire(queue, worker).await
    }
    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        self.reach().await?.maintain(queue).await
    }
    async fn get(&self, queue: &QueueName, task: &TaskId) -> Result<Option<TaskView>> {
        assert_ne!(task.as_str(), "panic", "a handler that panics");
        self.reach().await?.get(queue, task).await
    }
    async fn list(&self, queue: &QueueName, query: &ListQuery) -> Result<Page> {
        self.reach().await?.list(queue, query).await
    }
    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        self.reach().await?.stats(queue).await
    }
    async fn workers(&self, queue: &QueueName) -> Result<Vec<WorkerView>> {
        self.reach().await?.workers(queue).await
    }
    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        self.reach().await?.cancel(queue, task).await
    }
    async fn retry(&self, queue: &QueueName, task: &TaskId) -> Result<Requeued> {
        self.reach().await?.retry(queue, task).await
    }
    async fn delete(&self, queue: &QueueName, task: &TaskId) -> Result<Deleted> {
        self.reach().await?.delete(queue, task).await
    }
    async fn pause(&self, queue: &QueueName, paused: bool) -> Result<bool> {
        self.reach().await?.pause(queue, paused).await
    }
    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64> {
        self.reach().await?.purge(queue, state).await
    }
    async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        let store = self.reach().await?;
        match &self.events {
            Some(publisher) => Ok(publisher.subscribe()),
            None => store.subscribe(queue).await,
        }
    }
    async fn close(&self) {
        self.store.close().await;
    }
}

/// A running server.
pub(crate) struct Api {
    pub(crate) address: String,
    pub(crate) metrics_address: Option<String>,
    pub(crate) broker: Arc<Faulty>,
    pub(crate) health: Arc<tidemill_api::Health>,
    pub(crate) stop: CancellationToken,
    running: JoinHandle<()>,
}

/// What a test begins with: everything on, on a free port.
pub(crate) fn options() -> Options {
    Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        public_folder: "/nonexistent/public".into(),
        views_folder: "/nonexistent/views".into(),
        ..Options::default()
    }
}

impl Api {
    pub(crate) async fn start() -> Self {
        Self::with(options(), Faulty::new()).await
    }

    /// Serves, and waits until it is ready.
    pub(crate) async fn with(options: Options, broker: Faulty) -> Self {
        let api = Self::unready(options, broker).await;
        until("ready", async || api.health.is_up()).await;
        api
    }

    pub(crate) async fn unready(options: Options, broker: Faulty) -> Self {
        let broker = Arc::new(broker);
        let metrics = Arc::new(Metrics::new("test"));
        let server = Server::bind(options, broker.clone(), metrics).await.unwrap();
        let address = server.local_addr().unwrap().to_string();
        let metrics_address = server.metrics_addr().map(|address| address.to_string());
        let health = server.health();
        let stop = CancellationToken::new();
        let running = tokio::spawn({
            let stop = stop.clone();
            async move { server.run(stop).await.unwrap() }
        });
        Self { address, metrics_address, broker, health, stop, running }
    }

    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        timeout(SOON, self.running).await.expect("the server did not stop").unwrap();
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(&self.address, "GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        send(&self.address, "POST", path, &[], body).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        send(&self.address, method, path, headers, body).await
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Asserts that this is a problem, and gives its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], status);
        assert!(json["type"].as_str().unwrap().starts_with("/problems/"), "{json}");
        json["detail"].as_str().unwrap().to_owned()
    }

    /// The pointers of the faults.
    pub(crate) fn pointers(&self) -> Vec<String> {
        let json = self.json();
        let faults = json["errors"].as_array().cloned().unwrap_or_default();
        faults.iter().map(|fault| fault["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// One request on a connection of its own.
pub(crate) async fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let length = body.len().to_string();
    let mut lines = vec![("Connection", "close"), ("Content-Length", length.as_str())];
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        lines.push(("Host", address));
    }
    lines.extend(headers);
    let lines: Vec<String> = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!("{method} {path} HTTP/1.1\r\n{}", lines.concat());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    // A server that has refused already may close before it has read everything.
    let sent = stream.write_all(body.as_bytes()).await;
    let mut bytes = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("no answer in time");
    assert!(read.is_ok() || !bytes.is_empty(), "{sent:?} {read:?}");
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut rest = &bytes[end + 4..];
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
            body.extend_from_slice(&rest[line + 2..line + 2 + size]);
            rest = &rest[line + 2 + size + 2..];
        }
    } else {
        body.extend_from_slice(rest);
    }
    Reply { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
}

/// Waits until `holds`, with a deadline.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < end, "not {what} in time");
        sleep(Duration::from_millis(10)).await;
    }
}
