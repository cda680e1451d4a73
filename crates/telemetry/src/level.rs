//! What is logged, and how that is changed while the program runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::logs::LogError;

/// Longest time for which another level may be asked: a day. Whoever wants it longer changes the configuration.
pub const LEVEL_FOR_MAX: Duration = Duration::from_hours(24);
/// Longest level that is taken, in bytes: dozens of parts.
pub const LEVEL_MAX: usize = 1_024;
/// A timer that nothing needs.
const IDLE: Duration = Duration::from_hours(1);

/// The level in force. Clones are of the same.
#[derive(Clone)]
pub struct LogLevel(Arc<Shared>);

struct Shared {
    filter: reload::Handle<EnvFilter, Registry>,
    configured: String,
    now: Mutex<Now>,
    changed: Notify,
}

#[derive(Clone)]
struct Now {
    level: String,
    until: Option<Instant>,
}

/// What is logged now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelNow {
    /// In the words of `EnvFilter`.
    pub level: String,
    /// What the configuration says.
    pub configured: String,
    /// In how long that is in force again by itself.
    pub returns_in: Option<Duration>,
}

impl LogLevel {
    pub(crate) fn new(filter: reload::Handle<EnvFilter, Registry>, configured: &str) -> Self {
        let now = Mutex::new(Now { level: configured.to_owned(), until: None });
        Self(Arc::new(Shared { filter, configured: configured.to_owned(), now, changed: Notify::new() }))
    }

    /// What is logged now.
    pub fn now(&self) -> LevelNow {
        let now = self.lock().clone();
        let returns_in = now.until.map(|until| until.saturating_duration_since(Instant::now()));
        LevelNow { level: now.level, configured: self.0.configured.clone(), returns_in }
    }

    /// Logs this from now on; with `time`, no longer than so (at most [`LEVEL_FOR_MAX`]).
    pub fn set(&self, level: &str, time: Option<Duration>) -> Result<(), LogError> {
        let wrong = |reason: String| LogError::Level { level: level.to_owned(), reason };
        if level.len() > LEVEL_MAX {
            return Err(LogError::Level {
                level: "…".to_owned(),
                reason: format!("it has {} bytes; at most {LEVEL_MAX} are taken", level.len()),
            });
        }
        let filter = parse(level)?;
        let until = time.map(|time| Instant::now() + time.min(LEVEL_FOR_MAX));
        {
            let mut now = self.lock();
            self.0.filter.reload(filter).map_err(|error| wrong(error.to_string()))?;
            *now = Now { level: level.to_owned(), until };
        }
        self.0.changed.notify_one();
        tracing::warn!(now = level, for_s = time.map(|time| time.as_secs()), "the log level was changed");
        Ok(())
    }

    /// Returns to the configured level when its time comes, for as long as it is awaited.
    pub async fn keep(&self) {
        loop {
            let until = self.lock().until;
            tokio::select! {
                () = sleep_until(until.unwrap_or_else(|| Instant::now() + IDLE)) => {}
                () = self.0.changed.notified() => continue,
            }
            let due = self.lock().until.is_some_and(|until| until <= Instant::now());
            if due && let Err(error) = self.set(&self.0.configured, None) {
                tracing::error!(%error, "the configured log level cannot be restored");
                self.lock().until = None;
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogLevel").field(&self.now()).finish()
    }
}

/// Reads a level: `info`, or `warn,tidemill::task=info`.
pub(crate) fn parse(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = |reason: String| LogError::Level { level: level.to_owned(), reason };
    // `EnvFilter` takes any word for a part of the program, and then logs nothing of the others.
    let words = level.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains(['=', '[']));
    for word in words {
        if word.parse::<LevelFilter>().is_err() {
            return Err(wrong(format!("{word} is no level")));
        }
    }
    if level.trim().is_empty() {
        return Err(wrong("it is empty; off logs nothing".to_owned()));
    }
    EnvFilter::try_new(level).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A level that filters nothing: the filter of a subscriber that is not installed.
    fn level() -> (LogLevel, reload::Layer<EnvFilter, Registry>) {
        let (layer, handle) = reload::Layer::new(parse("info").unwrap());
        (LogLevel::new(handle, "info"), layer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_for_a_time_returns_to_the_configured_one_by_itself() {
        let (level, _layer) = level();
        let keeper = level.clone();
        let keeping = tokio::spawn(async move { keeper.keep().await });
        level.set("debug,hyper=warn", Some(Duration::from_secs(30))).unwrap();
        assert_eq!(level.now().level, "debug,hyper=warn");
        assert_eq!(level.now().returns_in, Some(Duration::from_secs(30)));
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert_eq!(level.now(), LevelNow { level: "info".into(), configured: "info".into(), returns_in: None });
        level.set("warn", None).unwrap();
        tokio::time::sleep(LEVEL_FOR_MAX * 2).await;
        assert_eq!(level.now().level, "warn");
        keeping.abort();
    }

    #[test]
    fn a_wrong_level_changes_nothing() {
        let (level, _layer) = level();
        for wrong in ["loud", "", "tidemill=loud", &"a=info,".repeat(LEVEL_MAX)] {
            assert!(level.set(wrong, None).is_err(), "{wrong}");
        }
        assert_eq!(level.now().level, "info");
    }
}
