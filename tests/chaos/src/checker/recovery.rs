//! Invariant 4: the tasks of a worker that died, or stands still, are other workers' within a bound.
//!
//! An observer beside all faults reads the registered workers several times a second. A lost worker stays registered until
//! its tasks have been returned, so its incarnation must be gone soon after its lease. Where leases were renewed because the
//! store had been away, the later end counts, which the observer sees as well. While the observer itself cannot reach the
//! store, and for as long after that as maintenance may take, nothing is demanded.

use std::collections::{HashMap, HashSet};

use crate::history::{Entry, Record};

use super::story::Book;
use super::violation::{Broken, Violation};

/// How long after the end of its lease a dead worker may be seen: maintenance runs every second in several processes, of
/// which faults may hold up some for a while, on a machine that is busy.
pub const PATIENCE_US: u64 = 8_000_000;
/// The observer looks more often than that; a longer silence means that it could not.
const SILENCE_US: u64 = 2_000_000;

/// A time in which a process did nothing.
struct Absence<'a> {
    process: &'a str,
    from: (u64, usize),
    until: u64,
}

/// Appends what is broken. Gives the longest time, in microseconds, after which a worker that had gone was still seen, the
/// store having been in reach.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) -> u64 {
    let absences = absences(book.entries);
    book.queues.keys().map(|queue| of_queue(book, queue, &absences, violations)).max().unwrap_or(0)
}

fn absences(entries: &[Entry]) -> Vec<Absence<'_>> {
    let mut absences: Vec<Absence<'_>> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        match &entry.record {
            Record::Ended { process, .. } => {
                absences.push(Absence { process, from: (entry.at_us, place), until: u64::MAX });
            }
            Record::Fault { kind, target, .. } if kind == "worker-freeze" => {
                absences.push(Absence { process: target, from: (entry.at_us, place), until: u64::MAX });
            }
            Record::Healed { number } => {
                let thawed = absences.iter_mut().find(|absence| {
                    matches!(&entries[absence.from.1].record, Record::Fault { number: begun, .. } if begun == number)
                });
                if let Some(absence) = thawed {
                    absence.until = entry.at_us;
                }
            }
            _ => {}
        }
    }
    absences
}

fn of_queue(book: &Book<'_>, queue: &str, absences: &[Absence<'_>], violations: &mut Vec<Violation>) -> u64 {
    let lease_us = book.rules.lease_ms * 1_000;
    let mut lease_ends: HashMap<&str, u64> = HashMap::new();
    let mut named: HashSet<&str> = HashSet::new();
    let (mut looked_at, mut trouble_until, mut longest) = (None, 0, 0);
    for (place, entry) in book.entries.iter().enumerate() {
        let now = entry.at_us;
        let workers = match &entry.record {
            Record::Away { .. } => {
                trouble_until = now;
                continue;
            }
            Record::Workers { queue: of, workers } if of == queue => workers,
            _ => continue,
        };
        if looked_at.is_some_and(|looked_at| now.saturating_sub(looked_at) > SILENCE_US) {
            trouble_until = now;
        }
        looked_at = Some(now);
        for seen in workers {
            let lease_end = lease_ends.entry(&seen.worker).or_default();
            *lease_end = (*lease_end).max(now.saturating_add_signed(seen.lease_left_ms * 1_000));
            let absent = absences
                .iter()
                .find(|absence| absence.process == seen.name && (absence.from.0..absence.until).contains(&now));
            let Some(absence) = absent else { continue };
            let late = now > *lease_end + PATIENCE_US && now > absence.from.0 + lease_us + PATIENCE_US;
            let excused = trouble_until > 0 && now < trouble_until + PATIENCE_US;
            if trouble_until < absence.from.0 {
                longest = longest.max(now - absence.from.0);
            }
            if late && !excused && named.insert(&seen.worker) {
                let what = format!(
                    "worker {} ({}) of queue {queue} still holds {} tasks {:.1} s after it went and {:.1} s after its lease",
                    seen.worker,
                    seen.name,
                    seen.active,
                    seconds(now - absence.from.0),
                    seconds(now - *lease_end),
                );
                violations.push(Violation {
                    broken: Broken::NotRecovered,
                    task: None,
                    what,
                    proof: vec![absence.from.1, place],
                });
            }
        }
    }
    longest
}

#[allow(clippy::cast_precision_loss)] // for reading
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
