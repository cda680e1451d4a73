//! Waiters: woken within moments by whatever makes work, and never forgotten for longer than five seconds.

use std::time::{Duration, Instant};

use tidemill_core::{NewTask, Outcome, QueueName, QueueSettings, Start};
use tokio::task::JoinHandle;

use crate::conformance::Backend;
use crate::conformance::scene::{Scene, claimed, claims, failed, id, owner, task};

/// Longer than any test waits.
const LONG: Duration = Duration::from_secs(30);
/// An enqueue wakes a waiter within milliseconds; a busy machine gets a second.
const SOON: Duration = Duration::from_secs(1);
/// No wake-up is lost for longer than five seconds; a busy machine gets one more.
const AT_LAST: Duration = Duration::from_secs(6);

/// Waits in the background. How long it waited.
fn wait(scene: &Scene<'_>) -> JoinHandle<Duration> {
    let (broker, queue): (_, QueueName) = (scene.broker.clone(), scene.queue.clone());
    tokio::spawn(async move {
        let began = Instant::now();
        broker.wait(&queue, LONG).await.unwrap();
        began.elapsed()
    })
}

/// Waits again and again, as a worker does, until there is something to claim. Fails after `deadline`.
async fn until_claimed(scene: &Scene<'_>, text: &str, deadline: Duration) {
    let mut worker = scene.worker().await;
    let work = async {
        loop {
            let claims = worker.claim(1).await;
            if let Some(claim) = claims.first() {
                assert_eq!(claim.task, id(text));
                return;
            }
            scene.broker.wait(&scene.queue, LONG).await.unwrap();
        }
    };
    tokio::time::timeout(deadline, work).await.unwrap_or_else(|_| panic!("{text} was not claimed within {deadline:?}"));
}

/// Uses up wake-ups that are left of the past, until a wait lasts.
async fn settle_down(scene: &Scene<'_>) {
    for _ in 0..10 {
        let began = Instant::now();
        let brief = Duration::from_millis(200);
        scene.broker.wait(&scene.queue, brief).await.unwrap();
        if began.elapsed() >= brief / 2 {
            return;
        }
    }
    panic!("waits on an empty queue end again and again");
}

pub async fn an_enqueue_elsewhere_wakes_a_waiter(backend: &dyn Backend) {
    let here = Scene::new(backend).await;
    settle_down(&here).await;
    let elsewhere = here.elsewhere();
    let enqueue = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        elsewhere.add(&["x"]).await;
    };
    let ((), ()) = tokio::join!(until_claimed(&here, "x", Duration::from_millis(300) + SOON), enqueue);
}

pub async fn a_wait_ends_in_time(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let began = Instant::now();
    scene.broker.wait(&scene.queue, Duration::from_millis(300)).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(300) + SOON, "{:?}", began.elapsed());
}

pub async fn work_that_is_there_already_does_not_wait(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let waited = wait(&scene).await.unwrap();
    assert!(waited < SOON, "{waited:?}");
}

pub async fn a_due_task_wakes_a_waiter(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let later = NewTask { start: Start::AfterMs(2_000), ..task("x") };
    scene.enqueue(&[later]).await.unwrap();
    let advance = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.advance(2_001).await;
    };
    tokio::join!(until_claimed(&scene, "x", AT_LAST), advance);
}

pub async fn work_left_behind_wakes_the_next(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    settle_down(&scene).await;
    let waiters = [wait(&scene), wait(&scene.elsewhere())];
    let mut worker = scene.worker().await;
    scene.add(&["a", "b", "c"]).await;
    worker.claim(1).await;
    for waiter in waiters {
        let waited = waiter.await.unwrap();
        assert!(waited < AT_LAST, "{waited:?}");
        worker.claim(1).await;
    }
}

pub async fn a_released_task_wakes_a_waiter(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    settle_down(&scene).await;
    let release = async {
        worker.settle(&claim, Outcome::Released).await;
    };
    tokio::join!(until_claimed(&scene, "x", AT_LAST), release);
}

pub async fn a_resumed_queue_wakes_a_waiter(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.broker.pause(&scene.queue, true).await.unwrap();
    scene.add(&["x"]).await;
    let elsewhere = scene.elsewhere();
    let resume = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        elsewhere.broker.pause(&scene.queue, false).await.unwrap();
    };
    tokio::join!(until_claimed(&scene, "x", AT_LAST), resume);
}

