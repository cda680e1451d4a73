//! Exchanges are numbered: a lost reply neither loses a claim nor settles twice, and a store rolled back is found out.

use tidemill_core::State;

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, claimed, claims, failed, settlement};
use crate::{Exchange, Exchanged, Heartbeat, Settled};

pub async fn a_repeated_exchange_claims_nothing_more(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d"]).await;
    let mut worker = scene.worker().await;
    let first = worker.claim(2).await;
    let again = claims(worker.repeat().await);
    assert_eq!(first, again);
    assert_eq!(claims(worker.repeat().await), first);
    assert_eq!(scene.pending().await, ["c", "d"]);
    assert_eq!(scene.counters().await.started, 2);
    assert_eq!(claimed(&worker.claim(1).await), ["c"]);
}

pub async fn a_repeated_exchange_settles_nothing_twice(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let mut worker = scene.worker().await;
    let held = worker.claim(2).await;
    let finished = vec![
        settlement(&held[0], SUCCEEDED),
        settlement(&held[1], failed(Some(60_000))),
        settlement(&held[0], SUCCEEDED),
    ];
    let first = worker.exchange(finished, 1).await;
    let again = worker.repeat().await;
    let (Exchanged::Done { settled: one, claims: taken, .. }, Exchanged::Done { settled: two, claims: same, .. }) =
        (first, again)
    else {
        panic!("the worker is registered")
    };
    let expected = [Settled::Now(State::Succeeded), Settled::Now(State::Retrying), Settled::Refused];
    assert_eq!((&one[..], &two[..]), (&expected[..], &expected[..]));
    assert_eq!((claimed(&taken), claimed(&same)), (vec!["c".to_owned()], vec!["c".to_owned()]));
    let counters = scene.counters().await;
    assert_eq!((counters.succeeded, counters.failed, counters.retried, counters.refused), (1, 1, 1, 1));
    assert_eq!((counters.started, counters.ran_ms), (3, 10));
}

pub async fn a_repeated_exchange_is_answered_from_another_process_too(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    let first = worker.claim(1).await;
    let same = Exchange { worker: worker.id, number: 1, finished: Vec::new(), want: 1 };
    let again = scene.elsewhere().broker.exchange(&scene.queue, &same).await.unwrap();
    assert_eq!(claims(again), first);
    assert_eq!(scene.pending().await, ["b"]);
}

pub async fn a_number_that_was_left_out_retires_the_worker(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.number += 1;
    assert_eq!(worker.exchange(vec![settlement(&claim, SUCCEEDED)], 1).await, Exchanged::Retired);
    assert_eq!(scene.pending().await, ["a", "b"], "nothing was settled or claimed, and what it held is lost");
    let counters = scene.counters().await;
    assert_eq!((counters.succeeded, counters.lost, counters.started), (0, 1, 1));
    assert_eq!(scene.broker.workers(&scene.queue).await.unwrap(), []);
}

pub async fn an_older_number_came_late_and_does_nothing(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let mut worker = scene.worker().await;
    worker.claim(1).await;
    worker.claim(0).await;
    worker.claim(0).await;
    let now = worker.number;
    worker.number = 0;
    assert_eq!(worker.exchange(Vec::new(), 1).await, Exchanged::Retired);
    worker.number = now;
    assert!(scene.pending().await.is_empty());
    worker.claim(0).await;
}

pub async fn the_first_number_is_one(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    for wrong in [0, 2, u64::from(u32::MAX)] {
        let worker = scene.worker().await;
        let exchange = Exchange { worker: worker.id, number: wrong, finished: Vec::new(), want: 1 };
        assert_eq!(scene.broker.exchange(&scene.queue, &exchange).await.unwrap(), Exchanged::Retired, "{wrong}");
    }
    assert_eq!(scene.worker().await.claim_one().await.token.counter, 1);
}

pub async fn a_stranger_is_retired(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let mut stranger = scene.stranger();
    assert_eq!(stranger.exchange(Vec::new(), 1).await, Exchanged::Retired);
    assert_eq!(scene.broker.heartbeat(&scene.queue, &stranger.id, &[]).await.unwrap(), Heartbeat::Retired);
    assert_eq!(scene.pending().await, ["a"]);
}

pub async fn what_a_retired_worker_held_is_lost_and_claimed_by_others(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let mut old = scene.worker().await;
    old.claim(2).await;
    old.number += 7;
    old.exchange(Vec::new(), 1).await;
    let mut new = scene.worker().await;
    let taken = new.claim(10).await;
    assert_eq!(claimed(&taken), ["a", "b", "c"]);
    assert_eq!(taken.iter().map(|claim| claim.losses).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(old.exchange(Vec::new(), 1).await, Exchanged::Retired, "and stays so");
}

pub async fn a_store_rolled_back_behind_a_claim_leaves_nothing_stuck(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    worker.claim(0).await;
    let before = scene.snapshot().await;
    let claim = worker.claim_one().await;
    scene.roll_back(&before).await;
    assert_eq!(scene.pending().await, ["x"]);
    assert_eq!(worker.exchange(vec![settlement(&claim, SUCCEEDED)], 0).await, Exchanged::Retired);
    ends_well(&scene, "x").await;
}

pub async fn a_store_rolled_back_behind_a_settlement_leaves_nothing_stuck(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    let before = scene.snapshot().await;
    worker.exchange(vec![settlement(&claim, SUCCEEDED)], 0).await;
    scene.roll_back(&before).await;
    assert_eq!(scene.state("x").await, Some(State::Active), "as it was");
    assert_eq!(worker.exchange(Vec::new(), 1).await, Exchanged::Retired);
    assert_eq!(scene.pending().await, ["x", "y"]);
    ends_well(&scene, "x").await;
}

pub async fn a_store_rolled_back_behind_a_registration_says_retired(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let before = scene.snapshot().await;
    let mut worker = scene.worker().await;
    worker.claim_one().await;
    scene.roll_back(&before).await;
    assert_eq!(scene.broker.heartbeat(&scene.queue, &worker.id, &[]).await.unwrap(), Heartbeat::Retired);
    assert_eq!(worker.repeat().await, Exchanged::Retired);
    ends_well(&scene, "x").await;
}

pub async fn a_store_rolled_back_never_takes_the_token_of_a_lost_claim(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut old = scene.worker().await;
    let before = scene.snapshot().await;
    let stale = old.claim_one().await;
    scene.roll_back(&before).await;
    let mut new = scene.worker().await;
    let claim = new.claim_one().await;
    assert_eq!((stale.attempt, claim.attempt), (1, 1));
    assert_eq!(old.exchange(vec![settlement(&stale, SUCCEEDED)], 0).await, Exchanged::Retired);
    assert_eq!(new.settle(&stale, SUCCEEDED).await, Settled::Refused);
    assert_eq!(scene.state("x").await, Some(State::Active));
    assert_eq!(new.settle(&claim, SUCCEEDED).await, Settled::Now(State::Succeeded));
}

/// Another worker runs `text`, and then nothing is active.
async fn ends_well(scene: &Scene<'_>, text: &str) {
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    assert_eq!(claim.task.as_str(), text);
    assert_eq!(worker.settle(&claim, SUCCEEDED).await, Settled::Now(State::Succeeded));
    assert_eq!(scene.list(State::Active).await, Vec::<String>::new());
}
