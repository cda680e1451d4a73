//! Waiting until replicas have what was written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tidemill_core::QueueName;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::keys::key;
use crate::connect::Durability;
use crate::error::BrokerError;

/// Writes what changes nothing. `WAIT` waits for what its own connection wrote last; a request that is repeated on another
/// connection than at first writes nothing there, though what it wrote the first time may still be on its way.
const TOUCH: &str = "#!lua flags=allow-oom\nif redis.call('HEXISTS', KEYS[1], 'settings') == 1 then redis.call('HINCRBY', KEYS[1], 'event', 0) end";
/// The least time that replicas get, at the end of an operation that took long.
const LEAST: Duration = Duration::from_millis(10);

/// Who waits for replicas on one connection. One wait serves all whose writes were answered before it began; what is
/// written while it lasts goes into the next.
#[derive(Debug, Default)]
pub(super) struct Witness {
    written: AtomicU64,
    confirmed: Mutex<Confirmed>,
}

#[derive(Debug, Default)]
struct Confirmed {
    /// How many of `written` the last wait covered.
    covered: u64,
    /// How many replicas had them.
    replicas: u64,
}

impl Witness {
    /// Waits until `durability.replicas` have all that was written for `queue` on `connection`, at most until it
    /// times out or the operation's `deadline` has come.
    pub(super) async fn confirm(
        &self,
        connection: &mut MultiplexedConnection,
        operation: &'static str,
        queue: &QueueName,
        durability: Durability,
        deadline: Instant,
    ) -> Result<(), BrokerError> {
        let wanted = u64::from(durability.replicas);
        let mine = self.written.fetch_add(1, Ordering::AcqRel) + 1;
        let mut confirmed = self.confirmed.lock().await;
        if confirmed.covered < mine {
            let all = self.written.load(Ordering::Acquire);
            let patience = durability.timeout.min(deadline.saturating_duration_since(Instant::now())).max(LEAST);
            let mut commands = redis::pipe();
            commands.cmd("EVAL").arg(TOUCH).arg(1).arg(key(queue, "meta")).ignore();
            commands.cmd("WAIT").arg(wanted).arg(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX));
            let (replicas,): (u64,) = commands.query_async(connection).await.map_err(|error| {
                let reason = format!("written, but whether {wanted} replicas have it is not known ({error}): {REPEAT}");
                BrokerError::Unavailable { operation, reason }
            })?;
            *confirmed = Confirmed { covered: all, replicas };
        }
        if confirmed.replicas < wanted {
            let has = confirmed.replicas;
            let reason = format!("written, but only {has} of {wanted} replicas have it: {REPEAT}");
            return Err(BrokerError::Unavailable { operation, reason });
        }
        Ok(())
    }
}

/// What a caller does who was not told that its write is safe.
const REPEAT: &str = "repeat it with the same request id";