pub async fn a_task_requeued_by_hand_wakes_a_waiter(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(None)).await;
    settle_down(&scene).await;
    let elsewhere = scene.elsewhere();
    let requeue = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        elsewhere.broker.retry(&scene.queue, &id("x")).await.unwrap();
    };
    tokio::join!(until_claimed(&scene, "x", Duration::from_millis(300) + SOON), requeue);
}

pub async fn a_dropped_wait_loses_no_wake_up(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    for n in 0..5 {
        let text = format!("t{n}");
        let dropped = scene.broker.clone();
        let queue = scene.queue.clone();
        let waiter = tokio::spawn(async move { dropped.wait(&queue, LONG).await });
        scene.add(&[&text]).await;
        waiter.abort();
        until_claimed(&scene, &text, AT_LAST).await;
    }
}

pub async fn an_exchange_that_waits_claims_what_comes_in_elsewhere(backend: &dyn Backend) {
    let here = Scene::new(backend).await;
    settle_down(&here).await;
    let elsewhere = here.elsewhere();
    let mut worker = here.worker().await;
    for text in ["x", "y", "z"] {
        let began = Instant::now();
        let enqueue = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            elsewhere.add(&[text]).await;
        };
        let (taken, ()) = tokio::join!(worker.claim_after_wait(5, LONG), enqueue);
        assert_eq!(claimed(&taken), [text]);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert_eq!(claimed(&claims(worker.repeat().await)), [text], "the same number, the same claims");
    }
}

pub async fn an_exchange_that_waits_ends_in_time(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    settle_down(&scene).await;
    let mut worker = scene.worker().await;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(claimed(&worker.claim_after_wait(1, Duration::from_millis(200)).await), [""; 0]);
        assert!(began.elapsed() < Duration::from_millis(200) + SOON, "{:?}", began.elapsed());
    }
    scene.add(&["x"]).await;
    assert_eq!(claimed(&worker.claim_after_wait(1, LONG).await), ["x"]);
}

pub async fn an_exchange_that_waits_promotes_what_falls_due(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    settle_down(&scene).await;
    let mut worker = scene.worker().await;
    scene.enqueue(&[NewTask { start: Start::AfterMs(2_000), ..task("x") }]).await.unwrap();
    scene.advance(2_001).await;
    assert_eq!(claimed(&worker.claim_after_wait(1, Duration::from_millis(10)).await), ["x"]);
}

pub async fn an_exchange_that_was_dropped_while_it_waited_is_repeated_under_its_number(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    settle_down(&scene).await;
    let elsewhere = scene.elsewhere();
    let mut worker = scene.worker().await;
    let mut seen = Vec::new();
    let texts: Vec<String> = (0..20_u64).map(|n| format!("t{n}")).collect();
    for (n, text) in (0..).zip(&texts) {
        let patience = Duration::from_micros(n * 500);
        let ids = [text.as_str()];
        let waiting = tokio::time::timeout(patience, worker.claim_after_wait(1, LONG));
        let (_was_in_time, ()) = tokio::join!(waiting, elsewhere.add(&ids));
        seen.extend(claimed(&claims(worker.repeat().await)));
    }
    while seen.len() < texts.len() {
        seen.extend(claimed(&worker.claim_after_wait(1, AT_LAST).await));
    }
    assert_eq!(seen, texts);
    let counters = scene.counters().await;
    assert_eq!((counters.started, counters.lost), (20, 0));
}

pub async fn one_that_waits_and_an_exchange_that_waits_are_both_woken(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    settle_down(&scene).await;
    let mut worker = scene.worker().await;
    let waiting = wait(&scene);
    let enqueue = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        scene.elsewhere().add(&["a", "b"]).await;
    };
    let (taken, ()) = tokio::join!(worker.claim_after_wait(1, LONG), enqueue);
    assert_eq!(claimed(&taken), ["a"]);
    let waited = waiting.await.unwrap();
    assert!(waited < AT_LAST, "{waited:?}");
}

pub async fn a_waiter_is_woken_by_the_successor_of_a_dropped_queue(backend: &dyn Backend) {
    let here = Scene::new(backend).await;
    settle_down(&here).await;
    let theirs = owner("mail", "u1");
    here.broker.own(&here.queue, &theirs, None).await.unwrap();
    here.add(&["a"]).await;
    let elsewhere = here.elsewhere();
    assert!(elsewhere.broker.drop_queue(&here.queue, &theirs).await.unwrap());
    assert!(elsewhere.broker.ensure_queue(&here.queue, &QueueSettings::default()).await.unwrap());
    settle_down(&here).await;
    let waiting = wait(&here);
    elsewhere.add(&["b"]).await;
    let waited = waiting.await.unwrap();
    assert!(waited < SOON, "{waited:?}");
}
