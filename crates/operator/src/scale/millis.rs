//! Durations as whole milliseconds, in memory and in a status.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// The largest whole number that every JSON reader keeps as it is.
pub(super) const PLAIN_MAX: u64 = (1 << 53) - 1;

/// `duration` in whole milliseconds.
pub(super) fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `number`, as far as every JSON reader keeps it.
pub(super) fn plain(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(PLAIN_MAX).min(PLAIN_MAX)
}

#[allow(clippy::ref_option)] // the form that serde calls
pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&plain(duration.as_millis())),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}
