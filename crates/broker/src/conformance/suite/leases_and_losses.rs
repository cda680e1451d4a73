//! A worker that says nothing is lost, and what it held runs again: soon, in order, at no cost, and not for ever.

use tidemill_core::{FailureKind, NewTask, Outcome, Priority, QueueSettings, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, WORK, claimed, failed, id, info, settlement, task};
use crate::{Exchanged, Heartbeat, Settled};

const LEASE_MS: u64 = 10_000;

pub async fn a_heartbeat_keeps_all_claims(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    worker.claim(2).await;
    for _ in 0..6 {
        scene.advance(LEASE_MS / 2 - 500).await;
        assert_eq!(worker.heartbeat().await, Vec::<String>::new());
        assert_eq!(scene.maintain().await.lost, []);
    }
    assert_eq!(scene.list(State::Active).await, ["a", "b"]);
    let left = scene.broker.workers(&scene.queue).await.unwrap()[0].lease_left_ms;
    assert!((LEASE_MS.cast_signed() - 2_000..=LEASE_MS.cast_signed()).contains(&left), "{left}");
}

pub async fn an_exchange_does_not_keep_claims(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let mut worker = scene.worker().await;
    worker.claim_one().await;
    scene.advance(LEASE_MS / 2 + 1).await;
    scene.maintain().await;
    worker.claim(0).await;
    scene.advance(LEASE_MS / 2 + 1).await;
    assert_eq!(scene.maintain().await.lost.len(), 1);
}

pub async fn registering_again_keeps_claims(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let worker = scene.worker().await;
    scene.advance(LEASE_MS / 2 + 1).await;
    scene.maintain().await;
    scene.broker.register(&scene.queue, &info(worker.id, &[WORK])).await.unwrap();
    scene.advance(LEASE_MS / 2 + 1).await;
    scene.maintain().await;
    assert_eq!(scene.broker.workers(&scene.queue).await.unwrap().len(), 1);
    assert!(matches!(scene.broker.heartbeat(&scene.queue, &worker.id, &[]).await.unwrap(), Heartbeat::Renewed { .. }));
}

pub async fn a_silent_workers_tasks_are_pending_again(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let (mut silent, mut other) = (scene.worker().await, scene.worker().await);
    silent.claim(2).await;
    scene.maintain().await;
    scene.advance(LEASE_MS / 2).await;
    other.heartbeat().await;
    scene.maintain().await;
    scene.advance(LEASE_MS / 2 + 1).await;
    let maintained = scene.maintain().await;
    let lost: Vec<_> = maintained.lost.iter().map(|l| (l.task.as_str(), l.worker, l.state)).collect();
    assert_eq!(lost, [("a", silent.id, State::Pending), ("b", silent.id, State::Pending)]);
    assert!(!maintained.renewed);
    assert_eq!(scene.pending().await, ["a", "b", "c"]);
    let workers = scene.broker.workers(&scene.queue).await.unwrap();
    assert_eq!(workers.iter().map(|w| w.info.id).collect::<Vec<_>>(), [other.id]);
    assert_eq!(claimed(&other.claim(10).await), ["a", "b", "c"]);
    assert_eq!(scene.counters().await.lost, 2);
}

pub async fn lost_tasks_keep_the_order_of_their_claims(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let urgent = NewTask { priority: Priority::new(3).unwrap(), ..task("urgent") };
    scene.enqueue(&[task("a"), task("b"), task("c"), task("d"), urgent]).await.unwrap();
    let (mut one, mut two) = (scene.worker().await, scene.worker().await);
    one.claim(2).await;
    scene.advance(1).await;
    two.claim(1).await;
    scene.advance(1).await;
    one.claim(1).await;
    let lost = scene.lose_the_silent().await.lost;
    assert_eq!(lost.len(), 4);
    assert_eq!(scene.pending().await, ["urgent", "a", "b", "c", "d"]);
}

pub async fn a_loss_costs_no_retry_and_is_remembered(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let silent = {
        let mut worker = scene.worker().await;
        worker.claim_one().await;
        worker.id
    };
    scene.lose_the_silent().await;
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures, view.losses), (State::Pending, 0, 1));
    assert_eq!((view.worker, view.started_at_ms), (None, None));
    let attempt = &view.attempts[0];
    assert_eq!((attempt.attempt, attempt.worker, attempt.kind), (1, silent, FailureKind::Lost));
    assert_eq!(attempt.message, "worker lost");
    let claim = scene.worker().await.claim_one().await;
    assert_eq!((claim.attempt, claim.losses), (1, 1));
    assert_eq!(scene.counters().await.failed, 0);
}

