//! Logs, metrics and traces of Tidemill.
//!
//! ```text
//!   tracing events ──► format (text | json) ──► LineQueue ──► thread ──► stderr
//!                 └──► format (text | json) ──► LineQueue ──► thread ──► RotatedFile
//!   tracing spans ───► OpenTelemetry ──► batches ──► thread ──OTLP──► collector
//! ```
//!
//! [`logs`] sets that up. Each [`queue`] is bounded and never waits: where its sink is slow or full, lines are dropped and
//! counted, and the program goes on. [`rotate`] is the file, [`metrics`] the registry. [`task_log`] is the one place from which the transitions of
//! tasks are logged, so that each has one line with the same fields whichever process makes it; [`subject`] gives the lines of a
//! running handler the same fields, and [`level`] changes what is logged. [`traces`] makes the spans of requests and tasks.
//!
//! This crate knows what a task is called (from `tidemill-core`) and nothing of how it is kept or run.

pub mod level;
pub mod logs;
pub mod metrics;
pub mod queue;
pub mod rotate;
pub mod subject;
pub mod task_log;
pub mod traceparent;
pub mod traces;

pub use level::{LevelNow, LogLevel};
pub use logs::{LogError, LogFormat, LogOptions, Logs};
pub use traces::{TraceOptions, Traces};
