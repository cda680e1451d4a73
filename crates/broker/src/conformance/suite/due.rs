//! Nothing starts before its time by the store's clock, and what is due comes in the order of its times.

use tidemill_core::{NewTask, Priority, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{Scene, claimed, task};
use crate::contract::MAINTAIN_MAX;
use crate::{Enqueued, Exchanged};

fn after(text: &str, ms: u64) -> NewTask {
    NewTask { start: Start::AfterMs(ms), ..task(text) }
}

pub async fn a_delayed_task_does_not_start_before_its_time(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[after("x", 60_000)]).await.unwrap();
    let mut worker = scene.worker().await;
    scene.advance(50_000).await;
    worker.heartbeat().await;
    scene.maintain().await;
    match worker.exchange(Vec::new(), 10).await {
        Exchanged::Done { claims, pending, next_due_ms, .. } => {
            assert_eq!((claims.len(), pending), (0, 0));
            let due = next_due_ms.expect("a task is delayed");
            assert!((1..=10_000).contains(&due), "{due}");
        }
        Exchanged::Retired => panic!("the worker is registered"),
    }
    let view = scene.task("x").await.unwrap();
    assert_eq!(view.state, State::Delayed);
    assert_eq!(view.due_at_ms, Some(view.enqueued_at_ms + 60_000));
}

pub async fn a_time_of_the_stores_clock_is_kept(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["now"]).await;
    let due_at_ms = scene.task("now").await.unwrap().enqueued_at_ms + 60_000;
    let at = NewTask { start: Start::AtMs(due_at_ms), ..task("x") };
    assert_eq!(scene.enqueue(&[at]).await.unwrap(), [Enqueued::Created(State::Delayed)]);
    assert_eq!(scene.task("x").await.unwrap().due_at_ms, Some(due_at_ms));
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(10).await), ["now"]);
    scene.advance(60_001).await;
    assert_eq!(claimed(&worker.claim(10).await), ["x"]);
}

pub async fn a_time_that_has_passed_means_now(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let past = NewTask { start: Start::AtMs(1_000), ..task("past") };
    let answer = scene.enqueue(&[past, after("none", 0)]).await.unwrap();
    assert_eq!(answer, [Enqueued::Created(State::Pending); 2]);
    assert_eq!(scene.pending().await, ["past", "none"]);
}

pub async fn a_due_task_is_promoted_by_an_exchange(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[after("x", 1_000)]).await.unwrap();
    scene.advance(1_001).await;
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().next_due_ms, Some(0));
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(1).await), ["x"]);
}

pub async fn a_due_task_is_promoted_by_maintenance(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[after("x", 1_000), after("y", 2_000)]).await.unwrap();
    scene.advance(1_500).await;
    assert_eq!(scene.maintain().await.promoted, 1);
    assert_eq!(scene.pending().await, ["x"]);
    assert_eq!(scene.list(State::Delayed).await, ["y"]);
    assert_eq!(scene.task("x").await.unwrap().due_at_ms, None);
    assert_eq!(scene.maintain().await.promoted, 0);
}

pub async fn due_tasks_are_promoted_in_the_order_of_their_times(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[after("third", 3_000), after("first", 1_000), after("second", 2_000)]).await.unwrap();
    assert_eq!(scene.list(State::Delayed).await, ["first", "second", "third"]);
    scene.advance(4_000).await;
    scene.maintain().await;
    assert_eq!(scene.pending().await, ["first", "second", "third"]);
}

pub async fn a_promoted_task_of_higher_priority_goes_first(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let urgent = NewTask { priority: Priority::new(9).unwrap(), ..after("urgent", 1_000) };
    scene.enqueue(&[task("a"), urgent]).await.unwrap();
    scene.advance(1_001).await;
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(10).await), ["urgent", "a"]);
}

pub async fn one_run_of_maintenance_is_bounded_and_says_so(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch: Vec<_> = (0..MAINTAIN_MAX + 10).map(|n| after(&format!("t{n}"), 1_000)).collect();
    scene.enqueue(&batch).await.unwrap();
    scene.advance(1_001).await;
    let first = scene.maintain().await;
    assert_eq!((first.promoted, first.more), (MAINTAIN_MAX as u64, true));
    let second = scene.maintain().await;
    assert_eq!((second.promoted, second.more), (10, false));
}
