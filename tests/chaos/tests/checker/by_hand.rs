//! Histories written by hand: what no broker here does wrong, and what must not be taken for wrong.

use std::sync::Arc;

use tidemill::core::{QueueStats, State};
use tidemill_chaos::checker::{Broken, check};
use tidemill_chaos::history::record::Announcement;
use tidemill_chaos::history::{Answer, Claimed, Entry, Finished, Handed, Record, SeenWorker, Start};

const QUEUE: &str = "q";
const LEASE_MS: u64 = 1_000;

/// A history: each record a tenth of a second after the one before, unless time passes.
#[derive(Default)]
struct Script {
    at_us: u64,
    calls: u64,
    entries: Vec<Entry>,
}

impl Script {
    fn new() -> Self {
        let rules = Record::Rules { lease_ms: LEASE_MS, loss_limit: 5, told_in_full: vec![QUEUE.to_owned()] };
        Self { at_us: 1_000_000_000, ..Self::default() }.then("rules", rules)
    }

    fn then(mut self, by: &str, record: Record) -> Self {
        self.at_us += 100_000;
        self.entries.push(Entry { at_us: self.at_us, by: Arc::from(by), record });
        self
    }

    fn pass(mut self, seconds: u64) -> Self {
        self.at_us += seconds * 1_000_000;
        self
    }

    /// So much that the next record comes a second after the last.
    fn wait(mut self) -> Self {
        self.at_us += 900_000;
        self
    }

    /// A producer hands task `t` in.
    fn enqueue(mut self, life: &str, answer: Answer) -> Self {
        self.calls += 1;
        let call = self.calls;
        let tasks = vec![Handed { task: "t".to_owned(), life: life.to_owned(), start: Start::Now }];
        self.then("producer", Record::Enqueue { call, queue: QUEUE.to_owned(), tasks })
            .then("producer", Record::Enqueued { call, answer })
    }

    /// `worker` claims task `t`.
    fn claim(self, worker: &str, life: &str, enqueued_ms: u64) -> Self {
        let started_ms = self.at_us / 1_000;
        let claim = Claimed {
            task: "t".to_owned(),
            token: format!("{worker}:1"),
            life: life.to_owned(),
            attempt: 1,
            losses: 0,
            started_ms,
            enqueued_ms,
        };
        let (queue, worker) = (QUEUE.to_owned(), worker.to_owned());
        let asked = Record::Exchange { queue: queue.clone(), worker: worker.clone(), number: 1, finished: Vec::new() };
        let answered = Record::Exchanged { queue, worker, number: 1, settled: Vec::new(), claims: vec![claim] };
        self.then("worker", asked).then("worker", answered)
    }

    /// `worker` says that `t` succeeded, and is answered.
    fn succeed(self, worker: &str, settled: Option<State>) -> Self {
        let finished = vec![Finished {
            task: "t".to_owned(),
            token: format!("{worker}:1"),
            outcome: "succeeded".to_owned(),
            retry_in_ms: None,
            timed_out: false,
        }];
        let (queue, worker) = (QUEUE.to_owned(), worker.to_owned());
        let asked = Record::Exchange { queue: queue.clone(), worker: worker.clone(), number: 2, finished };
        let answered = Record::Exchanged { queue, worker, number: 2, settled: vec![settled], claims: Vec::new() };
        self.then("worker", asked).then("worker", answered)
    }

    fn kept(self, life: &str, state: State) -> Self {
        self.kept_after(0, life, state)
    }

    /// Where `t` stands at the end, so many workers having been lost with it.
    fn kept_after(self, losses: u32, life: &str, state: State) -> Self {
        let (queue, task, life) = (QUEUE.to_owned(), "t".to_owned(), life.to_owned());
        self.then("ending", Record::Kept { queue, task, life, state, failures: 0, losses })
    }

    /// The figures at the end: so many were enqueued, all of which have succeeded, but one is kept at most.
    fn figures(self, enqueued: u64, kept: u64, started: u64, last: bool) -> Self {
        let mut stats = QueueStats { succeeded: kept, ..QueueStats::default() };
        (stats.counters.enqueued, stats.counters.succeeded) = (enqueued, enqueued);
        (stats.counters.started, stats.counters.lost) = (started, started - enqueued);
        self.then("ending", Record::Figures { queue: QUEUE.to_owned(), stats, last })
    }

