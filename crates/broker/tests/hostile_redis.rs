//! Values in Redis that no version of ours would write, or only another one: each operation answers or refuses them in
//! words, none hangs or panics, maintenance goes on, and no other task is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ::redis::Cmd;
use ::redis::aio::MultiplexedConnection;
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::*;
use tidemill_core::*;
use tokio::time::timeout;

/// No operation takes longer, whatever it finds.
const DEADLINE: Duration = Duration::from_secs(5);
const LEASE_MS: u64 = 10_000;
/// What a value may be that nobody expected.
const HOSTILE: [&[u8]; 12] = [
    b"",
    b"x",
    b"-1",
    b"0",
    b"1.5",
    b"1e400",
    b"99999999999999999999",
    b"99999999999 99999999999",
    b"\xff\xfe\x00\x01",
    b"{\"a\":[1,2",
    b"ffffffffffffffffffffffffffffffff:1:1:99999999999999999999999",
    &[b'7'; 5_000],
];

/// A queue with a task in each state, of which one each is to be damaged (`…-victim`) and the others are not.
struct Scene {
    broker: Arc<RedisBroker>,
    raw: MultiplexedConnection,
    queue: QueueName,
    worker: WorkerInfo,
}

/// What is done to a queue, and what may be lost by it.
struct Damage {
    name: String,
    commands: Vec<Cmd>,
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).unwrap()
}

fn task(text: &str) -> NewTask {
    NewTask::new(id(text), TaskType::new("work").unwrap(), "{}")
}

fn worker() -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
        name: "test".to_owned(),
        types: vec![TaskType::new("work").unwrap()],
        slots: 100,
        version: "0".to_owned(),
    }
}

fn settle(claims: Vec<Claim>, mut outcome: impl FnMut(&Claim) -> Outcome) -> Vec<Settlement> {
    let one = |claim: Claim| Settlement { outcome: outcome(&claim), task: claim.task, token: claim.token, ran_ms: 1 };
    claims.into_iter().map(one).collect()
}

fn failed(retry_in_ms: Option<u64>) -> Outcome {
    Outcome::Failed { failure: Failure::new(FailureKind::Transient, "no"), retry_in_ms }
}

impl Scene {
    async fn new(server: &RedisServer, number: usize) -> Self {
        let broker = RedisBroker::open_with_skewed_clock(&server.url()).unwrap();
        let queue = QueueName::new(format!("hostile-{number}")).unwrap();
        broker.ensure_queue(&queue, &settings()).await.unwrap();
        let raw = ::redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let scene = Self { broker, raw, queue, worker: worker() };
        scene.fill().await;
        scene
    }

    async fn fill(&self) {
        let (broker, queue) = (&self.broker, &self.queue);
        let enqueue = async |number: u8, batch: &[NewTask]| {
            broker.enqueue(queue, batch, RequestId([number; 8])).await.unwrap();
        };
        let names = ["succeeded", "dead", "retrying", "active"];
        let batch: Vec<_> =
            names.iter().flat_map(|name| [task(&format!("{name}-victim")), task(&format!("{name}-good"))]).collect();
        enqueue(1, &batch).await;
        broker.register(queue, &self.worker).await.unwrap();
        let Exchanged::Done { claims, .. } = self.exchange(&self.worker, 1, Vec::new(), 8).await.unwrap() else {
            panic!("it is registered")
        };
        let ended: Vec<_> = claims.into_iter().filter(|claim| !claim.task.as_str().starts_with("active")).collect();
        let finished = settle(ended, |claim| match claim.task.as_str().split_once('-').unwrap().0 {
            "succeeded" => Outcome::Succeeded { result: Some("1".into()) },
            "dead" => failed(None),
            _ => failed(Some(2_000)),
        });
        self.exchange(&self.worker, 2, finished, 0).await.unwrap();
        let progress = [(id("active-victim"), Progress { percent: 1, message: "m".to_owned() })];
        broker.heartbeat(queue, &self.worker.id, &progress).await.unwrap();
        let mut waiting = Vec::new();
        for name in ["victim", "good"] {
            waiting.push(task(&format!("pending-{name}")));
            waiting.push(NewTask { priority: Priority::new(5).unwrap(), ..task(&format!("ranked-{name}")) });
            waiting.push(NewTask { start: Start::AfterMs(2_000), ..task(&format!("delayed-{name}")) });
        }
        enqueue(2, &waiting).await;
        enqueue(3, &(0..5).map(|n| task(&format!("more-{n}"))).collect::<Vec<_>>()).await;
    }

