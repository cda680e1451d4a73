//! The files: the directory, its lock, the database and its format.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{BrokerError, Result};

/// What `PRAGMA user_version` says of the tables in `schema.sql`.
pub(super) const FORMAT: i64 = 2;
/// What makes format 2 of format 1.
const FROM_FIRST: &str = "ALTER TABLE queues ADD COLUMN owner TEXT;";
/// What marks a database as ours (`PRAGMA application_id`): "Tide" in ASCII.
const APPLICATION: i64 = 0x5469_6465;
const DATABASE_FILE: &str = "tidemill.db";
const LOCK_FILE: &str = "tidemill.lock";
/// Statements that a connection keeps prepared: more than there are.
const STATEMENTS_KEPT: usize = 128;
/// How long a connection waits for another of this process, which happens while the log is reset.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Pages of the log (of 4 KiB) after which it is worked into the database: fewer, larger steps than SQLite's own 1,000.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Largest size in which an emptied log is left on disk, in bytes.
const LOG_KEPT_BYTES: u32 = 64 << 20;
/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: u32 = 64 << 10;

/// The directory, held: no other process opens it while this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates the directory if there is none, and locks it.
    pub(super) fn hold(path: &Path) -> Result<Self> {
        let shown = path.display();
        let unwritable = |error: std::io::Error| {
            BrokerError::Unfit(format!(
                "cannot write to the data directory {shown} ({error}): give this user write access, or name another with --data-dir"
            ))
        };
        std::fs::create_dir_all(path).map_err(unwritable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = holder(&mut lock);
                return Err(BrokerError::Unfit(format!(
                    "the data directory {shown} is in use by another tidemill process{holder}: stop that one, or name another directory with --data-dir"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(error)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(unwritable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Opens the database for writing; creates its tables where it is new.
    pub(super) fn open_writer(&self, durable: bool) -> Result<Connection> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        self.check_format(&connection)?;
        self.prepare_writer(&connection, durable).map_err(|error| self.unusable(&error))?;
        Ok(connection)
    }

    /// Opens the database for reading.
    pub(super) fn open_reader(&self) -> Result<Connection> {
        self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Lets other processes have the directory.
    pub(super) fn release(self) {
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the data directory could not be unlocked; it is when this process ends");
        }
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection> {
        let open = || {
            let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(self.path.join(DATABASE_FILE), flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
            connection.pragma_update(None, "temp_store", "memory")?;
            Ok(connection)
        };
        open().map_err(|error| self.unusable(&error))
    }

    fn check_format(&self, connection: &Connection) -> Result<()> {
        let pragma = |name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(|error| self.unusable(&error))
        };
        let (application, format, objects) =
            (pragma("application_id")?, pragma("user_version")?, pragma("schema_version")?);
        let file = self.path.join(DATABASE_FILE);
        let file = file.display();
        if application != APPLICATION && objects != 0 {
            return Err(BrokerError::Unfit(format!(
                "{file} is a database of another program: name another directory with --data-dir"
            )));
        }
        if format > FORMAT {
            return Err(BrokerError::Unfit(format!(
                "{file} has format {format}; this tidemill reads format {FORMAT}: use a newer tidemill, or name another directory with --data-dir"
            )));
        }
        Ok(())
    }

    fn prepare_writer(&self, connection: &Connection, durable: bool) -> rusqlite::Result<()> {
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", if durable { "full" } else { "off" })?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES)?;
        connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found == 0 {
            tracing::debug!(directory = %self.path.display(), "creating the tables");
            let schema = include_str!("schema.sql");
            connection.execute_batch(&format!(
                "BEGIN;\n{schema}\nPRAGMA application_id = {APPLICATION};\nPRAGMA user_version = {FORMAT};\nCOMMIT;"
            ))?;
        } else if found < FORMAT {
            tracing::info!(directory = %self.path.display(), from = found, to = FORMAT, "bringing the tables up to date");
            connection.execute_batch(&format!("BEGIN;\n{FROM_FIRST}\nPRAGMA user_version = {FORMAT};\nCOMMIT;"))?;
        }
        Ok(())
    }

    fn unusable(&self, error: &rusqlite::Error) -> BrokerError {
        BrokerError::Unfit(format!(
            "cannot use the database in the data directory {} ({error}): mend or move it, or name another directory with --data-dir",
            self.path.display()
        ))
    }
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => format!(" (process {})", text.trim()),
        _ => String::new(),
    }
}
