//! How claims end: succeeded, failed, timed out; what is kept of it; progress on the way.

use bytes::Bytes;
use tidemill_core::task::ERRORS_KEPT;
use tidemill_core::{Failure, FailureKind, Outcome, Progress, State};

use crate::Settled;
use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, failed, id, settled, settlement};

/// A success with this result.
pub fn with_result(json: &'static str) -> Outcome {
    Outcome::Succeeded { result: Some(Bytes::from_static(json.as_bytes())) }
}

fn failure(kind: FailureKind, message: &str, retry_in_ms: Option<u64>) -> Outcome {
    Outcome::Failed { failure: Failure::new(kind, message), retry_in_ms }
}

pub async fn a_success_keeps_its_result(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let mut worker = scene.worker().await;
    let (x, y) = (worker.claim_one().await, worker.claim_one().await);
    scene.advance(1_000).await;
    assert_eq!(worker.settle(&x, with_result(r#"{"pages":3}"#)).await, Settled::Now(State::Succeeded));
    worker.settle(&y, SUCCEEDED).await;
    let view = scene.task("x").await.unwrap();
    assert_eq!(view.result, Some(Bytes::from_static(br#"{"pages":3}"#)));
    assert_eq!((view.state, view.worker, view.started_at_ms), (State::Succeeded, None, None));
    let ended = view.ended_at_ms.expect("it has ended");
    assert!((x.started_at_ms + 1_000..x.started_at_ms + 11_000).contains(&ended), "{ended}");
    assert_eq!(scene.task("y").await.unwrap().result, None);
}

pub async fn a_failure_with_retries_left_waits_for_its_time(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    let outcome = failure(FailureKind::Panic, "index out of bounds: \"é\"\nline two", Some(60_000));
    assert_eq!(worker.settle(&claim, outcome).await, Settled::Now(State::Retrying));
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures, view.ended_at_ms), (State::Retrying, 1, None));
    let attempt = view.attempts[0].clone();
    assert_eq!((attempt.attempt, attempt.worker, attempt.kind), (1, worker.id, FailureKind::Panic));
    assert_eq!((attempt.message.as_str(), attempt.ran_ms), ("index out of bounds: \"é\"\nline two", 5));
    assert_eq!(view.due_at_ms, Some(attempt.ended_at_ms + 60_000));
    scene.advance(50_000).await;
    worker.heartbeat().await;
    assert!(worker.claim(1).await.is_empty());
    scene.advance(10_001).await;
    let claim = worker.claim_one().await;
    assert_eq!(claim.attempt, 2);
    let counters = scene.counters().await;
    assert_eq!((counters.failed, counters.retried, counters.dead, counters.timed_out), (1, 1, 0, 0));
}

pub async fn a_failure_for_good_is_dead(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    let outcome = failure(FailureKind::Permanent, "no such address", None);
    assert_eq!(worker.settle(&claim, outcome).await, Settled::Now(State::Dead));
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures, view.due_at_ms), (State::Dead, 1, None));
    assert_eq!(view.attempts[0].kind, FailureKind::Permanent);
    assert_eq!(view.ended_at_ms, Some(view.attempts[0].ended_at_ms));
    let counters = scene.counters().await;
    assert_eq!((counters.failed, counters.retried, counters.dead), (1, 0, 1));
}

pub async fn a_time_out_is_a_failure_and_counted_as_such(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failure(FailureKind::Timeout, "took longer than 1 s", Some(1_000))).await;
    scene.advance(1_001).await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failure(FailureKind::Timeout, "took longer than 1 s", None)).await;
    let counters = scene.counters().await;
    assert_eq!((counters.timed_out, counters.failed, counters.retried, counters.dead), (2, 2, 1, 1));
}

pub async fn a_retry_without_wait_runs_at_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(Some(0))).await;
    assert_eq!(worker.claim_one().await.attempt, 2);
}

pub async fn attempts_are_numbered_by_failures(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    for (attempt, outcome) in [(1, failed(Some(0))), (2, Outcome::Released), (2, failed(Some(0))), (3, SUCCEEDED)] {
        let claim = worker.claim_one().await;
        assert_eq!(claim.attempt, attempt, "a release costs none");
        worker.settle(&claim, outcome).await;
    }
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures), (State::Succeeded, 2));
    assert_eq!(view.attempts.iter().map(|a| a.attempt).collect::<Vec<_>>(), [1, 2]);
}

pub async fn only_the_newest_errors_are_kept(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let all = u32::try_from(ERRORS_KEPT).unwrap() + 3;
    for n in 1..=all {
        let claim = worker.claim_one().await;
        worker.settle(&claim, failure(FailureKind::Transient, &format!("error {n}"), Some(0))).await;
    }
    let view = scene.task("x").await.unwrap();
    assert_eq!(view.failures, all);
    let numbers: Vec<u32> = view.attempts.iter().map(|a| a.attempt).collect();
    assert_eq!(numbers, (4..=all).collect::<Vec<_>>(), "the newest, oldest first");
}

pub async fn a_batch_of_settlements_is_answered_in_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d", "e"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(5).await;
    let outcomes = [failed(None), SUCCEEDED, Outcome::Released, failed(Some(60_000)), Outcome::Cancelled];
    let finished = claims.iter().zip(outcomes).rev().map(|(claim, outcome)| settlement(claim, outcome)).collect();
    let expected = [State::Cancelled, State::Retrying, State::Pending, State::Succeeded, State::Dead];
    assert_eq!(settled(worker.exchange(finished, 0).await), expected.map(Settled::Now));
}

pub async fn progress_is_shown_while_a_task_runs(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    assert_eq!(scene.task("x").await.unwrap().progress, None);
    for percent in [10, 60] {
        let progress = Progress { percent, message: format!("page {percent} of 100, \"ä\"") };
        scene.broker.heartbeat(&scene.queue, &worker.id, &[(id("x"), progress.clone())]).await.unwrap();
        assert_eq!(scene.task("x").await.unwrap().progress.as_ref(), Some(&progress));
        assert_eq!(scene.views(State::Active).await[0].progress, Some(progress));
    }
    worker.settle(&claim, Outcome::Released).await;
    assert_eq!(scene.task("x").await.unwrap().progress, None);
    worker.claim_one().await;
    assert_eq!(scene.task("x").await.unwrap().progress, None, "a new claim begins at nothing");
}

pub async fn progress_of_another_workers_task_is_not_taken(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let (mut one, other) = (scene.worker().await, scene.worker().await);
    one.claim_one().await;
    let progress = Progress { percent: 50, message: String::new() };
    let foreign = [(id("x"), progress.clone()), (id("y"), progress.clone()), (id("unknown"), progress)];
    scene.broker.heartbeat(&scene.queue, &other.id, &foreign).await.unwrap();
    assert_eq!(scene.task("x").await.unwrap().progress, None);
    assert_eq!(scene.task("y").await.unwrap().progress, None);
    assert_eq!(scene.task("unknown").await, None);
}
