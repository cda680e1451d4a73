//! Whether the loop turns: what a liveness probe is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use support::{Fake, Rig, start, task};
use tokio::runtime::Builder;
use tokio::time::sleep;

/// The loop is turned over every 5 s at least.
const USUAL: Duration = Duration::from_millis(5_500);
const HOUR: Duration = Duration::from_hours(1);

/// The longest stillness within ten minutes.
async fn longest(rig: &Rig) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        longest = longest.max(rig.pulse.still_for());
    }
    longest
}

#[tokio::test(start_paused = true)]
async fn an_idle_loop_turns() {
    let rig = start(Fake::new(), |_| ());
    assert!(longest(&rig).await <= USUAL);
    let pulse = rig.pulse.clone();
    rig.stopped().await;
    sleep(HOUR).await;
    assert_eq!(pulse.still_for(), Duration::ZERO, "one that has ended has no need to turn");
}

#[tokio::test(start_paused = true)]
async fn a_loop_with_all_slots_taken_by_long_tasks_turns() {
    let fake = Fake::new();
    fake.add(&task("a", "stuck"));
    let rig = start(Arc::clone(&fake), |options| {
        options.slots = 1;
        // Heartbeats so seldom that they do not turn it.
        options.settings.lease_ms = u32::MAX;
    });
    fake.with(|store| store.settings.lease_ms = u32::MAX);
    fake.until("it runs", |store| store.active.len() == 1).await;
    assert!(longest(&rig).await <= USUAL);
    rig.abort.cancel();
    rig.report().await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_whose_store_is_away_or_never_answers_turns() {
    let fake = Fake::new();
    let rig = start(Arc::clone(&fake), |_| ());
    fake.until("registered", |store| store.workers.len() == 1).await;
    fake.down.store(true, Ordering::Relaxed);
    assert!(longest(&rig).await <= USUAL, "away");
    fake.down.store(false, Ordering::Relaxed);
    fake.latency_ms.store(u64::MAX / 4, Ordering::Relaxed);
    assert!(longest(&rig).await <= USUAL, "silent");
    fake.latency_ms.store(0, Ordering::Relaxed);
    rig.abort.cancel();
    rig.report().await;
}

/// Waits on this thread, since a runtime with a blocked thread may have stopped its timers too.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let until = std::time::Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(std::time::Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_loop_whose_thread_is_blocked_does_not_turn_until_that_is_over() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fake = Fake::new();
    let rig = runtime.block_on(async {
        let rig = start(Arc::clone(&fake), |_| ());
        fake.until("registered", |store| store.workers.len() == 1).await;
        rig
    });
    // Whoever asks something of this store now blocks the thread on which it asks.
    let (let_go, held) = mpsc::channel::<()>();
    let holder = std::thread::spawn({
        let fake = Arc::clone(&fake);
        move || fake.with(|_| held.recv())
    });
    eventually("it stands still for longer than is usual", || rig.pulse.still_for() > USUAL + USUAL / 5);
    drop(let_go);
    assert!(holder.join().unwrap().is_err(), "the end of the channel is what it waited for");
    eventually("it turns again", || rig.pulse.still_for() < Duration::from_secs(1));
    runtime.block_on(rig.stopped());
}
