//! Logs and metrics of Tidemill.
//!
//! [`task_log`] is the one place from which the transitions of tasks are logged, so that each has one line with the same
//! fields whichever process makes it.

pub mod task_log;