    async fn exchange(
        &self,
        worker: &WorkerInfo,
        number: u64,
        finished: Vec<Settlement>,
        want: usize,
    ) -> Result<Exchanged> {
        let exchange = Exchange { worker: worker.id, number, finished, want };
        within("exchange", self.broker.exchange(&self.queue, &exchange)).await
    }

    /// Calls everything that only looks, and what touches the damaged tasks.
    async fn use_all(&self) {
        let (broker, queue) = (&self.broker, &self.queue);
        drop(within("ping", broker.ping()).await);
        drop(within("settings", broker.settings(queue)).await);
        drop(within("stats", broker.stats(queue)).await);
        drop(within("workers", broker.workers(queue)).await);
        drop(within("owner", broker.owner(queue)).await);
        drop(within("queues", broker.queues()).await);
        drop(within("wait", broker.wait(queue, Duration::from_millis(1))).await);
        for state in State::ALL {
            let query = ListQuery { state, task_type: None, cursor: None, limit: 100 };
            drop(within("list", broker.list(queue, &query)).await);
            let query = ListQuery { task_type: Some(TaskType::new("other").unwrap()), limit: 1, ..query };
            drop(within("list", broker.list(queue, &query)).await);
        }
        drop(within("heartbeat", broker.heartbeat(queue, &self.worker.id, &[])).await);
        drop(within("maintain", broker.maintain(queue)).await);
        for victim in ["succeeded", "dead", "retrying", "active", "pending", "ranked", "delayed"] {
            let victim = id(&format!("{victim}-victim"));
            drop(within("get", broker.get(queue, &victim)).await);
            drop(within("cancel", broker.cancel(queue, &victim)).await);
            drop(within("retry", broker.retry(queue, &victim)).await);
            drop(within("delete", broker.delete(queue, &victim)).await);
        }
        drop(within("enqueue", broker.enqueue(queue, &[task("pending-victim")], RequestId([9; 8]))).await);
    }

