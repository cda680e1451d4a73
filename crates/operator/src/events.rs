//! Kubernetes Events: every change of mind, told to whoever runs `kubectl describe`.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::crd::TaskQueue;

/// Who reports.
const CONTROLLER: &str = "tidemill.dev/operator";
/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1_000;

/// Tells Events. One for the whole process: it folds repetitions into a series.
pub struct Events {
    recorder: Recorder,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// Whether someone should look.
    pub warning: bool,
    /// In one word.
    pub reason: String,
    /// What was done: Events of the same reason and action are folded into one, under the note of the first.
    pub action: String,
    /// In one sentence.
    pub note: String,
}

impl Happened {
    /// As it should be.
    pub fn normal(reason: &str, note: String) -> Self {
        Self { warning: false, reason: reason.to_owned(), action: reason.to_owned(), note }
    }

    /// Someone should look.
    pub fn warning(reason: &str, note: String) -> Self {
        Self { warning: true, ..Self::normal(reason, note) }
    }
}

impl Events {
    /// Tells as `identity`.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter = Reporter { controller: CONTROLLER.to_owned(), instance: Some(identity.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells what happened to `task_queue`. An Event that cannot be written is logged: it never stops the work.
    pub async fn tell(&self, task_queue: &TaskQueue, happened: &Happened) {
        let mut note = happened.note.clone();
        while note.len() > NOTE_MAX {
            note.pop();
        }
        let event = Event {
            type_: if happened.warning { EventType::Warning } else { EventType::Normal },
            reason: happened.reason.clone(),
            note: Some(note),
            action: happened.action.clone(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &task_queue.object_ref(&())).await {
            tracing::warn!(%error, reason = happened.reason.as_str(), "an Event cannot be written");
        }
    }
}
