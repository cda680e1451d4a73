//! Servers that are away, mute, restarted, or no longer what they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tidemill_broker::conformance::fleet::{self, replicates};
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError, Delivery};
use tidemill_core::{QueueName, QueueSettings, RequestId, TaskId};

use super::{SOON, are_blocked, broker, eventually, queue, tasks};

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
    let () = server.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
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
    are_blocked(&server, 1).await;
    server.restart();
    eventually(|| async { broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await }).await;
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap().unwrap();
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
    let began = Instant::now();
    while let Err(error) = broker.ping().await {
        assert!(began.elapsed() < SOON, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
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
    are_blocked(&first, 1).await;

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
    let () = server.ask(&["CLIENT", "PAUSE", "2500", "ALL"]).await;
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
