//! Sets logging up: one structured line per event, on stderr and, where asked for, in a file.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use crate::level::{LogLevel, parse};
use crate::queue::{LineQueue, Sink, Trouble};
use crate::rotate::RotatedFile;
use crate::subject::WithSubject;
use crate::traces::{self, TraceLayer};

/// How long the end of the program waits for each of stderr and the log file.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal and in the file, JSON elsewhere.
    #[default]
    Auto,
    /// `2026-11-22T02:00:00.000Z  INFO tidemill::task: event="started" task="a"`.
    Text,
    /// One JSON object per line.
    Json,
}

/// What to log, where to and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// What is logged, in the words of `EnvFilter`: `info`, or `warn,tidemill::task=info`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
    /// Whether text on stderr is coloured.
    pub color: bool,
    /// The log file; `None` is none.
    pub file: Option<PathBuf>,
    /// How large it grows before it is rotated, in bytes.
    pub file_max_bytes: u64,
    /// How many files are kept, the present one included.
    pub files: usize,
}

/// Why logging was not set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error("log level {level:?}: {reason}")]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A thread could not be started.
    #[error("the thread that writes logs cannot be started: {0}")]
    Thread(#[source] io::Error),
    /// Logging is set up already.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Logging in force. Dropping it writes what waits, at most for two seconds per sink.
pub struct Logs {
    sinks: Vec<(LineQueue, JoinHandle<()>)>,
    level: LogLevel,
}

impl Logs {
    /// Checks a level, so that a wrong one is found where it stands.
    pub fn check_level(level: &str) -> Result<(), LogError> {
        parse(level).map(drop)
    }

    /// Sets logging up for the whole program, and traces beside it.
    pub fn start(options: &LogOptions, traces: Option<TraceLayer>) -> Result<Self, LogError> {
        let terminal = io::stderr().is_terminal();
        let json = match options.format {
            LogFormat::Auto => !terminal,
            LogFormat::Json => true,
            LogFormat::Text => false,
        };
        let (stderr, stderr_thread) = LineQueue::start("log-stderr", Stderr, |_| {}).map_err(LogError::Thread)?;
        let mut sinks = vec![(stderr.clone(), stderr_thread)];
        let mut layers = vec![layer(json, options.color && !json, stderr.clone())];
        if let Some(path) = &options.file {
            let name = path.display().to_string();
            let tell = move |trouble| stderr.push(note(json, &name, &trouble).as_bytes());
            let file = RotatedFile::new(path, options.file_max_bytes, options.files);
            let (queue, thread) = LineQueue::start("log-file", file, tell).map_err(LogError::Thread)?;
            layers.push(layer(options.format == LogFormat::Json, false, queue.clone()));
            sinks.push((queue, thread));
        }
        let (filter, handle) = reload::Layer::new(parse(&options.level)?);
        // Spans that are made for traces are nothing for people.
        let own = filter_fn(|metadata| metadata.target() != traces::TARGET);
        let mut layers = vec![layers.with_filter(filter.and(own)).boxed()];
        layers.extend(traces);
        tracing_subscriber::registry().with(layers).try_init()?;
        Ok(Self { sinks, level: LogLevel::new(handle, &options.level) })
    }

    /// What is logged, to be changed while the program runs.
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }

    /// How many lines were dropped so far because stderr or the file were slow or full.
    pub fn dropped(&self) -> u64 {
        self.count_dropped()()
    }

    /// Reads that number, now and later.
    pub fn count_dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let queues: Vec<LineQueue> = self.sinks.iter().map(|(queue, _)| queue.clone()).collect();
        move || queues.iter().map(LineQueue::dropped).sum()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        // The file first: what it has to say goes to stderr.
        for (queue, thread) in self.sinks.drain(..).rev() {
            let deadline = Instant::now() + FLUSH_DEADLINE;
            queue.close();
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            // A thread that hangs in its sink ends with the process.
            if thread.is_finished() && thread.join().is_err() {
                queue.push(b"a log thread panicked\n");
            }
        }
    }
}

fn layer(json: bool, color: bool, queue: LineQueue) -> Box<dyn Layer<Registry> + Send + Sync> {
    let format = fmt::format().with_timer(Utc);
    if json {
        let format = format.json().flatten_event(true).with_current_span(false).with_span_list(false);
        let layer = fmt::layer().with_ansi(false).fmt_fields(JsonFields::new());
        layer.event_format(WithSubject { format, json }).with_writer(Lines(queue)).boxed()
    } else {
        let format = format.with_ansi(color);
        let layer = fmt::layer().with_ansi(color);
        layer.event_format(WithSubject { format, json }).with_writer(Lines(queue)).boxed()
    }
}

/// A line about the log file itself, which cannot go through the log file.
fn note(json: bool, file: &str, trouble: &Trouble) -> String {
    let now = now();
    let (level, text, dropped) = match trouble {
        Trouble::Failing { reason, dropped } => (
            "WARN",
            format!("the log file {file} cannot be written, the program goes on without it: {reason}"),
            dropped,
        ),
        Trouble::Recovered { dropped } => ("INFO", format!("the log file {file} is written again"), dropped),
    };
    if json {
        let line = serde_json::json!({
            "timestamp": now, "level": level, "message": text, "lines_dropped": dropped, "target": "tidemill::log",
        });
        format!("{line}\n")
    } else {
        format!("{now} {level:>5} tidemill::log: {text} lines_dropped={dropped}\n")
    }
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// UTC with milliseconds: `2026-11-22T02:00:00.000Z`.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        write!(w, "{:.3}", jiff::Timestamp::now())
    }
}

/// Hands each formatted line to the queue.
struct Lines(LineQueue);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;
    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stderr;

impl Sink for Stderr {
    fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
        let mut stderr = io::stderr().lock();
        match stderr.write_all(lines).and_then(|()| stderr.flush()) {
            Ok(()) => (lines.len(), Ok(())),
            // What a terminal or pipe took of a batch is not known; to repeat it would print lines twice.
            Err(error) => (lines.len(), Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_refused_in_words() {
        assert!(Logs::check_level("info,tidemill::task=debug").is_ok());
        let error = Logs::check_level("tidemill=loud").unwrap_err().to_string();
        assert!(error.starts_with("log level \"tidemill=loud\": "), "{error}");
        let error = Logs::check_level("inf").unwrap_err().to_string();
        assert_eq!(error, "log level \"inf\": inf is no level");
    }

    #[test]
    fn a_note_is_one_line_in_either_format() {
        let trouble = Trouble::Failing { reason: "No space left on device".to_owned(), dropped: 3 };
        let json: serde_json::Value = serde_json::from_str(&note(true, "logs.txt", &trouble)).unwrap();
        assert_eq!(json["lines_dropped"], 3);
        let text = note(false, "logs.txt", &trouble);
        assert!(text.ends_with("No space left on device lines_dropped=3\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
