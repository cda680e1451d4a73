//! Histories put together: what is known of each id, each queue and each process.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidemill::core::{QueueStats, State};

use super::reading::Reading;
use crate::history::{Answer, Entry, Start};

/// Everything that is known.
pub struct Book<'a> {
    /// All records, by time.
    pub entries: &'a [Entry],
    /// The settings of the run.
    pub rules: Rules,
    /// Each queue.
    pub queues: BTreeMap<&'a str, Queue<'a>>,
    /// All enqueues, for those that look at answers.
    pub calls: Vec<Call<'a>>,
}

/// The settings of a run.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How long a silent worker keeps its claims, in milliseconds; 0 where nobody said so.
    pub lease_ms: u64,
    /// How many lost workers end a task as dead.
    pub loss_limit: u32,
    /// Queues of which every claim is known that reached a worker.
    pub told_in_full: HashSet<String>,
}

/// What is known of a queue.
#[derive(Debug, Default)]
pub struct Queue<'a> {
    /// What is known of each id.
    pub stories: BTreeMap<&'a str, Story<'a>>,
    /// Exchanges that were answered, of each incarnation: when each was sent, and its record.
    pub answered: HashMap<&'a str, Vec<(u64, usize)>>,
    /// Figures over time.
    pub figures: Vec<(usize, &'a QueueStats)>,
    /// The figures when everything was over.
    pub last: Option<(usize, &'a QueueStats)>,
    /// Incarnations that were to sign off, and so release what they hold.
    pub retires: usize,
    /// Claims that maintenance said were lost.
    pub lost: u64,
    /// Of them, those with which a task died.
    pub lost_for_good: u64,
}

/// What is known of an id.
#[derive(Debug, Default)]
pub struct Story<'a> {
    /// The lives that someone asked for.
    pub tries: Vec<Try<'a>>,
    /// The claims that someone was given.
    pub claims: Vec<Claim<'a>>,
    /// The settlements that someone sent.
    pub settlements: Vec<Settlement<'a>>,
    /// Cancellations: when each was asked for, its record, and the answer.
    pub cancels: Vec<(u64, usize, Option<&'a str>)>,
    /// Where it stands at the end.
    pub kept: Vec<Kept<'a>>,
}

/// A life of an id: one request, sent once or more.
#[derive(Debug)]
pub struct Try<'a> {
    /// What tells it from others.
    pub life: &'a str,
    /// When it may start.
    pub start: Start,
    /// When it was first sent, and the record.
    pub asked: (u64, usize),
    /// When it was first acknowledged, and the record.
    pub acknowledged: Option<(u64, usize)>,
    /// Whether any sending had an unknown end.
    pub open: bool,
}

/// A sending of an enqueue.
#[derive(Debug)]
pub struct Call<'a> {
    /// When, and the record.
    pub asked: (u64, usize),
    /// The answer, when, and the record.
    pub answer: Option<(u64, usize, &'a Answer)>,
}

/// A claim that someone was given.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// The fence.
    pub token: &'a str,
    /// Which life, where that was written down.
    pub life: Option<&'a str>,
    /// Which attempt.
    pub attempt: u32,
    /// When it was made, by the store's clock, and when the task was taken in; in milliseconds.
    pub store: Option<(u64, u64)>,
    /// When it was known to its worker, and the record.
    pub seen: (u64, usize),
}

/// A settlement that someone sent.
#[derive(Debug, Clone)]
pub struct Settlement<'a> {
    /// By which claim.
    pub token: &'a str,
    /// What was said: see [`crate::history::Finished`].
    pub outcome: &'a str,
    /// Milliseconds until the next attempt.
    pub retry_in_ms: Option<u64>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// It was sent no earlier than this, and the record.
    pub asked: (u64, usize),
    /// The record of the answer.
    pub answered: Option<usize>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody knows.
    Open,
    /// The store refused it, and counted that.
    Refused,
    /// Its worker's incarnation was over: nothing was settled, and nothing counted.
    Retired,
    /// The task stands here now.
    Now(State),
}

/// Where a task stands at the end.
#[derive(Debug)]
pub struct Kept<'a> {
    /// Which life.
    pub life: &'a str,
    /// Where.
    pub state: State,
    /// Attempts that failed.
    pub failures: u32,
    /// Workers lost with it.
    pub losses: u32,
    /// The record.
    pub place: usize,
}

/// What was accounted for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Tasks whose intake was acknowledged.
    pub acknowledged: u64,
    /// Tasks of which nobody learned whether they were taken in.
    pub open: u64,
    /// Attempts that began.
    pub started: u64,
    /// Tasks that ended.
    pub ended: u64,
    /// Failures that led to another attempt.
    pub retried: u64,
    /// Claims that ended with their worker.
    pub lost_claims: u64,
    /// Settlements refused, one by one.
    pub refused: u64,
    /// Settlements refused with their worker, which had been lost.
    pub retired: u64,
}

impl Fate {
    /// Whether the task's life ended by it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Now(state) if !state.is_live())
    }

    /// Whether it was accepted.
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Now(_))
    }
}

impl Try<'_> {
    /// Whether it may have been taken in.
    pub fn is_possible(&self) -> bool {
        self.open || self.acknowledged.is_some()
    }
}

impl<'a> Story<'a> {
    /// The claim of a token.
    pub fn claim(&self, token: &str) -> Option<&Claim<'a>> {
        self.claims.iter().find(|claim| claim.token == token)
    }

    /// The life that a claim belongs to: the one written down, or else the only possible one.
    pub fn life_of(&self, token: &str) -> Option<&'a str> {
        if let Some(life) = self.claim(token).and_then(|claim| claim.life) {
            return Some(life);
        }
        let mut possible = self.tries.iter().filter(|one| one.is_possible());
        match (possible.next(), possible.next()) {
            (Some(only), None) => Some(only.life),
            _ => None,
        }
    }

    /// How many lives there may have been.
    pub fn possible_lives(&self) -> usize {
        self.tries.iter().filter(|one| one.is_possible()).count()
    }
}

/// The incarnation of a token.
pub fn worker_of(token: &str) -> &str {
    token.split(':').next().unwrap_or(token)
}

impl<'a> Book<'a> {
    /// Puts records together, which are in the order of time.
    pub fn read(entries: &'a [Entry]) -> Self {
        let mut reading = Reading::new(entries);
        for (place, entry) in entries.iter().enumerate() {
            reading.take(place, entry);
        }
        reading.finish()
    }

    pub(super) fn empty(entries: &'a [Entry]) -> Self {
        Self { entries, rules: Rules::default(), queues: BTreeMap::new(), calls: Vec::new() }
    }

    /// What was accounted for.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for queue in self.queues.values() {
            for story in queue.stories.values() {
                let acknowledged = story.tries.iter().filter(|one| one.acknowledged.is_some()).count();
                tally.acknowledged += acknowledged as u64;
                tally.open += (story.possible_lives() - acknowledged) as u64;
            }
            let settlements = queue.stories.values().flat_map(|story| &story.settlements);
            tally.retired += settlements.filter(|settlement| settlement.fate == Fate::Retired).count() as u64;
            if let Some((_, stats)) = queue.last {
                let counters = &stats.counters;
                tally.started += counters.started;
                tally.ended += counters.succeeded + counters.dead + counters.cancelled;
                tally.retried += counters.retried;
                tally.lost_claims += counters.lost;
                tally.refused += counters.refused;
            }
        }
        tally
    }
}
