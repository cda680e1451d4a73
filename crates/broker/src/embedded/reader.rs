//! Reading, beside the writer: a few read-only connections, each used on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::database::Directory;
use super::fault::Outcome;
use super::writer::OPERATION_DEADLINE;
use crate::error::{BrokerError, Result};

/// Reads at a time. They are short; more callers wait for their turn.
const READERS: usize = 4;

/// The connections that nobody uses at the moment.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(directory: &Directory) -> Result<Arc<Self>> {
        let idle = (0..READERS).map(|_| directory.open_reader()).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Self { idle: Mutex::new(idle), turns: Arc::new(Semaphore::new(READERS)) }))
    }

    /// Runs `body` on what was committed last; all that it reads is of one moment.
    pub(super) async fn read<T, F>(self: &Arc<Self>, operation: &'static str, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Outcome<T> + Send + 'static,
    {
        let unavailable = |reason: &str| BrokerError::Unavailable { operation, reason: reason.to_owned() };
        let reading = async {
            let turn = self.turns.clone().acquire_owned().await.map_err(|_| unavailable("it is closed"))?;
            let readers = self.clone();
            let task = tokio::task::spawn_blocking(move || {
                let result = readers.read_blocking(operation, body);
                drop(turn);
                result
            });
            task.await.map_err(|error| unavailable(&error.to_string()))?
        };
        tokio::time::timeout(OPERATION_DEADLINE, reading).await.map_err(|_| unavailable("the disk did not keep up"))?
    }

    /// Ends all reading.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle().clear();
    }

    fn read_blocking<T>(&self, operation: &'static str, body: impl FnOnce(&Connection) -> Outcome<T>) -> Result<T> {
        let Some(connection) = self.idle().pop() else {
            return Err(BrokerError::Unavailable { operation, reason: "it is closed".to_owned() });
        };
        let result = in_one_moment(&connection, body).map_err(|fault| fault.into_error(operation));
        if !self.turns.is_closed() {
            self.idle().push(connection);
        }
        result
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_one_moment<T>(connection: &Connection, body: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
    let transaction = connection.unchecked_transaction()?;
    let value = body(&transaction)?;
    transaction.finish()?;
    Ok(value)
}
