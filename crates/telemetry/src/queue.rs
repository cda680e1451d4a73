//! A bounded queue of log lines before a sink that may be slow or full.
//!
//! Whoever logs only copies a line into memory. One thread of the queue writes. Where it cannot keep up, or the sink
//! fails, lines that no longer fit are dropped and counted; the thread tries again every second, so that logging comes
//! back by itself.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most bytes that wait for a sink. Some 20,000 lines: a burst of a full batch of tasks fits, memory stays small.
pub const WAITING_MAX: usize = 4 << 20;
/// How long the thread rests after its sink failed, before it tries again.
pub const REST: Duration = Duration::from_secs(1);
/// How often trouble with a sink is told, at most.
pub const TELL_EVERY: Duration = Duration::from_mins(1);

/// How long lines that follow others wait for more, so that one write takes many: shorter than anybody notices, and longer than
/// what a thread and a write for each line would cost under load.
pub const GATHER: Duration = Duration::from_millis(5);

/// What lines are written to.
pub trait Sink: Send + 'static {
    /// Writes whole lines. How many bytes of whole lines it wrote, and what stopped it.
    fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>);

    /// Makes what was written last.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What befell a sink, for whoever tells people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It fails, and lines wait or are dropped.
    Failing {
        /// What it said, or that it is slow.
        reason: String,
        /// Lines dropped so far.
        dropped: u64,
    },
    /// It takes lines again.
    Recovered {
        /// Lines dropped so far.
        dropped: u64,
    },
}

/// The queue. Clones are the same queue.
#[derive(Clone)]
pub struct LineQueue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Lines came, or the end did.
    filled: Condvar,
    /// All lines were written, or the thread ended.
    emptied: Condvar,
    tell: Box<dyn Fn(Trouble) + Send + Sync>,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    thread: Doing,
    /// Whether somebody waits until all lines are written.
    urgent: bool,
    life: Life,
    dropped: u64,
    /// Whether trouble was told and its end was not.
    troubled: bool,
    told: Option<Instant>,
}

/// What the thread does.
#[derive(Default, PartialEq, Eq)]
enum Doing {
    /// Waits for lines.
    #[default]
    Waiting,
    /// Lets lines come together, and need not be told of each.
    Gathering,
    /// Writes lines that it holds.
    Writing,
}

#[derive(Default, PartialEq, Eq)]
enum Life {
    #[default]
    Running,
    Closing,
    Ended,
}

impl LineQueue {
    /// A queue before `sink` and the thread that empties it. `tell` hears of trouble, at most once per [`TELL_EVERY`];
    /// it must not block.
    pub fn start(
        name: &str,
        mut sink: impl Sink,
        tell: impl Fn(Trouble) + Send + Sync + 'static,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            tell: Box::new(tell),
        });
        let queue = Self { shared: shared.clone() };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || shared.empty_into(&mut sink))?;
        Ok((queue, thread))
    }

    /// Takes a line (or several whole ones) in, or drops and counts it. Never waits for the sink.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.shared.lock();
        if state.life != Life::Ended && state.waiting.len() + line.len() <= WAITING_MAX {
            let is_first = state.waiting.is_empty() && state.thread == Doing::Waiting;
            state.waiting.extend_from_slice(line);
            drop(state);
            if is_first {
                self.shared.filled.notify_one();
            }
            return;
        }
        state.dropped += 1;
        let trouble = state.trouble("it is slower than the log");
        drop(state);
        self.shared.tell(trouble);
    }

    /// How many lines were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// Waits until all lines are written, at most `deadline`. Whether they are.
    pub fn flush(&self, deadline: Duration) -> bool {
        let mut state = self.shared.lock();
        state.urgent = true;
        self.shared.filled.notify_one();
        let (state, _) = self
            .shared
            .emptied
            .wait_timeout_while(state, deadline, |s| {
                s.life != Life::Ended && (s.thread == Doing::Writing || !s.waiting.is_empty())
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting.is_empty() && state.thread != Doing::Writing
    }

    /// Ends the thread once what waits is written, or at its sink's next failure.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        if state.life == Life::Running {
            state.life = Life::Closing;
        }
        drop(state);
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, trouble: Option<Trouble>) {
        if let Some(trouble) = trouble {
            (self.tell)(trouble);
        }
    }

    fn empty_into(&self, sink: &mut impl Sink) {
        let mut lines = Vec::new();
        let mut last = None;
        while self.next(&mut lines, sink, last) {
            last = Some(Instant::now());
            let mut done = 0;
            while done < lines.len() {
                let (written, result) = sink.write_lines(&lines[done..]);
                done += written;
                match result {
                    Ok(()) => self.tell(self.lock().recovered()),
                    Err(error) => {
                        if self.rest(&error) {
                            let left = lines[done..].split_inclusive(|byte| *byte == b'\n').count();
                            self.lock().dropped += left as u64;
                            done = lines.len();
                        }
                    }
                }
            }
            lines.clear();
        }
        self.lock().life = Life::Ended;
        self.emptied.notify_all();
    }

    /// Swaps `lines` for what waits. Whether there was any before the end. The `last` lines were taken then.
    fn next(&self, lines: &mut Vec<u8>, sink: &mut impl Sink, last: Option<Instant>) -> bool {
        let mut state = self.lock();
        state.thread = Doing::Waiting;
        let rest = last.map_or(Duration::ZERO, |last| GATHER.saturating_sub(last.elapsed()));
        if !rest.is_zero() {
            state.thread = Doing::Gathering;
            state = self
                .filled
                .wait_timeout_while(state, rest, |state| !state.urgent && state.life == Life::Running)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.thread = Doing::Waiting;
        }
        if state.waiting.is_empty() {
            state.urgent = false;
            self.emptied.notify_all();
            if state.life == Life::Closing {
                drop(state);
                if let Err(error) = sink.sync() {
                    self.tell(self.lock().trouble(&error.to_string()));
                }
                return false;
            }
            state = self
                .filled
                .wait_while(state, |state| state.waiting.is_empty() && state.life == Life::Running)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(lines, &mut state.waiting);
        state.thread = if lines.is_empty() { Doing::Waiting } else { Doing::Writing };
        true
    }

    /// Tells of the failure and rests. Whether the end came meanwhile.
    fn rest(&self, error: &io::Error) -> bool {
        let trouble = self.lock().trouble(&error.to_string());
        self.tell(trouble);
        let state = self.lock();
        let (state, _) = self
            .filled
            .wait_timeout_while(state, REST, |state| state.life == Life::Running)
            .unwrap_or_else(PoisonError::into_inner);
        state.life != Life::Running
    }
}

