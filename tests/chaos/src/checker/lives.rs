//! Invariants 1 and 7: an acknowledged task is in one state and never lost; at most one live task per id.
//!
//! Each request for an id asks for a *life* of it, told from others by a mark in the payload. At the end everything is kept,
//! so of each id the store shows its last life. Of every acknowledged life one of these must hold: it is the one shown; or
//! the one shown may have come after it. A life that only may have been taken in is allowed to be shown and allowed to be
//! missing; one that was refused is not allowed to be seen anywhere.

use tidemill::core::State;

use super::story::{Book, Claim, Queue, Story, Try};
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
            shown(queue, story, &mut broken);
            made(story, &mut broken);
            if in_full {
                ran(book, story, &mut broken);
            }
        }
    }
}

/// What is shown at the end against what was acknowledged.
fn shown(queue: &Queue<'_>, story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    let Some((last, _)) = queue.last else { return };
    let kept = match &story.kept[..] {
        [] => {
            for one in &story.tries {
                if let Some((_, place)) = one.acknowledged {
                    let what = format!("was acknowledged (life {}) and is nowhere at the end", one.life);
                    broken(Broken::Lost, what, vec![one.asked.1, place, last]);
                }
            }
            return;
        }
        [kept] => kept,
        more => {
            let states = more.iter().map(|kept| kept.state.as_str()).collect::<Vec<_>>().join(" and ");
            let proof = more.iter().map(|kept| kept.place).collect();
            return broken(Broken::TwoStates, format!("stands in {states} at once"), proof);
        }
    };
    if kept.state.is_live() {
        let what = format!("is still {} after everything was healed and had time to end", kept.state);
        broken(Broken::Unended, what, vec![kept.place, last]);
    }
    let Some(shown) = story.tries.iter().find(|one| one.life == kept.life) else {
        let what = format!("is there with life {}, which nobody asked for", kept.life);
        return broken(Broken::Phantom, what, vec![kept.place]);
    };
    for other in story.tries.iter().filter(|other| other.life != shown.life) {
        if let Some((_, place)) = other.acknowledged
            && surely_after(story, other, shown)
        {
            let what =
                format!("was acknowledged (life {}) but the store shows the earlier life {}", other.life, shown.life);
            broken(Broken::Lost, what, vec![other.asked.1, place, kept.place]);
        }
    }
}

/// Whether `one` was taken in after `other`, whatever is unknown.
fn surely_after(story: &Story<'_>, one: &Try<'_>, other: &Try<'_>) -> bool {
    if let (Some(one), Some(other)) = (taken_in(story, one.life), taken_in(story, other.life)) {
        return one > other;
    }
    other.acknowledged.is_some_and(|(at, _)| one.asked.0 > at)
}

/// When the store took a life in, by its own clock.
fn taken_in(story: &Story<'_>, life: &str) -> Option<u64> {
    lived(story, life).next().map(|(_, (_, enqueued_ms))| enqueued_ms)
}

fn lived<'s, 'a>(story: &'s Story<'a>, life: &'s str) -> impl Iterator<Item = (&'s Claim<'a>, (u64, u64))> {
    story.claims.iter().filter(move |claim| claim.life == Some(life)).filter_map(|claim| Some((claim, claim.store?)))
}

/// What was claimed against what was asked for.
fn made(story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    for claim in &story.claims {
        let Some(life) = claim.life else { continue };
        match story.tries.iter().find(|one| one.life == life) {
            Some(one) if one.is_possible() => {}
            Some(one) => {
                let what = format!("was refused (life {life}) and claimed all the same");
                broken(Broken::Phantom, what, vec![one.asked.1, claim.seen.1]);
            }
            None => broken(
                Broken::Phantom,
                format!("was claimed with life {life}, which nobody asked for"),
                vec![claim.seen.1],
            ),
        }
    }
    if let [kept] = &story.kept[..]
        && let Some(one) = story.tries.iter().find(|one| one.life == kept.life && !one.is_possible())
    {
        broken(
            Broken::Phantom,
            format!("was refused (life {}) and is there", kept.life),
            vec![one.asked.1, kept.place],
        );
    }
    for one in &story.tries {
        let mut times = lived(story, one.life);
        let Some((first, (_, enqueued_ms))) = times.next() else { continue };
        if let Some((second, _)) = times.find(|(_, store)| store.1 != enqueued_ms) {
            let what = format!("was taken in twice by one request (life {})", one.life);
            broken(Broken::CreatedTwice, what, vec![one.asked.1, first.seen.1, second.seen.1]);
        }
    }
    two_live(story, broken);
}

/// Two lives at once: the earlier was claimed, or settled, after the later had been taken in.
fn two_live(story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    for claim in &story.claims {
        let (Some(life), Some((started_ms, enqueued_ms))) = (claim.life, claim.store) else { continue };
        for later in &story.tries {
            let Some(taken_in) = taken_in(story, later.life).filter(|taken_in| *taken_in > enqueued_ms) else {
                continue;
            };
            let by_later = lived(story, later.life).map(|(claim, _)| claim.seen.1);
            if started_ms > taken_in {
                let what =
                    format!("was claimed (life {life}) after its id had been taken in anew (life {})", later.life);
                let proof = std::iter::once(claim.seen.1).chain(by_later).collect();
                broken(Broken::TwoLive, what, proof);
            } else if let Some((acknowledged, place)) = later.acknowledged
                && let Some(settled) = story.settlements.iter().find(|settled| {
                    settled.token == claim.token && settled.fate.is_accepted() && settled.asked.0 > acknowledged
                })
            {
                let what =
                    format!("was settled (life {life}) after its id had been taken in anew (life {})", later.life);
                broken(Broken::TwoLive, what, vec![claim.seen.1, place, settled.asked.1]);
            }
        }
    }
}

/// Where every claim is known that reached a worker: no life ends without one, unless it was cancelled or lost too often.
fn ran(book: &Book<'_>, story: &Story<'_>, broken: &mut impl FnMut(Broken, String, Vec<usize>)) {
    let Some(kept) = story.kept.first() else { return };
    let claimed = |life: &str| story.claims.iter().any(|claim| claim.life == Some(life));
    for one in story.tries.iter().filter(|one| !claimed(one.life)) {
        let Some((_, place)) = one.acknowledged else { continue };
        if one.life == kept.life {
            let lost = kept.state == State::Dead && kept.losses >= book.rules.loss_limit.max(1);
            if !(lost || kept.state == State::Cancelled || kept.state.is_live()) {
                let what = format!("is {} (life {}) and nobody ran it", kept.state, one.life);
                broken(Broken::NeverRan, what, vec![one.asked.1, place, kept.place]);
            }
        } else if story.cancels.is_empty() && surely_after_another(story, one) {
            let what = format!("gave way to another of its id (life {}) and nobody had run it", one.life);
            broken(Broken::NeverRan, what, vec![one.asked.1, place, kept.place]);
        }
    }
}

/// Whether another life was surely taken in after `one`: before, its own end need not have come.
fn surely_after_another(story: &Story<'_>, one: &Try<'_>) -> bool {
    let acknowledged = one.acknowledged.map(|(at, _)| at);
    story.tries.iter().any(|other| {
        other.life != one.life
            && other.acknowledged.is_some()
            && acknowledged.is_some_and(|acknowledged| other.asked.0 > acknowledged)
    })
}
