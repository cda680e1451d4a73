//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at. What is asked is a program each time, on a machine with little to spare.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Looks until `condition` answers with a value, and fails with its last complaint when `limit` has passed.
#[track_caller]
pub(crate) fn until<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match condition() {
            Ok(value) => return value,
            Err(complaint) if Instant::now() > deadline => panic!("{what}: not within {limit:?}; at last: {complaint}"),
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// `Ok` where `holds`, else the complaint.
pub(crate) fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}
