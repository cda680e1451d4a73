//! The executor on a real store.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Diary, eventually, id, queue, registry, task};
use tidemill_broker::Broker;
use tidemill_broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_core::{NewTask, QueueStats, RequestId, State};
use tidemill_executor::{Executor, ExecutorOptions, Report};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_mins(1);

struct Rig {
    store: Arc<SqliteBroker>,
    diary: Arc<Diary>,
    stop: CancellationToken,
    report: JoinHandle<Report>,
    _home: tempfile::TempDir,
}

async fn start(tasks: &[NewTask], slots: usize) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let store = SqliteBroker::open(SqliteOptions { durable: false, ..SqliteOptions::new(home.path()) }).unwrap();
    let shutdown_timeout = Duration::from_millis(500);
    let options = ExecutorOptions { slots, shutdown_timeout, create_queue: true, ..ExecutorOptions::new(queue()) };
    store.ensure_queue(&queue(), &options.settings).await.unwrap();
    store.enqueue(&queue(), tasks, RequestId([1; 8])).await.unwrap();
    let (diary, stop) = (Arc::default(), CancellationToken::new());
    let executor = Executor::new(store.clone(), registry(&diary), options);
    let report = tokio::spawn(executor.run(stop.clone(), CancellationToken::new()));
    Rig { store, diary, stop, report, _home: home }
}

impl Rig {
    async fn until(&self, what: &str, condition: impl Fn(&QueueStats) -> bool) -> QueueStats {
        let waited = timeout(PATIENCE, async {
            loop {
                let stats = self.store.stats(&queue()).await.unwrap();
                if condition(&stats) {
                    return stats;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    async fn stopped(self) -> Report {
        self.stop.cancel();
        timeout(PATIENCE, self.report).await.expect("the executor ends").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_task_runs_once_and_is_settled_once() {
    let tasks: Vec<NewTask> = (0..3_000).map(|n| task(&format!("t{n}"), "quick")).collect();
    let before = Instant::now();
    let rig = start(&tasks, 50).await;
    let stats = rig.until("all ended", |stats| stats.succeeded == 3_000).await;
    println!("3000 tasks in {:?}", before.elapsed());
    assert_eq!((stats.counters.started, stats.counters.refused, stats.active), (3_000, 0, 0));
    assert_eq!(rig.diary.started().len(), 3_000);
    let report = rig.stopped().await;
    assert_eq!((report.released, report.unsettled), (0, Vec::new()));
}

#[tokio::test]
async fn failures_panics_unserved_types_and_cancellations_end_as_they_should() {
    let mut failing = task("failing", "failing");
    failing.retries = Some(1);
    failing.backoff = Some(tidemill_core::Backoff { initial_ms: 1, max_ms: 1 });
    let tasks = [failing, task("broken", "broken"), task("exotic", "exotic"), task("polite", "polite")];
    let rig = start(&tasks, 4).await;
    eventually("it runs", || rig.diary.started().iter().any(|started| started == "polite")).await;
    rig.store.cancel(&queue(), &id("polite")).await.unwrap();
    rig.until("all ended", |stats| stats.dead == 3 && stats.cancelled == 1).await;
    for (name, message) in
        [("failing", "no luck"), ("broken", "the handler panicked: a fault of mine"), ("exotic", "unsupported task")]
    {
        let view = rig.store.get(&queue(), &id(name)).await.unwrap().unwrap();
        assert_eq!((view.state, view.attempts.last().unwrap().message.as_str()), (State::Dead, message));
    }
    rig.stopped().await;
}

#[tokio::test]
async fn a_stop_returns_what_still_runs_to_the_queue() {
    let rig = start(&[task("polite", "polite")], 1).await;
    eventually("it runs", || rig.diary.started().len() == 1).await;
    let store = rig.store.clone();
    let report = rig.stopped().await;
    assert_eq!((report.released, report.unsettled.len()), (1, 0));
    let stats = store.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.active, stats.workers, stats.counters.lost), (1, 0, 0, 0));
}
