//! Why a worker could not run, or ended before it was told to.

use std::fmt;

/// Why a worker could not run, or ended before it was told to. Its `Debug` form is the sentence itself, so that a `main`
/// that returns it prints one.
pub struct WorkerError(anyhow::Error);

impl WorkerError {
    /// The exit code that `tidemill worker` would have: 2 for a wrong configuration, a port that is taken or a store that
    /// can never serve, 1 for anything else.
    pub fn exit_code(&self) -> u8 {
        tidemill_process::exit::code_of(&self.0)
    }
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl fmt::Debug for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for WorkerError {}

impl From<anyhow::Error> for WorkerError {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}
