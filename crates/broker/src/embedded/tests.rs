//! What is particular to this store: its directory, its format, its commits.

use std::path::{Path, PathBuf};

use tidemill_core::{Event, Outcome as Ending, Settlement, TaskRef, TaskType};
use uuid::Uuid;

use super::*;
use crate::{Delivery, Settled};

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tidemill-test-{}", Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn options(&self) -> SqliteOptions {
        SqliteOptions { clock: Arc::new(ManualClock::default()), durable: false, ..SqliteOptions::new(&self.0) }
    }

    fn open(&self) -> Arc<SqliteBroker> {
        SqliteBroker::open(self.options()).unwrap()
    }

    fn refusal(&self) -> String {
        let Err(error) = SqliteBroker::open(self.options()) else { panic!("it should not open") };
        assert!(matches!(error, BrokerError::Unfit(_)), "{error:?}");
        error.to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

fn task(id: &str) -> NewTask {
    NewTask::sleep(TaskId::new(id).unwrap(), 5)
}

fn reference(id: &str) -> TaskRef {
    TaskRef { id: TaskId::new(id).unwrap(), duration_ms: 5 }
}

fn request() -> RequestId {
    RequestId(rand::random())
}

fn worker() -> WorkerInfo {
    let id = WorkerId::from_uuid(Uuid::new_v4());
    WorkerInfo { id, name: "w".to_owned(), types: vec![TaskType::sleep()], slots: 9, version: "0".to_owned() }
}

async fn filled(broker: &SqliteBroker, ids: &[&str]) {
    broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
    let batch: Vec<_> = ids.iter().map(|id| task(id)).collect();
    broker.enqueue(&queue(), &batch, request()).await.unwrap();
}

async fn exchange(
    broker: &SqliteBroker,
    worker: WorkerId,
    number: u64,
    finished: Vec<Settlement>,
    want: usize,
) -> Exchanged {
    broker.exchange(&queue(), &Exchange { worker, number, finished, want }).await.unwrap()
}

fn sql(path: &Path, statement: &str) {
    Connection::open(path.join("tidemill.db")).unwrap().execute_batch(statement).unwrap();
}

#[tokio::test]
async fn a_second_opening_of_the_directory_is_refused_in_words() {
    let scratch = Scratch::new();
    let first = scratch.open();
    let refusal = scratch.refusal();
    assert!(refusal.contains(&*scratch.0.to_string_lossy()) && refusal.contains("in use"), "{refusal}");
    assert!(refusal.contains(&std::process::id().to_string()) && refusal.contains("--data-dir"), "{refusal}");
    first.close().await;
    scratch.open().ping().await.unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_in_words() {
    let scratch = Scratch::new();
    std::fs::write(scratch.0.join("file"), "").unwrap();
    let inner = SqliteOptions { dir: scratch.0.join("file/data"), ..scratch.options() };
    let Err(BrokerError::Unfit(refusal)) = SqliteBroker::open(inner) else { panic!("it should not open") };
    assert!(refusal.starts_with("cannot write to the data directory") && refusal.contains("--data-dir"), "{refusal}");
}

#[tokio::test]
async fn a_database_of_a_newer_format_is_refused_in_words() {
    let scratch = Scratch::new();
    scratch.open().close().await;
    sql(&scratch.0, "PRAGMA user_version = 3");
    let refusal = scratch.refusal();
    assert!(refusal.contains("format 3") && refusal.contains("newer tidemill"), "{refusal}");
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let scratch = Scratch::new();
    sql(&scratch.0, "CREATE TABLE songs (name TEXT)");
    assert!(scratch.refusal().contains("another program"));
    std::fs::write(scratch.0.join("tidemill.db"), [b'x'; 4_096]).unwrap();
    assert!(scratch.refusal().contains("cannot use the database"));
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_an_end_without_goodbye() {
    let scratch = Scratch::new();
    let info = worker();
    {
        let broker = scratch.open();
        filled(&broker, &["a", "b", "c"]).await;
        broker.register(&queue(), &info).await.unwrap();
        exchange(&broker, info.id, 1, Vec::new(), 2).await;
    }
    let broker = scratch.open();
    let stats = broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.active, stats.counters.enqueued, stats.counters.started), (1, 2, 3, 2));
    let Exchanged::Done { claims, .. } = exchange(&broker, info.id, 1, Vec::new(), 2).await else {
        panic!("the worker is known")
    };
    assert_eq!(claims.iter().map(|claim| claim.task.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let ended = |claim: &tidemill_core::Claim| Settlement {
        task: claim.task.clone(),
        token: claim.token,
        outcome: Ending::Succeeded { result: None },
        ran_ms: 1,
    };
    let Exchanged::Done { settled, pending, .. } =
        exchange(&broker, info.id, 2, claims.iter().map(ended).collect(), 0).await
    else {
        panic!("the worker is known")
    };
    assert_eq!((settled, pending), (vec![Settled::Now(State::Succeeded); 2], 1));
}

#[tokio::test]
async fn requests_that_come_together_share_a_commit() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &[]).await;
    let before = broker.commits();
    let ids: Vec<_> = (0..200).map(|n| task(&format!("t{n}"))).collect();
    let name = queue();
    let all = ids.iter().map(|task| broker.enqueue(&name, std::slice::from_ref(task), request()));
    for answer in futures::future::join_all(all).await {
        assert_eq!(answer.unwrap(), [Enqueued::Created(State::Pending)]);
    }
    let commits = broker.commits() - before;
    assert!(commits <= 100, "{commits}");
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 200);
}

