//! The command as it is configured, and the process that is started from it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tidemill_executor::Context;
use tokio::process::Child;

use super::CommandOptions;
use crate::SetupError;

/// Where programs are looked for when the worker itself has no PATH, as in an image that says nothing of it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Variables of the worker that every command gets.
const PASSED: [&str; 2] = ["HOME", "PATH"];
/// What the names of our own variables begin with: they hold the broker's password among others, and are ours to set.
const OURS: &str = "TIDEMILL_";
/// The trace that the task belongs to.
const TRACEPARENT: &str = "TRACEPARENT";

/// A command that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no program.
    #[error("command: is empty; it takes a program and its arguments")]
    Empty,
    /// The program is not there.
    #[error("command: there is no program {program} in {place}")]
    Missing {
        /// The program.
        program: String,
        /// Where it was looked for.
        place: String,
    },
    /// A variable that a command cannot have.
    #[error("{member}: {name:?} {reason}")]
    Variable {
        /// The member that names it.
        member: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A text with a NUL, which no process can be given.
    #[error("{member}: holds a NUL")]
    Nul {
        /// The member that holds it.
        member: &'static str,
    },
    /// The folder is not there.
    #[error("directory: there is no folder {}", .0.display())]
    Directory(PathBuf),
}

impl CommandError {
    /// The same of this handler.
    pub(crate) fn of(self, handler: &str) -> SetupError {
        SetupError::Command { handler: handler.to_owned(), source: self }
    }
}

/// A command that can be run.
#[derive(Debug)]
pub(super) struct Command {
    /// As it was configured, for messages.
    shown: String,
    program: PathBuf,
    arguments: Vec<String>,
    env: BTreeMap<String, OsString>,
    directory: Option<PathBuf>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Command {
    pub(super) fn new(options: &CommandOptions) -> Result<Self, CommandError> {
        let [program, arguments @ ..] = options.command.as_slice() else { return Err(CommandError::Empty) };
        if program.is_empty() {
            return Err(CommandError::Empty);
        }
        if options.command.iter().any(|text| text.contains('\0')) {
            return Err(CommandError::Nul { member: "command" });
        }
        if let Some(directory) = options.directory.as_ref().filter(|directory| !directory.is_dir()) {
            return Err(CommandError::Directory(directory.clone()));
        }
        let mut env = BTreeMap::new();
        env.insert("PATH".to_owned(), PATH.into());
        let passed = PASSED.iter().copied().chain(options.pass_env.iter().map(String::as_str));
        for name in passed {
            proper("pass_env", name)?;
            if let Some(value) = std::env::var_os(name) {
                env.insert(name.to_owned(), value);
            }
        }
        for (name, value) in &options.env {
            proper("env", name)?;
            if value.contains('\0') {
                return Err(CommandError::Nul { member: "env" });
            }
            env.insert(name.clone(), value.into());
        }
        let path = env.get("PATH").cloned().unwrap_or_default();
        Ok(Self {
            shown: program.clone(),
            program: find(program, &path, options.directory.as_deref())?,
            arguments: arguments.to_vec(),
            env,
            directory: options.directory.clone(),
        })
    }

    /// Starts it in a process group of its own, with nothing of the worker's but three pipes.
    pub(super) fn start(&self, cx: &Context) -> io::Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .arg0(&self.shown)
            .args(&self.arguments)
            .env_clear()
            .envs(&self.env)
            .env("TIDEMILL_TASK_ID", cx.task().as_str())
            .env("TIDEMILL_TASK_TYPE", cx.task_type().as_str())
            .env("TIDEMILL_QUEUE", cx.queue().as_str())
            .env("TIDEMILL_ATTEMPT", cx.attempt().to_string())
            .envs(cx.traceparent().map(|traceparent| (TRACEPARENT, traceparent)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command.spawn()
    }
}

fn proper(member: &'static str, name: &str) -> Result<(), CommandError> {
    let refused = |reason| CommandError::Variable { member, name: name.to_owned(), reason };
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(refused("is not a name of a variable"));
    }
    if name.starts_with(OURS) || name == TRACEPARENT {
        return Err(refused("is the worker's own: such variables hold its secrets, or are set for each task"));
    }
    Ok(())
}

/// The file of `program`, absolute where that can be said, since the folder of the command may be another.
fn find(program: &str, path: &std::ffi::OsStr, directory: Option<&Path>) -> Result<PathBuf, CommandError> {
    if program.contains('/') {
        let file = directory.map_or_else(|| PathBuf::from(program), |directory| directory.join(program));
        let file = std::path::absolute(&file).unwrap_or(file);
        let place = "the file system".to_owned();
        return if runs(&file) { Ok(file) } else { Err(CommandError::Missing { program: program.to_owned(), place }) };
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| runs(file)).ok_or_else(|| {
        CommandError::Missing { program: program.to_owned(), place: format!("PATH ({})", path.to_string_lossy()) }
    })
}

fn runs(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
