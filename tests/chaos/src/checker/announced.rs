//! Invariants 1, 2 and 7 once more, as the store itself announced what happened: in its own order, past all faults.
//!
//! Of one id, an intake, its starts and its one end follow each other. Where announcements are missing (the store was away)
//! nothing is known of any id until it is announced again.

use std::collections::HashMap;

use crate::history::Record;
use crate::history::record::Announcement;

use super::story::Book;
use super::violation::{Broken, Violation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Lives,
    Over,
}

/// Appends what is broken.
pub fn check(book: &Book<'_>, violations: &mut Vec<Violation>) {
    let mut known: HashMap<&str, HashMap<&str, (Life, usize)>> = HashMap::new();
    for (place, entry) in book.entries.iter().enumerate() {
        match &entry.record {
            Record::Gap { queue } => {
                known.remove(queue.as_str());
            }
            Record::Announced { queue, announced, .. } => {
                let known = known.entry(queue).or_default();
                for (task, announcement) in announced {
                    let before = known.get(task.as_str()).copied();
                    let (after, broken, what) = match announcement {
                        Announcement::Scheduled => (Life::Lives, Broken::TwoLive, "taken in while it lived"),
                        Announcement::Started => (Life::Lives, Broken::EndedTwice, "started after its end"),
                        Announcement::Ended => (Life::Over, Broken::EndedTwice, "ended after its end"),
                    };
                    let forbidden = if *announcement == Announcement::Scheduled { Life::Lives } else { Life::Over };
                    if let Some((_, earlier)) = before.filter(|(life, _)| *life == forbidden) {
                        let what = format!("task {task:?} of queue {queue} was announced as {what}");
                        let (task, proof) = (Some(task.clone()), vec![earlier, place]);
                        violations.push(Violation { broken, task, what, proof });
                    }
                    known.insert(task, (after, place));
                }
            }
            _ => {}
        }
    }
}
