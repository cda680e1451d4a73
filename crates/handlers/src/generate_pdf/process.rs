//! A renderer in a process of its own: the one way to bound the time and the memory that a template takes.
//!
//! The program starts itself. The child is told its limits by its arguments and sets them before it reads what it is to do,
//! has no environment and no file, and is killed with the attempt; it is in a process group of its own, so that Ctrl-C at a
//! terminal is the worker's to obey. What it makes comes out of its stdout; an error of the template too, with the exit
//! code [`TEMPLATE_FAULT`].

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
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
/// What a job takes beside the document that is made of it, times its own size: its text, once more while that is read, and
/// what is taken out of it.
const JOB_COPIES: u64 = 4;
/// How much longer than its processor time a document may take by the clock: on a busy machine it waits for its turn, and
/// that is no fault of the template.
const CLOCK_FACTOR: u32 = 10;

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
    let job = serde_json::to_vec(&job)?;
    let job_bytes = measured(job.len() as u64)?;
    let memory_bytes = options.max_memory_bytes.saturating_add(job_bytes * JOB_COPIES);
    let mut child = Command::new(program)
        .args(arguments)
        .arg(memory_bytes.to_string())
        .arg(processor_seconds.to_string())
        .env_clear()
        .env("RAYON_NUM_THREADS", "1")
        .env("MIMALLOC_ARENA_RESERVE", "32MiB") // its usual GiB would count as memory
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| HandlerError::transient(format!("the PDF renderer cannot be started: {error}")))?;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let give = async {
            if let Some(mut stdin) = stdin.take() {
                // One that died early does not read to the end: its exit says why.
                if let Err(error) = stdin.write_all(&job).await {
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

fn measured(job_bytes: u64) -> Result<u64, HandlerError> {
    if job_bytes > JOB_MAX {
        return Err(HandlerError::permanent(format!(
            "the template, its data and its files are too large to be rendered: {} MiB with the files in base64, and at most \
             {} MiB are taken",
            job_bytes >> 20,
            JOB_MAX >> 20
        )));
    }
    Ok(job_bytes)
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
    if [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].into_iter().any(is) {
        return Err(HandlerError::transient(format!("the PDF renderer was killed from outside ({status})")));
    }
    Err(HandlerError::permanent(format!("the PDF renderer broke down over the template ({status}): {last}")))
}

/// The whole of a renderer's life, for the program that [`PdfOptions::renderer`] names: limits itself to this memory and this
/// processor time, which are the last two arguments of its command, reads a job from stdin, and writes the document to stdout.
pub fn render_pdf(memory_bytes: u64, processor_seconds: u64) -> ExitCode {
    match serve(memory_bytes, processor_seconds) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(())) => ExitCode::from(TEMPLATE_FAULT),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(memory_bytes: u64, processor_seconds: u64) -> Result<Result<(), ()>, Box<dyn std::error::Error>> {
    limit(memory_bytes, processor_seconds)?;
    let mut text = Vec::new();
    std::io::stdin().lock().take(JOB_MAX).read_to_end(&mut text)?;
    let job: Job = serde_json::from_slice(&text)?;
    drop(text);
    let made = render(&job);
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
    let memory = mapped.saturating_add(memory_bytes);
    set(Resource::As, memory, memory)?;
    set(Resource::Cpu, processor_seconds, processor_seconds.saturating_add(1))?;
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
        for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
            assert!(!fault(signal.as_raw(), "").is_permanent(), "somebody sent it: {signal:?}");
        }
        assert!(fault(101 << 8, "thread panicked\n").is_permanent());
    }

    #[test]
    fn a_job_that_is_too_large_is_refused_with_a_sentence_of_its_own() {
        assert_eq!(measured(JOB_MAX), Ok(JOB_MAX));
        let error = measured(JOB_MAX + (1 << 20)).unwrap_err();
        assert!(error.is_permanent() && error.message().contains("257 MiB with the files in base64"), "{error}");
    }

    #[test]
    fn a_renderer_reckons_from_what_is_mapped_already() {
        assert!(mapped_bytes().unwrap() > 1 << 20);
    }
}
