//! The embedded store on a file system that fills up.
//!
//! Large tasks are handed in until there is no room: then each is refused in words. Room is made, and it goes on by itself.
//! It fills up once more, the program is killed, and started while there is still no room: it shows what it has, or says in
//! words why it cannot. With room again, everything that was acknowledged is there and ends, and nothing else is there.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidemill::QueueName;
use tidemill::broker::embedded::{SqliteBroker, SqliteOptions};
use tidemill_tests::Program;
use tidemill_tests::program::free_port;

use super::room::Room;
use crate::history::{self, Answer, Handed, Record, Start, Writer};
use crate::load::handlers::SLEEP;
use crate::load::http::answer;
use crate::{checker, ending};

/// The room at first, in bytes: some hundred of the tasks below.
const SMALL: u64 = 8 << 20;
/// The room after the first widening, which fills up too.
const WIDER: u64 = 16 << 20;
/// The room at last, in bytes: more than is ever handed in.
const LARGE: u64 = 256 << 20;
/// The ballast of a task, in bytes.
const PAD: usize = 40_000;
/// Tasks handed in until the room must have been full, at most.
const MOST: usize = 2_000;
/// Refusals in a row by which it counts as full: a single one may come of a checkpoint under way.
const REFUSALS: usize = 10;
/// How long it may take until tasks are taken in again, and until all have ended.
const SOON: Duration = Duration::from_secs(30);
/// Pause between looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Hands tasks in and writes down what was answered.
struct Producer {
    history: Writer,
    call: u64,
}

impl Producer {
    /// Hands in a task that is not due before everything is over, so that it takes its room until then.
    fn hand_in(&mut self, program: &Program) -> Answer {
        self.call += 1;
        let (task, life) = (format!("disk-{}", self.call), format!("life-{}", self.call));
        let handed = Handed { task: task.clone(), life: life.clone(), start: Start::Now };
        self.history.note(&Record::Enqueue { call: self.call, queue: "default".to_owned(), tasks: vec![handed] });
        let payload = json!({"life": life, "duration_ms": 0, "pad": "x".repeat(PAD)});
        let body = json!({"id": task, "type": SLEEP, "payload": payload}).to_string();
        let answer = match program.post("/enqueue", &body) {
            Ok(said) => answer(said.status, &said.text),
            Err(error) => Answer::Unknown { status: 0, reason: error.to_string() },
        };
        self.history.note(&Record::Enqueued { call: self.call, answer: answer.clone() });
        answer
    }

    /// Hands tasks in until one after the other is refused. How many were taken in, and the last refusal.
    fn fill(&mut self, program: &Program) -> anyhow::Result<(usize, Answer)> {
        let (mut taken, mut refused) = (0, 0);
        for _ in 0..MOST {
            match self.hand_in(program) {
                Answer::Acknowledged => (taken, refused) = (taken + 1, 0),
                answer @ (Answer::StoreFull { .. } | Answer::Unknown { .. }) => {
                    refused += 1;
                    if refused == REFUSALS {
                        return Ok((taken, answer));
                    }
                }
                other => anyhow::bail!("a full disk was answered with {other:?}"),
            }
        }
        anyhow::bail!("{MOST} tasks of {PAD} bytes did not fill the disk")
    }
}

/// Runs the scenario.
pub(super) fn run() -> anyhow::Result<bool> {
    let histories = TempDir::new()?;
    let history = Writer::open(histories.path(), "producer", 0)?;
    let room = Room::new(SMALL).context("a small file system cannot be mounted: this scenario needs root")?;
    let data = room.path().display().to_string();
    let args = ["--form", "rest", "--data-dir", &data, "--log-file", "", "--workers-limit", "4"];
    let program = Program::start("standalone", &args)?;
    let mut producer = Producer { history: history.clone(), call: 0 };

    pause(&program, true)?;
    let mut clean = true;
    let (taken, refusal) = producer.fill(&program)?;
    clean &= in_words("a full disk", taken, &refusal);

    room.widen(WIDER)?;
    let began = Instant::now();
    while producer.hand_in(&program) != Answer::Acknowledged {
        anyhow::ensure!(began.elapsed() < SOON, "nothing is taken in {SOON:?} after room was made");
        std::thread::sleep(LOOK_EVERY);
    }
    println!("with room again tasks are taken in after {} ms", began.elapsed().as_millis());

    let (taken, refusal) = producer.fill(&program)?;
    clean &= in_words("a full disk once more", taken, &refusal);
    let (_, folder) = program.kill_for_restart()?;
    let program = Program::start_at("standalone", &args, free_port()?, folder)?;
    clean &= starts_or_says_why(&program)?;
    let (_, folder) = program.kill_for_restart()?;
    room.widen(LARGE)?;
    let mut program = Program::start_at("standalone", &args, free_port()?, folder)?;
    program.wait_ready();
    println!("killed and started again with room");
    pause(&program, false)?;
    let began = Instant::now();
    while live(&program)? > 0 {
        anyhow::ensure!(began.elapsed() < SOON, "tasks are alive {SOON:?} after everything was healed");
        std::thread::sleep(LOOK_EVERY);
    }
    program.signal("TERM")?;
    program.wait_end(SOON);

    let entries = {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let store = SqliteBroker::open(SqliteOptions::new(room.path()))?;
            ending::write_down(store.as_ref(), &QueueName::default_queue(), &history).await?;
            tidemill::Broker::close(store.as_ref()).await;
            history::read(histories.path())
        })?
    };
    let verdict = checker::check(&entries);
    for violation in &verdict.violations {
        println!("{}", violation.show(&entries));
    }
    println!(
        "{} tasks acknowledged, {} of open outcome, {} ended; {} invariants broken",
        verdict.tally.acknowledged,
        verdict.tally.open,
        verdict.tally.ended,
        verdict.violations.len()
    );
    Ok(clean && verdict.violations.is_empty())
}

/// Whether a refusal says what is the matter.
fn in_words(when: &str, taken: usize, refusal: &Answer) -> bool {
    let (Answer::StoreFull { status, reason } | Answer::Unknown { status, reason }) = refusal else { return false };
    println!("{when}: {taken} tasks taken in, then {status}: {reason}");
    matches!(status, 503 | 507) && !reason.is_empty()
}

/// Whether a program that was started without room is ready soon, or says why it is not.
fn starts_or_says_why(program: &Program) -> anyhow::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < SOON {
        if program.is_ready() {
            println!("started without room: it is ready, and {} tasks are alive", live(program)?);
            return Ok(true);
        }
        let log = program.log();
        if let Some(said) = log.lines().find(|line| line.contains("full")) {
            println!("started without room: {said}");
            return Ok(true);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    println!("started without room: neither ready nor a word of a full disk within {SOON:?}: {}", program.log());
    Ok(false)
}

fn pause(program: &Program, paused: bool) -> anyhow::Result<()> {
    let verb = if paused { "pause" } else { "resume" };
    let answer = program.post(&format!("/api/v1/queues/default/{verb}"), "")?;
    anyhow::ensure!(answer.status < 300, "{verb}: {} {}", answer.status, answer.text);
    Ok(())
}

fn live(program: &Program) -> anyhow::Result<u64> {
    let queue: Value = serde_json::from_str(&program.get("/api/v1/queues/default")?.text)?;
    let figure = |name: &str| queue[name].as_u64().with_context(|| format!("no {name} in {queue}"));
    Ok(figure("pending")? + figure("delayed")? + figure("active")? + figure("retrying")?)
}
