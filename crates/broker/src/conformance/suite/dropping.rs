//! How an owner drops its queue.

use std::time::Duration;

use tidemill_core::{NewTask, QueueSettings, Start, State};

use crate::conformance::Backend;
use crate::conformance::harness::fresh_queue;
use crate::conformance::scene::{
    DEADLINE, SUCCEEDED, Scene, failed, id, info, owner, request, settlement, task, words,
};
use crate::{BrokerError, Delivery, Exchange, Exchanged, Heartbeat};

/// More than a step of any store.
const MANY: usize = 2_500;
/// Rounds in which a queue is dropped and created at once.
const ROUNDS: usize = 40;

/// A queue that its owner may drop.
async fn owned(backend: &dyn Backend) -> Scene<'_> {
    let scene = Scene::new(backend).await;
    scene.broker.own(&scene.queue, &owner("mail", "u1"), None).await.unwrap();
    scene
}

async fn drop_it(scene: &Scene<'_>) {
    assert!(scene.broker.drop_queue(&scene.queue, &owner("mail", "u1")).await.unwrap(), "its owner drops it");
}

#[allow(clippy::needless_pass_by_value)] // so that it takes what operations return
fn is_unknown<T>(result: Result<T, BrokerError>) -> bool {
    matches!(result, Err(BrokerError::UnknownQueue { .. }))
}

pub async fn a_queue_is_dropped_by_its_owner_alone(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let theirs = owner("mail", "u1");
    assert!(!scene.broker.drop_queue(&scene.queue, &theirs).await.unwrap(), "nobody owns it");
    scene.broker.own(&scene.queue, &theirs, None).await.unwrap();
    for other in [owner("fax", "u1"), owner("mail", "u2")] {
        assert!(!scene.broker.drop_queue(&scene.queue, &other).await.unwrap(), "{other:?}");
    }
    assert_eq!(scene.pending().await, ["a"]);
    assert!(!scene.broker.drop_queue(&fresh_queue(), &theirs).await.unwrap(), "there is no such queue");
    assert!(scene.elsewhere().broker.drop_queue(&scene.queue, &theirs).await.unwrap());
    assert!(!scene.broker.drop_queue(&scene.queue, &theirs).await.unwrap(), "it is gone");
}

pub async fn a_dropped_queue_is_unknown_and_listed_no_more(backend: &dyn Backend) {
    let (scene, other) = (owned(backend).await, owned(backend).await);
    scene.add(&["a"]).await;
    other.add(&["b"]).await;
    drop_it(&scene).await;
    for broker in [scene.broker.clone(), scene.elsewhere().broker] {
        let queues = broker.queues().await.unwrap();
        assert!(!queues.contains(&scene.queue) && queues.contains(&other.queue), "{queues:?}");
        assert!(is_unknown(broker.settings(&scene.queue).await));
        assert!(is_unknown(broker.owner(&scene.queue).await));
        assert!(is_unknown(broker.stats(&scene.queue).await));
        assert!(is_unknown(broker.get(&scene.queue, &id("a")).await));
        assert!(is_unknown(broker.enqueue(&scene.queue, &[task("c")], request()).await));
        assert!(is_unknown(broker.maintain(&scene.queue).await));
        assert!(is_unknown(broker.wait(&scene.queue, Duration::from_millis(1)).await));
        assert!(is_unknown(broker.subscribe(&scene.queue).await));
    }
    assert_eq!(other.pending().await, ["b"]);
}

pub async fn a_queue_created_anew_has_nothing_of_the_dropped_one(backend: &dyn Backend) {
    let scene = owned(backend).await;
    let delayed = NewTask { start: Start::AfterMs(60_000), ..task("delayed") };
    scene.enqueue(&[task("won"), task("lost"), task("again"), task("held"), task("left"), delayed]).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(4).await;
    let ends = [SUCCEEDED, failed(None), failed(Some(60_000))];
    worker.exchange(claims.iter().zip(ends).map(|(claim, end)| settlement(claim, end)).collect(), 0).await;
    scene.broker.cancel(&scene.queue, &id("held")).await.unwrap();
    scene.broker.pause(&scene.queue, true).await.unwrap();
    drop_it(&scene).await;

    let settings = QueueSettings { retries: 9, ..QueueSettings::default() };
    assert!(scene.broker.ensure_queue(&scene.queue, &settings).await.unwrap(), "it is new");
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), None);
    assert_eq!(scene.broker.settings(&scene.queue).await.unwrap(), settings);
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap(), tidemill_core::QueueStats::default());
    assert_eq!(scene.broker.workers(&scene.queue).await.unwrap(), []);
    for state in State::ALL {
        assert_eq!(scene.list(state).await, Vec::<String>::new(), "{state}");
    }
    scene.add(&["held", "won"]).await;
    let mut next = scene.worker().await;
    assert_eq!(words(next.claim(10).await.iter().map(|claim| &claim.task)), ["held", "won"]);
    assert_eq!(next.heartbeat().await, Vec::<String>::new(), "nobody cancelled these");
}

