//! What is to be done: tasks of all sorts, those who hand them in, and those who do them.

pub mod direct;
pub mod handlers;
pub mod http;
pub mod stop;
pub mod tasks;
pub mod worker;

/// The queue that the API serves, whose tasks the program's workers and this harness's run together.
pub const SHARED: &str = "shared";
/// The queue whose tasks this harness's workers run alone, so that every claim is written down.
pub const TOLD: &str = "told";
