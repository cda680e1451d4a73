//! The routes of the root, on the default queue unless `?queue=` picks another.

mod declare;
mod enqueue;
mod intake;
mod schedule;
mod tasks;

pub(crate) use enqueue::{__path_enqueue, enqueue};
pub(crate) use schedule::{__path_schedule, schedule};
pub(crate) use tasks::{__path_tasks, tasks};

use serde::Deserialize;
use utoipa::IntoParams;

/// `?queue=`
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QueueParam {
    /// Another queue than the default one
    pub(crate) queue: Option<String>,
}
