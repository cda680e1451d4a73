//! Outages, lost replies, lost leases, and the ways to end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Fake, eventually, id, start, task};
use tidemill_core::State;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_asked_for_again_with_the_same_number() {
    let fake = Fake::new();
    for n in 0..20 {
        fake.add(&task(&format!("t{n}"), "short"));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 4);
    fake.until("some ended", |store| store.ended.len() >= 4).await;
    fake.lose_replies.store(3, Ordering::Relaxed);
    fake.until("all ended", |store| store.ended.len() == 20).await;
    let numbers: Vec<u64> = fake.with(|store| store.exchanges.iter().map(|exchange| exchange.1).collect());
    assert_eq!(numbers.windows(2).filter(|pair| pair[0] == pair[1]).count(), 3, "{numbers:?}");
    assert_eq!(rig.diary.started().len(), 20, "nothing ran twice");
    assert_eq!(fake.with(|store| (store.workers.len(), store.refused.len())), (1, 0));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_leaves_running_tasks_alone_and_settles_them_when_it_is_back() {
    let fake = Fake::new();
    fake.add(&task("short", "short"));
    fake.add(&task("polite", "polite"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both run", |store| store.active.len() == 2).await;
    fake.down.store(true, Ordering::Relaxed);
    let mut status = rig.status.clone();
    status.wait_for(|status| !status.reachable && status.problem.is_some()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!(rig.diary.running.load(Ordering::SeqCst), 1, "the long one still runs");
    fake.down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    fake.until("settled", |store| store.ended.len() == 1).await;
    assert!(back.elapsed() <= Duration::from_millis(1_100), "{:?}", back.elapsed());
    assert_eq!(fake.state("short"), Some(State::Succeeded));
    assert_eq!(rig.metrics.incarnations.load(Ordering::Relaxed), 1);
    status.wait_for(|status| status.reachable && status.problem.is_none()).await.unwrap();
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn running_tasks_are_cancelled_when_the_grace_after_their_lease_has_passed() {
    let fake = Fake::new();
    fake.add(&task("a", "polite"));
    let rig = start(Arc::clone(&fake), |options| options.lease_loss_grace = Duration::from_secs(20));
    fake.until("it runs", |store| store.active.len() == 1).await;
    fake.down.store(true, Ordering::Relaxed);
    let lost = Instant::now();
    let diary = Arc::clone(&rig.diary);
    eventually("it is stopped", || diary.running.load(Ordering::SeqCst) == 0).await;
    let after = lost.elapsed();
    assert!((Duration::from_secs(27)..Duration::from_secs(31)).contains(&after), "lease 10 s + grace 20 s: {after:?}");
    fake.down.store(false, Ordering::Relaxed);
    fake.until("it runs again", |store| store.active.len() == 1 && store.retired.len() == 1).await;
    assert_eq!(fake.with(|store| store.settled.clone()), [(id("a"), State::Pending)], "it was given back");
    assert_eq!(rig.metrics.incarnations.load(Ordering::Relaxed), 2);
    assert_eq!(rig.metrics.refused.load(Ordering::Relaxed), 0);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_ended_in_an_outage_longer_than_any_grace_is_settled_when_the_store_is_back() {
    let fake = Fake::new();
    fake.add(&task("short", "short"));
    fake.add(&task("polite", "polite"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both run", |store| store.active.len() == 2).await;
    fake.down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(rig.diary.running.load(Ordering::SeqCst), 0, "the long one was stopped");
    fake.down.store(false, Ordering::Relaxed);
    let diary = Arc::clone(&rig.diary);
    eventually("something runs again", || diary.started().len() == 3).await;
    assert_eq!(fake.state("short"), Some(State::Succeeded));
    assert_eq!(rig.diary.started().iter().filter(|task| *task == "short").count(), 1, "nothing that ended ran twice");
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_incarnation_whose_exchange_is_never_answered_is_given_up_although_its_heartbeats_are() {
    let fake = Fake::new();
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("registered", |store| store.workers.len() == 1).await;
    fake.lose_replies.store(usize::MAX, Ordering::Relaxed);
    fake.add(&task("a", "quick"));
    fake.until("given up", |store| store.retired.len() == 1).await;
    fake.lose_replies.store(0, Ordering::Relaxed);
    fake.until("it ran", |store| store.ended.len() == 1).await;
    assert_eq!(rig.metrics.incarnations.load(Ordering::Relaxed), 2);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_was_lost_fences_what_it_runs_and_starts_anew() {
    let fake = Fake::new();
    fake.add(&task("a", "polite"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("it runs", |store| store.active.len() == 1).await;
    let first = rig.status.borrow().worker;
    fake.lose_workers();
    fake.until("it runs again", |store| store.active.len() == 1).await;
    let diary = Arc::clone(&rig.diary);
    eventually("the first run ended", || diary.running.load(Ordering::SeqCst) == 1).await;
    assert_eq!(rig.diary.started(), ["a", "a"]);
    assert_ne!(rig.status.borrow().worker, first);
    assert_eq!(rig.metrics.refused.load(Ordering::Relaxed), 1);
    assert_eq!(fake.with(|store| store.refused.len()), 0, "a fenced settlement is not even sent");
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_tasks_end_and_releases_the_rest() {
    let fake = Fake::new();
    fake.add(&task("short", "short"));
    fake.add(&task("polite", "polite"));
    fake.add(&task("deaf", "stuck"));
    let rig = start(Arc::clone(&fake), |options| options.shutdown_timeout = Duration::from_secs(3));
    fake.until("all run", |store| store.active.len() == 3).await;
    let diary = Arc::clone(&rig.diary);
    eventually("all started", || diary.started().len() == 3).await;
    fake.with(|store| store.ended.clear());
    let (before, status) = (Instant::now(), rig.status.clone());
    rig.stop.cancel();
    eventually("draining", || status.borrow().draining).await;
    fake.add(&task("late", "quick"));
    let report = rig.report().await;
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!((report.settled, report.released, report.unsettled.len()), (1, 2, 0));
    fake.with(|store| {
        assert_eq!(store.ended.len(), 1, "nothing is claimed after a stop");
        assert_eq!((store.active.len(), store.pending.len(), store.workers.len()), (0, 3, 0));
        assert_eq!(store.pending.back().unwrap().0, id("late"), "the released are at the head");
    });
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once_and_signs_off() {
    let fake = Fake::new();
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("registered", |store| store.workers.len() == 1).await;
    let before = Instant::now();
    rig.stopped().await;
    assert!(before.elapsed() < Duration::from_millis(100));
    assert_eq!(fake.with(|store| (store.workers.len(), store.retired.len())), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_at_once_and_releases() {
    let fake = Fake::new();
    fake.add(&task("polite", "polite"));
    fake.add(&task("deaf", "stuck"));
    let rig = start(Arc::clone(&fake), |options| options.shutdown_timeout = Duration::from_mins(10));
    fake.until("both run", |store| store.active.len() == 2).await;
    rig.stop.cancel();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = Instant::now();
    rig.abort.cancel();
    let report = rig.report().await;
    assert!(before.elapsed() < Duration::from_millis(600), "{:?}", before.elapsed());
    assert_eq!((report.released, report.unsettled.len()), (2, 0));
    assert_eq!(fake.with(|store| (store.active.len(), store.pending.len())), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_in_time_while_the_store_is_away_and_says_what_was_not_settled() {
    let fake = Fake::new();
    fake.add(&task("short", "short"));
    fake.add(&task("polite", "polite"));
    let rig = start(Arc::clone(&fake), |options| options.shutdown_timeout = Duration::from_secs(3));
    fake.until("both run", |store| store.active.len() == 2).await;
    fake.down.store(true, Ordering::Relaxed);
    let before = Instant::now();
    let mut report = rig.stopped().await;
    let took = before.elapsed();
    assert!(took >= Duration::from_secs(3) && took <= Duration::from_secs(5), "{took:?}");
    report.unsettled.sort();
    assert_eq!(report.unsettled, [id("polite"), id("short")]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_at_the_start_is_waited_for() {
    let fake = Fake::new();
    fake.down.store(true, Ordering::Relaxed);
    fake.add(&task("a", "quick"));
    let rig = start(Arc::clone(&fake), |_| ());
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(!rig.status.borrow().is_registered());
    fake.down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    fake.until("ended", |store| store.ended.len() == 1).await;
    assert!(back.elapsed() < Duration::from_millis(1_200), "{:?}", back.elapsed());
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_queue_is_created_where_that_is_wanted_and_named_where_not() {
    let fake = Fake::new();
    fake.with(|store| store.exists = false);
    let rig = start(Arc::clone(&fake), |_| ());
    let mut status = rig.status.clone();
    let problem = status.wait_for(|status| status.problem.is_some()).await.unwrap().problem.clone().unwrap();
    assert!(problem.contains("there is no queue q"), "{problem}");
    rig.stopped().await;

    let rig = start(Arc::clone(&fake), |options| options.create_queue = true);
    let mut status = rig.status.clone();
    status.wait_for(tidemill_executor::Status::is_registered).await.unwrap();
    assert!(fake.with(|store| store.exists));
    rig.stopped().await;
}
