//! Counters equal the transitions that happened, and figures equal what they count.

use tidemill_core::{Counters, Failure, FailureKind, NewTask, Outcome, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, failed, id, settlement, task};

pub async fn counters_equal_the_transitions_that_happened(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d", "e", "f", "g"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(5).await;
    let timeout = Failure::new(FailureKind::Timeout, "too long");
    let finished = vec![
        settlement(&claims[0], SUCCEEDED),
        settlement(&claims[1], failed(None)),
        settlement(&claims[2], Outcome::Failed { failure: timeout, retry_in_ms: Some(60_000) }),
        settlement(&claims[3], Outcome::Released),
        settlement(&claims[0], SUCCEEDED),
    ];
    worker.exchange(finished, 0).await;
    scene.lose_the_silent().await;
    scene.broker.cancel(&scene.queue, &id("f")).await.unwrap();
    scene.broker.delete(&scene.queue, &id("g")).await.unwrap();
    scene.broker.retry(&scene.queue, &id("b")).await.unwrap();
    let counters = Counters { ran_ms: 0, ..scene.counters().await };
    let expected = Counters {
        enqueued: 7,
        started: 5,
        succeeded: 1,
        failed: 2,
        timed_out: 1,
        retried: 1,
        dead: 1,
        cancelled: 2,
        lost: 1,
        released: 1,
        refused: 1,
        requeued: 1,
        deleted: 1,
        ran_ms: 0,
    };
    assert_eq!(counters, expected);
    assert_eq!(scene.elsewhere().counters().await.enqueued, 7);
}

pub async fn the_time_that_attempts_ran_adds_up(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    let mut finished = vec![settlement(&claims[0], SUCCEEDED), settlement(&claims[1], failed(None))];
    finished[0].ran_ms = 1_500;
    finished[1].ran_ms = 20;
    worker.exchange(finished, 0).await;
    worker.settle(&claims[0], SUCCEEDED).await;
    assert_eq!(scene.counters().await.ran_ms, 1_520, "a refused settlement ran nothing");
    assert_eq!(scene.task("b").await.unwrap().attempts[0].ran_ms, 20);
}

pub async fn figures_of_states_equal_their_lists(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    let batch: Vec<_> = names.iter().map(|text| task(text)).collect();
    scene.enqueue(&batch).await.unwrap();
    let later: Vec<_> =
        (0..3).map(|n| NewTask { start: Start::AfterMs(60_000), ..task(&format!("later{n}")) }).collect();
    scene.enqueue(&later).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(8).await;
    let outcomes = [SUCCEEDED, SUCCEEDED, failed(None), failed(Some(60_000)), Outcome::Released, Outcome::Cancelled];
    let finished = claims.iter().zip(outcomes).map(|(claim, outcome)| settlement(claim, outcome)).collect();
    worker.exchange(finished, 0).await;
    for text in ["t9", "later1"] {
        scene.broker.cancel(&scene.queue, &id(text)).await.unwrap();
    }
    let stats = scene.broker.stats(&scene.queue).await.unwrap();
    let figures = [
        (State::Pending, stats.pending, 4),
        (State::Delayed, stats.delayed, 2),
        (State::Active, stats.active, 2),
        (State::Retrying, stats.retrying, 1),
        (State::Succeeded, stats.succeeded, 2),
        (State::Dead, stats.dead, 1),
        (State::Cancelled, stats.cancelled, 3),
    ];
    for (state, figure, expected) in figures {
        assert_eq!((figure, scene.list(state).await.len() as u64), (expected, expected), "{state}");
    }
    assert_eq!(stats.workers, 1);
}

pub async fn the_age_of_the_head_and_the_next_due_time_are_told(backend: &dyn Backend) {
    const SLACK_MS: u64 = 5_000;
    let scene = Scene::new(backend).await;
    let stats = scene.broker.stats(&scene.queue).await.unwrap();
    assert_eq!((stats.oldest_pending_ms, stats.next_due_ms), (None, None));
    let later = NewTask { start: Start::AfterMs(100_000), ..task("later") };
    scene.enqueue(&[task("a"), later]).await.unwrap();
    scene.advance(30_000).await;
    scene.add(&["b"]).await;
    let stats = scene.broker.stats(&scene.queue).await.unwrap();
    let (age, due) = (stats.oldest_pending_ms.unwrap(), stats.next_due_ms.unwrap());
    assert!((30_000..30_000 + SLACK_MS).contains(&age), "{age}");
    assert!((70_001 - SLACK_MS..=70_000).contains(&due), "{due}");
}