pub async fn a_worker_of_a_dropped_queue_holds_nothing_and_joins_its_successor_anew(backend: &dyn Backend) {
    let scene = owned(backend).await;
    scene.add(&["a"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    drop_it(&scene).await;
    let late = Exchange { worker: worker.id, number: 2, finished: vec![settlement(&claim, SUCCEEDED)], want: 1 };
    assert!(is_unknown(scene.broker.exchange(&scene.queue, &late).await));
    assert!(is_unknown(scene.broker.heartbeat(&scene.queue, &worker.id, &[]).await));
    assert!(is_unknown(scene.broker.retire(&scene.queue, &worker.id).await));

    assert!(scene.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap());
    scene.add(&["a"]).await;
    assert_eq!(scene.broker.exchange(&scene.queue, &late).await.unwrap(), Exchanged::Retired);
    assert_eq!(scene.broker.heartbeat(&scene.queue, &worker.id, &[]).await.unwrap(), Heartbeat::Retired);
    assert_eq!(scene.state("a").await, Some(State::Pending), "what came late settled nothing");
    scene.broker.register(&scene.queue, &info(worker.id, &["work"])).await.unwrap();
    worker.number = 0;
    assert_eq!(worker.claim_one().await.task, id("a"));
}

pub async fn a_watcher_of_a_dropped_queue_is_told_of_a_gap_and_hears_its_successor(backend: &dyn Backend) {
    let scene = owned(backend).await;
    let mut heard = scene.elsewhere().broker.subscribe(&scene.queue).await.unwrap();
    let mut silent = scene.broker.subscribe(&scene.queue).await.unwrap();
    scene.add(&["a"]).await;
    let next = async |subscription: &mut crate::Subscription| {
        tokio::time::timeout(DEADLINE, subscription.next()).await.expect("it is told something")
    };
    assert!(matches!(next(&mut heard).await, Some(Delivery::Batch(_))));
    drop_it(&scene).await;
    assert_eq!(next(&mut heard).await, Some(Delivery::Gap));
    while next(&mut silent).await != Some(Delivery::Gap) {}
    assert!(scene.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap());
    scene.add(&["b"]).await;
    for subscription in [&mut heard, &mut silent] {
        let Some(Delivery::Batch(batch)) = next(subscription).await else { panic!("events follow the gap") };
        assert!(format!("{batch:?}").contains("\"b\""), "{batch:?}");
    }
}

pub async fn a_large_queue_is_dropped_whole(backend: &dyn Backend) {
    let scene = owned(backend).await;
    let batch: Vec<_> = (0..MANY).map(|n| task(&format!("t{n}"))).collect();
    scene.enqueue(&batch).await.unwrap();
    let mut worker = scene.worker().await;
    assert_eq!(worker.claim(1_200).await.len(), 1_200);
    drop_it(&scene).await;
    assert!(is_unknown(scene.broker.stats(&scene.queue).await));
    assert!(scene.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap());
    assert_eq!(scene.enqueue(&batch).await.unwrap().len(), MANY, "none of their ids is taken");
}

pub async fn a_queue_that_is_dropped_and_created_at_once_is_listed_if_it_is_there(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let elsewhere = scene.elsewhere();
    for _ in 0..ROUNDS {
        elsewhere.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap();
        scene.broker.own(&scene.queue, &owner("mail", "u1"), None).await.unwrap();
        let (theirs, settings) = (owner("mail", "u1"), QueueSettings::default());
        let (dropped, created) = tokio::join!(
            scene.broker.drop_queue(&scene.queue, &theirs),
            elsewhere.broker.ensure_queue(&scene.queue, &settings),
        );
        assert!(dropped.unwrap());
        created.unwrap();
        if scene.broker.settings(&scene.queue).await.is_ok() {
            assert!(scene.broker.queues().await.unwrap().contains(&scene.queue), "it is there, so it is listed");
        }
    }
}
