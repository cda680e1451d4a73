//! What is particular to the store on Redis: its connections, its scripts and its bad days.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

mod durability;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use redis::FromRedisValue as _;
use tidemill_broker::conformance::fleet::{self, replicates};
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Access, Authorities, Broker, BrokerError, Delivery, Exchange, Exchanged, Ownership, Settled};
use tidemill_core::{
    NewTask, Outcome, QueueName, QueueOwner, QueueSettings, RequestId, Settlement, State, TaskId, TaskType, WorkerId,
    WorkerInfo,
};

const SOON: Duration = Duration::from_secs(10);

fn queue() -> QueueName {
    QueueName::new("particular").unwrap()
}

fn tasks(ids: &[&str]) -> Vec<NewTask> {
    ids.iter().map(|id| NewTask::sleep(TaskId::new(*id).unwrap(), 0)).collect()
}

fn owner() -> QueueOwner {
    let [cluster, namespace, name, uid] = ["east", "mill", "mail", "u1"].map(str::to_owned);
    QueueOwner { cluster, namespace, name, uid }
}

fn worker() -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
        name: "test".to_owned(),
        types: vec![TaskType::sleep()],
        slots: 10,
        version: "0".to_owned(),
    }
}

async fn broker(url: &str) -> Arc<RedisBroker> {
    let broker = RedisBroker::open(url).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    broker
}

async fn redis_cli(server: &RedisServer, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}

fn text(value: redis::Value) -> String {
    redis::from_redis_value(value).unwrap()
}

