//! Queues and their settings.

use tidemill_core::{QueueSettings, State};

use crate::conformance::Backend;
use crate::conformance::harness::fresh_queue;
use crate::conformance::scene::{DEADLINE, Scene, id, info, owner, request, task};
use crate::{BrokerError, Exchange, ListQuery};

pub async fn a_queue_is_created_once_and_keeps_its_first_settings(backend: &dyn Backend) {
    let first = QueueSettings { retries: 3, ..QueueSettings::default() };
    let scene = Scene::with(backend, first).await;
    assert!(!scene.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap());
    assert_eq!(scene.broker.settings(&scene.queue).await.unwrap(), first);
    assert_eq!(scene.elsewhere().broker.settings(&scene.queue).await.unwrap(), first);
}

pub async fn settings_are_replaced_by_configure(backend: &dyn Backend) {
    let queue = fresh_queue();
    let broker = backend.broker();
    let mut settings = QueueSettings { retries: 7, lease_ms: 5_000, ..QueueSettings::default() };
    broker.configure(&queue, &settings).await.unwrap();
    assert_eq!(broker.settings(&queue).await.unwrap(), settings);
    settings.loss_limit = 2;
    settings.retention.dead.count = 9;
    broker.configure(&queue, &settings).await.unwrap();
    assert_eq!(backend.another().settings(&queue).await.unwrap(), settings);
}

pub async fn an_unknown_queue_is_refused_by_every_operation(backend: &dyn Backend) {
    let broker = backend.broker();
    let queue = fresh_queue();
    let scene = Scene::new(backend).await;
    let worker = scene.stranger().id;
    let exchange = Exchange { worker, number: 1, finished: Vec::new(), want: 1 };
    let query = ListQuery { state: State::Pending, task_type: None, cursor: None, limit: 10 };
    let check = |operation: &str, error: Option<BrokerError>| match error {
        Some(BrokerError::UnknownQueue { queue: named, .. }) => assert_eq!(named, queue, "{operation}"),
        other => panic!("{operation}: expected an unknown queue, got {other:?}"),
    };
    check("settings", broker.settings(&queue).await.err());
    check("own", broker.own(&queue, &owner("mail", "u1"), None).await.err());
    check("disown", broker.disown(&queue, &owner("mail", "u1")).await.err());
    check("owner", broker.owner(&queue).await.err());
    check("enqueue", broker.enqueue(&queue, &[task("a")], request()).await.err());
    check("register", broker.register(&queue, &info(worker, &["work"])).await.err());
    check("exchange", broker.exchange(&queue, &exchange).await.err());
    check("heartbeat", broker.heartbeat(&queue, &worker, &[]).await.err());
    check("retire", broker.retire(&queue, &worker).await.err());
    check("maintain", broker.maintain(&queue).await.err());
    check("get", broker.get(&queue, &id("a")).await.err());
    check("list", broker.list(&queue, &query).await.err());
    check("stats", broker.stats(&queue).await.err());
    check("workers", broker.workers(&queue).await.err());
    check("cancel", broker.cancel(&queue, &id("a")).await.err());
    check("retry", broker.retry(&queue, &id("a")).await.err());
    check("delete", broker.delete(&queue, &id("a")).await.err());
    check("pause", broker.pause(&queue, true).await.err());
    check("purge", broker.purge(&queue, State::Dead).await.err());
    assert!(!broker.queues().await.unwrap().contains(&queue), "none of these created it");
}

pub async fn all_queues_are_listed_by_name(backend: &dyn Backend) {
    let (first, second) = (Scene::new(backend).await, Scene::new(backend).await);
    let queues = first.broker.queues().await.unwrap();
    assert!(queues.is_sorted(), "{queues:?}");
    for queue in [&first.queue, &second.queue] {
        assert_eq!(queues.iter().filter(|listed| *listed == queue).count(), 1);
    }
}

pub async fn the_store_says_what_it_is_and_answers(backend: &dyn Backend) {
    let broker = backend.broker();
    assert!(!broker.describe().is_empty());
    broker.ping().await.unwrap();
    backend.another().ping().await.unwrap();
}

pub async fn a_closed_store_ends_its_watchers(backend: &dyn Backend) {
    let closing = backend.to_close().await;
    let scene = Scene::new(backend).await;
    closing.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap();
    let mut subscription = closing.subscribe(&scene.queue).await.unwrap();
    closing.close().await;
    let ended = async { while subscription.next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, ended).await.expect("a watcher of a closed store ends");
}
