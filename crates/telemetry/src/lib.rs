//! Logs and metrics of Tidemill.
//!
//! ```text
//!   tracing events ──► format (text | json) ──► LineQueue ──► thread ──► stderr
//!                 └──► format (text | json) ──► LineQueue ──► thread ──► RotatedFile
//! ```
//!
//! [`logs`] sets that up. Each [`queue`] is bounded and never waits: where its sink is slow or full, lines are dropped and
//! counted, and the program goes on. [`rotate`] is the file, [`metrics`] the registry. [`task_log`] is the one place from which the transitions of
//! tasks are logged, so that each has one line with the same fields whichever process makes it.
//!
//! This crate knows what a task is called (from `tidemill-core`) and nothing of how it is kept or run.

pub mod logs;
pub mod metrics;
pub mod queue;
pub mod rotate;
pub mod task_log;

pub use logs::{LogError, LogFormat, LogOptions, Logs};
