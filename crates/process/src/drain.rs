//! What is said at the end: what became of the tasks that were in hand.

use tidemill_executor::Report;

/// Most tasks that are named; of more, the number is enough.
const NAMED: usize = 20;

/// The last words of an executor.
pub fn tell(report: &Report) {
    let Report { settled, released, unsettled } = report;
    if unsettled.is_empty() {
        tracing::info!(settled, released, "stopped: what ran has ended or went back to the queue");
        return;
    }
    let names: Vec<&str> = unsettled.iter().take(NAMED).map(tidemill_core::TaskId::as_str).collect();
    tracing::warn!(
        settled,
        released,
        unsettled = unsettled.len(),
        tasks = names.join(","),
        "stopped: of some tasks the broker could not be told; they run again once their lease has ended",
    );
}