    fn announced(self, number: u64, what: Announcement) -> Self {
        let announced = vec![("t".to_owned(), what)];
        self.then("observer", Record::Announced { queue: QUEUE.to_owned(), number, announced })
    }

    fn seen(self, lease_left_ms: i64) -> Self {
        let (worker, name) = ("w".to_owned(), "worker.1".to_owned());
        let workers = vec![SeenWorker { worker, name, active: 1, lease_left_ms }];
        self.then("observer", Record::Workers { queue: QUEUE.to_owned(), workers })
    }

    fn now_ms(&self) -> u64 {
        self.at_us / 1_000
    }

    /// That nothing but `expected` is broken.
    #[track_caller]
    fn assert(self, expected: &[Broken]) {
        let violations = check(&self.entries).violations;
        let shown: Vec<String> = violations.iter().map(|violation| violation.show(&self.entries)).collect();
        let mut found: Vec<Broken> = violations.iter().map(|violation| violation.broken).collect();
        found.dedup();
        assert_eq!(found, expected, "{}", shown.join("\n"));
    }
}

fn unknown() -> Answer {
    Answer::Unknown { status: 503, reason: "away".to_owned() }
}

/// A task that was taken in, claimed, and succeeded.
fn done(life: &str) -> Script {
    let script = Script::new().enqueue(life, Answer::Acknowledged);
    let taken_in = script.now_ms();
    script.claim("a", life, taken_in).succeed("a", Some(State::Succeeded))
}

#[test]
fn a_task_that_is_done_is_no_violation() {
    done("1").kept("1", State::Succeeded).figures(1, 1, 1, true).assert(&[]);
}

#[test]
fn a_request_without_an_answer_may_have_been_carried_out_or_not() {
    Script::new().enqueue("1", unknown()).figures(0, 0, 0, true).assert(&[]);
    let script = Script::new().enqueue("1", unknown());
    let taken_in = script.now_ms();
    let script = script.claim("a", "1", taken_in).succeed("a", Some(State::Succeeded));
    script.kept("1", State::Succeeded).figures(1, 1, 1, true).assert(&[]);
}

#[test]
fn a_task_that_was_refused_must_not_be_there() {
    let full = Answer::StoreFull { status: 507, reason: "full".to_owned() };
    let script = Script::new().enqueue("1", full);
    let taken_in = script.now_ms();
    let script = script.claim("a", "1", taken_in).succeed("a", Some(State::Succeeded)).kept("1", State::Succeeded);
    script.figures(1, 1, 1, true).assert(&[Broken::Phantom, Broken::CounterOff]);
}

#[test]
fn a_task_stands_in_one_state() {
    let script = done("1").kept("1", State::Succeeded).kept("1", State::Pending);
    script.figures(1, 1, 1, true).assert(&[Broken::TwoStates, Broken::CounterOff]);
}

#[test]
fn a_task_that_does_not_end_is_told() {
    let mut stats = QueueStats { pending: 1, ..QueueStats::default() };
    stats.counters.enqueued = 1;
    let figures = Record::Figures { queue: QUEUE.to_owned(), stats, last: true };
    let script = Script::new().enqueue("1", Answer::Acknowledged).kept("1", State::Pending);
    script.then("ending", figures).assert(&[Broken::Unended]);
}

#[test]
fn a_store_that_lost_what_it_had_counted_is_told() {
    let script = done("1").figures(2, 2, 2, false).kept("1", State::Succeeded);
    script.figures(1, 1, 1, true).assert(&[Broken::WentBack]);
}

#[test]
fn an_id_that_is_taken_in_anew_while_its_task_lives_is_told() {
    let script = Script::new().enqueue("1", Answer::Acknowledged);
    let first = script.now_ms();
    let script = script.claim("a", "1", first).enqueue("2", Answer::Acknowledged);
    let second = script.now_ms();
    let script = script.claim("b", "2", second).succeed("b", Some(State::Succeeded));
    let script = script.succeed("a", Some(State::Succeeded)).kept("2", State::Succeeded);
    let found = check(&script.figures(2, 1, 2, true).entries).violations;
    assert!(found.iter().any(|found| found.broken == Broken::TwoLive), "{found:?}");
}

