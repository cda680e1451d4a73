//! Invariants 2 and 3: an active task belongs to one claim, only that claim settles it, and it does so once.
//!
//! Claims of one id are put in order by the store's clock; two of one millisecond are left alone. A claim that was followed by
//! another must have ended before: so nothing of it may be accepted that was sent after its successor was known, no claim may
//! follow one by which the same life has ended, and the worker of an unsettled claim must have been lost, so that the store
//! no longer answers its exchanges. A worker that slept through all of that may try to settle, and is refused: that is no
//! violation. Claims known only from the program's log have no time of the store's; of them, ends are counted.

use std::collections::{BTreeMap, HashMap};

use super::story::{Book, Claim, Queue, Settlement, Story, worker_of};
use super::violation::{Broken, Violation};

/// Appends what is broken.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) {
    for (name, queue) in &book.queues {
        let in_full = book.rules.told_in_full.contains(*name);
        for (task, story) in &queue.stories {
            let mut broken = |broken, what: String, proof| {
                let what = format!("task {task:?} of queue {name} {what}");
                violations.push(Violation { broken, task: Some((*task).to_owned()), what, proof });
            };
            tokens(story, in_full, &mut broken);
            lives(story, &mut broken);
            successions(queue, story, &mut broken);
        }
    }
}

fn accepted<'s, 'a>(story: &'s Story<'a>) -> impl Iterator<Item = &'s Settlement<'a>> {
    story.settlements.iter().filter(|settlement| settlement.fate.is_accepted())
}

fn places(settlement: &Settlement<'_>) -> impl Iterator<Item = usize> {
    std::iter::once(settlement.asked.1).chain(settlement.answered)
}

/// Each token settles at most once, and only if it was handed out.
fn tokens(story: &Story<'_>, in_full: bool, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    let mut by_token: HashMap<&str, Vec<&Settlement<'_>>> = HashMap::new();
    for settlement in accepted(story) {
        by_token.entry(settlement.token).or_default().push(settlement);
    }
    for (token, settlements) in by_token {
        if let [_, _, ..] = settlements[..] {
            let proof = settlements.iter().flat_map(|settlement| places(settlement)).collect();
            broken(Broken::SettledTwice, format!("was settled twice by claim {token}"), proof);
        }
        if in_full && story.claim(token).is_none() {
            let proof = settlements.iter().flat_map(|settlement| places(settlement)).collect();
            broken(Broken::ForgedToken, format!("was settled by claim {token}, which nobody was given"), proof);
        }
    }
}

/// Each life ends at most once.
fn lives(story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    let mut by_life: BTreeMap<Option<&str>, Vec<&Settlement<'_>>> = BTreeMap::new();
    for settlement in story.settlements.iter().filter(|settlement| settlement.fate.is_final()) {
        by_life.entry(story.life_of(settlement.token)).or_default().push(settlement);
    }
    let known: usize = by_life.iter().filter(|(life, _)| life.is_some()).count();
    for (life, ends) in by_life {
        // Ends whose life is not known may belong to any that has none yet.
        let allowed = if life.is_some() { 1 } else { story.possible_lives().saturating_sub(known) };
        if ends.len() > allowed {
            let proof = ends.iter().flat_map(|settlement| places(settlement)).collect();
            let whose = life.map_or_else(|| "in all its lives".to_owned(), |life| format!("in its life {life}"));
            broken(Broken::EndedTwice, format!("ended {} times {whose}, {allowed} allowed", ends.len()), proof);
        }
    }
}

/// Claims that followed each other.
fn successions(queue: &Queue<'_>, story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    let mut claims: Vec<(u64, &Claim<'_>)> =
        story.claims.iter().filter_map(|claim| Some((claim.store?.0, claim))).collect();
    claims.sort_by_key(|(started_ms, _)| *started_ms);
    for (at, (earlier_ms, earlier)) in claims.iter().enumerate() {
        // The first that surely came later: what holds of it holds of all after it.
        let Some((_, later)) = claims[at + 1..].iter().find(|(later_ms, _)| later_ms > earlier_ms) else { continue };
        let proof = |settlement: &Settlement<'_>| {
            [earlier.seen.1, later.seen.1].into_iter().chain(places(settlement)).collect::<Vec<_>>()
        };
        let mut ends = accepted(story).filter(|settlement| settlement.token == earlier.token).peekable();
        let settled = ends.peek().is_some();
        for end in ends {
            if end.asked.0 > later.seen.0 {
                let what =
                    format!("was settled by claim {} after claim {} had followed it", earlier.token, later.token);
                broken(Broken::SettledLate, what, proof(end));
            } else if end.fate.is_final() && earlier.life == later.life {
                let what = format!("ended by claim {} and was claimed after it by {}", earlier.token, later.token);
                broken(Broken::EndedTwice, what, proof(end));
            }
        }
        if !settled && let Some(still) = still_served(queue, worker_of(earlier.token), later.seen.0) {
            let what = format!(
                "was claimed by {} while claim {} held it, whose worker was not lost and had not settled it",
                later.token, earlier.token
            );
            broken(Broken::ClaimedTwice, what, vec![earlier.seen.1, later.seen.1, still]);
        }
    }
}

/// An exchange of `worker` that was sent after `after` and answered: the worker was not lost before.
fn still_served(queue: &Queue<'_>, worker: &str, after: u64) -> Option<usize> {
    let answered = queue.answered.get(worker)?;
    answered.iter().find(|(asked, _)| *asked > after).map(|(_, place)| *place)
}
