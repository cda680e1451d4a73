//! Slots, order, outcomes: what the executor does with tasks while all is well with the store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{Fake, eventually, id, start, task};
use tidemill_core::{FailureKind, Outcome, QueueSettings, State, TaskId};
use tokio::time::Instant;

fn failure(fake: &Fake, name: &str) -> (FailureKind, String) {
    match fake.outcome(name) {
        Some(Outcome::Failed { failure, .. }) => (failure.kind, failure.message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_slot_starts_tasks_in_their_order() {
    let fake = Fake::new();
    let names: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
    for name in &names {
        fake.add(&task(name, "short"));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 1);
    fake.until("all ended", |store| store.ended.len() == 50).await;
    assert_eq!(rig.diary.started(), names);
    assert_eq!(fake.with(|store| store.most_active), 1);
    rig.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slots_are_filled_and_never_exceeded() {
    let fake = Fake::new();
    for n in 0..2_000 {
        fake.add(&task(&format!("t{n}"), if n % 100 == 0 { "short" } else { "quick" }));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 7);
    fake.until("all ended", |store| store.ended.len() == 2_000).await;
    assert_eq!(rig.diary.most.load(Ordering::SeqCst), 7);
    assert_eq!(rig.diary.started().len(), 2_000);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_during_an_exchange_is_settled_by_the_next_one_together() {
    let fake = Fake::new();
    fake.latency_ms.store(20, Ordering::Relaxed);
    for n in 0..1_000 {
        fake.add(&task(&format!("t{n}"), "quick"));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 100);
    fake.until("all ended", |store| store.ended.len() == 1_000).await;
    let exchanges = fake.with(|store| store.exchanges.iter().filter(|exchange| exchange.2 > 0).count());
    assert!(exchanges <= 12, "{exchanges} exchanges for 10 batches");
    assert!(rig.metrics.largest_batch.load(Ordering::Relaxed) >= 100);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_take_longer_than_a_round_trip_are_not_claimed_ahead() {
    let fake = Fake::new();
    for n in 0..500 {
        fake.add(&task(&format!("t{n}"), "short"));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 100);
    fake.until("all ended", |store| store.ended.len() == 500).await;
    assert_eq!(fake.with(|store| store.most_active), 100);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_ahead_goes_back_when_tasks_become_slower_though_the_slots_take_of_it() {
    let fake = Fake::new();
    for n in 0..2_000 {
        fake.add(&task(&format!("t{n}"), if n < 1_000 { "quick" } else { "short" }));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 1);
    eventually("the first slow task runs", || rig.diary.started().last().is_some_and(|last| last == "t1000")).await;
    fake.until("the rest is given back", |store| store.active.len() == 1).await;
    let begun = rig.diary.started().len();
    assert!(begun <= 1_004, "{begun} have begun");
    rig.abort.cancel();
    rig.report().await;
}

/// A worker of one slot that has claimed ahead because its tasks were quick; a stuck one is the last to have begun.
async fn stuck_with_a_stock() -> (Arc<Fake>, support::Rig) {
    let fake = Fake::new();
    for n in 0..2_000 {
        fake.add(&task(&format!("t{n}"), if n == 1_000 { "stuck" } else { "quick" }));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 1);
    eventually("the stuck task runs", || rig.diary.started().last().is_some_and(|last| last == "t1000")).await;
    (fake, rig)
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_ahead_goes_back_in_order_once_the_slots_are_held_up() {
    let (fake, rig) = stuck_with_a_stock().await;
    assert!(fake.with(|store| store.active.len()) > 1, "nothing was claimed ahead");
    fake.until("the rest is given back", |store| store.active.len() == 1).await;
    assert_eq!(fake.with(|store| store.pending.len()), 999);
    assert!(rig.metrics.released.load(Ordering::Relaxed) > 0);
    rig.abort.cancel();
    rig.report().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_ahead_is_released_at_once_by_a_stop() {
    let (fake, rig) = stuck_with_a_stock().await;
    rig.stop.cancel();
    fake.until("the rest is given back", |store| store.active.len() == 1).await;
    assert_eq!(rig.diary.started().len(), 1_001);
    rig.abort.cancel();
    rig.report().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_claimed_ahead_can_be_cancelled() {
    let (fake, rig) = stuck_with_a_stock().await;
    let waiting = fake.with(|store| store.active.keys().find(|task| task.as_str() != "t1000").cloned()).unwrap();
    fake.with(|store| store.cancel.insert(waiting.clone()));
    fake.until("it ended", |store| store.ended.get(&waiting).is_some_and(|(state, _)| *state == State::Cancelled))
        .await;
    assert!(!rig.diary.started().contains(&waiting.to_string()));
    rig.abort.cancel();
    rig.report().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_waits_and_takes_a_new_task_at_once() {
    let fake = Fake::new();
    let rig = start(Arc::clone(&fake), |_| ());
    tokio::time::sleep(Duration::from_mins(1)).await;
    let looks = fake.with(|store| store.exchanges.len());
    assert!(looks <= 14, "{looks} exchanges in an idle minute");
    let before = Instant::now();
    fake.add(&task("a", "quick"));
    fake.until("ended", |store| store.ended.len() == 1).await;
    assert!(before.elapsed() < Duration::from_millis(50));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_attempt_and_nothing_else() {
    let fake = Fake::new();
    fake.add(&task("a", "broken"));
    fake.add(&task("b", "short"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both ended", |store| store.ended.len() == 2).await;
    assert_eq!(failure(&fake, "a"), (FailureKind::Panic, "the handler panicked: a fault of mine".to_owned()));
    assert_eq!(fake.state("b"), Some(State::Succeeded));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_retried_as_often_as_the_task_says_and_then_dead() {
    let fake = Fake::new();
    fake.with(|store| store.settings = QueueSettings { retries: 1, ..QueueSettings::default() });
    let mut own = task("own", "failing");
    own.retries = Some(3);
    fake.add(&own);
    fake.add(&task("default", "failing"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both ended", |store| store.ended.len() == 2).await;
    let runs = |name: &str| rig.diary.started().iter().filter(|started| *started == name).count();
    assert_eq!((runs("own"), runs("default")), (4, 2));
    assert_eq!(failure(&fake, "own"), (FailureKind::Transient, "no luck".to_owned()));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_and_fails_as_timed_out() {
    let fake = Fake::new();
    for (name, task_type) in [("deaf", "stuck"), ("polite", "polite")] {
        let mut late = task(name, task_type);
        late.timeout_ms = Some(1_000);
        fake.add(&late);
    }
    let before = Instant::now();
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both ended", |store| store.ended.len() == 2).await;
    assert!(before.elapsed() < Duration::from_millis(2_200), "{:?}", before.elapsed());
    for name in ["deaf", "polite"] {
        assert_eq!(failure(&fake, name), (FailureKind::Timeout, "took longer than 1000 ms".to_owned()));
    }
    assert_eq!(rig.diary.running.load(Ordering::SeqCst), 0);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_is_told_and_one_that_does_not_listen_is_dropped() {
    let fake = Fake::new();
    fake.add(&task("polite", "polite"));
    fake.add(&task("deaf", "stuck"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("both run", |store| store.active.len() == 2).await;
    fake.with(|store| store.cancel.extend([id("polite"), id("deaf")]));
    let before = Instant::now();
    fake.until("polite ended", |store| store.ended.contains_key(&id("polite"))).await;
    assert!(before.elapsed() < Duration::from_secs(3), "a heartbeat brings it");
    fake.until("deaf ended", |store| store.ended.contains_key(&id("deaf"))).await;
    assert_eq!((fake.state("polite"), fake.state("deaf")), (Some(State::Cancelled), Some(State::Cancelled)));
    assert_eq!(fake.outcome("polite"), Some(Outcome::Cancelled));
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn progress_reaches_the_store_with_a_heartbeat() {
    let fake = Fake::new();
    fake.add(&task("a", "polite"));
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("told", |store| store.progress.get(&id("a")).is_some_and(|progress| progress.percent == 40)).await;
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_type_without_a_handler_is_handed_back_unrun() {
    let fake = Fake::new();
    fake.add(&task("a", "exotic"));
    fake.add(&task("b", "quick"));
    let rig = start(Arc::clone(&fake), |options| options.slots = 1);
    fake.until("both ended", |store| store.ended.len() == 2).await;
    assert_eq!(fake.outcome("a"), Some(Outcome::Unserved));
    assert_eq!(rig.diary.started(), ["b"]);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_lost_three_times_runs_alone() {
    let fake = Fake::new();
    let normal = |n: usize| format!("n{n}");
    fake.add(&task("n0", "short"));
    fake.add_lost(&task("bad1", "short"), 3);
    fake.add_lost(&task("bad2", "short"), 4);
    for n in 1..6 {
        fake.add(&task(&normal(n), "short"));
    }
    let rig = start(Arc::clone(&fake), |options| options.slots = 4);
    let (diary, seen) = (Arc::clone(&rig.diary), Arc::new(std::sync::Mutex::new(Vec::new())));
    let (watch, log) = (Arc::clone(&diary), Arc::clone(&seen));
    let watcher = tokio::spawn(async move {
        loop {
            let started = watch.started();
            let running = watch.running.load(Ordering::SeqCst);
            if running > 1 && started.last().is_some_and(|last| last.starts_with("bad")) {
                log.lock().unwrap().push(started);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    fake.until("all ended", |store| store.ended.len() == 8).await;
    watcher.abort();
    assert_eq!(*seen.lock().unwrap(), Vec::<Vec<String>>::new(), "bad ones had neighbours");
    let started = diary.started();
    let place = |name: &str| started.iter().position(|started| started == name).unwrap();
    assert!(place("n0") < place("bad1") && place("bad1") < place("bad2"), "{started:?}");
    assert!(place("bad2") < place("n5"), "normal ones go on after: {started:?}");
    assert_eq!(fake.with(|store| store.ended.keys().map(TaskId::to_string).collect::<Vec<_>>().len()), 8);
    rig.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_left_alone_until_it_is_resumed() {
    let fake = Fake::new();
    fake.paused.store(true, Ordering::Relaxed);
    fake.add(&task("a", "quick"));
    let rig = start(Arc::clone(&fake), |_| ());
    let status = rig.status.clone();
    eventually("told", || status.borrow().paused).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let looks = fake.with(|store| store.exchanges.len());
    assert!(looks <= 12, "{looks} exchanges in half a minute of pause");
    fake.paused.store(false, Ordering::Relaxed);
    fake.until("ended", |store| store.ended.len() == 1).await;
    rig.stopped().await;
}
