//! Programs that are run to their end, with a deadline.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often a running program is asked whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a program said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    /// Whether its exit code was 0.
    pub(crate) ok: bool,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Said {
    /// The standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert!(self.ok, "it failed:\n{}{}", self.out, self.err);
        self.out
    }

    /// The standard error of a program that must have failed.
    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.ok, "it should have failed, and said:\n{}{}", self.out, self.err);
        self.err
    }

    /// The standard output, or what went wrong.
    pub(crate) fn result(self) -> Result<String, String> {
        if self.ok { Ok(self.out) } else { Err(format!("{}{}", self.out, self.err).trim().to_owned()) }
    }
}

/// Runs `program` with `input` on its standard input. One that has not ended within `limit` is killed, and has failed.
pub(crate) fn run(program: &str, args: &[&str], input: &str, limit: Duration) -> Said {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let mut stdin = child.stdin.take();
    let input = input.to_owned();
    // A program may end without reading all of it.
    let feeding = thread::spawn(move || stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes())));
    let ended = ended(&mut child, limit);
    let mut said = Said { ok: ended == Some(true), out: out.join().unwrap(), err: err.join().unwrap() };
    if ended.is_none() {
        said.err = format!("{}\n{program} {} did not end within {limit:?}", said.err, args.join(" "));
    }
    drop(feeding.join());
    said
}

/// Whether the child ended well; `None` if it had to be killed.
fn ended(child: &mut Child, limit: Duration) -> Option<bool> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.success());
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn drain(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            from.read_to_end(&mut bytes).unwrap();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
