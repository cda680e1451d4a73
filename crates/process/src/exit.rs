//! How the program ends: a code for programs, a sentence for people.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed, or the server refused it |
//! | 2 | wrong usage or configuration, the port is taken, the store cannot be used as it is |
//! | 3 | no server answers |

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::Faults;

/// It failed, or the server refused it.
pub const FAILED: u8 = 1;
/// Wrong usage or configuration, the port is taken, the store cannot be used as it is.
pub const USAGE: u8 = 2;
/// No server answers.
pub const UNREACHABLE: u8 = 3;

/// An end with a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Exit {
    /// The code.
    pub code: u8,
    /// What people read.
    pub sentence: String,
}

/// An end with [`USAGE`].
pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Exit { code: USAGE, sentence: sentence.into() }.into()
}

/// An end with [`FAILED`].
pub fn failed(sentence: impl Into<String>) -> anyhow::Error {
    Exit { code: FAILED, sentence: sentence.into() }.into()
}

/// An end with [`UNREACHABLE`].
pub fn unreachable(sentence: impl Into<String>) -> anyhow::Error {
    Exit { code: UNREACHABLE, sentence: sentence.into() }.into()
}

/// Tells an error on stderr and gives the code. A reader that went away (`| head`) is no error.
pub fn code(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let code = code_of(&error);
    // Where stderr is gone too, the code is all that is left to say.
    writeln!(io::stderr(), "tidemill: {error:#}").map_or(ExitCode::from(code), |()| ExitCode::from(code))
}

/// The code that an error ends a process with.
pub fn code_of(error: &anyhow::Error) -> u8 {
    match (error.downcast_ref::<Exit>(), error.downcast_ref::<Faults>()) {
        (Some(exit), _) => exit.code,
        (_, Some(_)) => USAGE,
        _ => FAILED,
    }
}
