//! `sleep`: waits, and succeeds. What `POST /schedule` schedules.

use std::time::Duration;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use tidemill_core::policy::DURATION_MS_MAX;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, Output, async_trait};
use tokio::time::{Instant, sleep, sleep_until};

use crate::BuiltIn;

/// How often a sleep says how far it is, at most: as often as heartbeats take it along.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "sleep",
    summary: "Waits for so many milliseconds, and succeeds: what `POST /schedule` schedules.",
    doc: "A duration of more than 24 hours is a permanent error. A cancelled sleep ends at once. It leaves no result.",
    example: r#"{"duration_ms": 1000}"#,
    payload: || schema_for!(Payload),
    add: |registry, _| Ok(registry.add("sleep", Sleep).map(drop)?),
};

/// Waits for the payload's `duration_ms`, and ends early when it is cancelled.
#[derive(Debug, Clone, Copy)]
pub struct Sleep;

#[derive(Deserialize, JsonSchema)]
struct Payload {
    /// How long, in milliseconds: 24 hours at most.
    #[schemars(range(max = DURATION_MS_MAX))]
    duration_ms: u32,
}

#[async_trait]
impl Handler for Sleep {
    async fn run(&self, cx: Context) -> HandlerResult {
        let Payload { duration_ms } = cx.payload()?;
        if duration_ms > DURATION_MS_MAX {
            let why = format!("payload.duration_ms: {duration_ms} is more than {DURATION_MS_MAX} (24 hours)");
            return Err(HandlerError::permanent(why));
        }
        let began = Instant::now();
        let end = began + Duration::from_millis(duration_ms.into());
        loop {
            tokio::select! {
                biased;
                () = sleep_until(end) => return Ok(Output::NONE),
                () = cx.cancelled() => return Err(HandlerError::transient("told to end before the time was up")),
                () = sleep(REPORT_EVERY) => cx.progress(percent(began.elapsed(), duration_ms), ""),
            }
        }
    }
}

fn percent(elapsed: Duration, duration_ms: u32) -> u8 {
    let percent = elapsed.as_millis() * 100 / u128::from(duration_ms.max(1));
    u8::try_from(percent).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_share_of_the_duration_and_never_more_than_all() {
        assert_eq!(percent(Duration::from_millis(500), 2_000), 25);
        assert_eq!(percent(Duration::from_secs(9), 2_000), 100);
        assert_eq!(percent(Duration::ZERO, 0), 0);
    }
}