#[test]
fn an_id_that_is_taken_in_anew_after_its_task_has_ended_is_no_violation() {
    let script = done("1").enqueue("2", Answer::Acknowledged);
    let second = script.now_ms();
    let script = script.claim("b", "2", second).succeed("b", Some(State::Succeeded));
    script.kept("2", State::Succeeded).figures(2, 1, 2, true).assert(&[]);
}

#[test]
fn an_acknowledged_task_that_gave_way_to_an_earlier_one_is_lost() {
    let script = done("1").enqueue("2", Answer::Acknowledged).kept("1", State::Succeeded);
    script.figures(2, 1, 2, true).assert(&[Broken::Lost, Broken::CounterOff]);
}

#[test]
fn a_late_settlement_that_is_refused_is_no_violation() {
    let script = Script::new().enqueue("1", Answer::Acknowledged);
    let taken_in = script.now_ms();
    let script = script.claim("a", "1", taken_in).pass(2).claim("b", "1", taken_in);
    let retired = Record::NotExchanged { worker: "a".to_owned(), number: 2, error: "retired".to_owned() };
    let script = script.then("worker", retired).succeed("b", Some(State::Succeeded));
    script.kept_after(1, "1", State::Succeeded).figures(1, 1, 2, true).assert(&[]);
}

#[test]
fn a_life_that_ends_twice_is_told() {
    let script = Script::new().enqueue("1", Answer::Acknowledged);
    let taken_in = script.now_ms();
    let script = script.claim("a", "1", taken_in).succeed("a", Some(State::Succeeded));
    let script = script.claim("b", "1", taken_in).succeed("b", Some(State::Succeeded)).kept("1", State::Succeeded);
    let found = check(&script.figures(1, 1, 2, true).entries).violations;
    assert!(found.iter().all(|found| matches!(found.broken, Broken::EndedTwice | Broken::CounterOff)), "{found:?}");
    assert!(found.iter().any(|found| found.broken == Broken::EndedTwice));
}

#[test]
fn what_the_store_announces_out_of_order_is_told_unless_announcements_are_missing() {
    use Announcement::{Ended, Scheduled, Started};
    let clean = || Script::new().announced(1, Scheduled).announced(2, Started).announced(3, Ended);
    clean().announced(4, Scheduled).assert(&[]);
    clean().announced(4, Ended).assert(&[Broken::EndedTwice]);
    clean().announced(4, Started).assert(&[Broken::EndedTwice]);
    clean().announced(4, Scheduled).announced(5, Scheduled).assert(&[Broken::TwoLive]);
    clean().then("observer", Record::Gap { queue: QUEUE.to_owned() }).announced(9, Ended).assert(&[]);
}

#[test]
fn a_dead_workers_claims_that_do_not_come_back_are_told_unless_the_store_was_away() {
    let killed = || {
        let ended = Record::Ended { process: "worker.1".to_owned(), how: "kill -9".to_owned() };
        Script::new().seen(1_000).then("conductor", ended)
    };
    // It is looked at every second.
    let watched =
        |seconds: i64| (1..=seconds).fold(killed(), |script, second| script.wait().seen(1_000 - second * 1_000));
    watched(5).assert(&[]);
    watched(15).assert(&[Broken::NotRecovered]);
    watched(5).then("observer", Record::Away { error: "away".to_owned() }).seen(-6_000).assert(&[]);
}

#[test]
fn a_full_store_that_takes_tasks_in_or_refuses_without_a_reason_is_told() {
    let full = |script: Script, full| script.then("conductor", Record::StoreFull { full });
    let answered = |answer| full(full(Script::new(), true).enqueue("1", answer), false);
    let refusal = |status, reason: &str| Answer::StoreFull { status, reason: reason.to_owned() };
    answered(refusal(507, "the store is full")).assert(&[]);
    answered(unknown()).assert(&[]);
    answered(refusal(507, "")).assert(&[Broken::FullStore]);
    answered(Answer::Unknown { status: 500, reason: "oh".to_owned() }).assert(&[Broken::FullStore]);
    answered(Answer::Acknowledged).assert(&[Broken::FullStore]);
}
