//! Retrying by hand, deleting, purging.

use tidemill_core::{NewTask, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, claimed, failed, id, task};
use crate::{Deleted, Requeued};

async fn retry(scene: &Scene<'_>, text: &str) -> Requeued {
    scene.broker.retry(&scene.queue, &id(text)).await.unwrap()
}

async fn delete(scene: &Scene<'_>, text: &str) -> Deleted {
    scene.broker.delete(&scene.queue, &id(text)).await.unwrap()
}

/// One task of each state, named by it.
async fn one_of_each(scene: &Scene<'_>) {
    scene.add(&["active", "succeeded", "dead", "retrying", "cancelled", "pending"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(4).await;
    worker.settle(&claims[1], SUCCEEDED).await;
    worker.settle(&claims[2], failed(None)).await;
    worker.settle(&claims[3], failed(Some(60_000))).await;
    scene.broker.cancel(&scene.queue, &id("cancelled")).await.unwrap();
    let delayed = NewTask { start: Start::AfterMs(60_000), ..task("delayed") };
    scene.enqueue(&[delayed]).await.unwrap();
    for state in State::ALL {
        assert_eq!(scene.list(state).await, [state.as_str()]);
    }
}

pub async fn a_dead_task_runs_again_with_a_clean_slate_and_its_past_errors(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    for retry_in_ms in [Some(0), None] {
        let claim = worker.claim_one().await;
        worker.settle(&claim, failed(retry_in_ms)).await;
    }
    assert_eq!(retry(&scene, "x").await, Requeued::Pending);
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures, view.losses), (State::Pending, 0, 0));
    assert_eq!((view.attempts.len(), view.ended_at_ms), (2, None));
    let claim = worker.claim_one().await;
    assert_eq!((claim.attempt, claim.losses), (1, 0));
    worker.settle(&claim, failed(None)).await;
    let numbers: Vec<_> = scene.task("x").await.unwrap().attempts.iter().map(|a| a.attempt).collect();
    assert_eq!(numbers, [1, 2, 1]);
    let counters = scene.counters().await;
    assert_eq!((counters.requeued, counters.dead, counters.enqueued), (1, 2, 1));
}

pub async fn a_cancelled_task_runs_again(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    worker.claim_one().await;
    scene.broker.cancel(&scene.queue, &id("x")).await.unwrap();
    worker.retire().await;
    assert_eq!(retry(&scene, "x").await, Requeued::Pending);
    assert_eq!(scene.list(State::Cancelled).await, Vec::<String>::new());
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(1).await), ["x"]);
    assert_eq!(worker.heartbeat().await, Vec::<String>::new(), "nobody asked to cancel this run");
}

pub async fn a_delayed_or_retrying_task_runs_now(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    one_of_each(&scene).await;
    assert_eq!(retry(&scene, "delayed").await, Requeued::Pending);
    assert_eq!(retry(&scene, "retrying").await, Requeued::Pending);
    assert_eq!(scene.pending().await, ["pending", "delayed", "retrying"]);
    let view = scene.task("retrying").await.unwrap();
    assert_eq!((view.due_at_ms, view.failures, view.attempts.len()), (None, 0, 1));
    assert_eq!(scene.counters().await.requeued, 2);
    scene.advance(61_000).await;
    assert_eq!(scene.maintain().await.promoted, 0, "neither is promoted a second time");
}

pub async fn what_is_pending_active_or_succeeded_cannot_be_requeued(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    one_of_each(&scene).await;
    for state in [State::Pending, State::Active, State::Succeeded] {
        assert_eq!(retry(&scene, state.as_str()).await, Requeued::Refused(state));
        assert_eq!(scene.list(state).await, [state.as_str()]);
    }
    assert_eq!(scene.counters().await.requeued, 0);
}

pub async fn an_unknown_task_cannot_be_requeued(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    assert_eq!(retry(&scene, "x").await, Requeued::Unknown);
    assert_eq!(delete(&scene, "x").await, Deleted::Unknown);
    assert_eq!(scene.task("x").await, None);
}

pub async fn deleting_forgets_what_waits_or_has_ended(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    one_of_each(&scene).await;
    let before = scene.counters().await;
    for state in State::ALL.into_iter().filter(|state| *state != State::Active) {
        assert_eq!(delete(&scene, state.as_str()).await, Deleted::Forgotten, "{state}");
        assert_eq!(scene.task(state.as_str()).await, None, "{state}");
        assert_eq!(scene.list(state).await, Vec::<String>::new(), "{state}");
        assert_eq!(delete(&scene, state.as_str()).await, Deleted::Unknown, "{state}");
    }
    let after = scene.counters().await;
    assert_eq!(after.deleted - before.deleted, 6);
    assert_eq!(after.cancelled - before.cancelled, 3, "what waited was cancelled by it");
    scene.add(&["dead"]).await;
    assert_eq!(scene.task("dead").await.unwrap().attempts, []);
}

pub async fn an_active_task_cannot_be_deleted(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    one_of_each(&scene).await;
    assert_eq!(delete(&scene, "active").await, Deleted::Active);
    assert_eq!(scene.state("active").await, Some(State::Active));
    assert_eq!(scene.counters().await.deleted, 0);
}

pub async fn purging_deletes_all_tasks_of_a_state_and_no_others(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    one_of_each(&scene).await;
    for state in State::ALL.into_iter().filter(|state| *state != State::Active) {
        assert_eq!(scene.broker.purge(&scene.queue, state).await.unwrap(), 1, "{state}");
        assert_eq!(scene.task(state.as_str()).await, None, "{state}");
        assert_eq!(scene.broker.purge(&scene.queue, state).await.unwrap(), 0, "{state}");
        assert_eq!(scene.list(State::Active).await, ["active"]);
    }
    assert_eq!(scene.counters().await.deleted, 6);
}

pub async fn purging_a_thousand_and_more_is_complete(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch: Vec<_> = (0..2_500).map(|n| task(&format!("t{n}"))).collect();
    scene.enqueue(&batch).await.unwrap();
    assert_eq!(scene.broker.purge(&scene.queue, State::Pending).await.unwrap(), 2_500);
    assert_eq!(scene.pending().await, Vec::<String>::new());
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().pending, 0);
    scene.add(&["t7"]).await;
    assert_eq!(scene.pending().await, ["t7"]);
}
