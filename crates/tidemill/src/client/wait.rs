//! Waiting for a task to end.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, ClientError, TaskInfo, Ticket};

/// The pause after the first look: most tasks that are waited for are short.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// What a look at the task gets at least, also at the end of a patience.
const LEAST_LOOK: Duration = Duration::from_secs(1);
/// The longest pause: one who waits long may learn of the end a second late.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Client {
    /// Waits until the task has ended, however, for at most `patience` (and a second for the last look). It looks often at first and then once a second; a
    /// server that is away meanwhile is asked again.
    pub async fn wait(&self, ticket: &Ticket, patience: Duration) -> Result<TaskInfo, ClientError> {
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = patience.saturating_sub(began.elapsed()).max(LEAST_LOOK);
            let seen = timeout(left, self.get(ticket)).await.unwrap_or_else(|_| Err(self.mute()));
            let left = patience.saturating_sub(began.elapsed());
            match seen {
                Ok(Some(task)) if task.has_ended() => return Ok(task),
                Ok(Some(task)) if left.is_zero() => {
                    return Err(ClientError::Late { id: task.id, waited: patience, state: task.state });
                }
                Ok(None) => return Err(ClientError::Unknown(ticket.id.clone())),
                Err(error) if left.is_zero() || !error.is_transient() => return Err(error),
                Ok(Some(_)) | Err(_) => {}
            }
            sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits until the task has succeeded, for at most `patience`, and gives its result.
    pub async fn result<T: DeserializeOwned>(&self, ticket: &Ticket, patience: Duration) -> Result<T, ClientError> {
        self.wait(ticket, patience).await?.into_result()
    }
}
