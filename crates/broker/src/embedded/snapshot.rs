//! The whole database as it was at some moment, to test what a store does that lost its last writes.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::fault::{Fault, Outcome};
use super::store::Store;

/// All pages at once.
const ALL_PAGES: i32 = -1;

/// A copy of the database, in memory.
#[derive(Debug, Clone)]
pub struct Snapshot {
    copy: Arc<Mutex<Connection>>,
}

impl Store {
    pub(super) fn snapshot(&self) -> Outcome<Snapshot> {
        let mut copy = Connection::open_in_memory()?;
        copy_all(&self.connection, &mut copy)?;
        Ok(Snapshot { copy: Arc::new(Mutex::new(copy)) })
    }

    /// Puts the database back. Watchers are told of a gap; the clock stays.
    pub(super) fn restore(&mut self, snapshot: &Snapshot) -> Outcome<()> {
        let copy = snapshot.copy.lock().unwrap_or_else(PoisonError::into_inner);
        self.connection.flush_prepared_statement_cache();
        copy_all(&copy, &mut self.connection)?;
        self.reload()?;
        for (name, shared) in self.hub.all() {
            shared.publish_gap();
            if super::store::load(&self.connection, &name)?.is_none() {
                self.hub.forget(&name);
            }
        }
        Ok(())
    }
}

fn copy_all(from: &Connection, to: &mut Connection) -> Outcome<()> {
    match Backup::new(from, to)?.step(ALL_PAGES)? {
        StepResult::Done => Ok(()),
        other => Err(Fault::damaged(format!("the copy ended with {other:?}"))),
    }
}
