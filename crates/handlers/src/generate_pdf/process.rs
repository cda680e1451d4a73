//! A renderer in a process of its own: the one way to bound the time and the memory that a template takes.
//!
//! The program starts itself. The child sets its own limits before it reads what it is to do, has no environment and no
//! file, and is killed with the attempt. What it makes comes out of its stdout; an error of the template too, with the exit
//! code [`TEMPLATE_FAULT`].

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use serde::{Deserialize, Serialize};
use tidemill_executor::{Context, HandlerError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::PdfOptions;
use super::render::{Job, render};

/// Ends a renderer whose template cannot be rendered: `EX_DATAERR` of sysexits.h.
const TEMPLATE_FAULT: u8 = 65;
/// What is kept of what a renderer says on stderr, in bytes: a last sentence.
const STDERR_MAX: u64 = 4 << 10;
/// Files that a renderer has open: its three pipes, and what the allocator looks up at its start.
const FILES_MAX: u64 = 16;
/// Largest job, in bytes: the files of a document in base64, and its data.
const JOB_MAX: u64 = 256 << 20;
/// How much longer than its processor time a document may take by the clock: on a busy machine it waits for its turn, and
/// that is no fault of the template.
const CLOCK_FACTOR: u32 = 10;

#[derive(Serialize, Deserialize)]
struct Order {
    job: Job,
    memory_bytes: u64,
    processor_seconds: u64,
}

/// Renders `job` in a process that `command` starts.
pub(super) async fn render_apart(
    command: &[OsString],
    job: Job,
    options: &PdfOptions,
    max_bytes: u64,
    cx: &Context,
) -> Result<Vec<u8>, HandlerError> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(HandlerError::permanent("the worker's command of the PDF renderer is empty"));
    };
    let processor_seconds = options.timeout.as_secs() + u64::from(options.timeout.subsec_nanos() > 0);
    let order = serde_json::to_vec(&Order { job, memory_bytes: options.max_memory_bytes, processor_seconds })?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("RAYON_NUM_THREADS", "1")
        .env("MIMALLOC_ARENA_RESERVE", "32MiB") // its usual GiB would count as memory
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| HandlerError::transient(format!("the PDF renderer cannot be started: {error}")))?;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let give = async {
            if let Some(mut stdin) = stdin.take() {
                // One that died early does not read to the end: its exit says why.
                if let Err(error) = stdin.write_all(&order).await {
                    tracing::debug!(%error, "the PDF renderer did not take its job");
                }
            }
        };
        let ((), made, said) = tokio::join!(give, take(stdout, max_bytes.saturating_add(1)), take(stderr, STDERR_MAX));
        Ok::<_, HandlerError>((made?, said?))
    };
    let clock = (options.timeout * CLOCK_FACTOR).min(cx.time_left());
    let ended = tokio::select! {
        ended = timeout(clock, async { (talk.await, child.wait().await) }) => ended,
        () = cx.cancelled() => return Err(HandlerError::transient("told to end before the document was made")),
    };
    let Ok((talked, status)) = ended else {
        let why = format!("the document was not made within {} ms by the clock", clock.as_millis());
        return Err(HandlerError::transient(why));
    };
    let (made, said) = talked?;
    if made.len() as u64 > max_bytes {
        let why = format!("the document has more than the {max_bytes} bytes that are allowed (objects.max_bytes)");
        return Err(HandlerError::permanent(why));
    }
    judge(status?, made, &said, options)
}

async fn take(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> Result<Vec<u8>, HandlerError> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // Beyond its bound the pipe is closed by dropping it, which ends the child.
        (&mut pipe).take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

fn judge(status: ExitStatus, made: Vec<u8>, said: &[u8], options: &PdfOptions) -> Result<Vec<u8>, HandlerError> {
    if status.success() {
        return Ok(made);
    }
    if status.code() == Some(TEMPLATE_FAULT.into()) {
        return Err(HandlerError::permanent(String::from_utf8_lossy(&made)));
    }
    let said = String::from_utf8_lossy(said);
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    if is(Signal::XCPU) {
        return Err(HandlerError::permanent(format!(
            "the template takes more than {} s of processor time (generate_pdf.timeout_ms)",
            options.timeout.as_secs_f32()
        )));
    }
    if said.contains("memory allocation of") || said.contains("out of memory") {
        return Err(HandlerError::permanent(format!(
            "the template takes more than {} MiB of memory (generate_pdf.max_memory_bytes)",
            options.max_memory_bytes >> 20
        )));
    }
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
    if is(Signal::KILL) || is(Signal::TERM) {
        return Err(HandlerError::transient(format!("the PDF renderer was killed from outside ({status})")));
    }
    Err(HandlerError::permanent(format!("the PDF renderer broke down over the template ({status}): {last}")))
}

/// The whole of a renderer's life, for the program that [`PdfOptions::renderer`] names: reads a job from stdin, limits
/// itself, and writes the document to stdout.
pub fn render_pdf() -> ExitCode {
    match serve() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(())) => ExitCode::from(TEMPLATE_FAULT),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<Result<(), ()>, Box<dyn std::error::Error>> {
    let mut order = Vec::new();
    std::io::stdin().lock().take(JOB_MAX).read_to_end(&mut order)?;
    let order: Order = serde_json::from_slice(&order)?;
    limit(order.memory_bytes, order.processor_seconds)?;
    let made = render(&order.job);
    let mut stdout = std::io::stdout().lock();
    match &made {
        Ok(pdf) => stdout.write_all(pdf)?,
        Err(fault) => stdout.write_all(fault.as_bytes())?,
    }
    stdout.flush()?;
    Ok(made.map(drop).map_err(drop))
}

/// Limits this process, once and for all: neither it nor what it runs can take that back.
fn limit(memory_bytes: u64, processor_seconds: u64) -> Result<(), Box<dyn std::error::Error>> {
    // What is mapped already, the program itself and its fonts, does not count.
    let mapped = mapped_bytes()?;
    let set = |resource, soft: u64, hard: u64| setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) });
    set(Resource::As, mapped + memory_bytes, mapped + memory_bytes)?;
    set(Resource::Cpu, processor_seconds, processor_seconds + 1)?;
    set(Resource::Core, 0, 0)?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Nofile, FILES_MAX, FILES_MAX)?;
    Ok(())
}

fn mapped_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib: u64 = size.ok_or("/proc/self/status has no VmSize")?.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: i32, said: &str) -> HandlerError {
        judge(ExitStatus::from_raw(status), Vec::new(), said.as_bytes(), &PdfOptions::default()).unwrap_err()
    }

    #[test]
    fn how_a_renderer_ended_says_whether_another_try_may_help() {
        let memory = fault(Signal::ABORT.as_raw(), "memory allocation of 4096 bytes failed\n");
        assert!(memory.is_permanent() && memory.message().contains("512 MiB of memory"), "{memory}");
        let time = fault(Signal::XCPU.as_raw(), "");
        assert!(time.is_permanent() && time.message().contains("30 s of processor time"), "{time}");
        assert!(!fault(Signal::KILL.as_raw(), "").is_permanent(), "the machine ran out of memory, perhaps");
        assert!(fault(101 << 8, "thread panicked\n").is_permanent());
    }

    #[test]
    fn a_renderer_reckons_from_what_is_mapped_already() {
        assert!(mapped_bytes().unwrap() > 1 << 20);
    }
}