    /// Lets time pass until the worker's lease and all delays are over, then works all off. What of the good ones is left.
    async fn work_off(&self) -> std::result::Result<BTreeSet<String>, String> {
        // Whoever finds the settings of a queue damaged writes them anew.
        within("configure", self.broker.configure(&self.queue, &settings())).await.map_err(|e| e.to_string())?;
        let mut maintained = Ok(Maintained::default());
        for _ in 0..9 {
            self.broker.advance_clock(&self.queue, LEASE_MS / 3).await.map_err(|e| e.to_string())?;
            maintained = within("maintain", self.broker.maintain(&self.queue)).await;
        }
        let mut trouble = String::new();
        if let Err(error) = maintained {
            writeln!(trouble, "maintenance does not go on: {error}").unwrap();
        }
        let worker = worker();
        within("register", self.broker.register(&self.queue, &worker)).await.map_err(|e| e.to_string())?;
        let mut finished = Vec::new();
        for number in 1..=20 {
            match self.exchange(&worker, number, std::mem::take(&mut finished), 3).await {
                Ok(Exchanged::Done { claims, .. }) => {
                    finished = settle(claims, |_| Outcome::Succeeded { result: None });
                    if finished.is_empty() && number > 2 {
                        break;
                    }
                }
                Ok(Exchanged::Retired) => return Err(format!("{trouble}a new worker is retired")),
                Err(error) => return Err(format!("{trouble}exchange {number}: {error}")),
            }
        }
        if let Err(error) = within("stats", self.broker.stats(&self.queue)).await {
            writeln!(trouble, "stats: {error}").unwrap();
        }
        if let Err(error) = within("workers", self.broker.workers(&self.queue)).await {
            writeln!(trouble, "workers: {error}").unwrap();
        }
        for state in State::ALL {
            let query = ListQuery { state, task_type: None, cursor: None, limit: 100 };
            if let Err(error) = within("list", self.broker.list(&self.queue, &query)).await {
                writeln!(trouble, "list {state}: {error}").unwrap();
            }
        }
        if !trouble.is_empty() {
            return Err(trouble);
        }
        let mut left = BTreeSet::new();
        let mut good: Vec<String> =
            ["active", "retrying", "pending", "ranked", "delayed"].map(|name| format!("{name}-good")).into();
        good.extend((0..5).map(|n| format!("more-{n}")));
        for name in good {
            match within("get", self.broker.get(&self.queue, &id(&name))).await {
                Ok(Some(view)) if view.state == State::Succeeded => {}
                Ok(Some(view)) => drop(left.insert(format!("{name} is {}", view.state))),
                Ok(None) => drop(left.insert(format!("{name} is gone"))),
                Err(error) => drop(left.insert(format!("{name}: {error}"))),
            }
        }
        Ok(left)
    }
}

fn settings() -> QueueSettings {
    QueueSettings { lease_ms: u32::try_from(LEASE_MS).unwrap(), ..QueueSettings::default() }
}

async fn within<T>(what: &str, operation: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(DEADLINE, operation).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(40)]).escape_debug().to_string()
}