/// Repeats `operation` while the store is unavailable.
async fn eventually<T, F: Future<Output = Result<T, BrokerError>>>(operation: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(error) if error.is_unavailable() && began.elapsed() < SOON => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["SCRIPT", "FLUSH"]).await;
    broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_takes_nothing_in_but_drains() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["a", "b"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = broker.enqueue(&queue(), &tasks(&["c"]), RequestId([2; 8])).await.unwrap_err();
    assert!(matches!(refused, BrokerError::StoreFull { .. }), "{refused}");
    let mut finished = Vec::new();
    for number in 1..=2 {
        let exchange = Exchange { worker: worker.id, number, finished: std::mem::take(&mut finished), want: 2 };
        let Exchanged::Done { claims, settled, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
            panic!("the worker is registered");
        };
        assert!(settled.iter().all(|settled| *settled == Settled::Now(State::Succeeded)));
        finished.extend(claims.into_iter().map(|claim| Settlement {
            task: claim.task,
            token: claim.token,
            outcome: Outcome::Succeeded { result: None },
            ran_ms: 0,
        }));
    }
    assert_eq!(broker.stats(&queue()).await.unwrap().counters.succeeded, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_joins_and_a_queue_resumes_on_a_full_server() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    broker.pause(&queue(), true).await.unwrap();
    redis_cli(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let worker = worker();
    assert!(!broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap());
    broker.register(&queue(), &worker).await.unwrap();
    assert!(broker.pause(&queue(), false).await.unwrap());
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 1 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
        panic!("the worker is registered");
    };
    assert_eq!(claims.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_went_back_keeps_no_lost_worker() {
    const HOUR_MS: u64 = 3_600_000;
    let server = RedisServer::start();
    let broker = RedisBroker::open_with_skewed_clock(&server.url()).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    let silent = worker();
    broker.advance_clock(&queue(), HOUR_MS).await.unwrap();
    broker.maintain(&queue()).await.unwrap();
    broker.register(&queue(), &silent).await.unwrap();
    redis_cli(&server, &["HSET", "tidemill:{particular}:meta", "skew", "0"]).await;
    assert!(broker.maintain(&queue()).await.unwrap().renewed);
    for _ in 0..2 {
        broker.advance_clock(&queue(), 5_001).await.unwrap();
        broker.maintain(&queue()).await.unwrap();
    }
    assert_eq!(broker.workers(&queue()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_that_nobody_waits_for_any_more_goes_to_another_process() {
    let server = RedisServer::start();
    let (left, stays) = (broker(&server.url()).await, broker(&server.url()).await);
    let blocked = |clients: &'static str| {
        let server = &server;
        async move {
            while !text(redis_cli(server, &["INFO", "clients"]).await).contains(clients) {
                tokio::task::yield_now().await;
            }
        }
    };
    let queue_left = queue();
    tokio::select! {
        _ = left.wait(&queue_left, SOON) => panic!("there is nothing to do"),
        () = blocked("blocked_clients:1") => {}
    }
    let waits = {
        let stays = Arc::clone(&stays);
        tokio::spawn(async move { stays.wait(&queue(), SOON).await })
    };
    tokio::time::timeout(SOON, blocked("blocked_clients:2")).await.unwrap();
    let asked = Instant::now();
    stays.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    waits.await.unwrap().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_newer_format_holds_up_no_other() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["newer", "good"]), RequestId([1; 8])).await.unwrap();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let records = "tidemill:{particular}:records";
    let mut record: Vec<u8> = redis::cmd("HGET").arg(records).arg("newer").query_async(&mut connection).await.unwrap();
    record[0] = 3;
    let () = redis::cmd("HSET").arg(records).arg("newer").arg(record).query_async(&mut connection).await.unwrap();
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 2 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue(), &exchange).await.unwrap() else {
        panic!("the worker is registered");
    };
    assert_eq!(claims.iter().map(|claim| claim.task.as_str()).collect::<Vec<_>>(), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_is_unavailable_within_two_seconds_and_served_when_it_is_back() {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let mut events = broker.subscribe(&queue()).await.unwrap();
    server.kill();
    let asked = Instant::now();
    let error = broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap_err();
    assert!(error.is_unavailable() && asked.elapsed() < Duration::from_secs(2), "{error} after {:?}", asked.elapsed());
    assert_eq!(tokio::time::timeout(SOON, events.next()).await.unwrap(), Some(Delivery::Gap));

    server.restart();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await }).await;
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
    let again = tokio::time::timeout(SOON, events.next()).await.unwrap();
    assert_eq!(again, Some(Delivery::Gap), "what happened since the first was not heard");
    // The watcher hears again, of this or a later task.
    let heard = async {
        for n in 0_u8.. {
            let id = format!("later{n}");
            broker.enqueue(&queue(), &tasks(&[&id]), RequestId([n; 8])).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
            if matches!(next, Ok(Some(Delivery::Batch(_)))) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_begin_while_others_are_restored_are_in_force_too() {
    /// So many that it takes a while to restore them.
    const BEFORE: usize = 300;
    /// These begin one after the other, some of them in that while.
    const MEANWHILE: usize = 60;
    const APART: Duration = Duration::from_millis(2);
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let names: Vec<_> = (0..BEFORE + MEANWHILE).map(|n| QueueName::new(format!("q{n}")).unwrap()).collect();
    for name in &names {
        broker.ensure_queue(name, &QueueSettings::default()).await.unwrap();
    }
    let mut before = Vec::new();
    for name in &names[..BEFORE] {
        before.push(broker.subscribe(name).await.unwrap());
    }
    redis_cli(&server, &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let mut meanwhile = tokio::task::JoinSet::new();
    for name in names[BEFORE..].iter().cloned() {
        let broker = Arc::clone(&broker);
        meanwhile.spawn(async move { (broker.subscribe(&name).await.unwrap(), name) });
        tokio::time::sleep(APART).await;
    }
    while let Some(joined) = meanwhile.join_next().await {
        let (mut events, name) = joined.unwrap();
        broker.enqueue(&name, &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
        let hears = async { while !matches!(events.next().await, Some(Delivery::Batch(_))) {} };
        assert!(tokio::time::timeout(SOON, hears).await.is_ok(), "{name} is deaf");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_that_wait_together_for_a_mute_server_are_all_answered_in_time() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = RedisBroker::open(&format!("redis://{}", mute.local_addr().unwrap())).unwrap();
    let asked = Instant::now();
    let queue = queue();
    for outcome in futures::future::join_all((0..4).map(|_| broker.stats(&queue))).await {
        assert!(outcome.unwrap_err().is_unavailable());
    }
    assert!(asked.elapsed() < Duration::from_millis(2_500), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiter_whose_server_was_restarted_is_woken_by_the_next_task() {
    let server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let broker = broker(&server.url()).await;
    let waits = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.wait(&queue(), Duration::from_secs(30)).await })
    };
    let blocked = async {
        while !text(redis_cli(&server, &["INFO", "clients"]).await).contains("blocked_clients:1") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, blocked).await.unwrap();
    server.restart();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await }).await;
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn user_password_and_database_of_the_url_are_used() {
    let server = RedisServer::start();
    redis_cli(&server, &["ACL", "SETUSER", "mill", "on", ">grist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
    let broker = broker(&format!("redis://mill:grist@127.0.0.1:{}/3", server.port())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let keyspace = text(redis_cli(&server, &["INFO", "keyspace"]).await);
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");

    let stranger = RedisBroker::open(&format!("redis://mill:chaff@127.0.0.1:{}", server.port())).unwrap();
    let error = stranger.ping().await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unfit(said) if said.contains("password")), "{error}");
    assert!(!stranger.describe().contains("chaff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let broker = broker(&format!("redis+unix://{}", socket.display())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_certificate_of_an_unknown_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &tls_port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    assert!(RedisBroker::open(&url).unwrap().ping().await.is_err());
    let pem = std::fs::read(&certificate).unwrap();
    for authorities in [Authorities::File(certificate), Authorities::Pem(pem)] {
        let access = Access { authorities: Some(authorities), ..Access::new(&url) };
        tidemill_broker::connect_with(&access).unwrap().ping().await.unwrap();
    }
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem().into_bytes();
    let access = Access { authorities: Some(Authorities::Pem(stranger)), ..Access::new(&url) };
    assert!(tidemill_broker::connect_with(&access).unwrap().ping().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_given_apart_win_over_those_of_the_url() {
    let server = RedisServer::start();
    redis_cli(&server, &["ACL", "SETUSER", "mill", "on", ">grist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
    redis_cli(&server, &["CONFIG", "SET", "requirepass", "flour"]).await;
    let text = |text: &str| Some(text.to_owned());
    let access = |user: Option<&str>, password: Option<&str>, of_url: &str| Access {
        username: user.map(str::to_owned),
        password: password.map(str::to_owned),
        ..Access::new(format!("redis://{of_url}127.0.0.1:{}", server.port()))
    };
    let right = [
        access(Some("mill"), Some("grist"), ""),
        access(Some("mill"), Some("grist"), "nobody:chaff@"),
        access(None, Some("grist"), "mill:chaff@"),
        access(Some("mill"), None, "nobody:grist@"),
        access(None, Some("flour"), ""),
    ];
    for access in right {
        let broker = tidemill_broker::connect_with(&access).unwrap();
        broker.ping().await.unwrap_or_else(|error| panic!("{access:?}: {error}"));
        // The connections that wait and watch are let in as well.
        broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
        let mut events = broker.subscribe(&queue()).await.unwrap();
        let id = TaskId::new(uuid::Uuid::new_v4().to_string()).unwrap();
        broker.enqueue(&queue(), &[NewTask::sleep(id, 0)], RequestId(rand::random())).await.unwrap();
        assert!(matches!(tokio::time::timeout(SOON, events.next()).await, Ok(Some(Delivery::Batch(_)))));
        broker.wait(&queue(), Duration::from_millis(1)).await.unwrap();
    }
    let wrong = Access { password: text("chaff"), ..access(None, None, "mill:grist@") };
    let error = tidemill_broker::connect_with(&wrong).unwrap().ping().await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unfit(said) if said.contains("broker.password")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_queue_leaves_no_key_behind() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    let worker = worker();
    broker.register(&queue(), &worker).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["a", "b", "c"]), RequestId([1; 8])).await.unwrap();
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 1 };
    broker.exchange(&queue(), &exchange).await.unwrap();
    broker.cancel(&queue(), &TaskId::new("c").unwrap()).await.unwrap();
    broker.own(&queue(), &owner(), None).await.unwrap();
    let keys = async |server| Vec::<String>::from_redis_value(redis_cli(server, &["KEYS", "*"]).await).unwrap();
    assert!(keys(&server).await.len() > 5);
    assert!(broker.drop_queue(&queue(), &owner()).await.unwrap());
    assert_eq!(keys(&server).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_dropped_but_is_still_listed_is_struck_off_by_the_next_try() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.own(&queue(), &owner(), None).await.unwrap();
    assert!(broker.drop_queue(&queue(), &owner()).await.unwrap());
    redis_cli(&server, &["SADD", "tidemill:queues", "particular"]).await;
    assert!(!broker.drop_queue(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.queues().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_on_a_full_server_is_owned_given_up_and_dropped() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(broker.own(&queue(), &owner(), None).await.unwrap(), Ownership::Ours);
    assert!(broker.disown(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.own(&queue(), &owner(), None).await.unwrap(), Ownership::Ours);
    assert!(broker.drop_queue(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.queues().await.unwrap(), []);
}

#[tokio::test]
async fn a_first_answer_that_is_no_redis_s_is_got_over() {
    let server = RedisServer::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port();
    let between = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        // As many as one attempt to connect takes by itself, and they stay open.
        let mut strange = Vec::new();
        for _ in 0..3 {
            let (mut one, _) = listener.accept().await.unwrap();
            one.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            strange.push(one);
        }
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut redis = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut redis).await.ok() });
        }
    });
    let broker = RedisBroker::open(&url).unwrap();
    assert!(broker.ping().await.is_err());
    let began = std::time::Instant::now();
    while let Err(error) = broker.ping().await {
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    between.abort();
}

/// Passes connections on to the server at whatever port it is told, as a Service does.
async fn service(port: Arc<AtomicU16>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            let port = port.load(Ordering::Acquire);
            passing.spawn(async move {
                let mut redis = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::io::copy_bidirectional(&mut client, &mut redis).await.ok();
            });
        }
    });
    (url, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_became_a_replica_behind_a_service_is_left_for_the_new_one() {
    let first = RedisServer::start();
    let of = format!("127.0.0.1 {}", first.port());
    let second = RedisServer::start_with(&["--replicaof", &of]);
    replicates(&second).await;
    let port = Arc::new(AtomicU16::new(first.port()));
    let (url, serving) = service(Arc::clone(&port)).await;
    let broker = broker(&url).await;
    let mut events = broker.subscribe(&queue()).await.unwrap();
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    assert!(matches!(tokio::time::timeout(SOON, events.next()).await, Ok(Some(Delivery::Batch(_)))));
    let waits = {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move {
            // The first marker is that of "a".
            broker.wait(&queue(), SOON).await.unwrap();
            broker.wait(&queue(), Duration::from_secs(30)).await
        })
    };
    eventually_blocked(&first).await;

    // The connections to the first live on; only what it answers tells that it serves no more.
    let () = second.ask(&["REPLICAOF", "NO", "ONE"]).await;
    let () = first.ask(&["REPLICAOF", "127.0.0.1", &second.port().to_string()]).await;
    port.store(second.port(), Ordering::Release);
    let asked = Instant::now();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await }).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(second.ask::<u64>(&["HEXISTS", "tidemill:{particular}:records", "b"]).await, 1);
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap().unwrap();
    // Whoever watches is told that something may be missing, and hears what happens there.
    let heard = async { while events.next().await != Some(Delivery::Gap) {} };
    tokio::time::timeout(SOON, heard).await.unwrap();
    let listens =
        async || second.ask::<(String, u64)>(&["PUBSUB", "NUMSUB", "tidemill:{particular}:channel"]).await.1 == 1;
    fleet::eventually(listens).await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_that_was_given_up_before_its_turn_is_not_carried_out_later() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["first"]), RequestId([1; 8])).await.unwrap();
    redis_cli(&server, &["CLIENT", "PAUSE", "2500", "ALL"]).await;
    let send = |name: &'static str, request: u8| {
        let broker = Arc::clone(&broker);
        tokio::spawn(async move { broker.enqueue(&queue(), &tasks(&[name]), RequestId([request; 8])).await })
    };
    // These are under way, and keep the third from its turn until it is given up.
    let under_way = [send("a", 2), send("b", 3)];
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (queue, batch) = (queue(), tasks(&["late"]));
    let sending = broker.enqueue(&queue, &batch, RequestId([4; 8]));
    let late = tokio::time::timeout(Duration::from_millis(300), sending).await;
    assert!(late.is_err(), "the server was to be mute");
    for sent in under_way {
        let outcome = sent.await.unwrap();
        assert!(outcome.as_ref().is_err_and(BrokerError::is_unavailable), "{outcome:?}");
    }
    eventually(|| async { broker.enqueue(&queue, &tasks(&["last"]), RequestId([5; 8])).await }).await;
    assert_eq!(broker.get(&queue, &TaskId::new("late").unwrap()).await.unwrap(), None);
}

async fn eventually_blocked(server: &RedisServer) {
    fleet::eventually(async || server.ask::<String>(&["INFO", "clients"]).await.contains("blocked_clients:1")).await;
}
