//! Rows and the types that they hold.

use rusqlite::Row;
use tidemill_core::{State, TaskId, TaskRef, WorkerId};
use uuid::Uuid;

use super::fault::{Fault, Outcome};

/// The bounds of a priority: what was stored beyond them would overflow a rank.
const PRIORITY_MIN: i64 = -100;
const PRIORITY_MAX: i64 = 100;

/// What an operation needs to know of a task to move it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) pk: i64,
    pub(super) id: TaskId,
    pub(super) state: State,
    pub(super) priority: i64,
    pub(super) duration_ms: u32,
    pub(super) rank: i64,
    pub(super) worker: Option<i64>,
    pub(super) counter: u64,
    pub(super) cancel: bool,
    pub(super) aside: bool,
    pub(super) failures: u32,
    pub(super) losses: u32,
    pub(super) errors: i64,
}

/// A registered incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) pk: i64,
    pub(super) id: WorkerId,
    pub(super) lost: bool,
    pub(super) active: i64,
    pub(super) number: u64,
}

/// `SELECT` of the columns that [`Task::read`] takes, then what is given.
macro_rules! select_task {
    ($rest:literal) => {
        concat!(
            "SELECT pk, id, state, priority, duration_ms, rank, worker, counter, cancel, aside, failures, losses, errors ",
            $rest
        )
    };
}
pub(super) use select_task;

impl Task {
    pub(super) fn read(row: &Row<'_>) -> Outcome<Self> {
        Ok(Self {
            pk: row.get(0)?,
            id: task_id(row)?,
            state: state(row.get(2)?)?,
            priority: row.get::<_, i64>(3)?.clamp(PRIORITY_MIN, PRIORITY_MAX),
            duration_ms: small(row.get(4)?),
            rank: row.get(5)?,
            worker: row.get(6)?,
            counter: unsigned(row.get(7)?),
            cancel: row.get(8)?,
            aside: row.get(9)?,
            failures: small(row.get(10)?),
            losses: small(row.get(11)?),
            errors: row.get(12)?,
        })
    }

    pub(super) fn reference(&self) -> TaskRef {
        TaskRef { id: self.id.clone(), duration_ms: self.duration_ms }
    }
}

impl Worker {
    /// Takes `pk, id, lost, active, number`.
    pub(super) fn read(row: &Row<'_>) -> Outcome<Self> {
        Ok(Self {
            pk: row.get(0)?,
            id: worker_id(&row.get::<_, String>(1)?),
            lost: row.get(2)?,
            active: row.get(3)?,
            number: unsigned(row.get(4)?),
        })
    }
}

/// The id in a row that begins with `pk, id`. One that is none has a stand-in, so that a damaged row can be moved out of
/// the way of the others.
fn task_id(row: &Row<'_>) -> Outcome<TaskId> {
    match TaskId::new(row.get::<_, String>(1)?) {
        Ok(id) => Ok(id),
        Err(_) => TaskId::new(format!("unreadable-{}", row.get::<_, i64>(0)?)).map_err(Fault::damaged),
    }
}

/// The id of an incarnation. One that is none is as good as that of nobody: its lease ends like any other.
pub(super) fn worker_id(text: &str) -> WorkerId {
    text.parse().unwrap_or_else(|_| WorkerId::from_uuid(Uuid::nil()))
}

/// A small count as it was stored; what does not fit is as good as the nearest that does.
pub(super) fn small(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// How a state is stored.
pub(super) fn code(state: State) -> usize {
    match state {
        State::Pending => 0,
        State::Delayed => 1,
        State::Active => 2,
        State::Retrying => 3,
        State::Succeeded => 4,
        State::Dead => 5,
        State::Cancelled => 6,
    }
}

/// What a stored state means.
pub(super) fn state(code: i64) -> Outcome<State> {
    let known = usize::try_from(code).ok().and_then(|index| State::ALL.get(index).copied());
    known.ok_or_else(|| Fault::damaged(format!("there is no state {code}")))
}

/// SQLite's integers are signed; what does not fit is as good as the largest.
pub(super) fn int(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}

/// The reverse of [`int`].
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_stored_as_its_place_among_all() {
        for (index, listed) in State::ALL.into_iter().enumerate() {
            assert_eq!(code(listed), index);
            assert_eq!(state(int(index)).unwrap(), listed);
        }
        assert!(state(7).is_err());
    }
}