#[tokio::test]
async fn a_refused_request_leaves_the_others_of_its_commit_alone() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &["a"]).await;
    let name = queue();
    let (taken, new) = ([task("b"), task("a")], [task("c")]);
    let (taken, new) = tokio::join!(broker.enqueue(&name, &taken, request()), broker.enqueue(&name, &new, request()));
    let Err(BrokerError::TaskExists { ids, .. }) = taken else { panic!("{taken:?}") };
    assert_eq!(ids, [TaskId::new("a").unwrap()]);
    new.unwrap();
    let stats = broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.counters.enqueued), (2, 2));
    assert_eq!(broker.get(&queue(), &TaskId::new("b").unwrap()).await.unwrap(), None);
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_nothing_half_done() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &["a"]).await;
    let limit = |pages: u32| {
        move |store: &mut Store| {
            store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
            Ok(())
        }
    };
    broker.writer.write("test", limit(1)).await.unwrap();
    let big: Vec<_> =
        (0..200).map(|n| NewTask { payload: vec![b'x'; 4_000].into(), ..task(&format!("big{n}")) }).collect();
    let error = broker.enqueue(&queue(), &big, request()).await.unwrap_err();
    assert!(matches!(error, BrokerError::StoreFull { operation: "enqueue", .. }), "{error:?}");
    let stats = broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.pending, stats.counters.enqueued), (1, 1));
    broker.writer.write("test", limit(1 << 20)).await.unwrap();
    broker.enqueue(&queue(), &big, request()).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 201);
}

#[tokio::test]
async fn events_come_numbered_and_each_next_before_its_start() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &[]).await;
    let mut events = broker.subscribe(&queue()).await.unwrap();
    filled(&broker, &["a", "b"]).await;
    let info = worker();
    broker.register(&queue(), &info).await.unwrap();
    exchange(&broker, info.id, 1, Vec::new(), 2).await;
    let [a, b] = ["a", "b"].map(reference);
    let expected = [
        vec![Event::Scheduled(vec![a.clone(), b.clone()]), Event::Next(a.clone())],
        vec![Event::Start(a), Event::Next(b.clone()), Event::Start(b)],
    ];
    for (place, expected) in expected.into_iter().enumerate() {
        let Some(Delivery::Batch(batch)) = events.next().await else { panic!("there are events") };
        assert_eq!((batch.number, &batch.events), (place as u64 + 1, &expected));
    }
    broker.close().await;
    assert_eq!(events.next().await, None);
    assert!(broker.wait(&queue(), Duration::from_secs(5)).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn an_enqueue_wakes_a_waiter() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &[]).await;
    let waiter = {
        let broker = broker.clone();
        tokio::spawn(async move { broker.wait(&queue(), Duration::from_mins(1)).await })
    };
    filled(&broker, &["a"]).await;
    tokio::time::timeout(Duration::from_secs(10), waiter).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn history_never_exceeds_its_count() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    let mut settings = QueueSettings::default();
    settings.retention.succeeded.count = 3;
    settings.retention.cancelled.count = 0;
    broker.ensure_queue(&queue(), &settings).await.unwrap();
    filled(&broker, &["a", "b", "c", "d", "e"]).await;
    let info = worker();
    broker.register(&queue(), &info).await.unwrap();
    let Exchanged::Done { claims, .. } = exchange(&broker, info.id, 1, Vec::new(), 5).await else {
        panic!("the worker is known")
    };
    let finished = claims.into_iter().enumerate().map(|(place, claim)| Settlement {
        task: claim.task,
        token: claim.token,
        outcome: if place == 4 { Ending::Cancelled } else { Ending::Succeeded { result: None } },
        ran_ms: 1,
    });
    exchange(&broker, info.id, 2, finished.collect(), 0).await;
    let stats = broker.stats(&queue()).await.unwrap();
    assert_eq!((stats.succeeded, stats.cancelled, stats.counters.succeeded, stats.counters.cancelled), (3, 0, 4, 1));
    let query = ListQuery { state: State::Succeeded, task_type: None, cursor: None, limit: 2 };
    let page = broker.list(&queue(), &query).await.unwrap();
    let rest = broker.list(&queue(), &ListQuery { cursor: page.cursor.clone(), ..query }).await.unwrap();
    let ids: Vec<_> = page.tasks.iter().chain(&rest.tasks).map(|task| task.id.to_string()).collect();
    assert_eq!((ids, rest.cursor), (vec!["d".to_owned(), "c".to_owned(), "b".to_owned()], None));
}

