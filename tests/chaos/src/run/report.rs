//! What a run prints when it is over.

use std::fmt::Write as _;
use std::time::Duration;

use super::plan::{Kind, by_kind};
use crate::checker::{Tally, Verdict};
use crate::history::Entry;

/// What a run came to.
#[derive(Debug)]
pub struct Report<'a> {
    /// All records.
    pub entries: &'a [Entry],
    /// What the checker found.
    pub verdict: &'a Verdict,
    /// The faults that happened.
    pub faults: &'a [Kind],
    /// Those of the plan that could not be done, and why.
    pub left_out: &'a [String],
    /// Processes that ended though nobody had ordered it, and other trouble of the harness.
    pub trouble: &'a [String],
    /// How long faults went on.
    pub duration: Duration,
}

/// Violations that are shown; the first matters most.
const SHOWN: usize = 5;

impl Report<'_> {
    /// Whether nothing is broken, and the harness itself did its work.
    pub fn is_clean(&self) -> bool {
        self.verdict.violations.is_empty() && self.trouble.is_empty() && self.verdict.tally.acknowledged > 0
    }

    /// The report for people.
    #[allow(clippy::cast_precision_loss)] // for reading
    pub fn show(&self) -> String {
        let Tally { acknowledged, open, started, ended, retried, lost_claims, refused, retired } = self.verdict.tally;
        let mut text = String::new();
        let kinds = by_kind(self.faults.iter().copied());
        line(&mut text, &format!("{} faults of {} kinds", self.faults.len(), kinds.len()));
        for (kind, count) in &kinds {
            line(&mut text, &format!("  {kind:<14} {count:>4}"));
        }
        for left_out in self.left_out {
            line(&mut text, &format!("  left out: {left_out}"));
        }
        let rate = ended as f64 / self.duration.as_secs_f64().max(1.0);
        line(&mut text, &format!("tasks acknowledged   {acknowledged:>9}"));
        line(&mut text, &format!("     of open outcome {open:>9}"));
        line(&mut text, &format!("     ended           {ended:>9}  ({rate:.0} a second)"));
        line(&mut text, &format!("attempts begun       {started:>9}"));
        line(&mut text, &format!("     retried         {retried:>9}"));
        line(&mut text, &format!("claims lost          {lost_claims:>9}"));
        let recovery = self.verdict.slowest_recovery.as_secs_f64();
        line(&mut text, &format!("     back after, most {recovery:>8.1} s"));
        line(&mut text, &format!("settlements refused  {:>9}", refused + retired));
        line(&mut text, &format!("     with their worker {retired:>7}"));
        line(&mut text, &format!("records              {:>9}", self.entries.len()));
        for trouble in self.trouble {
            line(&mut text, &format!("trouble: {trouble}"));
        }
        let violations = &self.verdict.violations;
        for violation in violations.iter().take(SHOWN) {
            line(&mut text, &violation.show(self.entries));
        }
        if violations.len() > SHOWN {
            line(&mut text, &format!("and {} more", violations.len() - SHOWN));
        }
        let lost = violations.iter().filter(|violation| violation.broken == crate::checker::Broken::Lost).count();
        let broken = violations.len() - lost;
        line(&mut text, &format!("{lost} acknowledged tasks lost, {broken} invariants broken"));
        text
    }
}

fn line(text: &mut String, words: &str) {
    // Writing to a string does not fail.
    let _written = writeln!(text, "{words}");
}
