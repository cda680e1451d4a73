//! Invariant 6: nothing starts before its time by the store's clock.
//!
//! A claim carries the store's times of the claim and of the intake, so a delay is checked exactly, whatever the clocks of
//! clients say. A retry is due so long after its failure, which the store cannot have taken in before it was sent; store and
//! histories share a clock, so that is a bound that holds too. Of claims known only from the program's log, the time of the
//! line stands for the time of the claim, which was no later.

use crate::history::Start;

use super::story::{Book, Claim, Story};
use super::violation::{Broken, Violation};

/// Times of the store are whole milliseconds, rounded down on either side.
const ROUNDING_MS: u64 = 1;

/// Appends what is broken.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) {
    for (name, queue) in &book.queues {
        for (task, story) in &queue.stories {
            let mut early = |what: String, proof| {
                let what = format!("task {task:?} of queue {name} {what}");
                let task = Some((*task).to_owned());
                violations.push(Violation { broken: Broken::Early, task, what, proof });
            };
            for claim in &story.claims {
                first(story, claim, &mut early);
                again(story, claim, &mut early);
            }
        }
    }
}

/// Against the time that it was handed in with.
fn first(story: &Story<'_>, claim: &Claim<'_>, early: &mut impl FnMut(String, Vec<usize>)) {
    let Some(one) = story.life_of(claim.token).and_then(|life| story.tries.iter().find(|one| one.life == life)) else {
        return;
    };
    let started_ms = claim.store.map_or(claim.seen.0 / 1_000, |(started_ms, _)| started_ms);
    let due_ms = match (one.start, claim.store) {
        (Start::Now, _) => return,
        (Start::At(at_ms), _) => at_ms,
        (Start::After(ms), Some((_, enqueued_ms))) => enqueued_ms + ms,
        (Start::After(ms), None) => (one.asked.0 / 1_000 + ms).saturating_sub(ROUNDING_MS),
    };
    if started_ms < due_ms {
        let what = format!("started {} ms before its time", due_ms - started_ms);
        early(what, vec![one.asked.1, claim.seen.1]);
    }
}

/// Against the pause after each failure that came before it.
fn again(story: &Story<'_>, claim: &Claim<'_>, early: &mut impl FnMut(String, Vec<usize>)) {
    let Some((started_ms, enqueued_ms)) = claim.store else { return };
    for failure in story.settlements.iter().filter(|settlement| settlement.fate.is_accepted()) {
        let Some(pause_ms) = failure.retry_in_ms else { continue };
        let Some(failed) = story.claim(failure.token) else { continue };
        let before = failed.store.is_some_and(|store| store.0 < started_ms && store.1 == enqueued_ms);
        let due_ms = failure.asked.0 / 1_000 + pause_ms;
        if before && failed.token != claim.token && started_ms + ROUNDING_MS < due_ms {
            let what =
                format!("was tried again {} ms before the pause after its failure was over", due_ms - started_ms);
            early(what, vec![failure.asked.1, claim.seen.1]);
        }
    }
}