#[tokio::test]
async fn a_clock_turned_back_between_two_runs_keeps_no_task_from_its_return() {
    let scratch = Scratch::new();
    let info = worker();
    {
        let broker = scratch.open();
        filled(&broker, &["a"]).await;
        broker.register(&queue(), &info).await.unwrap();
        exchange(&broker, info.id, 1, Vec::new(), 1).await;
    }
    let clock = Arc::new(ManualClock::new(1_780_000_000_000));
    let broker = SqliteBroker::open(SqliteOptions { clock: clock.clone(), ..scratch.options() }).unwrap();
    broker.maintain(&queue()).await.unwrap();
    clock.advance(5_000);
    assert_eq!(broker.maintain(&queue()).await.unwrap().lost, []);
    clock.advance(5_000);
    let lost = broker.maintain(&queue()).await.unwrap().lost;
    assert_eq!(lost.len(), 1);
}

#[cfg(feature = "conformance")]
#[tokio::test]
async fn a_database_put_back_is_as_it_was() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &["a"]).await;
    let snapshot = broker.snapshot().await.unwrap();
    for _ in 0..2 {
        filled(&broker, &["b"]).await;
        assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
        broker.restore(&snapshot).await.unwrap();
        assert_eq!(broker.stats(&queue()).await.unwrap().pending, 1);
        assert_eq!(broker.get(&queue(), &TaskId::new("b").unwrap()).await.unwrap(), None);
    }
    drop(broker);
    assert_eq!(scratch.open().stats(&queue()).await.unwrap().pending, 1);
}

#[tokio::test]
async fn a_database_of_the_first_format_is_brought_up_to_date_with_what_it_has() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &["a", "b"]).await;
    broker.close().await;
    sql(&scratch.0, "ALTER TABLE queues DROP COLUMN owner; PRAGMA user_version = 1");
    let [cluster, namespace, name, uid] = ["east", "mill", "mail", "u1"].map(str::to_owned);
    let owner = QueueOwner { cluster, namespace, name, uid };
    for _ in 0..2 {
        let broker = scratch.open();
        assert_eq!(broker.stats(&queue()).await.unwrap().pending, 2);
        assert_eq!(broker.own(&queue(), &owner, None).await.unwrap(), Ownership::Ours);
        broker.close().await;
    }
    assert_eq!(scratch.open().owner(&queue()).await.unwrap(), Some(owner));
}

#[tokio::test]
async fn a_queue_dropped_and_created_anew_in_one_commit_is_there_and_tells_of_a_gap() {
    let scratch = Scratch::new();
    let broker = scratch.open();
    filled(&broker, &["a"]).await;
    let [cluster, namespace, name, uid] = ["east", "mill", "mail", "u1"].map(str::to_owned);
    let owner = QueueOwner { cluster, namespace, name, uid };
    broker.own(&queue(), &owner, None).await.unwrap();
    let mut watching = broker.subscribe(&queue()).await.unwrap();
    let (held, both) = (owner.clone(), queue());
    let anew = broker.writer.write("test", move |store| {
        assert_eq!(store.drop_queue(&both, &held, 1_000)?, Dropping::Gone);
        store.create(&both, &QueueSettings::default())
    });
    assert!(anew.await.unwrap());
    assert_eq!(broker.stats(&queue()).await.unwrap(), QueueStats::default());
    assert_eq!(watching.next().await, Some(Delivery::Gap));
    // The one task of the dropped queue keeps no waiter of the new one awake.
    let name = queue();
    // A wake-up that was meant for the dropped queue ends one wait.
    broker.wait(&name, Duration::from_millis(1)).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(50), broker.wait(&name, Duration::from_mins(1)));
    assert!(waiting.await.is_err(), "there is nothing to do");
    filled(&broker, &["b"]).await;
    assert!(matches!(watching.next().await, Some(Delivery::Batch(_))));
}