pub async fn a_task_that_kills_workers_ends_as_dead(backend: &dyn Backend) {
    let scene = Scene::with(backend, QueueSettings { loss_limit: 3, ..QueueSettings::default() }).await;
    scene.add(&["x"]).await;
    for (losses, state) in [(1, State::Pending), (2, State::Pending), (3, State::Dead)] {
        scene.worker().await.claim_one().await;
        let lost = scene.lose_the_silent().await.lost;
        assert_eq!(lost.iter().map(|l| l.state).collect::<Vec<_>>(), [state]);
        let view = scene.task("x").await.unwrap();
        assert_eq!((view.state, view.losses, view.failures), (state, losses, 0));
    }
    let counters = scene.counters().await;
    assert_eq!((counters.lost, counters.dead, counters.failed), (3, 1, 0));
    assert_eq!(scene.task("x").await.unwrap().attempts.len(), 3);
    scene.broker.retry(&scene.queue, &id("x")).await.unwrap();
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.losses, view.attempts.len()), (State::Pending, 0, 3), "by hand it has a clean slate");
}

pub async fn a_lost_worker_is_retired_at_its_next_word(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    scene.lose_the_silent().await;
    assert_eq!(scene.broker.heartbeat(&scene.queue, &worker.id, &[]).await.unwrap(), Heartbeat::Retired);
    assert_eq!(worker.exchange(vec![settlement(&claim, SUCCEEDED)], 1).await, Exchanged::Retired);
    assert_eq!(scene.state("x").await, Some(State::Pending));
}

pub async fn a_lease_that_ran_out_is_good_until_someone_collects_it(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "y"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    scene.advance(LEASE_MS + 500).await;
    let view = scene.broker.workers(&scene.queue).await.unwrap().remove(0);
    assert!(view.lease_left_ms < 0, "{view:?}");
    assert_eq!(view.active, 1);
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().workers, 0, "its lease does not hold");
    assert_eq!(worker.settle(&claim, SUCCEEDED).await, Settled::Now(State::Succeeded));
    worker.heartbeat().await;
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().workers, 1);
    assert_eq!(claimed(&worker.claim(1).await), ["y"]);
}

pub async fn an_outage_of_the_store_renews_all_leases_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let (mut one, mut two) = (scene.worker().await, scene.worker().await);
    one.claim(1).await;
    two.claim(1).await;
    scene.maintain().await;
    scene.advance(3 * LEASE_MS).await;
    let first = scene.maintain().await;
    assert!(first.renewed && first.lost.is_empty(), "{first:?}");
    assert_eq!(scene.list(State::Active).await.len(), 2);
    scene.advance(LEASE_MS / 2).await;
    one.heartbeat().await;
    assert!(!scene.maintain().await.renewed);
    scene.advance(LEASE_MS / 2 + 500).await;
    let lost = scene.maintain().await.lost;
    assert_eq!(lost.iter().map(|l| l.task.as_str()).collect::<Vec<_>>(), ["b"], "once, and only once");
}

pub async fn an_outage_that_ends_a_lease_just_renewed_loses_nobody(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a"]).await;
    let mut worker = scene.worker().await;
    worker.claim(1).await;
    scene.advance(LEASE_MS / 3).await;
    scene.maintain().await;
    // From here on the store is away, before the next of three heartbeats per lease.
    scene.advance(LEASE_MS * 2 / 3 + 500).await;
    let first = scene.maintain().await;
    assert!(first.renewed && first.lost.is_empty(), "{first:?}");
    assert_eq!(scene.list(State::Active).await, ["a"]);
}

pub async fn a_retired_worker_gives_everything_back_at_no_cost(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d"]).await;
    let mut worker = scene.worker().await;
    worker.claim(2).await;
    worker.claim(1).await;
    worker.retire().await;
    assert_eq!(scene.pending().await, ["a", "b", "c", "d"]);
    assert_eq!(scene.broker.workers(&scene.queue).await.unwrap(), []);
    assert_eq!(worker.exchange(Vec::new(), 1).await, Exchanged::Retired);
    let view = scene.task("a").await.unwrap();
    assert_eq!((view.losses, view.failures, view.attempts.len()), (0, 0, 0));
    let counters = scene.counters().await;
    assert_eq!((counters.released, counters.lost, counters.failed), (3, 0, 0));
}

pub async fn retiring_twice_is_harmless(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(None)).await;
    worker.retire().await;
    worker.retire().await;
    scene.stranger().retire().await;
    assert_eq!(scene.counters().await.released, 0);
    scene.add(&["y"]).await;
    let mut other = scene.worker().await;
    let claim = other.claim_one().await;
    other.settle(&claim, Outcome::Released).await;
    assert_eq!(scene.pending().await, ["y"]);
}
