//! Replays histories against the invariants, and names the first that is broken with the records that prove it.
//!
//! | invariant | checked in | how |
//! |---|---|---|
//! | 1 one state, nothing acknowledged lost | [`lives`] | each id's acknowledged requests against where it stands at the end |
//! | 2 only the claim settles | [`claims`] | accepted settlements against the claims that followed theirs, by the store's clock |
//! | 3 a claim ends once | [`claims`] | accepted settlements per token; all claims' ends against the claims counted |
//! | 4 the dead's tasks come back | [`recovery`] | how long an ended or frozen worker's incarnation is still seen after its lease |
//! | 6 nothing starts early | [`due`] | times of claims against times of intake and failure, all by the store's clock |
//! | 7 one live task per id | [`lives`] | claims of one life after the intake of the next |
//! | 8 counters equal transitions | [`counters`] | sums that must be equal in the store, and bounds that the histories give |
//! | 1, 2 and 7 again | [`announced`] | the store's own announcements, in its order |
//! | a full store refuses and drains | [`full`] | what was answered while it was full |
//!
//! What a caller never learned is left open, and no further: a request without an answer may have been carried out or not,
//! also later, but once. What a record proves holds whatever else is unknown.

pub mod announced;
pub mod claims;
pub mod counters;
pub mod due;
pub mod full;
pub mod lives;
mod reading;
pub mod recovery;
pub mod story;
pub mod violation;

use std::time::Duration;

use crate::history::Entry;
use story::Book;
pub use story::Tally;
pub use violation::{Broken, Violation};

/// What a checker found.
#[derive(Debug)]
pub struct Verdict {
    /// What is broken, the earliest first.
    pub violations: Vec<Violation>,
    /// What was accounted for.
    pub tally: Tally,
    /// How long a worker that had gone was seen at the longest, the store having been in reach.
    pub slowest_recovery: Duration,
}

/// Checks histories, in the order of time.
pub fn check(entries: &[Entry]) -> Verdict {
    let book = Book::read(entries);
    let mut violations = Vec::new();
    lives::check(&book, &mut violations);
    claims::check(&book, &mut violations);
    due::check(&book, &mut violations);
    let slowest_recovery = Duration::from_micros(recovery::check(&book, &mut violations));
    counters::check(&book, &mut violations);
    announced::check(&book, &mut violations);
    full::check(&book, &mut violations);
    violations.sort_by_key(|violation| violation.at_us(entries));
    Verdict { violations, tally: book.tally(), slowest_recovery }
}
