//! How a command went: by its exit code, with its own words.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde_json::value::RawValue;
use tidemill_executor::handler::RESULT_MAX_BYTES;
use tidemill_executor::{HandlerError, HandlerResult, Output};

use super::Told;
use super::pipes::Pipes;

/// The exit code by which a program says that another time may do (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;

/// What became of a command.
pub(super) fn judge(command: &str, status: ExitStatus, told: Option<Told>, pipes: &Pipes) -> HandlerResult {
    let words = String::from_utf8_lossy(&pipes.errors);
    let words = words.trim();
    if !words.is_empty() {
        tracing::info!(command, %status, stderr = ?words, "a command wrote to its standard error");
    }
    let said = |what: String| if words.is_empty() { what } else { format!("{what}: {words}") };
    match (status.code(), status.signal(), told) {
        (Some(0), ..) => output(command, pipes),
        (_, _, Some(Told::Asked)) => Err(HandlerError::transient(said(format!("{command} was told to end, and did")))),
        (_, _, Some(Told::Late(limit))) => {
            Err(HandlerError::transient(said(format!("{command} took longer than its {} ms", limit.as_millis()))))
        }
        (Some(TRY_AGAIN), ..) => {
            Err(HandlerError::transient(said(format!("{command} asks for another attempt (exit code {TRY_AGAIN})"))))
        }
        (Some(code), ..) => Err(HandlerError::permanent(said(format!("{command} failed with exit code {code}")))),
        (None, signal, _) => {
            let signal = signal.unwrap_or_default();
            Err(HandlerError::transient(said(format!("{command} was killed by signal {signal}"))))
        }
    }
}

/// The standard output as a result: the JSON that it is, else its text, without the line break at its end.
fn output(command: &str, pipes: &Pipes) -> HandlerResult {
    if pipes.length > RESULT_MAX_BYTES {
        return Err(HandlerError::permanent(format!(
            "{command} wrote {} bytes to its standard output; a result has at most {RESULT_MAX_BYTES}",
            pipes.length
        )));
    }
    let text = String::from_utf8_lossy(&pipes.output);
    if text.trim().is_empty() {
        return Ok(Output::NONE);
    }
    match serde_json::from_str::<&RawValue>(text.trim()) {
        Ok(json) => Output::json(&json),
        Err(_) => Output::json(&text.trim_end_matches(['\r', '\n'])),
    }
}
