//! The checker itself, proved: a broker with a defect is caught, and one without passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

mod by_hand;
mod sabotage;

use std::sync::Arc;
use std::time::Duration;

use sabotage::{DOOMED, Defect, Sabotaged};
use tempfile::TempDir;
use tidemill::broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill::broker::{Exchange, Exchanged};
use tidemill::core::{Claim, NewTask, Outcome, Settlement, Start, WorkerId, WorkerInfo};
use tidemill::{Broker, CancellationToken, Executor, ExecutorOptions, QueueName, QueueSettings, RequestId, TaskId};
use tidemill_chaos::checker::{Broken, Verdict, check};
use tidemill_chaos::ending;
use tidemill_chaos::history::{self, Entry, Record, Writer};
use tidemill_chaos::load::handlers::{self, How, WORK, Work};
use tidemill_chaos::recorder::Recorder;
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(20);
const LEASE_MS: u32 = 1_000;

/// A store with a defect, and the histories of those who use it.
struct Bench {
    store: Arc<Sabotaged>,
    queue: QueueName,
    folder: TempDir,
}

impl Bench {
    async fn new(defect: Defect) -> Self {
        let folder = TempDir::new().unwrap();
        let options = SqliteOptions { durable: false, ..SqliteOptions::new(folder.path().join("store")) };
        let store = Sabotaged::new(SqliteBroker::open(options).unwrap(), defect);
        let queue: QueueName = "q".parse().unwrap();
        let settings = QueueSettings { lease_ms: LEASE_MS, ..QueueSettings::default() };
        store.ensure_queue(&queue, &settings).await.unwrap();
        let bench = Self { store, queue, folder };
        let told_in_full = vec![bench.queue.to_string()];
        bench.history("rules").note(&Record::Rules {
            lease_ms: LEASE_MS.into(),
            loss_limit: settings.loss_limit,
            told_in_full,
        });
        bench
    }

    fn history(&self, process: &str) -> Writer {
        Writer::open(self.folder.path(), process, 0).unwrap()
    }

    fn recorded(&self, process: &str) -> Arc<Recorder> {
        Recorder::new(self.store.clone(), self.history(process))
    }

    /// A worker whose every step the test takes.
    async fn worker(&self, process: &str) -> Worker {
        let broker = self.recorded(process);
        let id = WorkerId::from_uuid(uuid::Uuid::new_v4());
        let info = WorkerInfo {
            id,
            name: process.to_owned(),
            types: vec![WORK.parse().unwrap()],
            slots: 1,
            version: "0".to_owned(),
        };
        broker.register(&self.queue, &info).await.unwrap();
        Worker { broker, queue: self.queue.clone(), id, number: 0 }
    }

    /// What the checker says once everything is written down.
    async fn verdict(&self) -> (Vec<Entry>, Verdict) {
        ending::write_down(self.store.as_ref(), &self.queue, &self.history("ending")).await.unwrap();
        let entries = history::read(self.folder.path()).unwrap();
        let verdict = check(&entries);
        (entries, verdict)
    }
}

struct Worker {
    broker: Arc<Recorder>,
    queue: QueueName,
    id: WorkerId,
    number: u64,
}

impl Worker {
    async fn exchange(&mut self, finished: Vec<Settlement>, want: usize) -> Exchanged {
        self.number += 1;
        let exchange = Exchange { worker: self.id, number: self.number, finished, want };
        self.broker.exchange(&self.queue, &exchange).await.unwrap()
    }

    async fn claim(&mut self) -> Vec<Claim> {
        match self.exchange(Vec::new(), 1).await {
            Exchanged::Done { claims, .. } => claims,
            Exchanged::Retired => panic!("this worker is not lost"),
        }
    }

    async fn succeed(&mut self, claim: &Claim) -> Exchanged {
        let (task, token) = (claim.task.clone(), claim.token);
        let outcome = Outcome::Succeeded { result: None };
        self.exchange(vec![Settlement { task, token, outcome, ran_ms: 1 }], 0).await
    }
}

fn task(id: &str, work: Work) -> NewTask {
    let payload = serde_json::to_vec(&Work { life: format!("life of {id}"), ..work }).unwrap();
    NewTask::new(TaskId::new(id).unwrap(), WORK.parse().unwrap(), payload)
}

