//! The configuration, as [`tidemill_process::config`] resolves it, and how it is shown.

pub use tidemill_process::config::*;

pub mod print;
