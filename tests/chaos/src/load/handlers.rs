//! The task types of this harness: tasks that fail, panic, take their time or too much of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::{Context, HandlerError, HandlerResult, Output, Registry, RegistryError};
use tokio::time::sleep;

use crate::history::record::life;
use crate::history::{Record, Writer};

/// The type of tasks that only this harness's workers do.
pub const WORK: &str = "work";
/// The type of tasks that the program's workers do as well.
pub const SLEEP: &str = "sleep";

/// What a task of type [`WORK`] is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Tells this request for the id from others.
    pub life: String,
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// How many attempts fail first.
    #[serde(default)]
    pub fails: u32,
    /// How they fail.
    #[serde(default)]
    pub how: How,
    /// Ballast.
    #[serde(default)]
    pub pad: String,
}

/// How an attempt fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// In a way that may be mended.
    #[default]
    Transient,
    /// For good.
    Permanent,
    /// By a panic.
    Panic,
}

#[derive(Deserialize)]
struct Nap {
    duration_ms: u64,
}

/// The handlers of this harness, which write down that they began.
pub fn registry(history: &Writer) -> Result<Registry, RegistryError> {
    let mut registry = Registry::new();
    let of_work = history.clone();
    registry.add(WORK, move |cx: Context| work(cx, of_work.clone()))?;
    let of_sleep = history.clone();
    registry.add(SLEEP, move |cx: Context| nap(cx, of_sleep.clone()))?;
    Ok(registry)
}

fn began(cx: &Context, history: &Writer) {
    history.note(&Record::Started {
        queue: cx.queue().to_string(),
        task: cx.task().to_string(),
        life: life(cx.payload_bytes()),
        attempt: cx.attempt(),
    });
}

#[allow(clippy::panic)] // a handler that panics is one of the cases
async fn work(cx: Context, history: Writer) -> HandlerResult {
    began(&cx, &history);
    let work: Work = cx.payload()?;
    rest(&cx, work.ms).await?;
    if cx.attempt() > work.fails {
        return Ok(Output::NONE);
    }
    match work.how {
        How::Transient => Err(HandlerError::transient("as it was told to: 失敗 \"once more\"\n")),
        How::Permanent => Err(HandlerError::permanent("as it was told to, for good")),
        How::Panic => panic!("as it was told to"),
    }
}

async fn nap(cx: Context, history: Writer) -> HandlerResult {
    began(&cx, &history);
    let Nap { duration_ms } = cx.payload()?;
    rest(&cx, duration_ms).await?;
    Ok(Output::NONE)
}

async fn rest(cx: &Context, ms: u64) -> Result<(), HandlerError> {
    tokio::select! {
        () = sleep(Duration::from_millis(ms)) => Ok(()),
        () = cx.cancelled() => Err(HandlerError::transient("it was stopped")),
    }
}
