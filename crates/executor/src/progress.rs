//! How far the running tasks say they are: the latest word of each, until the next heartbeat takes it along.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemill_core::{Progress, TaskId};

/// Longest message of a progress report, in bytes; a longer one is cut at a character.
const MESSAGE_MAX: usize = 256;

/// Bounded by the number of running tasks, since an entry leaves with its task.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<HashMap<TaskId, Progress>>);

impl Board {
    pub(crate) fn report(&self, task: &TaskId, percent: u8, message: &str) {
        let message = message[..message.floor_char_boundary(MESSAGE_MAX)].to_owned();
        self.lock().insert(task.clone(), Progress { percent: percent.min(100), message });
    }

    /// What is new since the last call.
    pub(crate) fn take(&self) -> Vec<(TaskId, Progress)> {
        self.lock().drain().collect()
    }

    /// Gives back what could not be sent, where there is nothing newer.
    pub(crate) fn put_back(&self, unsent: Vec<(TaskId, Progress)>) {
        let mut board = self.lock();
        for (task, progress) in unsent {
            if let Entry::Vacant(place) = board.entry(task) {
                place.insert(progress);
            }
        }
    }

    pub(crate) fn forget(&self, task: &TaskId) {
        let mut board = self.lock();
        if !board.is_empty() {
            board.remove(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_word_of_a_task_is_sent_and_an_unsent_one_never_replaces_it() {
        let board = Board::default();
        let task = TaskId::new("a").unwrap();
        board.report(&task, 10, "first");
        board.report(&task, 250, "second");
        let unsent = board.take();
        assert_eq!(unsent, [(task.clone(), Progress { percent: 100, message: "second".to_owned() })]);
        board.report(&task, 30, "third");
        board.put_back(unsent);
        assert_eq!(board.take()[0].1.message, "third");
    }
}
