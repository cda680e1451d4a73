//! Workers that may die, each in a process of its own, and the one who starts them again.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A line of the diary that all workers of a test write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which process.
    pub pid: u32,
    /// `start`, `end`, or `dropped` where the handler was stopped before its end.
    pub what: String,
    /// Which task.
    pub task: String,
    /// How many workers it had been lost with before.
    pub losses: u32,
}

/// Processes of a worker program on one queue, with the diary of what they ran.
#[derive(Debug)]
pub struct Crew {
    program: PathBuf,
    folder: TempDir,
    hands: Vec<Hand>,
    restarts: usize,
}

#[derive(Debug)]
struct Hand {
    args: Vec<String>,
    child: Child,
}

impl Crew {
    /// Nobody yet. `program` is called as `program URL QUEUE DIARY ARGS…`.
    pub fn new(program: impl Into<PathBuf>) -> io::Result<Self> {
        Ok(Self { program: program.into(), folder: TempDir::new()?, hands: Vec::new(), restarts: 0 })
    }

    /// Starts one more.
    pub fn start(&mut self, url: &str, queue: &str, args: &[&str]) -> io::Result<()> {
        let mut all = vec![url.to_owned(), queue.to_owned(), self.diary().display().to_string()];
        all.extend(args.iter().map(ToString::to_string));
        let child = self.spawn(self.hands.len(), &all)?;
        self.hands.push(Hand { args: all, child });
        Ok(())
    }

    /// Starts those again that have died. How often that was so, all in all.
    pub fn tend(&mut self) -> io::Result<usize> {
        for number in 0..self.hands.len() {
            if self.hands[number].child.try_wait()?.is_some() {
                self.hands[number].child = self.spawn(number, &self.hands[number].args)?;
                self.restarts += 1;
            }
        }
        Ok(self.restarts)
    }

    /// The process that is now the `number`-th of the crew.
    pub fn pid(&self, number: usize) -> u32 {
        self.hands[number].child.id()
    }

    /// What the `number`-th and its predecessors logged.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(self.log_file(number)).unwrap_or_default()
    }

    /// What all of them ran, in order.
    pub fn entries(&self) -> Vec<Entry> {
        let text = std::fs::read_to_string(self.diary()).unwrap_or_default();
        let entry = |line: &str| {
            let mut words = line.split(' ');
            Some(Entry {
                pid: words.next()?.parse().ok()?,
                what: words.next()?.to_owned(),
                task: words.next()?.to_owned(),
                losses: words.next()?.parse().ok()?,
            })
        };
        text.lines().filter_map(entry).collect()
    }

    /// How often `what` was written of `task`.
    pub fn count(&self, what: &str, task: &str) -> usize {
        self.entries().iter().filter(|entry| entry.what == what && entry.task == task).count()
    }

    fn spawn(&self, number: usize, args: &[String]) -> io::Result<Child> {
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_file(number))?;
        Command::new(&self.program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
    }

    fn diary(&self) -> PathBuf {
        self.folder.path().join("diary")
    }

    fn log_file(&self, number: usize) -> PathBuf {
        Path::new(self.folder.path()).join(format!("{number}.log"))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for hand in &mut self.hands {
            if hand.child.kill().is_ok() {
                drop(hand.child.wait());
            }
        }
    }
}
