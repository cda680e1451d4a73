//! What a queue grants its tasks: priority, retries and their spacing, time to run, and how long the ended are kept.

use serde::{Deserialize, Serialize};

/// Most retries that a task may ask for. With the longest default backoff that is a week of trying.
pub const RETRIES_MAX: u16 = 1000;
/// Longest time that a task may ask to run, in milliseconds: 7 days.
pub const TIMEOUT_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Longest duration that a task may declare, in milliseconds: 24 hours.
pub const DURATION_MS_MAX: u32 = 24 * 3_600_000;
/// How far ahead a task may be scheduled, in milliseconds: 366 days.
pub const DELAY_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// −100 (last) to 100 (first); 0 is usual. A higher one is claimed first, whatever came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Priority(i8);

/// A number that is no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("priority {0} is out of bounds; a priority is a whole number from -100 to 100")]
pub struct PriorityError(pub i64);

impl Priority {
    /// The usual priority, 0.
    pub const NORMAL: Priority = Priority(0);

    /// Checks `value`.
    pub fn new(value: i64) -> Result<Self, PriorityError> {
        i8::try_from(value).ok().filter(|v| (-100..=100).contains(v)).map(Self).ok_or(PriorityError(value))
    }

    /// The number.
    pub fn get(self) -> i8 {
        self.0
    }
}

impl TryFrom<i64> for Priority {
    type Error = PriorityError;
    fn try_from(value: i64) -> Result<Self, Self::Error> {
        Self::new(value)
    }
}

impl From<Priority> for i64 {
    fn from(priority: Priority) -> i64 {
        i64::from(priority.0)
    }
}

/// How long to wait before a retry: exponential, with full jitter, capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// Upper bound of the wait before the first retry, in milliseconds; it doubles with each failure.
    pub initial_ms: u32,
    /// Cap of that bound, in milliseconds.
    pub max_ms: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial_ms: 1_000, max_ms: 600_000 }
    }
}

impl Backoff {
    /// The wait after the `failures`-th failure (from 1), in milliseconds: `unit` (0 ≤ unit < 1, drawn by the caller) of
    /// `min(max_ms, initial_ms × 2^(failures−1))`.
    ///
    /// Full jitter spreads retries evenly: a thousand tasks that failed together do not come back together.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // unit is in 0..1 and the bound fits 32 bits
    pub fn delay_ms(&self, failures: u32, unit: f64) -> u64 {
        let doublings = failures.saturating_sub(1).min(32);
        let bound = (u64::from(self.initial_ms) << doublings).min(u64::from(self.max_ms));
        (f64::from(bound as u32) * unit.clamp(0.0, 1.0)) as u64
    }
}

/// How many ended tasks of a kind are kept, and for how long. Whichever bound is met first forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// At most so many; 0 keeps none.
    pub count: u32,
    /// At most so long, in seconds.
    pub age_s: u32,
}

/// What is kept of tasks that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Tasks that succeeded.
    pub succeeded: Keep,
    /// Dead letters.
    pub dead: Keep,
    /// Tasks that were cancelled.
    pub cancelled: Keep,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY_S: u32 = 24 * 3600;
        Self {
            succeeded: Keep { count: 10_000, age_s: 3_600 },
            dead: Keep { count: 100_000, age_s: 90 * DAY_S },
            cancelled: Keep { count: 10_000, age_s: DAY_S },
        }
    }
}

/// A queue's defaults and bounds. They live on the broker, so that every process enforces the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Retries of a task that names none.
    pub retries: u16,
    /// Spacing of retries.
    pub backoff: Backoff,
    /// Time that an attempt of a task may take which names none, in milliseconds.
    pub timeout_ms: u64,
    /// What is kept of ended tasks.
    pub retention: Retention,
    /// Most live tasks; an enqueue beyond is refused.
    pub max_tasks: u64,
    /// Largest payload, in bytes.
    pub max_payload_bytes: u32,
    /// How long a worker keeps its claims without a heartbeat, in milliseconds (of the store's clock).
    pub lease_ms: u32,
    /// How many lost workers end a task as dead.
    pub loss_limit: u32,
}

/// A queue is maintained about every second; a pause of less than this says nothing.
const MAINTENANCE_PAUSE_MS: u64 = 2_000;

impl QueueSettings {
    /// After how long without maintenance the store counts as having been away, in milliseconds.
    ///
    /// A lease that is renewed three times in its length has two thirds left at least when an outage begins: before
    /// those are over, nobody's lease can have ended by the outage alone. (A lease of under three seconds leaves no
    /// room between that and the usual pause.)
    pub fn outage_ms(&self) -> u64 {
        let lease_ms = u64::from(self.lease_ms);
        (lease_ms * 2 / 3).max(lease_ms.min(MAINTENANCE_PAUSE_MS))
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            retries: 0,
            backoff: Backoff::default(),
            timeout_ms: 3_600_000,
            retention: Retention::default(),
            max_tasks: 10_000_000,
            max_payload_bytes: 1 << 20,
            lease_ms: 10_000,
            loss_limit: 5,
        }
    }
}

/// From so many losses on, a task runs alone in its worker, so that its neighbours don't die with it.
pub const LOSSES_BEFORE_ALONE: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backoff_doubles_up_to_its_cap_and_never_exceeds_it() {
        let backoff = Backoff { initial_ms: 100, max_ms: 1_000 };
        let bounds: Vec<u64> = (1..=6).map(|n| backoff.delay_ms(n, 1.0)).collect();
        assert_eq!(bounds, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.delay_ms(u32::MAX, 0.999_999), 999);
        assert_eq!(backoff.delay_ms(3, 0.0), 0);
    }

    #[test]
    fn an_outage_is_told_from_a_pause_before_a_healthy_lease_can_end() {
        let outage_ms = |lease_ms| QueueSettings { lease_ms, ..QueueSettings::default() }.outage_ms();
        assert_eq!([1_000, 2_500, 3_000, 10_000, u32::MAX].map(outage_ms), [1_000, 2_000, 2_000, 6_666, 2_863_311_530]);
    }

    #[test]
    fn a_priority_out_of_bounds_is_refused_in_words() {
        assert_eq!(Priority::new(100).unwrap().get(), 100);
        assert_eq!(
            Priority::new(101).unwrap_err().to_string(),
            "priority 101 is out of bounds; a priority is a whole number from -100 to 100"
        );
    }
}
