//! Workers that die, stall or are cut off, and a store that goes away: real processes on a real Redis.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_broker::conformance::harness::block_on;
use tidemill_broker::{Broker, connect};
use tidemill_core::{
    FailureKind, NewTask, QueueName, QueueSettings, QueueStats, RequestId, State, TaskId, TaskType, TaskView,
};
use tidemill_tests::{Crew, RedisServer, Valve, until};

const LEASE_MS: u32 = 2_000;
/// Longer than any of these tests has any business to take.
const PATIENCE: Duration = Duration::from_mins(2);
/// A grace that no test waits for.
const LONG_GRACE_MS: &str = "600000";

/// A queue on a Redis that loses nothing, as a bystander sees it.
struct Mill {
    redis: RedisServer,
    broker: Arc<dyn Broker>,
    queue: QueueName,
}

impl Mill {
    fn start() -> Self {
        let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
        let queue = QueueName::default_queue();
        let settings = QueueSettings { lease_ms: LEASE_MS, ..QueueSettings::default() };
        let broker = block_on(async {
            let broker = connect(&redis.url()).unwrap();
            broker.ensure_queue(&queue, &settings).await.unwrap();
            broker
        });
        Self { redis, broker, queue }
    }

    fn crew() -> Crew {
        Crew::new(env!("CARGO_BIN_EXE_wayward_worker")).unwrap()
    }

    fn add_hand(&self, crew: &mut Crew, port: u16, slots: usize, grace_ms: &str) {
        crew.start(&format!("redis://127.0.0.1:{port}"), self.queue.as_str(), &[&slots.to_string(), grace_ms]).unwrap();
    }

    /// Takes in tasks `prefix0`, `prefix1`, …
    fn enqueue(&self, prefix: &str, count: usize, task_type: &str, ms: u64) {
        let task = |number: usize| {
            let id = TaskId::new(format!("{prefix}{number}")).unwrap();
            NewTask::new(id, TaskType::new(task_type).unwrap(), format!(r#"{{"ms":{ms}}}"#))
        };
        let batch: Vec<_> = (0..count).map(task).collect();
        block_on(self.broker.enqueue(&self.queue, &batch, request_named(prefix))).unwrap();
    }

    fn stats(&self) -> QueueStats {
        block_on(self.broker.stats(&self.queue)).unwrap()
    }

    fn task(&self, id: &str) -> TaskView {
        block_on(self.broker.get(&self.queue, &TaskId::new(id).unwrap())).unwrap().unwrap()
    }

    fn maintain(&self) {
        block_on(self.broker.maintain(&self.queue)).unwrap();
    }

    /// The process id of the Redis.
    fn redis_pid(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis.port())).unwrap();
        stream.write_all(b"INFO server\r\nQUIT\r\n").unwrap();
        let mut info = String::new();
        stream.read_to_string(&mut info).unwrap();
        info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned()
    }
}

/// A request id made of a name that is used once.
fn request_named(name: &str) -> RequestId {
    let mut bytes = [b'-'; 8];
    bytes.iter_mut().zip(name.bytes()).for_each(|(byte, letter)| *byte = letter);
    RequestId(bytes)
}

fn signal(name: &str, pid: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap().success());
}

#[test]
fn a_task_that_kills_its_workers_is_dead_after_five_losses_and_from_the_third_on_takes_no_neighbour_with_it() {
    const NAPS: usize = 300;
    const SLOTS: usize = 4;
    let mill = Mill::start();
    let mut crew = Mill::crew();
    for _ in 0..2 {
        mill.add_hand(&mut crew, mill.redis.port(), SLOTS, LONG_GRACE_MS);
    }
    mill.enqueue("early", 4, "nap", 400);
    mill.enqueue("poison", 1, "deadly", 200);
    mill.enqueue("nap", NAPS, "nap", 400);
    until("all others have succeeded and it is dead", PATIENCE, || {
        crew.tend().unwrap();
        let stats = mill.stats();
        (stats.succeeded, stats.dead) == (NAPS as u64 + 4, 1)
    });

    let poison = mill.task("poison0");
    assert_eq!((poison.state, poison.losses, poison.failures), (State::Dead, 5, 0));
    let reasons: Vec<_> = poison.attempts.iter().map(|attempt| (attempt.kind, attempt.message.as_str())).collect();
    assert_eq!(reasons, [(FailureKind::Lost, "worker lost"); 5]);
    assert_eq!(crew.tend().unwrap(), 5, "five workers died of it, and of nothing else");

    let entries = crew.entries();
    let mut neighbours = Vec::new();
    for (place, start) in entries.iter().enumerate().filter(|(_, entry)| entry.task == "poison0") {
        let (before, after) = entries.split_at(place);
        let count = |entries: &[tidemill_tests::Entry], what: &str| {
            entries.iter().filter(|entry| entry.pid == start.pid && entry.what == what).count()
        };
        // What its process had under way, and what it began beside it before it died.
        neighbours.push(count(before, "start") - count(before, "end") + count(&after[1..], "start"));
    }
    let lost = mill.stats().counters.lost;
    println!("neighbours at each of its five runs: {neighbours:?}; claims lost, its own five included: {lost}");
    assert_eq!(neighbours.len(), 5, "it ran five times");
    assert!(neighbours[..3].iter().sum::<usize>() > 0, "this test had no neighbours to lose: {neighbours:?}");
    assert_eq!(neighbours[3..], [0, 0], "after three losses it ran alone: {neighbours:?}");
    assert!(lost <= 5 + 3 * (SLOTS as u64 - 1), "{lost} claims lost with 5 processes");
}

