//! Invariant 8: counters equal the transitions that happened. And with the store keeping what it acknowledged, they never go
//! back.
//!
//! Three sorts of proof, all on the figures at the end, when nothing is alive any more:
//! - sums that hold inside the store: every task taken in has ended; every claim has ended in one way;
//! - the tasks themselves, which are all kept: their states, failures and losses added up, with room for the lives of an id
//!   that gave way to later ones;
//! - what the histories tell: at least what was seen to happen, and, where every claim is told of, at most that and what was
//!   sent without its outcome being known.

use tidemill::core::{Counters, QueueStats, State};

use super::story::{Book, Fate, Queue, Settlement};
use super::violation::{Broken, Violation};

/// Failures that one life of a task of this harness can have at most: its retries are fewer.
const FAILURES_MAX: u64 = 10;

/// Appends what is broken.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) {
    for (name, queue) in &book.queues {
        let mut findings = Vec::new();
        forward(queue, &mut findings);
        if let Some((place, stats)) = queue.last {
            let mut off = |what: String| findings.push((Broken::CounterOff, what, vec![place]));
            inside(queue, stats, &mut off);
            kept(book, queue, stats, &mut off);
            let in_full = book.rules.told_in_full.contains(*name);
            told(book, queue, &stats.counters, in_full, &mut off);
        }
        violations.extend(findings.into_iter().map(|(broken, what, proof)| {
            let what = format!("queue {name}: {what}");
            Violation { broken, task: None, what, proof }
        }));
    }
}

