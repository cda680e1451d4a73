//! The steps of which walks are made.

use tidemill_core::State;

/// How many ids a walk uses: few, so that they meet.
pub const IDS: u8 = 6;
/// How many owners a walk knows: two places, and two uids at each.
pub const OWNERS: u8 = 4;
/// How many worker processes a walk has.
pub const SLOTS: usize = 3;

/// One step of a walk. Numbers pick from what is there.
#[allow(missing_docs)] // the fields say what they pick
#[derive(Debug, Clone)]
pub enum Op {
    /// A batch of new tasks.
    Enqueue { ids: Vec<u8>, delay: Option<u8>, priority: i8 },
    /// The last batch once more, as after a lost reply.
    EnqueueAgain,
    /// A worker process starts, or registers once more.
    Register { slot: usize },
    /// An exchange, after a registration where there is none. With its reply `lost`, it is sent again next time.
    Exchange { slot: usize, ends: Vec<(u8, End)>, want: usize, lost: bool },
    /// An exchange with a wrong number.
    Skip { slot: usize, by: u64 },
    /// A sign of life, perhaps with progress of a task.
    Heartbeat { slot: usize, progress: Option<u8> },
    /// The process is gone, without a word.
    Crash { slot: usize },
    /// The process ends in good order.
    Retire { slot: usize },
    /// Cancels a task.
    Cancel { id: u8 },
    /// Runs a task again.
    Retry { id: u8 },
    /// Forgets a task.
    Delete { id: u8 },
    /// Forgets all tasks of a state.
    Purge { state: State },
    /// Holds back or grants claims.
    Pause { paused: bool },
    /// Maintenance.
    Maintain,
    /// Time passes.
    Wait { steps: u64 },
    /// The store is backed up.
    Snapshot,
    /// The store loses all since the backup.
    RollBack,
    /// Other settings, by number.
    Configure { choice: u8 },
    /// Someone asks to own the queue, perhaps instead of another.
    Own { who: u8, instead_of: Option<u8> },
    /// Someone gives the queue up.
    Disown { who: u8 },
    /// Someone drops the queue. Where that is granted, it is created anew.
    DropQueue { who: u8 },
    /// Everything is compared.
    Compare,
}

/// How an attempt ends.
#[allow(missing_docs)] // the fields say what they decide
#[derive(Debug, Clone)]
pub enum End {
    /// Well, perhaps with a result.
    Succeed { result: bool },
    /// Badly, to be tried again.
    Retry { timeout: bool },
    /// For good.
    Die { timeout: bool },
    /// Given back.
    Release,
    /// No handler.
    Unserved,
    /// Stopped, as was asked.
    Cancel,
    /// The settlement of a claim that has ended already is sent, late.
    Late,
}
