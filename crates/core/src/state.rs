//! The states of a task, and the only moves between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where a task stands. A task that the store knows is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not due yet.
    Delayed,
    /// Waits for a free slot.
    Pending,
    /// Claimed by a worker.
    Active,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Ended badly: retries spent, a permanent error, or lost too often. Can be retried by hand.
    Dead,
    /// Ended because someone asked for it.
    Cancelled,
}

/// What moves a task from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transition {
    /// Its time has come.
    Promote,
    /// A worker takes it.
    Claim,
    /// Its attempt ended well.
    Succeed,
    /// Its attempt failed or timed out and will be repeated.
    Retry,
    /// Its attempt failed for good, or its worker was lost once too often.
    Die,
    /// Its worker gave it back, at no cost.
    Release,
    /// No type of this worker's: it waits a moment for a worker that serves it.
    SetAside,
    /// Its worker was lost.
    Lose,
    /// Someone cancelled it.
    Cancel,
    /// Someone wants it run again, or now.
    Requeue,
}

impl State {
    /// Every state, in the order in which people read them.
    pub const ALL: [State; 7] = [
        State::Pending,
        State::Delayed,
        State::Active,
        State::Retrying,
        State::Succeeded,
        State::Dead,
        State::Cancelled,
    ];

    /// The word that names the state everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Delayed => "delayed",
            State::Pending => "pending",
            State::Active => "active",
            State::Retrying => "retrying",
            State::Succeeded => "succeeded",
            State::Dead => "dead",
            State::Cancelled => "cancelled",
        }
    }

    /// Whether the task will still run or runs: its id cannot be used again yet.
    pub fn is_live(self) -> bool {
        matches!(self, State::Delayed | State::Pending | State::Active | State::Retrying)
    }

    /// The state that `transition` leads to, or `None` where there is no such move.
    pub fn after(self, transition: Transition) -> Option<State> {
        use State::{Active, Cancelled, Dead, Delayed, Pending, Retrying, Succeeded};
        match (self, transition) {
            (Delayed | Retrying, Transition::Promote | Transition::Requeue)
            | (Active, Transition::Release | Transition::Lose)
            | (Dead | Cancelled, Transition::Requeue) => Some(Pending),
            (Pending, Transition::Claim) => Some(Active),
            (Active, Transition::Succeed) => Some(Succeeded),
            (Active, Transition::Retry) => Some(Retrying),
            (Active, Transition::SetAside) => Some(Delayed),
            (Active, Transition::Die) => Some(Dead),
            (Delayed | Pending | Active | Retrying, Transition::Cancel) => Some(Cancelled),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state {0:?}; a state is one of pending, delayed, active, retrying, succeeded, dead, cancelled")]
pub struct UnknownState(pub String);

impl FromStr for State {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        State::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_task_moves_only_by_being_requeued() {
        for state in State::ALL.into_iter().filter(|state| !state.is_live()) {
            for transition in [Transition::Promote, Transition::Claim, Transition::Succeed, Transition::Cancel] {
                assert_eq!(state.after(transition), None, "{state} {transition:?}");
            }
        }
        assert_eq!(State::Dead.after(Transition::Requeue), Some(State::Pending));
        assert_eq!(State::Succeeded.after(Transition::Requeue), None);
    }

    #[test]
    fn only_an_active_task_succeeds() {
        for state in State::ALL {
            assert_eq!(state.after(Transition::Succeed).is_some(), state == State::Active);
        }
    }

    #[test]
    fn a_state_reads_the_word_that_it_writes() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse::<State>(), Ok(state));
        }
        assert!("running".parse::<State>().is_err());
    }
}
