//! What a checker names.

use std::fmt::Write as _;

use crate::history::Entry;

/// How an invariant is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// An acknowledged task is gone.
    Lost,
    /// A task is there that was refused or that nobody handed in.
    Phantom,
    /// A task stands in two places.
    TwoStates,
    /// A task has not ended though everything was healed.
    Unended,
    /// A task ended that nobody ran.
    NeverRan,
    /// The store forgot what it had counted.
    WentBack,
    /// A settlement was accepted of a claim that another had followed.
    SettledLate,
    /// A life of a task ended twice, or was claimed after its end.
    EndedTwice,
    /// A task was claimed while another held it.
    ClaimedTwice,
    /// A settlement was accepted by a token that was never handed out.
    ForgedToken,
    /// A claim ended twice.
    SettledTwice,
    /// A dead worker's tasks did not come back in time.
    NotRecovered,
    /// A task started before its time.
    Early,
    /// One request made two tasks.
    CreatedTwice,
    /// Two tasks of one id lived at once.
    TwoLive,
    /// A counter differs from what happened.
    CounterOff,
    /// A full store took something in, refused without a reason, or did not settle.
    FullStore,
}

impl Broken {
    /// The invariant, by its number in the project's architecture; a full store has none.
    pub fn invariant(self) -> &'static str {
        match self {
            Self::Lost | Self::Phantom | Self::TwoStates | Self::Unended | Self::NeverRan | Self::WentBack => "1",
            Self::SettledLate | Self::ClaimedTwice | Self::ForgedToken | Self::EndedTwice => "2",
            Self::SettledTwice => "3",
            Self::NotRecovered => "4",
            Self::Early => "6",
            Self::CreatedTwice | Self::TwoLive => "7",
            Self::CounterOff => "8",
            Self::FullStore => "full store",
        }
    }
}

/// An invariant that is broken, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// How.
    pub broken: Broken,
    /// The task, where it is about one.
    pub task: Option<String>,
    /// In words.
    pub what: String,
    /// The places of the records that prove it.
    pub proof: Vec<usize>,
}

/// Records that are shown of a proof; more would hide it.
const SHOWN: usize = 12;
/// Characters that are shown of a record: a batch may be long.
const SHOWN_LENGTH: usize = 600;

impl Violation {
    /// When it was first certain: the time of its last record.
    pub fn at_us(&self, entries: &[Entry]) -> u64 {
        self.proof.iter().filter_map(|place| entries.get(*place)).map(|entry| entry.at_us).max().unwrap_or(u64::MAX)
    }

    /// The violation with its proof, of batches only what is about the task. Times are seconds since the first record.
    #[allow(clippy::cast_precision_loss)] // for reading
    pub fn show(&self, entries: &[Entry]) -> String {
        let mut text = format!("invariant {} broken, {:?}: {}", self.broken.invariant(), self.broken, self.what);
        let began = entries.first().map_or(0, |first| first.at_us);
        for entry in self.proof.iter().take(SHOWN).filter_map(|place| entries.get(*place)) {
            let pruned = self.task.as_ref().map_or_else(|| entry.record.clone(), |task| entry.record.about(task));
            let mut record = serde_json::to_string(&pruned).unwrap_or_default();
            if record.len() > SHOWN_LENGTH {
                record.truncate(record.floor_char_boundary(SHOWN_LENGTH));
                record.push('…');
            }
            let at = entry.at_us.saturating_sub(began) as f64 / 1e6;
            // Writing to a string does not fail.
            let _written = write!(text, "\n  {at:>10.3} s  {:<14} {record}", entry.by);
        }
        if self.proof.len() > SHOWN {
            let _written = write!(text, "\n  and {} more", self.proof.len() - SHOWN);
        }
        text
    }
}
