//! `exec`: runs a command, with the payload on its standard input.
//!
//! The command is the configuration's: nothing of a payload becomes a program, an argument or the name of a variable. A
//! command runs in a process group of its own, and what it started ends with it.

mod command;
mod group;
mod pipes;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, async_trait};
use tokio::time::{Instant, sleep_until};

use crate::BuiltIn;
pub use command::CommandError;
use command::Command;
use group::{Group, Yard};
use pipes::Pipes;

/// How long a command has to end by itself once it is told to (SIGTERM), before it is killed. An executor that stops an
/// attempt waits for less than that, as a rule, and what is dropped is killed at once.
const GRACE: Duration = Duration::from_secs(5);
/// How long the pipes of a command that has ended may hold back: whoever keeps them open is killed, or has left the group.
const PIPES: Duration = Duration::from_secs(1);

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "exec",
    summary: "Runs the command that the worker's configuration names, with the payload on its standard input.",
    doc: "Served only where `exec.command` is set. Nothing of a payload becomes a program, an argument or the name of a \
          variable. The environment is `PATH`, `HOME`, what `exec.env` and `exec.pass_env` say, and `TIDEMILL_TASK_ID`, \
          `TIDEMILL_TASK_TYPE`, `TIDEMILL_QUEUE`, `TIDEMILL_ATTEMPT` and, in a trace, `TRACEPARENT`. Exit code 0 is a \
          success, whose result is the standard output: JSON where it is JSON, else text, 256 KiB at most. Exit code 75 \
          and a death by a signal are tried again; every other exit code is permanent, and so is a larger output. The end \
          of the standard error becomes the error's message. When the time is up or the task is cancelled, the whole \
          process group is told to end and then killed; nothing that the command started outlives it, unless it left the \
          group.",
    example: r#"{"any": "object"}"#,
    payload: || schema_for!(Payload),
    add: |registry, options| {
        let Some(command) = &options.exec else { return Ok(()) };
        let handler = Exec::new(command).map_err(|error| error.of("exec"))?;
        Ok(registry.add("exec", handler).map(drop)?)
    },
};

/// Whatever the command takes.
#[derive(Deserialize, JsonSchema)]
struct Payload {}

/// A command that serves a task type.
#[derive(Debug, Clone, Default)]
pub struct CommandOptions {
    /// The program and its arguments. A program without a slash is looked for in the `PATH` of the worker.
    pub command: Vec<String>,
    /// Variables that it gets.
    pub env: BTreeMap<String, String>,
    /// Names of variables of the worker that it gets too.
    pub pass_env: Vec<String>,
    /// The folder that it runs in. Default: the worker's.
    pub directory: Option<PathBuf>,
    /// How long it may take, where the task's own timeout is no less.
    pub timeout: Option<Duration>,
}

/// Runs a command for each attempt.
#[derive(Debug)]
pub struct Exec {
    command: Command,
    timeout: Option<Duration>,
    yard: Yard,
}

impl Exec {
    /// Checks `options`, and finds the program.
    pub fn new(options: &CommandOptions) -> Result<Self, CommandError> {
        Ok(Self { command: Command::new(options)?, timeout: options.timeout, yard: Yard::default() })
    }
}

/// Why a command was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// By the executor.
    Asked,
    /// It took longer than its handler allows.
    Late(Duration),
}

#[async_trait]
impl Handler for Exec {
    async fn run(&self, cx: Context) -> HandlerResult {
        let started = self.command.start(&cx);
        let mut child = started.map_err(|error| HandlerError::transient(format!("{}: {error}", self.command)))?;
        let mut pipes = Pipes::take(&mut child, cx.payload_bytes().clone());
        let mut group = Group::of(child, &self.yard)?;
        let late = self.timeout.map(|timeout| (Instant::now() + timeout, timeout));
        let mut told: Option<(Told, Instant)> = None;
        let status = {
            let mut moved = std::pin::pin!(pipes.pass());
            let mut passed = false;
            let ended = loop {
                tokio::select! {
                    status = group.ended() => break status,
                    () = &mut moved, if !passed => passed = true,
                    () = cx.cancelled(), if told.is_none() => {
                        group.terminate();
                        told = Some((Told::Asked, Instant::now() + GRACE));
                    }
                    timeout = at(late), if told.is_none() => {
                        group.terminate();
                        told = Some((Told::Late(timeout), Instant::now() + GRACE));
                    }
                    () = until(told.map(|told| told.1)) => {
                        group.kill();
                        told = told.map(|(why, _)| (why, Instant::now() + GRACE));
                    }
                }
            };
            // Whom it left behind ends now, and the pipes with them.
            group.kill();
            if !passed && tokio::time::timeout(PIPES, &mut moved).await.is_err() {
                tracing::debug!(command = %self.command, "a process that left the group holds a pipe open");
            }
            ended
        };
        group.bury().await;
        let status = status.map_err(|error| HandlerError::transient(format!("{}: {error}", self.command)))?;
        verdict::judge(&self.command.to_string(), status, told.map(|told| told.0), &pipes)
    }
}

async fn at(late: Option<(Instant, Duration)>) -> Duration {
    match late {
        Some((deadline, timeout)) => {
            sleep_until(deadline).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
