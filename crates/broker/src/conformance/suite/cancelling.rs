//! Cancelling: at once where a task waits, by its worker where it runs.

use tidemill_core::{FailureKind, NewTask, Outcome, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, failed, id, task};
use crate::{Cancelled, Settled};

async fn cancel(scene: &Scene<'_>, text: &str) -> Cancelled {
    scene.broker.cancel(&scene.queue, &id(text)).await.unwrap()
}

pub async fn a_waiting_task_is_cancelled_at_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let delayed = NewTask { start: Start::AfterMs(60_000), ..task("delayed") };
    scene.enqueue(&[task("retrying"), task("pending"), task("other"), delayed]).await.unwrap();
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(Some(60_000))).await;
    for text in ["pending", "delayed", "retrying"] {
        assert_eq!(cancel(&scene, text).await, Cancelled::Now, "{text}");
        let view = scene.task(text).await.unwrap();
        assert_eq!((view.state, view.due_at_ms), (State::Cancelled, None), "{text}");
        assert!(view.ended_at_ms.is_some(), "{text}");
    }
    scene.advance(61_000).await;
    worker.heartbeat().await;
    let claims = worker.claim(10).await;
    assert_eq!(claims.len(), 1, "what was cancelled is never claimed: {claims:?}");
    assert_eq!(scene.counters().await.cancelled, 3);
}

pub async fn an_active_tasks_worker_is_asked(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim(2).await.remove(0);
    assert_eq!(cancel(&scene, "x").await, Cancelled::Asked);
    assert_eq!(cancel(&scene, "x").await, Cancelled::Asked, "asking twice is asking once");
    assert_eq!(scene.state("x").await, Some(State::Active));
    assert_eq!(worker.heartbeat().await, ["x"]);
    assert_eq!(worker.heartbeat().await, ["x"], "until it is settled");
    assert_eq!(worker.settle(&claim, Outcome::Cancelled).await, Settled::Now(State::Cancelled));
    assert_eq!(worker.heartbeat().await, Vec::<String>::new());
    assert_eq!(scene.state("x").await, Some(State::Cancelled));
    assert_eq!(scene.counters().await.cancelled, 1);
}

pub async fn a_cancelled_task_that_succeeds_all_the_same_has_succeeded(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    cancel(&scene, "x").await;
    assert_eq!(worker.settle(&claim, SUCCEEDED).await, Settled::Now(State::Succeeded));
    let counters = scene.counters().await;
    assert_eq!((counters.succeeded, counters.cancelled), (1, 0));
}

pub async fn a_cancelled_task_that_fails_or_is_released_or_unserved_is_cancelled(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut worker = scene.worker().await;
    let outcomes = [failed(Some(0)), failed(None), Outcome::Released, Outcome::Unserved];
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let text = format!("t{n}");
        scene.add(&[&text]).await;
        let claim = worker.claim_one().await;
        cancel(&scene, &text).await;
        assert_eq!(worker.settle(&claim, outcome.clone()).await, Settled::Now(State::Cancelled), "{outcome:?}");
        let view = scene.task(&text).await.unwrap();
        assert_eq!(view.state, State::Cancelled, "{outcome:?}");
        assert_eq!(view.attempts.len(), usize::from(matches!(outcome, Outcome::Failed { .. })), "{outcome:?}");
    }
    let counters = scene.counters().await;
    assert_eq!((counters.cancelled, counters.failed, counters.dead, counters.retried), (4, 2, 0, 0));
    assert_eq!(scene.pending().await, Vec::<String>::new());
}

pub async fn a_cancelled_task_whose_worker_is_lost_is_cancelled(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    scene.worker().await.claim(2).await;
    cancel(&scene, "x").await;
    let lost = scene.lose_the_silent().await.lost;
    let states: Vec<_> = lost.iter().map(|l| (l.task.as_str(), l.state)).collect();
    assert_eq!(states, [("x", State::Cancelled), ("y", State::Pending)]);
    assert_eq!(scene.state("x").await, Some(State::Cancelled));
    assert_eq!(scene.counters().await.cancelled, 1);
}

pub async fn a_cancelled_task_whose_worker_retires_is_cancelled(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let mut worker = scene.worker().await;
    worker.claim(2).await;
    cancel(&scene, "x").await;
    worker.retire().await;
    assert_eq!(scene.state("x").await, Some(State::Cancelled));
    assert_eq!(scene.pending().await, ["y"]);
    let counters = scene.counters().await;
    assert_eq!((counters.cancelled, counters.released), (1, 1));
}

pub async fn an_ended_or_unknown_task_cannot_be_cancelled(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["succeeded", "dead", "cancelled"]).await;
    let mut worker = scene.worker().await;
    for (outcome, state) in
        [(SUCCEEDED, State::Succeeded), (failed(None), State::Dead), (Outcome::Cancelled, State::Cancelled)]
    {
        let claim = worker.claim_one().await;
        worker.settle(&claim, outcome).await;
        assert_eq!(cancel(&scene, state.as_str()).await, Cancelled::Ended(state));
        assert_eq!(scene.state(state.as_str()).await, Some(state));
    }
    assert_eq!(cancel(&scene, "never seen").await, Cancelled::Unknown);
    assert_eq!(scene.counters().await.cancelled, 1);
}

pub async fn a_request_to_cancel_dies_with_its_claim(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    cancel(&scene, "x").await;
    worker.settle(&claim, SUCCEEDED).await;
    scene.add(&["x"]).await;
    let claim = worker.claim_one().await;
    assert_eq!(worker.heartbeat().await, Vec::<String>::new(), "that was another life");
    worker.settle(&claim, failed(Some(60_000))).await;
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.attempts[0].kind), (State::Retrying, FailureKind::Transient));
}