fn named(counters: &Counters) -> [(&'static str, u64); 13] {
    [
        ("enqueued", counters.enqueued),
        ("started", counters.started),
        ("succeeded", counters.succeeded),
        ("failed", counters.failed),
        ("timed_out", counters.timed_out),
        ("retried", counters.retried),
        ("dead", counters.dead),
        ("cancelled", counters.cancelled),
        ("lost", counters.lost),
        ("released", counters.released),
        ("refused", counters.refused),
        ("requeued", counters.requeued),
        ("deleted", counters.deleted),
    ]
}

/// No counter ever goes back.
fn forward(queue: &Queue<'_>, findings: &mut Vec<(Broken, String, Vec<usize>)>) {
    for pair in queue.figures.windows(2) {
        let [(before, then), (after, now)] = pair else { continue };
        for ((name, then), (_, now)) in named(&then.counters).into_iter().zip(named(&now.counters)) {
            if now < then {
                let what = format!("counter {name} went back from {then} to {now}: the store lost what it had kept");
                findings.push((Broken::WentBack, what, vec![*before, *after]));
            }
        }
    }
}

/// Sums that hold inside the store. The harness requeues and deletes nothing.
fn inside(queue: &Queue<'_>, stats: &QueueStats, off: &mut impl FnMut(String)) {
    let c = &stats.counters;
    let live = stats.pending + stats.delayed + stats.active + stats.retrying;
    let ended = c.succeeded + c.dead + c.cancelled;
    if c.enqueued != ended + live {
        off(format!("{} tasks were enqueued, but {ended} have ended and {live} are alive", c.enqueued));
    }
    for (name, value) in [("requeued", c.requeued), ("deleted", c.deleted)] {
        if value != 0 {
            off(format!("counter {name} is {value}, and nobody asked for that"));
        }
    }
    // What ended by a failure or with its worker while its cancellation was asked for counts as both. So the claims that
    // ended as cancelled and nothing else are known by the others; they are no more than the cancelled tasks that a worker
    // held, and no fewer than workers were told of.
    let otherwise = c.succeeded + c.failed + c.released + c.lost + stats.active;
    let cancelled_waiting = cancelled_waiting(queue);
    let seen = settlements(queue).filter(|one| one.fate == Fate::Now(State::Cancelled) && told_cancelled(one)).count();
    let (least, most) = (seen as u64, c.cancelled.saturating_sub(cancelled_waiting));
    let claims_cancelled = c.started.checked_sub(otherwise);
    if !claims_cancelled.is_some_and(|claims| (least..=most).contains(&claims)) {
        off(format!(
            "{} claims began, {otherwise} ended as succeeded, failed, released or lost, and {least} to {most} as cancelled: \
             some claim ended not at all or twice, or is counted wrongly",
            c.started
        ));
    }
}

/// Whether a claim that ended as cancelled did so without failing as well.
fn told_cancelled(one: &Settlement<'_>) -> bool {
    // The program's log says `cancelled` of failures too.
    one.outcome != "failed" && one.retry_in_ms.is_none() && one.answered != Some(one.asked.1)
}

fn cancelled_waiting(queue: &Queue<'_>) -> u64 {
    let cancels = queue.stories.values().flat_map(|story| &story.cancels);
    cancels.filter(|(_, _, answer)| *answer == Some("now")).count() as u64
}

fn settlements<'q, 'a>(queue: &'q Queue<'a>) -> impl Iterator<Item = &'q Settlement<'a>> {
    queue.stories.values().flat_map(|story| &story.settlements)
}

/// The tasks themselves, added up.
fn kept(book: &Book<'_>, queue: &Queue<'_>, stats: &QueueStats, off: &mut impl FnMut(String)) {
    let all = || queue.stories.values().flat_map(|story| &story.kept);
    for state in State::ALL {
        let found = all().filter(|kept| kept.state == state).count() as u64;
        if found != stats.count(state) {
            off(format!("{} tasks are said to be {state}, and {found} are", stats.count(state)));
        }
    }
    let possible: usize = queue.stories.values().map(super::story::Story::possible_lives).sum();
    let former = (possible as u64).saturating_sub(all().count() as u64);
    let c = &stats.counters;
    let count = |state| all().filter(|kept| kept.state == state).count() as u64;
    let failures = all().map(|kept| u64::from(kept.failures)).sum();
    let losses = all().map(|kept| u64::from(kept.losses)).sum();
    let loss_limit = u64::from(book.rules.loss_limit);
    for (name, value, least, each) in [
        ("succeeded", c.succeeded, count(State::Succeeded), 1),
        ("dead", c.dead, count(State::Dead), 1),
        ("cancelled", c.cancelled, count(State::Cancelled), 1),
        ("failed", c.failed, failures, FAILURES_MAX),
        ("lost", c.lost, losses, loss_limit),
    ] {
        let most = least + former * each;
        if !(least..=most).contains(&value) {
            off(format!("counter {name} is {value}; the tasks that are kept say {least} to {most}"));
        }
    }
}

/// What the histories tell.
fn told(book: &Book<'_>, queue: &Queue<'_>, c: &Counters, in_full: bool, off: &mut impl FnMut(String)) {
    let now = |state| settlements(queue).filter(|one| one.fate == Fate::Now(state)).count() as u64;
    let open =
        |word: &str| settlements(queue).filter(|one| one.fate == Fate::Open && one.outcome == word).count() as u64;
    let tries = || queue.stories.values().flat_map(|story| &story.tries);
    let acknowledged = tries().filter(|one| one.acknowledged.is_some()).count() as u64;
    let possible = tries().filter(|one| one.is_possible()).count() as u64;
    let claims = queue.stories.values().map(|story| story.claims.len() as u64).sum();
    let refused = settlements(queue).filter(|one| one.fate == Fate::Refused).count() as u64;
    let failed_cancelled = settlements(queue)
        .filter(|one| one.fate == Fate::Now(State::Cancelled) && one.outcome == "failed")
        .count() as u64;
    let timed_out =
        |fate: fn(Fate) -> bool| settlements(queue).filter(|one| one.timed_out && fate(one.fate)).count() as u64;
    let any_open = settlements(queue).filter(|one| one.fate == Fate::Open).count() as u64;
    let open_failures = open("failed") + open("unserved");
    let (succeeded, retried, dead) = (now(State::Succeeded), now(State::Retrying), now(State::Dead));
    let failed = retried + dead + failed_cancelled;
    let died_lost = c.lost / u64::from(book.rules.loss_limit.max(1));
    let out_of_time = timed_out(Fate::is_accepted);
    for (name, value, least, most) in [
        ("succeeded", c.succeeded, succeeded, succeeded + open("succeeded")),
        ("retried", c.retried, retried, retried + open("failed")),
        ("failed", c.failed, failed, failed + open_failures),
        ("timed_out", c.timed_out, out_of_time, out_of_time + timed_out(|fate| fate == Fate::Open)),
        ("dead", c.dead, dead + queue.lost_for_good, dead + open_failures + died_lost),
        ("refused", c.refused, refused, refused + any_open),
        ("enqueued", c.enqueued, acknowledged, possible),
        ("started", c.started, claims, u64::MAX),
        ("released", c.released, now(State::Pending) + now(State::Delayed), u64::MAX),
        ("lost", c.lost, queue.lost, u64::MAX),
        ("cancelled", c.cancelled, cancelled_waiting(queue) + now(State::Cancelled), u64::MAX),
    ] {
        let most = if in_full || name == "enqueued" { most } else { u64::MAX };
        if !(least..=most).contains(&value) {
            let bound = if most == u64::MAX { "or more".to_owned() } else { format!("to {most}") };
            off(format!("counter {name} is {value}; the histories say {least} {bound}"));
        }
    }
}