/// Runs a mixture of tasks on two real executors, to the end of all of them.
async fn mixture(defect: Defect) -> (Vec<Entry>, Verdict) {
    let bench = Bench::new(defect).await;
    let producer = bench.recorded("producer");
    let mut batch = Vec::new();
    for n in 0..60_u64 {
        let work = match n % 6 {
            0 => Work { fails: 2, ..Work::default() },
            1 => Work { fails: 99, how: How::Permanent, ..Work::default() },
            2 => Work { fails: 1, how: How::Panic, ..Work::default() },
            _ => Work { ms: n % 20, ..Work::default() },
        };
        let mut new = task(&format!("task {n} ÿ日本"), work);
        new.retries = Some(3);
        new.backoff = Some(tidemill::Backoff { initial_ms: 20, max_ms: 50 });
        if n % 6 == 3 {
            new.start = Start::AfterMs(200);
        }
        batch.push(new);
    }
    batch.push(NewTask { timeout_ms: Some(30), ..task("late", Work { ms: 5_000, ..Work::default() }) });
    batch.push(NewTask { start: Start::AfterMs(3_600_000), ..task("unwanted", Work::default()) });
    producer.enqueue(&bench.queue, &batch, RequestId([1; 8])).await.unwrap();
    producer.enqueue(&bench.queue, &[task(DOOMED, Work::default())], RequestId([2; 8])).await.unwrap();
    producer.cancel(&bench.queue, &TaskId::new("unwanted").unwrap()).await.unwrap();

    let stop = CancellationToken::new();
    let workers: Vec<_> = ["one", "two"]
        .map(|name| {
            let registry = handlers::registry(&bench.history(name)).unwrap();
            let options = ExecutorOptions { slots: 4, ..ExecutorOptions::new(bench.queue.clone()) };
            let executor = Executor::new(bench.recorded(name), Arc::new(registry), options);
            tokio::spawn(executor.run(stop.clone(), CancellationToken::new()))
        })
        .into();
    let drained = ending::drained(bench.store.as_ref(), &bench.queue, Instant::now() + SOON).await.unwrap();
    assert!(drained, "{:?}", bench.store.stats(&bench.queue).await);
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    bench.verdict().await
}

/// That `broken` is found, and nothing is found earlier than it.
fn assert_first(broken: Broken, (entries, verdict): &(Vec<Entry>, Verdict)) {
    let first = verdict.violations.first().unwrap_or_else(|| panic!("nothing was found: {:?}", verdict.tally));
    assert_eq!(first.broken, broken, "{}", first.show(entries));
    assert!(!first.proof.is_empty());
}

fn assert_clean((entries, verdict): &(Vec<Entry>, Verdict)) {
    let shown: Vec<_> = verdict.violations.iter().map(|violation| violation.show(entries)).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
}

#[tokio::test]
async fn a_broker_without_a_defect_passes() {
    let run = mixture(Defect::None).await;
    assert_clean(&run);
    let tally = run.1.tally;
    assert_eq!((tally.acknowledged, tally.ended, tally.retried), (63, 63, 30), "{tally:?}");
}

#[tokio::test]
async fn a_lost_acknowledgement_is_caught() {
    assert_first(Broken::Lost, &mixture(Defect::LostAcknowledgement).await);
}

#[tokio::test]
async fn a_counter_that_is_off_is_caught() {
    assert_first(Broken::CounterOff, &mixture(Defect::CounterOff).await);
}

#[tokio::test]
async fn a_start_before_its_time_is_caught() {
    assert_first(Broken::Early, &mixture(Defect::EarlyStart).await);
}

#[tokio::test]
async fn any_counter_that_is_one_too_high_or_too_low_is_caught() {
    let (entries, verdict) = mixture(Defect::None).await;
    assert_clean(&(entries.clone(), verdict));
    let last = entries.iter().position(|entry| matches!(entry.record, Record::Figures { last: true, .. })).unwrap();
    let names = [
        "enqueued",
        "started",
        "succeeded",
        "failed",
        "timed_out",
        "retried",
        "dead",
        "cancelled",
        "lost",
        "released",
        "refused",
        "requeued",
        "deleted",
    ];
    for name in names {
        for by in [-1, 1] {
            let mut entries = entries.clone();
            let Record::Figures { stats, .. } = &mut entries[last].record else { unreachable!("found as such") };
            let mut counters = serde_json::to_value(stats.counters).unwrap();
            let Some(value) = counters[name].as_u64().unwrap().checked_add_signed(by) else { continue };
            counters[name] = value.into();
            stats.counters = serde_json::from_value(counters).unwrap();
            let found = check(&entries).violations;
            assert!(found.iter().any(|found| found.broken == Broken::CounterOff), "{name} off by {by} is not found");
        }
    }
}

