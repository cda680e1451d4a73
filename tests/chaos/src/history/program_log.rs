//! The program's own log as a history: one line for each transition that it made.
//!
//! The program hands lines to a thread that writes them, so that `kill -9` may cost the last ones: what such a log does not
//! tell may have happened all the same. What it tells did happen.

use std::sync::Arc;

use serde::Deserialize;

use super::read::Entry;
use super::record::Record;

/// How the name of such a log ends.
pub const SUFFIX: &str = "log";
/// The target of lines about tasks.
const TARGET: &str = "tidemill::task";

#[derive(Deserialize)]
struct Line {
    timestamp: String,
    target: String,
    event: Option<String>,
    queue: Option<String>,
    task: Option<String>,
    claim: Option<String>,
    attempt: Option<u32>,
    ran_ms: Option<u64>,
    error: Option<String>,
}

/// Appends what `log` tells of tasks. `skew_ms` is by how much its writer's clock was ahead.
pub fn read(log: &str, by: &Arc<str>, skew_ms: i64, entries: &mut Vec<Entry>) {
    for line in log.lines().filter(|line| line.contains(TARGET)) {
        let Ok(line) = serde_json::from_str::<Line>(line) else { continue };
        let Line { timestamp, target, event, queue, task, claim, attempt, ran_ms, error } = line;
        let (TARGET, Some(told_ms), Some(event), Some(queue), Some(task)) =
            (target.as_str(), millis(&timestamp), event, queue, task)
        else {
            continue;
        };
        let at_us = told_ms.saturating_add_signed(-skew_ms) * 1_000;
        let record = Record::Told { queue, task, event, token: claim, attempt, ran_ms, error };
        entries.push(Entry { at_us, by: Arc::clone(by), record });
    }
}

/// `2026-11-22T02:00:00.000Z` in milliseconds since the Unix epoch.
fn millis(timestamp: &str) -> Option<u64> {
    let time = timestamp.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_tasks_are_read_and_their_clock_is_put_right() {
        let log = concat!(
            r#"{"timestamp":"2026-11-22T02:00:01.250Z","level":"INFO","event":"started","queue":"q","task":"a\"b","attempt":1,"claim":"c0:7","target":"tidemill::task"}"#,
            "\n",
            r#"{"timestamp":"2026-11-22T02:00:01.250Z","level":"INFO","message":"tidemill::task","target":"tidemill_executor"}"#,
            "\n{\"timestamp\":\"2026",
        );
        let mut entries = Vec::new();
        read(log, &Arc::from("w"), 250, &mut entries);
        let [Entry { at_us, record: Record::Told { task, event, token, .. }, .. }] = &entries[..] else {
            panic!("{entries:?}")
        };
        assert_eq!((at_us % 60_000_000, task.as_str(), event.as_str()), (1_000_000, "a\"b", "started"));
        assert_eq!(token.as_deref(), Some("c0:7"));
    }
}
