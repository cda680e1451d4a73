//! What has ended is kept by count and by age, and then forgotten. What lives never is.

use tidemill_core::{Keep, NewTask, QueueSettings, Retention, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, failed, id, task};

fn keeping(succeeded: u32, dead: u32, cancelled: u32, age_s: u32) -> QueueSettings {
    let keep = |count| Keep { count, age_s };
    let retention = Retention { succeeded: keep(succeeded), dead: keep(dead), cancelled: keep(cancelled) };
    QueueSettings { retention, ..QueueSettings::default() }
}

/// Ends these tasks as succeeded, one after another.
async fn succeed(scene: &Scene<'_>, ids: &[&str]) {
    let mut worker = scene.worker().await;
    for text in ids {
        scene.add(&[text]).await;
        let claim = worker.claim_one().await;
        worker.settle(&claim, SUCCEEDED).await;
        scene.advance(2).await;
    }
    worker.retire().await;
}

pub async fn ended_tasks_are_kept_by_count_the_newest_of_them(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(2, 10, 10, 3_600)).await;
    succeed(&scene, &["a", "b", "c", "d"]).await;
    scene.maintain().await;
    assert_eq!(scene.list(State::Succeeded).await, ["d", "c"]);
    assert_eq!(scene.task("a").await, None);
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().succeeded, 2);
    assert_eq!(scene.counters().await.succeeded, 4, "counters forget nothing");
}

pub async fn ended_tasks_are_forgotten_by_age(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(100, 100, 100, 60)).await;
    succeed(&scene, &["old"]).await;
    scene.advance(50_000).await;
    succeed(&scene, &["young"]).await;
    scene.maintain().await;
    assert_eq!(scene.list(State::Succeeded).await, ["young", "old"]);
    scene.advance(20_000).await;
    assert_eq!(scene.maintain().await.forgotten, 1);
    assert_eq!(scene.list(State::Succeeded).await, ["young"]);
    assert_eq!(scene.task("old").await, None);
}

pub async fn a_count_of_none_forgets_at_once(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(0, 0, 0, 3_600)).await;
    succeed(&scene, &["a"]).await;
    scene.add(&["b", "c"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(None)).await;
    scene.broker.cancel(&scene.queue, &id("c")).await.unwrap();
    for text in ["a", "b", "c"] {
        assert_eq!(scene.task(text).await, None, "{text}");
    }
    let counters = scene.counters().await;
    assert_eq!((counters.succeeded, counters.dead, counters.cancelled), (1, 1, 1));
    assert_eq!(scene.maintain().await.forgotten, 0);
}

pub async fn each_state_has_its_own_bounds(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(1, 2, 3, 3_600)).await;
    let mut worker = scene.worker().await;
    for n in 0..4 {
        let names = ["s", "d", "c"].map(|kind| format!("{kind}{n}"));
        scene.enqueue(&[task(&names[0]), task(&names[1]), task(&names[2])]).await.unwrap();
        let claims = worker.claim(3).await;
        worker.settle(&claims[0], SUCCEEDED).await;
        worker.settle(&claims[1], failed(None)).await;
        worker.settle(&claims[2], tidemill_core::Outcome::Cancelled).await;
        scene.advance(2).await;
    }
    scene.maintain().await;
    assert_eq!(scene.list(State::Succeeded).await, ["s3"]);
    assert_eq!(scene.list(State::Dead).await, ["d3", "d2"]);
    assert_eq!(scene.list(State::Cancelled).await, ["c3", "c2", "c1"]);
}

pub async fn a_tightened_bound_forgets_at_the_next_maintenance(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(100, 100, 100, 3_600)).await;
    succeed(&scene, &["a", "b", "c"]).await;
    assert_eq!(scene.maintain().await.forgotten, 0);
    scene.broker.configure(&scene.queue, &keeping(1, 100, 100, 3_600)).await.unwrap();
    assert_eq!(scene.maintain().await.forgotten, 2);
    assert_eq!(scene.list(State::Succeeded).await, ["c"]);
}

pub async fn live_tasks_are_never_forgotten(backend: &dyn Backend) {
    let scene = Scene::with(backend, keeping(0, 0, 0, 1)).await;
    let delayed = NewTask { start: Start::AfterMs(10_000_000), ..task("delayed") };
    scene.enqueue(&[task("active"), task("retrying"), task("pending"), delayed]).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    worker.settle(&claims[1], failed(Some(10_000_000))).await;
    scene.advance(4_000_000).await;
    scene.maintain().await;
    for text in ["active", "retrying", "pending", "delayed"] {
        assert_eq!(scene.state(text).await.map(State::as_str), Some(text));
    }
}
