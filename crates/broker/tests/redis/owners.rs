//! Queues that belong to somebody, and what is left of those that were dropped.

use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::{Broker, Exchange, Ownership};
use tidemill_core::{QueueOwner, RequestId, TaskId};

use super::{broker, queue, tasks, worker};

fn owner() -> QueueOwner {
    let [cluster, namespace, name, uid] = ["east", "mill", "mail", "u1"].map(str::to_owned);
    QueueOwner { cluster, namespace, name, uid }
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
    let keys = async |server: &RedisServer| server.ask::<Vec<String>>(&["KEYS", "*"]).await;
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
    let () = server.ask(&["SADD", "tidemill:queues", "particular"]).await;
    assert!(!broker.drop_queue(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.queues().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_on_a_full_server_is_owned_given_up_and_dropped() {
    let server = RedisServer::start();
    let broker = broker(&server.url()).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(broker.own(&queue(), &owner(), None).await.unwrap(), Ownership::Ours);
    assert!(broker.disown(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.own(&queue(), &owner(), None).await.unwrap(), Ownership::Ours);
    assert!(broker.drop_queue(&queue(), &owner()).await.unwrap());
    assert_eq!(broker.queues().await.unwrap(), []);
}