/// All that is done to one queue each.
#[allow(clippy::too_many_lines)] // a list
fn damages(scene: &Scene) -> Vec<Damage> {
    let key = |name: &str| format!("tidemill:{{{}}}:{name}", scene.queue);
    let me = scene.worker.id.to_string();
    let mut all = Vec::new();
    let mut add = |name: String, commands: Vec<Cmd>| all.push(Damage { name, commands });
    let put = |hash: &str, field: &str, value: &[u8]| {
        let mut command = ::redis::cmd("HSET");
        command.arg(key(hash)).arg(field).arg(value);
        vec![command]
    };
    let of_hashes = [
        ("claims", "active-victim"),
        ("attempts", "active-victim"),
        ("attempts", "retrying-victim"),
        ("attempts", "pending-victim"),
        ("attempts", "dead-victim"),
        ("progress", "active-victim"),
        ("results", "succeeded-victim"),
        ("cancels", "active-victim"),
        ("records", "active-victim"),
        ("records", "pending-victim"),
        ("records", "ranked-victim"),
        ("records", "delayed-victim"),
        ("records", "retrying-victim"),
        ("ended", "dead-victim"),
        ("ended", "succeeded-victim"),
        ("workers", me.as_str()),
        ("workers", "nobody"),
        ("exchanges", me.as_str()),
        ("exchanges", "nobody"),
        ("stats", "started"),
        ("stats", "succeeded"),
        ("stats", "lost"),
        ("stats", "new-in-a-later-version"),
        ("meta", "settings"),
        ("meta", "lease_ms"),
        ("meta", "loss_limit"),
        ("meta", "max_tasks"),
        ("meta", "keep:succeeded"),
        ("meta", "age:dead"),
        ("meta", "maintained"),
        ("meta", "paused"),
        ("meta", "owner"),
        ("meta", "event"),
        ("meta", "tail"),
        ("meta", "head"),
        ("meta", "format"),
    ];
    for (hash, field) in of_hashes {
        for value in HOSTILE {
            add(format!("{hash} of {field} is {:?}", shown(value)), put(hash, field, value));
        }
        let mut gone = ::redis::cmd("HDEL");
        gone.arg(key(hash)).arg(field);
        add(format!("{hash} of {field} is gone"), vec![gone]);
    }
    for (set, member, score) in [
        ("leases", "nobody", "1"),
        ("leases", me.as_str(), "-inf"),
        ("leases", me.as_str(), "inf"),
        ("delayed", "delayed-victim", "-inf"),
        ("delayed", "delayed-victim", "inf"),
        ("delayed", "delayed-victim", "1.5"),
        ("delayed", "delayed-victim", "1e300"),
        ("delayed", "unrecorded", "1"),
        ("retrying", "unrecorded", "1"),
        ("delayed", "pending-victim", "1"),
        ("ranked", "unrecorded", "-1"),
        ("ranked", "unrecorded", "1"),
        ("ranked", "ranked-victim", "inf"),
        ("ranked", "", "-2"),
        ("succeeded", "unrecorded", "1"),
        ("dead", "dead-victim", "inf"),
    ] {
        let mut command = ::redis::cmd("ZADD");
        command.arg(key(set)).arg(score).arg(member);
        add(format!("{set} has {member:?} at {score}"), vec![command]);
    }
    for entry in [&b"unrecorded"[..], b"", b"\xff\xfe", b"a\nb", b"pending-victim", b"active-victim", &[b'i'; 5_000]] {
        for push in ["LPUSH", "RPUSH"] {
            let mut command = ::redis::cmd(push);
            command.arg(key("pending")).arg(entry);
            add(format!("pending got {:?} by {push}", shown(entry)), vec![command]);
        }
    }
    for member in ["unrecorded", "", "active-victim", "pending-victim"] {
        let mut command = ::redis::cmd("SADD");
        command.arg(key("stale")).arg(member);
        add(format!("stale has {member:?}"), vec![command]);
    }
    let mut many = ::redis::cmd("SADD");
    many.arg(key("stale")).arg((0..2_000).map(|n| format!("stale-{n}")).collect::<Vec<_>>());
    add("stale has 2000 that never waited".to_owned(), vec![many]);
    let mut wake = ::redis::cmd("RPUSH");
    wake.arg(key("wake")).arg(vec!["x"; 50]);
    add("wake has 50 markers".to_owned(), vec![wake]);
    for hash in ["records", "claims"] {
        let mut command = ::redis::cmd("HDEL");
        command.arg(key(hash)).arg("");
        add(format!("{hash} has no placeholder"), vec![command]);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_no_page_gave_is_refused_or_leads_nowhere() {
    let server = RedisServer::start();
    let scene = Scene::new(&server, 0).await;
    for cursor in ["", "x", "-1", "1.5", "1e9", "4294967295", "4294967296", "18446744073709551615", "\0", "0:0"] {
        for state in State::ALL {
            let query = ListQuery { state, task_type: None, cursor: Some(cursor.to_owned()), limit: 5 };
            match within("list", scene.broker.list(&scene.queue, &query)).await {
                Ok(page) => assert!(page.tasks.is_empty(), "{cursor:?} {state}"),
                Err(error) => assert!(matches!(error, BrokerError::BadCursor(_)), "{cursor:?} {state}: {error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_nobody_expected_costs_no_other_task_and_stops_no_maintenance() {
    let server = RedisServer::start();
    let count = damages(&Scene::new(&server, 0).await).len();
    let mut failures = Vec::new();
    for number in 0..count {
        for uses in [false, true] {
            let mut scene = Scene::new(&server, 1 + number * 2 + usize::from(uses)).await;
            let Damage { name, commands } = damages(&scene).swap_remove(number);
            for command in commands {
                command.query_async::<::redis::Value>(&mut scene.raw).await.unwrap();
            }
            if uses {
                scene.use_all().await;
            }
            match scene.work_off().await {
                Ok(left) if left.is_empty() => {}
                Ok(left) => failures.push(format!("{name} (all used: {uses}): {left:?}")),
                Err(error) => failures.push(format!("{name} (all used: {uses}): {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), 2 * count, failures.join("\n"));
}
