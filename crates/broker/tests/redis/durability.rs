//! `durability.replicas`: what is acknowledged is what a replica has.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::conformance::fleet::{self, replicates};
use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Access, Broker, Durability};
use tidemill_core::{QueueSettings, RequestId, State, TaskId};

use super::{eventually, queue, tasks, worker};

/// A primary and its replica, each with what else they are told, and the access to what a replica must have.
async fn replicated(extra: &[&str], timeout: Duration) -> (RedisServer, RedisServer, Access) {
    let primary = RedisServer::start_with(extra);
    let follow = format!("127.0.0.1 {}", primary.port());
    let replica = RedisServer::start_with(&[&["--replicaof", &follow], extra].concat());
    replicates(&replica).await;
    let access = Access { durability: Durability { replicas: 1, timeout }, ..Access::new(primary.url()) };
    (primary, replica, access)
}

async fn opened(access: &Access) -> Arc<RedisBroker> {
    let broker = RedisBroker::open_with(access).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    broker
}

#[tokio::test(flavor = "multi_thread")]
async fn what_too_few_replicas_have_is_not_acknowledged_and_is_when_it_is_repeated() {
    let (_primary, replica, access) = replicated(&["--enable-debug-command", "yes"], Duration::from_millis(300)).await;
    let (first, second) = (opened(&access).await, RedisBroker::open_with(&access).unwrap());
    first.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    second.ping().await.unwrap();

    // The replica is deaf for a while.
    let deaf = tokio::spawn({
        let url = replica.url();
        async move {
            let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
            redis::cmd("DEBUG").arg("SLEEP").arg("1.5").query_async::<()>(&mut connection).await.ok();
        }
    });
    let mute =
        async || tokio::time::timeout(Duration::from_millis(100), replica.try_ask::<()>(&["PING"])).await.is_err();
    fleet::eventually(mute).await;
    let error = first.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let said = error.to_string();
    assert!(said.contains("written, but only 0 of 1 replicas have it: repeat it with the same request id"), "{said}");
    // Another connection, which has written nothing itself, does not take it for safe either.
    let error = second.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await.unwrap_err();
    assert!(error.to_string().contains("only 0 of 1"), "{error}");
    // What workers do is not held up.
    let asked = Instant::now();
    first.register(&queue(), &worker()).await.unwrap();
    first.maintain(&queue()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());

    eventually(|| async { second.enqueue(&queue(), &tasks(&["b"]), RequestId([2; 8])).await }).await;
    assert_eq!(replica.ask::<u64>(&["HEXISTS", "tidemill:{particular}:records", "b"]).await, 1);
    assert_eq!(first.stats(&queue()).await.unwrap().counters.enqueued, 2);
    deaf.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_with_replicas_can_be_emptied() {
    let (primary, _replica, access) = replicated(&[], Durability::default().timeout).await;
    let broker = opened(&access).await;
    broker.enqueue(&queue(), &tasks(&["a", "b"]), RequestId([1; 8])).await.unwrap();
    let () = primary.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    broker.delete(&queue(), &TaskId::new("a").unwrap()).await.unwrap();
    assert_eq!(broker.purge(&queue(), State::Pending).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_that_wait_for_a_replica_wait_together() {
    const CALLERS: u64 = 200;
    let (primary, replica, access) = replicated(&[], Durability::default().timeout).await;
    let broker = opened(&access).await;
    let queue = queue();
    let ids: Vec<_> = (0..CALLERS).map(|n| tasks(&[&format!("t{n}")])).collect();
    let all = ids.iter().zip(0_u64..).map(|(batch, n)| broker.enqueue(&queue, batch, RequestId(n.to_be_bytes())));
    futures::future::try_join_all(all).await.unwrap();
    assert_eq!(replica.ask::<u64>(&["HLEN", "tidemill:{particular}:records"]).await, CALLERS + 1);
    let stats: String = primary.ask(&["INFO", "commandstats"]).await;
    let waits = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls=")?.split(',').next());
    let waits: u64 = waits.unwrap().parse().unwrap();
    assert!(waits < CALLERS, "{waits} waits for {CALLERS} callers");
}