impl State {
    /// What to tell of lines that are not written or dropped, where it is time to tell again.
    fn trouble(&mut self, reason: &str) -> Option<Trouble> {
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        self.told = Some(Instant::now());
        self.troubled = true;
        Some(Trouble::Failing { reason: reason.to_owned(), dropped: self.dropped })
    }

    /// What to tell of lines that are written, where trouble was told before.
    fn recovered(&mut self) -> Option<Trouble> {
        std::mem::take(&mut self.troubled).then_some(Trouble::Recovered { dropped: self.dropped })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// A sink that fails while `full` holds, and hands on what it takes.
    struct Switch {
        full: Arc<AtomicBool>,
        lines: mpsc::Sender<Vec<u8>>,
    }

    impl Sink for Switch {
        fn write_lines(&mut self, lines: &[u8]) -> (usize, io::Result<()>) {
            if self.full.load(Ordering::SeqCst) {
                return (0, Err(io::ErrorKind::StorageFull.into()));
            }
            self.lines.send(lines.to_vec()).unwrap();
            (lines.len(), Ok(()))
        }
    }

    struct Bench {
        queue: LineQueue,
        thread: JoinHandle<()>,
        full: Arc<AtomicBool>,
        lines: mpsc::Receiver<Vec<u8>>,
        troubles: mpsc::Receiver<Trouble>,
    }

    fn bench(full: bool) -> Bench {
        let full = Arc::new(AtomicBool::new(full));
        let (lines_in, lines) = mpsc::channel();
        let (troubles_in, troubles) = mpsc::channel();
        let sink = Switch { full: full.clone(), lines: lines_in };
        let (queue, thread) =
            LineQueue::start("test", sink, move |trouble| troubles_in.send(trouble).unwrap()).unwrap();
        Bench { queue, thread, full, lines, troubles }
    }

    #[test]
    fn lines_come_out_in_order_and_flush_waits_for_them() {
        let bench = bench(false);
        for number in 0..1_000 {
            bench.queue.push(format!("{number}\n").as_bytes());
        }
        assert!(bench.queue.flush(DEADLINE));
        let text = String::from_utf8(bench.lines.try_iter().flatten().collect()).unwrap();
        assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..1_000));
        bench.queue.close();
        bench.thread.join().unwrap();
    }

    #[test]
    fn a_full_sink_costs_lines_but_nobody_waits_and_it_recovers_by_itself() {
        let bench = bench(true);
        let line = vec![b'x'; 1 << 20];
        let begun = Instant::now();
        for _ in 0..20 {
            bench.queue.push(&line);
        }
        assert!(begun.elapsed() < REST, "pushing never waits for the sink");
        assert!(bench.queue.dropped() >= 10);
        assert!(matches!(bench.troubles.recv_timeout(DEADLINE).unwrap(), Trouble::Failing { .. }));
        bench.full.store(false, Ordering::SeqCst);
        assert!(bench.queue.flush(DEADLINE));
        assert!(
            matches!(bench.troubles.recv_timeout(DEADLINE).unwrap(), Trouble::Recovered { dropped } if dropped >= 10)
        );
        bench.queue.push(b"again\n");
        assert!(bench.queue.flush(DEADLINE));
        assert!(bench.lines.try_iter().flatten().collect::<Vec<u8>>().ends_with(b"again\n"));
        bench.queue.close();
        bench.thread.join().unwrap();
    }

    #[test]
    fn trouble_is_told_once_a_minute_and_not_for_each_line() {
        let bench = bench(true);
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            bench.queue.push(&line);
        }
        bench.queue.close();
        bench.thread.join().unwrap();
        assert_eq!(bench.troubles.try_iter().count(), 1);
    }

    #[test]
    fn the_end_does_not_wait_for_a_sink_that_fails() {
        let bench = bench(true);
        bench.queue.push(b"never written\n");
        assert!(!bench.queue.flush(Duration::from_millis(10)));
        bench.queue.close();
        bench.thread.join().unwrap();
        assert_eq!(bench.queue.dropped(), 1);
    }
}