/// Tasks that end before, in and after an outage of three leases and a half: none may run twice.
fn runs_nothing_twice(away: impl FnOnce(&Mill, Duration)) {
    let mill = Mill::start();
    let mut crew = Mill::crew();
    for _ in 0..2 {
        mill.add_hand(&mut crew, mill.redis.port(), 5, LONG_GRACE_MS);
    }
    let outage = Duration::from_millis(u64::from(LEASE_MS) * 7 / 2);
    let outage_ms = u64::try_from(outage.as_millis()).unwrap();
    mill.enqueue("within", 5, "nap", outage_ms / 2);
    mill.enqueue("across", 5, "nap", outage_ms + 3_000);
    mill.enqueue("later", 20, "nap", 100);
    until("ten run", PATIENCE, || crew.entries().len() == 10);
    away(&mill, outage);
    until("all have succeeded", PATIENCE, || {
        assert_eq!(crew.tend().unwrap(), 0, "no worker ends by an outage of the store");
        block_on(mill.broker.stats(&mill.queue)).is_ok_and(|stats| stats.succeeded == 30)
    });
    let counters = mill.stats().counters;
    assert_eq!((counters.started, counters.lost, counters.refused, counters.released), (30, 0, 0, 0));
    let mut started: Vec<_> =
        crew.entries().into_iter().filter(|entry| entry.what == "start").map(|entry| entry.task).collect();
    started.sort();
    let all = started.len();
    started.dedup();
    assert_eq!((all, started.len()), (30, 30), "each ran once");
}

#[test]
fn a_redis_that_was_down_for_three_leases_finds_nothing_run_twice() {
    runs_nothing_twice(|mill, outage| {
        mill.redis.kill();
        std::thread::sleep(outage); // the length of the outage is what is tested
        mill.redis.restart();
    });
}

#[test]
fn a_redis_that_hung_for_three_leases_finds_nothing_run_twice() {
    runs_nothing_twice(|mill, outage| {
        let pid = mill.redis_pid();
        signal("STOP", &pid);
        std::thread::sleep(outage); // the length of the outage is what is tested
        signal("CONT", &pid);
    });
}

#[test]
fn a_worker_that_is_cut_off_claims_nothing_and_stops_what_it_runs_once_its_leases_are_surely_lost() {
    const GRACE_MS: u64 = 1_500;
    let mill = Mill::start();
    let valve = Valve::to(mill.redis.port()).unwrap();
    let mut crew = Mill::crew();
    mill.add_hand(&mut crew, valve.port(), 4, &GRACE_MS.to_string());
    let cut_off = crew.pid(0);
    let of_cut_off = |crew: &Crew, what: &str| {
        crew.entries().iter().filter(|entry| entry.pid == cut_off && entry.what == what).count()
    };
    mill.enqueue("long", 4, "nap", 9_000);
    mill.enqueue("short", 8, "nap", 100);
    until("four run", PATIENCE, || of_cut_off(&crew, "start") == 4);

    valve.shut();
    let shut = Instant::now();
    mill.add_hand(&mut crew, mill.redis.port(), 4, LONG_GRACE_MS);
    until("what ran is stopped", PATIENCE, || of_cut_off(&crew, "dropped") == 4);
    let stopped_after = shut.elapsed();
    println!("stopped {stopped_after:?} after the cut; lease {LEASE_MS} ms, grace {GRACE_MS} ms");
    // A lease counts from its last renewal, which was up to a third of a lease before the cut.
    let surely_lost = Duration::from_millis(u64::from(LEASE_MS) + GRACE_MS);
    assert!(stopped_after + Duration::from_millis(u64::from(LEASE_MS) / 3) >= surely_lost, "{stopped_after:?}");
    assert!(stopped_after <= surely_lost + Duration::from_secs(4), "{stopped_after:?}");
    let log = crew.log(0);
    assert!(log.contains("lease") && log.contains("what runs is stopped"), "{log}");

    until("the other has done all of it", PATIENCE, || mill.stats().succeeded == 12);
    assert_eq!(of_cut_off(&crew, "start"), 4, "nothing is claimed without a store");
    let counters = mill.stats().counters;
    assert_eq!((counters.lost, counters.started), (4, 16), "the four, once more each");

    valve.open();
    until("it is back", PATIENCE, || {
        mill.maintain();
        mill.stats().workers == 2
    });
    mill.enqueue("more", 40, "nap", 200);
    until("both work", PATIENCE, || mill.stats().succeeded == 52);
    assert!(of_cut_off(&crew, "end") > 0, "the one that was cut off works again");
}

#[test]
fn handlers_that_block_every_thread_cost_no_task_its_lease() {
    const BLOCK_MS: u64 = 2 * LEASE_MS as u64;
    let threads = std::thread::available_parallelism().unwrap().get();
    let blockers = 2 * threads;
    let mill = Mill::start();
    let mut crew = Mill::crew();
    mill.add_hand(&mut crew, mill.redis.port(), blockers + 2, LONG_GRACE_MS);
    mill.enqueue("nap", 2, "nap", 2 * BLOCK_MS);
    until("the others run", PATIENCE, || crew.entries().len() == 2);
    mill.enqueue("block", blockers, "block", BLOCK_MS);
    let total = blockers as u64 + 2;
    until("all have succeeded", PATIENCE, || {
        // In place of the other processes that would find a lease to have ended.
        mill.maintain();
        mill.stats().succeeded == total
    });
    let counters = mill.stats().counters;
    assert_eq!((counters.started, counters.lost, counters.refused), (total, 0, 0));
    assert_eq!(crew.entries().iter().filter(|entry| entry.what == "start").count() as u64, total);
}
