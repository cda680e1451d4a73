//! The last messages of one queue, shared by all of its clients. Bounded by count and by bytes; who falls behind both is
//! told so.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ws::Utf8Bytes;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;

/// Messages that a client may be behind: the events of some twenty thousand tasks.
const MESSAGES_MAX: usize = 1 << 16;
/// Bytes that a client may be behind.
const BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Default)]
struct Ring {
    /// The number of the first message kept.
    first: u64,
    kept: VecDeque<Utf8Bytes>,
    bytes: usize,
}

impl Ring {
    fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    grown: watch::Sender<()>,
    readers: AtomicUsize,
    /// Messages that readers have not taken yet, all readers of all feeds together.
    behind: Gauge,
}

/// One client's end.
#[derive(Debug)]
pub(crate) struct Reader {
    feed: Arc<Feed>,
    grown: watch::Receiver<()>,
    next: u64,
}

/// Messages were dropped that this reader had not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost;

impl Feed {
    /// Counts in `behind` how many messages its readers have not taken yet.
    pub(crate) fn new(behind: Gauge) -> Arc<Self> {
        Arc::new(Self { ring: Mutex::default(), grown: watch::Sender::new(()), readers: AtomicUsize::new(0), behind })
    }

    /// A reader of what comes from now on.
    pub(crate) fn read(self: &Arc<Self>) -> Reader {
        let grown = self.grown.subscribe();
        let ring = self.ring();
        self.readers.fetch_add(1, Ordering::AcqRel);
        let next = ring.next();
        drop(ring);
        Reader { feed: self.clone(), grown, next }
    }

    /// How many readers there are.
    pub(crate) fn readers(&self) -> usize {
        self.readers.load(Ordering::Acquire)
    }

    /// Adds messages, dropping the oldest where there is no room.
    pub(crate) fn push(&self, messages: impl IntoIterator<Item = Utf8Bytes>) {
        {
            let mut ring = self.ring();
            let before = ring.next();
            for message in messages {
                ring.bytes += message.len();
                ring.kept.push_back(message);
                while ring.kept.len() > 1 && (ring.kept.len() > MESSAGES_MAX || ring.bytes > BYTES_MAX) {
                    if let Some(dropped) = ring.kept.pop_front() {
                        ring.bytes -= dropped.len();
                        ring.first += 1;
                    }
                }
            }
            self.fall_behind(ring.next() - before);
        }
        self.grown.send_replace(());
    }

    /// Says to all present readers that they have missed something.
    pub(crate) fn lose(&self) {
        {
            let mut ring = self.ring();
            ring.first = ring.next() + 1;
            ring.kept = VecDeque::new();
            ring.bytes = 0;
            self.fall_behind(1);
        }
        self.grown.send_replace(());
    }

    /// All readers have so many more messages to take. To be called with the ring in hand, as readers come and go.
    fn fall_behind(&self, messages: u64) {
        let readers = i64::try_from(self.readers()).unwrap_or(0);
        self.behind.inc_by(readers.saturating_mul(i64::try_from(messages).unwrap_or(i64::MAX)));
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Appends what is there, at most `most` messages or about `bytes`; nothing where nothing is new.
    pub(crate) fn take(&mut self, most: usize, bytes: usize, into: &mut Vec<Utf8Bytes>) -> Result<(), Lost> {
        let ring = self.feed.ring();
        let skip = self.next.checked_sub(ring.first).ok_or(Lost)?;
        let (mut taken, before) = (0, self.next);
        for message in ring.kept.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)).take(most) {
            into.push(message.clone());
            self.next += 1;
            taken += message.len();
            if taken >= bytes {
                break;
            }
        }
        self.feed.behind.dec_by(i64::try_from(self.next - before).unwrap_or(0));
        Ok(())
    }

    /// Waits until there may be something new. Safe to drop while it waits.
    pub(crate) async fn grown(&mut self) {
        if self.grown.changed().await.is_err() {
            // The feed is held by this reader, and its sender with it: never so. Waiting is the harmless answer.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let ring = self.feed.ring();
        self.feed.readers.fetch_sub(1, Ordering::AcqRel);
        self.feed.behind.dec_by(i64::try_from(ring.next().saturating_sub(self.next)).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(reader: &mut Reader) -> Result<Vec<String>, Lost> {
        let mut into = Vec::new();
        reader.take(usize::MAX, usize::MAX, &mut into)?;
        Ok(into.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_reader_sees_what_comes_after_it_in_order() {
        let feed = Feed::new(Gauge::default());
        feed.push(["before".into()]);
        let mut reader = feed.read();
        feed.push(["a".into(), "b".into()]);
        assert_eq!(taken(&mut reader).unwrap(), ["a", "b"]);
        assert!(taken(&mut reader).unwrap().is_empty());
    }

    #[test]
    fn a_reader_that_falls_behind_is_told() {
        let feed = Feed::new(Gauge::default());
        let mut slow = feed.read();
        feed.push((0..=MESSAGES_MAX).map(|n| n.to_string().into()));
        assert_eq!(taken(&mut slow), Err(Lost));
        let mut large = feed.read();
        feed.push((0..3).map(|_| "x".repeat(BYTES_MAX / 2).into()));
        assert_eq!(taken(&mut large), Err(Lost));
    }

    #[test]
    fn a_loss_is_told_to_those_who_were_there_and_to_nobody_else() {
        let feed = Feed::new(Gauge::default());
        let mut present = feed.read();
        feed.lose();
        let mut later = feed.read();
        feed.push(["a".into()]);
        assert_eq!(taken(&mut present), Err(Lost));
        assert_eq!(taken(&mut later).unwrap(), ["a"]);
        drop((present, later));
        assert_eq!(feed.readers(), 0);
    }

    #[test]
    fn it_is_counted_how_far_readers_are_behind_together() {
        let behind = Gauge::default();
        let feed = Feed::new(behind.clone());
        let (mut quick, slow) = (feed.read(), feed.read());
        feed.push(["a".into(), "b".into()]);
        assert_eq!(behind.get(), 4);
        taken(&mut quick).unwrap();
        assert_eq!(behind.get(), 2);
        feed.lose();
        drop(slow);
        assert_eq!(taken(&mut quick), Err(Lost));
        drop(quick);
        assert_eq!(behind.get(), 0);
    }
}
