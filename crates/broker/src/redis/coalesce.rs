//! Enqueues of many callers: while round trips of a queue are under way, those that come meanwhile gather and travel
//! together in the next. Each is taken in or refused on its own, and each caller is told its own outcome.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemill_core::QueueName;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::link::Link;
use super::script;
use super::wire::{self, Call};
use crate::contract::Enqueued;
use crate::error::{BrokerError, Result};

/// As many round trips of a queue are under way at a time: while the store works for one, the next is put together.
const AT_ONCE: usize = 2;
/// A batch of so many tasks is worth a round trip of its own.
const TOGETHER_TASKS: usize = 100;
/// As many tasks travel together at most.
const TASKS_MAX: usize = 1_000;
/// As many bytes travel together at most, so that no caller waits for the megabytes of others.
const BYTES_MAX: usize = 256 * 1024;
/// How long a caller waits for its turn and its answer: a round trip that is under way, and its own.
const DEADLINE: Duration = Duration::from_millis(1_900);

type Outcome = Result<Vec<Enqueued>>;

/// The enqueues of a process, queue by queue.
#[derive(Debug)]
pub(super) struct Coalescer {
    link: Link,
    lines: Mutex<HashMap<QueueName, Arc<Line>>>,
}

/// The enqueues of one queue.
#[derive(Debug, Default)]
struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    waiting: VecDeque<Waiting>,
    /// Send what has gathered, while there is any.
    senders: Vec<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Waiting {
    call: Call,
    outcome: oneshot::Sender<Outcome>,
}

/// What becomes of a call.
enum Begun {
    /// It may go at once.
    Alone(Call),
    /// It goes with others, and its outcome is told here.
    Waits(oneshot::Receiver<Outcome>),
}

impl Coalescer {
    pub(super) fn new(link: Link) -> Self {
        Self { link, lines: Mutex::default() }
    }

    /// Takes in a batch, at once where little of its queue is under way.
    pub(super) async fn enqueue(&self, queue: &QueueName, call: Call) -> Outcome {
        if call.len() >= TOGETHER_TASKS {
            return alone(&self.link, queue, &call).await;
        }
        let line = self.line(queue);
        let told = match line.begin(call) {
            Begun::Alone(call) => {
                let _turn = Turn { line: &line, link: &self.link, queue };
                return alone(&self.link, queue, &call).await;
            }
            Begun::Waits(told) => told,
        };
        let unavailable = |reason: &str| BrokerError::Unavailable { operation: "enqueue", reason: reason.to_owned() };
        timeout(DEADLINE, told)
            .await
            .map_err(|_| unavailable("no answer in time"))?
            .map_err(|_| unavailable("the broker is closed"))?
    }

    /// Lets go of what has gathered.
    pub(super) fn close(&self) {
        for (_, line) in self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            let (waiting, senders) = {
                let mut state = line.state();
                (std::mem::take(&mut state.waiting), std::mem::take(&mut state.senders))
            };
            // Outside of the lock, which a sender takes as it ends.
            drop((waiting, senders));
        }
    }

    fn line(&self, queue: &QueueName) -> Arc<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(queue) {
            return Arc::clone(line);
        }
        // Queues come and go: lines that nobody uses go with them.
        lines.retain(|_, line| Arc::strong_count(line) > 1);
        Arc::clone(lines.entry(queue.clone()).or_default())
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call's turn, which is now where little is under way.
    fn begin(&self, call: Call) -> Begun {
        let mut state = self.state();
        if state.under_way < AT_ONCE {
            state.under_way += 1;
            return Begun::Alone(call);
        }
        let (outcome, told) = oneshot::channel();
        state.waiting.push_back(Waiting { call, outcome });
        Begun::Waits(told)
    }

    /// What travels together next: all that waits, or its share of it where others send as well. One round trip fewer is
    /// under way once nothing waits.
    fn next(&self) -> Vec<Waiting> {
        let mut state = self.state();
        // Whoever has given up may have been told that nothing was taken in, and may send it again.
        state.waiting.retain(|waiting| !waiting.outcome.is_closed());
        let share = state.waiting.len().div_ceil(state.under_way.max(1));
        let (mut many, mut tasks, mut bytes) = (0, 0, 0);
        for waiting in state.waiting.iter().take(share) {
            tasks += waiting.call.len();
            bytes += waiting.call.bytes();
            if many > 0 && (tasks > TASKS_MAX || bytes > BYTES_MAX) {
                break;
            }
            many += 1;
        }
        if many == 0 {
            state.under_way = state.under_way.saturating_sub(1);
        }
        state.waiting.drain(..many).collect()
    }
}

/// The turn of a caller whose round trip is under way. However it ends, those who wait are sent then.
struct Turn<'a> {
    line: &'a Arc<Line>,
    link: &'a Link,
    queue: &'a QueueName,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        {
            let mut state = self.line.state();
            if state.waiting.is_empty() {
                state.under_way = state.under_way.saturating_sub(1);
                return;
            }
        }
        let gathering = Gathering { line: Arc::clone(self.line), over: false };
        let sending = tokio::spawn(send_all(gathering, self.link.clone(), self.queue.clone()));
        let mut state = self.line.state();
        state.senders.retain(|sender| !sender.is_finished());
        state.senders.push(AbortOnDropHandle::new(sending));
    }
}

/// Sends what gathers until nothing does. Where that is cut short (the runtime ends that it was begun on), those who wait
/// are told, and the next call begins anew.
struct Gathering {
    line: Arc<Line>,
    over: bool,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        if !self.over {
            let mut state = self.line.state();
            state.under_way = state.under_way.saturating_sub(1);
            if state.under_way == 0 {
                state.waiting.clear();
            }
        }
    }
}

async fn send_all(mut gathering: Gathering, link: Link, queue: QueueName) {
    loop {
        // Those who were just told their outcome may have more: it travels along.
        tokio::task::yield_now().await;
        let waiting = gathering.line.next();
        if waiting.is_empty() {
            gathering.over = true;
            return;
        }
        send(&link, &queue, waiting).await;
    }
}

async fn send(link: &Link, queue: &QueueName, waiting: Vec<Waiting>) {
    let put = |command: &mut redis::Cmd| waiting.iter().for_each(|waiting| waiting.call.put(command));
    let reply = link.run(&script::ENQUEUE, queue, put).await;
    let mut reply = reply.map(|(_, reply)| reply);
    for Waiting { outcome, .. } in waiting {
        let told = match &mut reply {
            Ok(reply) => wire::enqueued(queue, reply),
            Err(error) => Err(error.clone()),
        };
        if outcome.send(told).is_err() {
            tracing::trace!(%queue, "whoever enqueued has left");
        }
    }
}

async fn alone(link: &Link, queue: &QueueName, call: &Call) -> Outcome {
    let (_, mut reply) = link.run(&script::ENQUEUE, queue, |command| call.put(command)).await?;
    wire::enqueued(queue, &mut reply)
}
