//! The mixture of tasks: short and long, failing, late, delayed, with large payloads and ids that are a trial.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidemill::core::NewTask;
use tidemill::{Backoff, Priority, Start, TaskId, TaskType};

use super::handlers::{How, WORK, Work};
use crate::draw::Draw;

/// From this declared duration on a task is one that will be cancelled: nobody waits for it.
pub const LONG_MS: u32 = 60_000;
/// The duration of such a task: an hour.
const HOUR_MS: u32 = 3_600_000;
/// Retries of a task that fails.
const RETRIES: u16 = 3;
/// Spacing of retries: soon, so that many happen in a run.
const BACKOFF: Backoff = Backoff { initial_ms: 200, max_ms: 1_500 };
/// Ids that are used again and again.
const AGAIN_IDS: u64 = 30;
/// Largest payload of the mixture, in bytes: a fifth of what a queue takes.
const PAD_MAX: u64 = 200_000;

/// What ids are decorated with: what scripts, JSON, URLs, terminals and listings might trip over.
const TRIALS: [&str; 14] = [
    "日本語タスク",
    "e\u{301}\u{327}",
    "👩‍👩‍👧‍👦",
    "\u{202e}txet",
    "\u{feff}ÿþ",
    "\u{10ffff}\u{fffd}",
    "%00%0d%0a",
    "*1$4PING",
    "\"quoted\\\"",
    "a/b?c=d&e#f",
    "{\"ms\":1}",
    "' OR 1=1 --",
    "{tidemill}:x",
    "0x00 1e309 -0 nan",
];

/// Makes tasks. Each has a life that no other has.
#[derive(Debug)]
pub struct Mixture {
    draw: Draw,
    process: String,
    count: u64,
    skew_ms: i64,
}

impl Mixture {
    /// The mixture that `process` makes of `seed`, with a clock that is ahead by `skew_ms`: a task of a time of day gets the
    /// right one all the same, or nobody would live to see it start.
    pub fn new(seed: u64, process: &str, skew_ms: i64) -> Self {
        let own = process.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Self { draw: Draw::new(own), process: process.to_owned(), count: 0, skew_ms }
    }

    /// Its numbers, for choices beside the tasks.
    pub fn draw(&mut self) -> &mut Draw {
        &mut self.draw
    }

    /// A life that nobody else uses.
    pub fn life(&mut self) -> String {
        self.count += 1;
        format!("{}/{}", self.process, self.count)
    }

    /// An id that nobody else uses, now and then one that is a trial.
    pub fn id(&mut self) -> TaskId {
        self.count += 1;
        let plain = format!("{}-{}", self.process, self.count);
        let decorated = self.draw.chance(15).then(|| self.draw.pick(&TRIALS)).flatten();
        let text = decorated.map_or_else(|| plain.clone(), |trial| format!("{trial} {plain}"));
        TaskId::new(text).unwrap_or_else(|_| TaskId::from_uuid(uuid::Uuid::new_v4()))
    }

    /// What a task is to do.
    pub fn work(&mut self) -> Work {
        let life = self.life();
        let draw = &mut self.draw;
        let work = match draw.between(0, 99) {
            0..=39 => Work { ms: draw.between(0, 30), ..Work::default() },
            40..=64 => Work { ms: draw.between(30, 400), ..Work::default() },
            65..=74 => Work { ms: draw.between(400, 1_500), ..Work::default() },
            75..=84 => {
                let fails = u32::try_from(draw.between(1, 2)).unwrap_or(1);
                Work { fails, ms: draw.between(0, 50), ..Work::default() }
            }
            85..=87 => Work { fails: u32::MAX, how: How::Permanent, ..Work::default() },
            88..=89 => Work { fails: u32::MAX, ..Work::default() },
            90..=92 => Work { fails: 1, how: How::Panic, ..Work::default() },
            93..=97 => {
                Work { pad: "é".repeat(usize::try_from(draw.between(500, 8_000)).unwrap_or(0)), ..Work::default() }
            }
            98 => Work { pad: "x".repeat(usize::try_from(draw.between(0, PAD_MAX)).unwrap_or(0)), ..Work::default() },
            _ => Work { ms: draw.between(1_000, 3_000), ..Work::default() },
        };
        Work { life, ..work }
    }

    /// A task of this harness's own type.
    pub fn task(&mut self) -> Option<NewTask> {
        let (id, work) = (self.id(), self.work());
        let mut task = new(id, &work)?;
        let true_ms = now_ms().saturating_add_signed(-self.skew_ms);
        let draw = &mut self.draw;
        match draw.between(0, 99) {
            0..=5 => task.start = Start::AfterMs(draw.between(1, 3_000)),
            6..=8 => task.start = Start::AtMs(true_ms + draw.between(0, 2_000)),
            9..=14 => task.priority = Priority::new(if draw.chance(50) { 7 } else { -100 }).unwrap_or_default(),
            15..=16 => task.timeout_ms = Some(draw.between(1, 300)),
            _ => {}
        }
        Some(task)
    }

    /// A task of one of the ids that are used again and again.
    pub fn again(&mut self) -> Option<NewTask> {
        let id = TaskId::new(format!("again-{}", self.draw.between(1, AGAIN_IDS))).ok()?;
        let work = Work { life: self.life(), ms: self.draw.between(0, 100), ..Work::default() };
        new(id, &work)
    }

    /// A task that would take an hour.
    pub fn hour(&mut self) -> Option<NewTask> {
        let (id, life) = (self.id(), self.life());
        let task = new(id, &Work { life, ms: HOUR_MS.into(), ..Work::default() })?;
        Some(NewTask { duration_ms: HOUR_MS, retries: Some(0), ..task })
    }
}

/// The type of this harness's tasks.
pub fn work_type() -> Option<TaskType> {
    TaskType::new(WORK).ok()
}

fn new(id: TaskId, work: &Work) -> Option<NewTask> {
    let payload = serde_json::to_vec(work).ok()?;
    Some(NewTask { retries: Some(RETRIES), backoff: Some(BACKOFF), ..NewTask::new(id, work_type()?, payload) })
}

/// The time by the clock of this process, which may be off.
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(now.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trial_is_an_id() {
        for trial in TRIALS {
            assert!(TaskId::new(trial).is_ok(), "{trial:?}");
        }
    }

    #[test]
    fn no_two_tasks_have_the_same_life() {
        let mut mixture = Mixture::new(1, "p", 0);
        let mut lives: Vec<_> = (0..500).map(|_| mixture.work().life).collect();
        lives.sort();
        lives.dedup();
        assert_eq!(lives.len(), 500);
    }
}
