//! A full store takes nothing in and says why; what runs is settled all the same, so that it drains.

use crate::history::{Answer, Record};

use super::story::Book;
use super::violation::{Broken, Violation};

/// Windows that must have passed before it counts that nothing was settled in any: in a single one, other faults may have
/// stopped all workers.
const WINDOWS_MIN: usize = 3;

/// Appends what is broken.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) {
    let windows = windows(book);
    let within = |from: u64, until: u64| windows.iter().any(|window| window.0 <= from && until <= window.1);
    let mut broken =
        |what: String, proof| violations.push(Violation { broken: Broken::FullStore, task: None, what, proof });
    for call in &book.calls {
        let Some((at, place, answer)) = call.answer else { continue };
        if !within(call.asked.0, at) {
            continue;
        }
        let fault = match answer {
            Answer::Acknowledged => Some("a full store took tasks in".to_owned()),
            Answer::StoreFull { status, reason } | Answer::Unknown { status, reason } => {
                let known = matches!(status, 0 | 503 | 507);
                (!known || reason.is_empty())
                    .then(|| format!("a full store was answered with status {status} and the reason {reason:?}"))
            }
            Answer::Wrong { status, reason } => {
                Some(format!("a full store was answered with status {status} and the reason {reason:?}"))
            }
            Answer::Exists => None,
        };
        if let Some(what) = fault {
            broken(what, vec![call.asked.1, place]);
        }
    }
    let mut settled = 0;
    for (place, entry) in book.entries.iter().enumerate() {
        match &entry.record {
            Record::Exchanged { settled: answers, .. } if within(entry.at_us, entry.at_us) => settled += answers.len(),
            Record::Told { event, .. } if event == "succeeded" && within(entry.at_us, entry.at_us) => settled += 1,
            Record::NotExchanged { error, .. } if error.contains("full") => {
                broken(format!("a full store refused a settlement: {error}"), vec![place]);
            }
            _ => {}
        }
    }
    if windows.len() >= WINDOWS_MIN && settled == 0 {
        broken("nothing was settled while the store was full".to_owned(), Vec::new());
    }
}

/// From when until when the store was full.
fn windows(book: &Book<'_>) -> Vec<(u64, u64)> {
    let mut windows = Vec::new();
    let mut since = None;
    for entry in book.entries {
        match (&entry.record, since) {
            (Record::StoreFull { full: true }, _) => since = Some(entry.at_us),
            (Record::StoreFull { full: false }, Some(from)) => {
                windows.push((from, entry.at_us));
                since = None;
            }
            _ => {}
        }
    }
    windows
}
