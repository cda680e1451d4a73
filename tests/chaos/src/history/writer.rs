//! Writes a history.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::record::Record;

/// How a process ends that can no longer write down what it does: what it did from then on would count as never done.
pub const EXIT_UNWRITABLE: i32 = 70;
/// How the name of a history ends.
pub const SUFFIX: &str = "history";

/// A history that is appended to. Clones append to the same.
#[derive(Debug, Clone)]
pub struct Writer {
    file: Arc<File>,
    skew_us: i64,
}

#[derive(Serialize)]
struct Line<'a> {
    at: u64,
    is: &'a Record,
}

impl Writer {
    /// The history of `process` in `folder`. `skew_ms` is by how much the clock of this process is ahead.
    pub fn open(folder: &Path, process: &str, skew_ms: i64) -> std::io::Result<Self> {
        let path = folder.join(format!("{process}.{SUFFIX}"));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(file), skew_us: skew_ms.saturating_mul(1_000) })
    }

    /// The true time, in microseconds since the Unix epoch.
    pub fn now_us(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_micros()).unwrap_or(u64::MAX).saturating_add_signed(-self.skew_us)
    }

    /// Writes `record` in one `write`, so that a kill leaves all of it or nothing.
    ///
    /// Ends the process where that fails: a history with holes proves nothing.
    pub fn note(&self, record: &Record) {
        let written = serde_json::to_vec(&Line { at: self.now_us(), is: record })
            .map_err(std::io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                (&*self.file).write_all(&line)
            });
        if let Err(error) = written {
            eprintln!("the history cannot be written: {error}");
            std::process::exit(EXIT_UNWRITABLE);
        }
    }
}
