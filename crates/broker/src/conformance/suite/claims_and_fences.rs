//! An active task belongs to one claim, and only that claim settles it.

use std::collections::HashSet;

use futures::future::join_all;
use tidemill_core::{Claim, ClaimToken, Outcome, State};

use crate::Settled;
use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, claimed, claims, failed, id, settled, settlement};

pub async fn an_active_task_belongs_to_one_claim(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let (mut one, mut two) = (scene.worker().await, scene.worker().await);
    assert_eq!(claimed(&one.claim(2).await), ["a", "b"]);
    assert_eq!(claimed(&two.claim(2).await), ["c"]);
    assert_eq!(claimed(&two.claim(2).await), Vec::<String>::new());
    assert_eq!(scene.task("a").await.unwrap().worker, Some(one.id));
    assert_eq!(scene.task("c").await.unwrap().worker, Some(two.id));
}

pub async fn a_claim_says_all_that_a_worker_needs(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    worker.claim(0).await;
    let claim = worker.claim_one().await;
    assert_eq!(claim.task, id("x"));
    assert_eq!(claim.token, ClaimToken { worker: worker.id, counter: 2 });
    assert_eq!((claim.attempt, claim.losses), (1, 0));
    let view = scene.task("x").await.unwrap();
    assert_eq!(claim.record.enqueued_at_ms, view.enqueued_at_ms);
    assert_eq!(view.started_at_ms, Some(claim.started_at_ms));
    assert_eq!((view.state, view.worker), (State::Active, Some(worker.id)));
}

pub async fn no_more_is_claimed_than_wanted(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let mut worker = scene.worker().await;
    for (want, expected, left) in [(0, 0, 3), (2, 2, 1), (5, 1, 0), (1, 0, 0)] {
        match worker.exchange(Vec::new(), want).await {
            crate::Exchanged::Done { claims, pending, .. } => assert_eq!((claims.len(), pending), (expected, left)),
            crate::Exchanged::Retired => panic!("the worker is registered"),
        }
    }
}

pub async fn only_the_holder_settles(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let (mut holder, mut other) = (scene.worker().await, scene.worker().await);
    let claim = holder.claim_one().await;
    assert_eq!(other.settle(&claim, SUCCEEDED).await, Settled::Refused, "the holder's token in another's hands");
    let forged = Claim { token: ClaimToken { worker: other.id, counter: 1 }, ..claim.clone() };
    assert_eq!(other.settle(&forged, SUCCEEDED).await, Settled::Refused, "a token that nobody was given");
    assert_eq!(scene.state("x").await, Some(State::Active));
    assert_eq!(holder.settle(&claim, SUCCEEDED).await, Settled::Now(State::Succeeded));
    assert_eq!(scene.counters().await.refused, 2);
}

pub async fn a_claim_is_settled_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    assert_eq!(worker.settle(&claim, failed(Some(60_000))).await, Settled::Now(State::Retrying));
    assert_eq!(worker.settle(&claim, SUCCEEDED).await, Settled::Refused);
    assert_eq!(scene.state("x").await, Some(State::Retrying));
    let counters = scene.counters().await;
    assert_eq!((counters.failed, counters.succeeded, counters.refused), (1, 0, 1));
}

pub async fn a_claim_is_settled_once_even_within_one_exchange(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    let twice = vec![settlement(&claim, SUCCEEDED), settlement(&claim, failed(None))];
    assert_eq!(settled(worker.exchange(twice, 0).await), [Settled::Now(State::Succeeded), Settled::Refused]);
    let counters = scene.counters().await;
    assert_eq!((counters.succeeded, counters.dead, counters.refused), (1, 0, 1));
}

pub async fn a_late_settlement_is_refused_and_counted(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let late = scene.worker().await.claim_one().await;
    scene.lose_the_silent().await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    assert_eq!(
        worker.settle(&late, SUCCEEDED).await,
        Settled::Refused,
        "the process that lost it, as a new incarnation"
    );
    assert_eq!(scene.task("x").await.unwrap().worker, Some(worker.id));
    assert_eq!(worker.settle(&claim, failed(None)).await, Settled::Now(State::Dead));
    assert_eq!(worker.settle(&late, SUCCEEDED).await, Settled::Refused);
    assert_eq!(scene.state("x").await, Some(State::Dead));
    assert_eq!(scene.counters().await.refused, 2);
}

pub async fn the_fence_is_the_token_and_not_the_attempt(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut worker = scene.worker().await;
    scene.add(&["x"]).await;
    let first = worker.claim_one().await;
    worker.settle(&first, SUCCEEDED).await;
    scene.add(&["x"]).await;
    let second = worker.claim_one().await;
    assert_eq!((first.attempt, second.attempt), (1, 1));
    assert_eq!(worker.settle(&first, failed(None)).await, Settled::Refused, "the same id, worker and attempt");
    assert_eq!(scene.state("x").await, Some(State::Active));
    worker.settle(&second, Outcome::Released).await;
    let third = worker.claim_one().await;
    assert_eq!(worker.settle(&second, SUCCEEDED).await, Settled::Refused, "an earlier claim of the same attempt");
    assert_eq!(worker.settle(&third, SUCCEEDED).await, Settled::Now(State::Succeeded));
}

pub async fn an_unknown_task_cannot_be_settled(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    let nobodys = Claim { task: id("never seen"), ..claim };
    assert_eq!(worker.settle(&nobodys, SUCCEEDED).await, Settled::Refused);
    assert_eq!(scene.task("never seen").await, None);
}

pub async fn claims_of_many_workers_at_once_never_overlap(backend: &dyn Backend) {
    const WORKERS: usize = 8;
    let scene = Scene::new(backend).await;
    let batch: Vec<_> = (0..500).map(|n| crate::conformance::scene::task(&format!("t{n}"))).collect();
    scene.enqueue(&batch).await.unwrap();
    let elsewhere = scene.elsewhere();
    let runs = (0..WORKERS).map(|n| {
        let scene = if n % 2 == 0 { &scene } else { &elsewhere };
        async move {
            let mut worker = scene.worker().await;
            let mut taken = Vec::new();
            let mut held = worker.claim(7).await;
            while !held.is_empty() {
                taken.extend(claimed(&held));
                let finished = held.iter().map(|claim| settlement(claim, SUCCEEDED)).collect();
                held = claims(worker.exchange(finished, 7).await);
            }
            taken
        }
    });
    let taken: Vec<String> = join_all(runs).await.into_iter().flatten().collect();
    assert_eq!(taken.len(), 500);
    assert_eq!(taken.iter().collect::<HashSet<_>>().len(), 500, "none was claimed twice");
    let counters = scene.counters().await;
    assert_eq!((counters.started, counters.succeeded, counters.refused), (500, 500, 0));
}
