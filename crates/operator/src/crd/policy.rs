//! What happens at the end.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the queue's tasks when the TaskQueue is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// They stay on the broker; a TaskQueue of the same name takes them up again.
    #[default]
    Retain,
    /// They are forgotten, with all that is known of the queue.
    Purge,
}
