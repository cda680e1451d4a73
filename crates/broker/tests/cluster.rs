//! A Cluster while its slots move and its nodes take over from one another: real servers, formed and moved as an
//! administrator does it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

mod load;

use std::time::Duration;

use load::Load;
use tidemill_broker::conformance::fleet::{Cluster, crash, eventually, is_primary};
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError, Delivery, Exchange, Exchanged, Settled};
use tidemill_core::{
    NewTask, Outcome, QueueName, QueueSettings, RequestId, Settlement, State, TaskId, TaskType, WorkerId, WorkerInfo,
};

const SOON: Duration = Duration::from_secs(10);

fn meta(queue: &str) -> String {
    format!("tidemill:{{{queue}}}:meta")
}

/// A name of a queue whose slot is with this primary.
async fn queue_at(cluster: &Cluster, home: usize) -> String {
    for number in 0.. {
        let name = format!("q{number}");
        if cluster.home(cluster.slot(&meta(&name)).await) == home {
            return name;
        }
    }
    unreachable!("there are more names than slots")
}

fn task(id: &str) -> NewTask {
    NewTask::sleep(TaskId::new(id).unwrap(), 0)
}

/// Each operation that a script carries out, on a queue in which it empties keys, or only reads.
async fn every_script_is_refused_while_a_slot_is_on_its_way(cluster: &Cluster) {
    let name = queue_at(cluster, 0).await;
    let queue = QueueName::new(name.as_str()).unwrap();
    let slot = cluster.slot(&meta(&name)).await;
    let broker = RedisBroker::open(&cluster.url()).unwrap();
    broker.ensure_queue(&queue, &QueueSettings::default()).await.unwrap();
    let worker = WorkerInfo {
        id: WorkerId::from_uuid(uuid::Uuid::new_v4()),
        name: "mover".to_owned(),
        types: vec![TaskType::sleep()],
        slots: 10,
        version: "0".to_owned(),
    };
    broker.register(&queue, &worker).await.unwrap();
    broker.enqueue(&queue, &[task("held"), task("waits")], RequestId([1; 8])).await.unwrap();
    let exchange = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 1 };
    let Exchanged::Done { claims, .. } = broker.exchange(&queue, &exchange).await.unwrap() else {
        panic!("registered")
    };
    let settle = Settlement {
        task: claims[0].task.clone(),
        token: claims[0].token,
        outcome: Outcome::Succeeded { result: None },
        ran_ms: 1,
    };
    // Takes the last of `pending`, which vanishes, and goes on after that.
    let emptying = Exchange { worker: worker.id, number: 2, finished: vec![settle], want: 5 };
    let at_first = broker.stats(&queue).await.unwrap();

    // All keys are here still; some are there; all are there.
    cluster.begin_move(slot, 0, 1).await;
    let (from, to) = (&cluster.primaries[0], &cluster.primaries[1]);
    let count = async |server: &tidemill_broker::conformance::server::RedisServer| {
        server.ask::<usize>(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]).await
    };
    for stage in ["all at the source", "some at each", "all at the target"] {
        match stage {
            "some at each" => {
                let port = to.port().to_string();
                let () = from.ask(&["MIGRATE", "127.0.0.1", &port, &meta(&name), "0", "5000"]).await;
                assert!(count(from).await > 0 && count(to).await == 1);
            }
            "all at the target" => {
                cluster.move_keys(slot, 0, 1, Duration::ZERO).await;
                assert!(count(from).await == 0 && count(to).await > 1);
            }
            _ => assert!(count(from).await > 1 && count(to).await == 0),
        }
        let unavailable = |what: &str, error: Option<BrokerError>| match error {
            Some(error) if error.is_unavailable() => {
                let said = error.to_string();
                // What came last: the target's answer, or the source's that sent there.
                assert!(said.contains("TryAgain") || said.contains("Ask"), "{stage}: {what}: {said}");
            }
            other => panic!("{stage}: {what} should have been refused: {other:?}"),
        };
        let id = TaskId::new("waits").unwrap();
        let more = [task("more")];
        // Settling (allow-oom), writing, reading (no-writes), all at once since each takes as long as it may.
        // All keys of `register` are there at first; the one that never is keeps it from beginning.
        let (exchanged, enqueued, cancelled, stats, got, registered) = tokio::join!(
            broker.exchange(&queue, &emptying),
            broker.enqueue(&queue, &more, RequestId([2; 8])),
            broker.cancel(&queue, &id),
            broker.stats(&queue),
            broker.get(&queue, &id),
            broker.register(&queue, &worker),
        );
        unavailable("exchange", exchanged.err());
        unavailable("enqueue", enqueued.err());
        unavailable("cancel", cancelled.err());
        unavailable("stats", stats.err());
        unavailable("get", got.err());
        unavailable("register", registered.err());
    }
    cluster.end_move(slot, 0, 1).await;

    // Nothing was done by halves, nor at all.
    let now = broker.stats(&queue).await.unwrap();
    assert_eq!(
        (now.counters, now.pending, now.active, now.cancelled),
        (at_first.counters, at_first.pending, at_first.active, at_first.cancelled)
    );
    let Exchanged::Done { settled, claims, .. } = broker.exchange(&queue, &emptying).await.unwrap() else {
        panic!("the worker is registered still")
    };
    assert_eq!(settled, [Settled::Now(State::Succeeded)]);
    assert_eq!(claims.iter().map(|claim| claim.task.as_str()).collect::<Vec<_>>(), ["waits"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_carries_out_no_script_by_halves_while_a_slot_is_on_its_way() {
    every_script_is_refused_while_a_slot_is_on_its_way(&Cluster::start(3, 0).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn valkey_carries_out_no_script_by_halves_while_a_slot_is_on_its_way() {
    if let Some(cluster) = Cluster::start_valkey(3).await {
        every_script_is_refused_while_a_slot_is_on_its_way(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moved_under_load_there_and_back_loses_nothing_and_doubles_nothing() {
    let cluster = Cluster::start(3, 0).await;
    let name = queue_at(&cluster, 0).await;
    let slot = cluster.slot(&meta(&name)).await;
    let load = Load::begin(&cluster.url(), &name, 0).await;
    load.more(200).await;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        cluster.begin_move(slot, from, to).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let moved = cluster.move_keys(slot, from, to, Duration::from_millis(10)).await;
        assert!(moved >= 5, "{moved} keys");
        cluster.end_move(slot, from, to).await;
        load.more(200).await;
    }
    let account = load.end().await;
    println!("a slot moved three times under load: {account:?}");
    assert!(account.acknowledged >= 800);
    assert_eq!((account.missing, account.settled_twice), (0, 0), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_and_waiters_follow_a_slot_to_its_new_home() {
    let cluster = Cluster::start(3, 0).await;
    let name = queue_at(&cluster, 0).await;
    let queue = QueueName::new(name.as_str()).unwrap();
    let slot = cluster.slot(&meta(&name)).await;
    let broker = RedisBroker::open(&cluster.url()).unwrap();
    broker.ensure_queue(&queue, &QueueSettings::default()).await.unwrap();
    let mut events = broker.subscribe(&queue).await.unwrap();
    broker.enqueue(&queue, &[task("a")], RequestId([1; 8])).await.unwrap();
    assert!(matches!(tokio::time::timeout(SOON, events.next()).await, Ok(Some(Delivery::Batch(_)))));
    broker.purge(&queue, State::Pending).await.unwrap();
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(100), events.next()).await {}
    // There is a waiting connection from before.
    broker.wait(&queue, Duration::from_millis(50)).await.unwrap();

    cluster.begin_move(slot, 0, 1).await;
    cluster.move_keys(slot, 0, 1, Duration::ZERO).await;
    cluster.end_move(slot, 0, 1).await;

    // Told that something may have been missed, and then hears what happens there.
    broker.stats(&queue).await.unwrap();
    assert_eq!(tokio::time::timeout(SOON, events.next()).await.unwrap(), Some(Delivery::Gap));
    let waits = {
        let (broker, queue) = (std::sync::Arc::clone(&broker), queue.clone());
        // The marker of "a" may still be there: whoever waits takes it, finds nothing and waits again.
        tokio::spawn(async move {
            while broker.stats(&queue).await.unwrap().pending == 0 {
                broker.wait(&queue, Duration::from_secs(30)).await.unwrap();
            }
        })
    };
    let blocked = async || cluster.primaries[1].ask::<String>(&["INFO", "clients"]).await.contains("blocked_clients:1");
    eventually(blocked).await;
    broker.enqueue(&queue, &[task("b")], RequestId([2; 8])).await.unwrap();
    tokio::time::timeout(SOON, waits).await.unwrap().unwrap();
    let heard = async { while !matches!(events.next().await, Some(Delivery::Batch(_))) {} };
    tokio::time::timeout(SOON, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinated_failover_of_a_node_loses_nothing_and_doubles_nothing() {
    let cluster = Cluster::start(3, 1).await;
    let name = queue_at(&cluster, 0).await;
    let load = Load::begin(&cluster.url(), &name, 0).await;
    load.more(200).await;
    let () = cluster.replicas[0].ask(&["CLUSTER", "FAILOVER"]).await;
    is_primary(&cluster.replicas[0]).await;
    load.more(200).await;
    let account = load.end().await;
    println!("a coordinated failover in a Cluster: {account:?}");
    assert_eq!((account.missing, account.settled_twice), (0, 0), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_failover_of_a_node_loses_nothing_that_a_replica_was_waited_for() {
    let cluster = Cluster::start(3, 1).await;
    let name = queue_at(&cluster, 0).await;
    let load = Load::begin(&cluster.url(), &name, 1).await;
    load.more(100).await;
    crash(&cluster.primaries[0], &cluster.replicas[0]).await;
    // The new primary has no replica, so that nothing is acknowledged until it gets one.
    cluster.primaries[0].restart();
    load.more(100).await;
    let account = load.end().await;
    println!("a crash failover in a Cluster with durability.replicas = 1: {account:?}");
    assert_eq!(account.missing, 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_failover_of_a_node_loses_what_no_replica_had_and_nothing_else_goes_wrong() {
    let cluster = Cluster::start(3, 1).await;
    let name = queue_at(&cluster, 0).await;
    let load = Load::begin(&cluster.url(), &name, 0).await;
    load.more(100).await;
    crash(&cluster.primaries[0], &cluster.replicas[0]).await;
    load.more(100).await;
    let account = load.end().await;
    println!("a crash failover in a Cluster without replicas waited for: {account:?}");
    assert!(account.missing > 0, "the replica was deaf, so that something must have been lost: {account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_a_cluster_is_given_user_and_password() {
    let cluster = Cluster::start(3, 0).await;
    for node in &cluster.primaries {
        let () = node.ask(&["ACL", "SETUSER", "mill", "on", ">gr@ist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
        // Whoever does not say who it is, touches no key.
        let () = node.ask(&["ACL", "SETUSER", "default", "resetkeys"]).await;
    }
    let stranger = RedisBroker::open(&cluster.url()).unwrap();
    let refused = stranger.ensure_queue(&QueueName::new("q").unwrap(), &QueueSettings::default()).await.unwrap_err();
    assert!(matches!(&refused, BrokerError::Unfit(said) if said.contains("password")), "{refused}");

    // One seed is enough to find all nodes.
    let url = format!("redis+cluster://mill:gr%40ist@127.0.0.1:{}", cluster.primaries[2].port());
    let broker = RedisBroker::open(&url).unwrap();
    for home in 0..3 {
        let queue = QueueName::new(queue_at(&cluster, home).await).unwrap();
        broker.ensure_queue(&queue, &QueueSettings::default()).await.unwrap();
        let mut events = broker.subscribe(&queue).await.unwrap();
        broker.enqueue(&queue, &[task("a")], RequestId([1; 8])).await.unwrap();
        assert!(matches!(tokio::time::timeout(SOON, events.next()).await, Ok(Some(Delivery::Batch(_)))));
        broker.wait(&queue, SOON).await.unwrap();
    }
    assert_eq!(broker.queues().await.unwrap().len(), 3);
    assert!(!broker.describe().contains("ist"), "{}", broker.describe());
}
