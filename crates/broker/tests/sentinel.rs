//! A primary, its replica and three Sentinels, while the replica takes over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

mod load;

use std::time::Duration;

use load::Load;
use tidemill_broker::conformance::fleet::{Watched, crash, eventually, replicates};
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Broker, BrokerError, Delivery};
use tidemill_core::{NewTask, QueueName, QueueSettings, RequestId, TaskId};

const QUEUE: &str = "watched";
const SOON: Duration = Duration::from_secs(10);

fn queue() -> QueueName {
    QueueName::new(QUEUE).unwrap()
}

fn task(id: &str) -> NewTask {
    NewTask::sleep(TaskId::new(id).unwrap(), 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinated_failover_by_sentinels_loses_nothing_and_doubles_nothing() {
    let fleet = Watched::start(&[]).await;
    let load = Load::begin(&fleet.url(), QUEUE, 0).await;
    load.more(200).await;
    // A Sentinel's failover takes no care of what the replica lacks, and leaves the old primary as it is for a while: an
    // administrator who wants to lose nothing lets writes to it rest for as long.
    let () = fleet.servers[0].ask(&["CLIENT", "PAUSE", "30000", "WRITE"]).await;
    fleet.fail_over().await;
    load.more(200).await;
    let there: u64 = fleet.servers[1].ask(&["HLEN", "tidemill:{watched}:ended"]).await;
    assert!(there > 0, "the work goes on at the new primary");
    let account = load.end().await;
    println!("a coordinated failover by Sentinels: {account:?}");
    assert_eq!((account.missing, account.settled_twice), (0, 0), "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_hear_of_the_new_primary_after_a_failover() {
    let fleet = Watched::start(&[]).await;
    let broker = RedisBroker::open(&fleet.url()).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    let mut events = broker.subscribe(&queue()).await.unwrap();
    fleet.fail_over().await;
    let heard = async {
        for n in 0_u64.. {
            let sent = broker.enqueue(&queue(), &[task(&format!("a{n}"))], RequestId(n.to_be_bytes())).await;
            assert!(sent.as_ref().err().is_none_or(BrokerError::is_unavailable), "{sent:?}");
            let next = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
            let listeners: (String, u64) =
                fleet.servers[1].ask(&["PUBSUB", "NUMSUB", "tidemill:{watched}:channel"]).await;
            if sent.is_ok() && matches!(next, Ok(Some(Delivery::Batch(_)))) && listeners.1 == 1 {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_failover_by_sentinels_loses_nothing_that_a_replica_was_waited_for() {
    let fleet = Watched::start(&[]).await;
    let load = Load::begin(&fleet.url(), QUEUE, 1).await;
    load.more(100).await;
    crash(&fleet.servers[0], &fleet.servers[1]).await;
    // Nothing is acknowledged until the new primary has a replica again.
    fleet.rejoin().await;
    load.more(100).await;
    let account = load.end().await;
    println!("a crash failover by Sentinels with durability.replicas = 1: {account:?}");
    assert_eq!(account.missing, 0, "{account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_failover_by_sentinels_loses_what_no_replica_had_and_nothing_else_goes_wrong() {
    let fleet = Watched::start(&[]).await;
    let load = Load::begin(&fleet.url(), QUEUE, 0).await;
    load.more(100).await;
    crash(&fleet.servers[0], &fleet.servers[1]).await;
    load.more(100).await;
    let account = load.end().await;
    println!("a crash failover by Sentinels without replicas waited for: {account:?}");
    assert!(account.missing > 0, "the replica was deaf, so that something must have been lost: {account:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_know_no_such_primary_or_are_none_are_told_apart() {
    let fleet = Watched::start(&[]).await;
    let wrong_name = fleet.url().replace("/mill", "/mall");
    let not_sentinels = format!("redis+sentinel://127.0.0.1:{}/mill", fleet.servers[0].port());
    let not_a_server = format!("redis://127.0.0.1:{}", fleet.sentinels[0].port());
    let not_a_cluster = format!("redis+cluster://127.0.0.1:{}", fleet.servers[0].port());
    for (url, expected) in [
        (wrong_name, "know no primary \"mall\""),
        (not_sentinels, "no Sentinel"),
        (not_a_server, "redis+sentinel://"),
        (not_a_cluster, "begin broker.url with redis://"),
    ] {
        let error = RedisBroker::open(&url).unwrap().ping().await.unwrap_err();
        assert!(matches!(&error, BrokerError::Unfit(said) if said.contains(expected)), "{url}: {error}");
    }
    eventually(async || RedisBroker::open(&fleet.url()).unwrap().ping().await.is_ok()).await;
    replicates(&fleet.servers[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_given_a_user_and_password_of_their_own() {
    let fleet = Watched::start(&[]).await;
    for sentinel in &fleet.sentinels {
        let () = sentinel.ask(&["ACL", "SETUSER", "watch", "on", ">ch@ff", "&*", "+@all"]).await;
        let () = sentinel.ask(&["ACL", "SETUSER", "default", "-sentinel"]).await;
    }
    let refused = RedisBroker::open(&fleet.url()).unwrap().ping().await.unwrap_err();
    assert!(matches!(&refused, BrokerError::Unfit(said) if said.contains("?sentinel_username=")), "{refused}");
    let url = format!("{}/3?sentinel_username=watch&sentinel_password=ch%40ff", fleet.url());
    let broker = RedisBroker::open(&url).unwrap();
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    broker.enqueue(&queue(), &[task("a")], RequestId([1; 8])).await.unwrap();
    let keyspace: String = fleet.servers[0].ask(&["INFO", "keyspace"]).await;
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
    assert!(!broker.describe().contains("ff"), "{}", broker.describe());
}
