//! What goes into a command and what comes out: all of it is taken, so that no command waits for us, and a bounded part of
//! it is kept.

use std::io;

use bytes::Bytes;
use tidemill_executor::handler::RESULT_MAX_BYTES;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

/// How much of the end of the standard error is kept, in bytes: what fits into the message of an error, and tells a
/// person enough.
const TAIL: usize = 2 * 1024;
/// What is read at a time, in bytes: what a pipe holds at least.
const CHUNK: usize = 8 * 1024;

/// The three pipes of a command.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    payload: Bytes,
    /// The beginning of the standard output, as far as a result holds it.
    pub(super) output: Vec<u8>,
    /// How much of it there was.
    pub(super) length: usize,
    /// The end of the standard error.
    pub(super) errors: Vec<u8>,
}

impl Pipes {
    pub(super) fn take(child: &mut Child, payload: Bytes) -> Self {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Self { stdin, stdout, stderr, payload, output: Vec::new(), length: 0, errors: Vec::new() }
    }

    /// Passes everything on until all pipes are closed. May be dropped at any time: what came so far is kept.
    pub(super) async fn pass(&mut self) {
        let Self { stdin, stdout, stderr, payload, output, length, errors } = self;
        let fed = feed(stdin.take(), payload);
        let heard = drain(stdout.take(), |bytes| {
            *length += bytes.len();
            let room = RESULT_MAX_BYTES - output.len();
            output.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
        let complained = drain(stderr.take(), |bytes| {
            errors.extend_from_slice(bytes);
            errors.drain(..errors.len().saturating_sub(TAIL));
        });
        let (fed, heard, complained) = tokio::join!(fed, heard, complained);
        for (pipe, result) in [("stdin", fed), ("stdout", heard), ("stderr", complained)] {
            if let Err(error) = result {
                tracing::debug!(%error, pipe, "a pipe of a command broke");
            }
        }
    }
}

/// A command need not read what it is given.
async fn feed(stdin: Option<ChildStdin>, payload: &[u8]) -> io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(payload).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; CHUNK];
    loop {
        match pipe.read(&mut chunk).await? {
            0 => return Ok(()),
            count => take(&chunk[..count]),
        }
    }
}