/// One worker claims a task and is lost, another claims it, and then the first wakes up and settles.
async fn zombie(defect: Defect) -> (Vec<Entry>, Verdict) {
    let bench = Bench::new(defect).await;
    let (mut sleeper, mut heir) = (bench.worker("sleeper").await, bench.worker("heir").await);
    let producer = bench.recorded("producer");
    producer.enqueue(&bench.queue, &[task("t", Work::default())], RequestId([1; 8])).await.unwrap();
    let theirs = sleeper.claim().await.remove(0);
    let deadline = Instant::now() + SOON;
    let mut claims = Vec::new();
    while claims.is_empty() {
        assert!(Instant::now() < deadline, "the sleeper is lost within {SOON:?}");
        heir.broker.heartbeat(&bench.queue, &heir.id, &[]).await.unwrap();
        heir.broker.maintain(&bench.queue).await.unwrap();
        claims = heir.claim().await;
        sleep(Duration::from_millis(50)).await;
    }
    sleeper.succeed(&theirs).await;
    heir.succeed(&claims[0]).await;
    bench.verdict().await
}

#[tokio::test]
async fn a_zombie_that_is_refused_passes() {
    let run = zombie(Defect::None).await;
    assert_clean(&run);
    assert_eq!((run.1.tally.lost_claims, run.1.tally.ended), (1, 1));
}

#[tokio::test]
async fn a_missing_fence_is_caught() {
    assert_first(Broken::SettledLate, &zombie(Defect::MissingFence).await);
}

#[tokio::test]
async fn a_double_claim_is_caught() {
    let bench = Bench::new(Defect::DoubleClaim).await;
    let (mut first, mut second) = (bench.worker("first").await, bench.worker("second").await);
    let producer = bench.recorded("producer");
    producer.enqueue(&bench.queue, &[task("t", Work::default())], RequestId([1; 8])).await.unwrap();
    let theirs = first.claim().await.remove(0);
    let again = second.claim().await.remove(0);
    assert_eq!(again.task, theirs.task);
    second.succeed(&again).await;
    first.succeed(&theirs).await;
    assert_first(Broken::SettledLate, &bench.verdict().await);
}

#[tokio::test]
async fn a_double_claim_of_which_the_first_worker_says_nothing_more_is_caught() {
    let bench = Bench::new(Defect::DoubleClaim).await;
    let (mut first, mut second) = (bench.worker("first").await, bench.worker("second").await);
    let producer = bench.recorded("producer");
    producer.enqueue(&bench.queue, &[task("t", Work::default())], RequestId([1; 8])).await.unwrap();
    first.claim().await.remove(0);
    second.claim().await.remove(0);
    first.claim().await;
    let (entries, verdict) = bench.verdict().await;
    let found = verdict.violations.iter().find(|found| found.broken == Broken::ClaimedTwice);
    assert!(found.is_some(), "{:?} of {} records", verdict.violations, entries.len());
}

#[tokio::test]
async fn a_request_that_makes_two_tasks_is_caught() {
    for (defect, expected) in [(Defect::None, None), (Defect::ForgetsRequests, Some(Broken::CreatedTwice))] {
        let bench = Bench::new(defect).await;
        let mut worker = bench.worker("worker").await;
        let producer = bench.recorded("producer");
        for _ in 0..2 {
            producer.enqueue(&bench.queue, &[task("t", Work::default())], RequestId([1; 8])).await.unwrap();
            for claim in worker.claim().await {
                worker.succeed(&claim).await;
            }
            sleep(Duration::from_millis(2)).await; // so that two intakes have two times
        }
        let (entries, verdict) = bench.verdict().await;
        match expected {
            Some(broken) => assert!(verdict.violations.iter().any(|found| found.broken == broken)),
            None => assert_clean(&(entries, verdict)),
        }
    }
}
