//! The one thread that writes. It takes whatever requests have queued up, runs each in a savepoint, and commits them
//! all at once: while the disk syncs, the next batch gathers. Only then are callers answered, events published and
//! waiters woken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, Outcome, Trouble};
use super::store::Store;
use crate::error::{BrokerError, Result};

/// Requests that may queue up; more callers wait for a place, up to their deadline.
const QUEUED_REQUESTS: usize = 1_024;
/// Most requests in one commit.
const COMMIT_REQUESTS: usize = 512;
/// A commit takes in no more requests after so long, so that the first of them is not kept from its answer.
const COMMIT_AFTER: Duration = Duration::from_millis(20);
/// How long an operation may take, as the contract says. One that has not begun by then never will.
pub(super) const OPERATION_DEADLINE: Duration = Duration::from_secs(2);
/// How long [`Writer::close`] waits for the last commit and for the log to be worked into the database.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// The callers' end.
pub(super) struct Writer {
    sender: mpsc::Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    commits: Arc<AtomicU64>,
}

enum Message {
    /// To be run with others in one transaction.
    Job(Box<dyn Job>),
    /// To be run outside of any transaction.
    #[cfg(feature = "conformance")]
    Alone(Box<dyn FnOnce(&mut Store) + Send>),
    /// To end.
    Close(oneshot::Sender<()>),
}

/// A request, whatever it answers.
trait Job: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Does it, and keeps the answer. Whether it is to be committed.
    fn run(&mut self, store: &mut Store) -> bool;
    /// Hands over the answer, or why the commit failed.
    fn answer(self: Box<Self>, commit: &std::result::Result<(), Trouble>);
}

struct Request<T, F> {
    operation: &'static str,
    body: Option<F>,
    outcome: Option<Outcome<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl Writer {
    /// Starts the thread, which owns `store` until it ends.
    pub(super) fn start(store: Store) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(QUEUED_REQUESTS);
        let commits = Arc::new(AtomicU64::new(0));
        let counter = commits.clone();
        let thread = std::thread::Builder::new()
            .name("tidemill-sqlite".to_owned())
            .spawn(move || serve(store, receiver, &counter))
            .map_err(|error| BrokerError::Unfit(format!("cannot start a thread: {error}")))?;
        Ok(Self { sender, thread: Mutex::new(Some(thread)), commits })
    }

    /// Runs `body` in a transaction, and answers once that is committed.
    pub(super) async fn write<T, F>(&self, operation: &'static str, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let request = Request { operation, body: Some(body), outcome: None, reply };
        self.request(operation, Message::Job(Box::new(request)), answer).await
    }

    /// Runs `body` between two transactions.
    #[cfg(feature = "conformance")]
    pub(super) async fn alone<T, F>(&self, operation: &'static str, body: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> Outcome<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |store: &mut Store| {
            let result = body(store).map_err(|fault| fault.into_error(operation));
            if reply.send(result).is_err() {
                tracing::debug!(operation, "nobody waits for the answer");
            }
        };
        self.request(operation, Message::Alone(Box::new(run)), answer).await
    }

    /// Ends the thread after what it has in hand, and lets go of the files.
    pub(super) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        let closing =
            async { if self.sender.send(Message::Close(done)).await.is_ok() { ended.await.is_ok() } else { true } };
        if !matches!(tokio::time::timeout(CLOSE_DEADLINE, closing).await, Ok(true)) {
            tracing::warn!("the store did not close in time; what it has acknowledged is safe");
        }
    }

    /// How many transactions were committed.
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    async fn request<T>(
        &self,
        operation: &'static str,
        message: Message,
        answer: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        let unavailable = |reason: &str| BrokerError::Unavailable { operation, reason: reason.to_owned() };
        let exchange = async {
            self.sender.send(message).await.map_err(|_| unavailable("it is closed"))?;
            answer.await.map_err(|_| unavailable("it is closed"))?
        };
        match tokio::time::timeout(OPERATION_DEADLINE, exchange).await {
            Ok(result) => result,
            Err(_) => Err(unavailable("the disk did not keep up")),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (unconnected, _) = mpsc::channel(1);
        self.sender = unconnected;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's thread panicked");
        }
    }
}

impl<T, F> Job for Request<T, F>
where
    T: Send,
    F: FnOnce(&mut Store) -> Outcome<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, store: &mut Store) -> bool {
        self.outcome = self.body.take().map(|body| body(store));
        matches!(self.outcome, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, commit: &std::result::Result<(), Trouble>) {
        let Self { operation, outcome, reply, .. } = *self;
        let result = match (outcome, commit) {
            (Some(Err(fault)), _) => Err(fault.into_error(operation)),
            (_, Err(trouble)) => Err(trouble.error(operation)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (None, Ok(())) => Err(BrokerError::Store { operation, reason: "it was not run".to_owned() }),
        };
        if reply.send(result).is_err() {
            tracing::debug!(operation, "nobody waits for the answer");
        }
    }
}

fn serve(mut store: Store, mut receiver: mpsc::Receiver<Message>, commits: &AtomicU64) {
    let mut next = receiver.blocking_recv();
    while let Some(message) = next.take() {
        match message {
            Message::Job(job) => next = commit_batch(&mut store, job, &mut receiver, commits),
            #[cfg(feature = "conformance")]
            Message::Alone(body) => body(&mut store),
            Message::Close(done) => {
                receiver.close();
                store.close();
                if done.send(()).is_err() {
                    tracing::debug!("nobody waits for the store to close");
                }
                return;
            }
        }
        if next.is_none() {
            next = receiver.blocking_recv();
        }
    }
    store.close();
}

/// Runs `first` and what has queued up behind it in one transaction. Returns a message that is not for it.
fn commit_batch(
    store: &mut Store,
    first: Box<dyn Job>,
    receiver: &mut mpsc::Receiver<Message>,
    commits: &AtomicU64,
) -> Option<Message> {
    let began = Instant::now();
    let mut jobs: Vec<Box<dyn Job>> = Vec::new();
    let mut other = None;
    let mut outcome = store.begin();
    let mut job = Some(first);
    while let Some(mut taken) = job.take() {
        if taken.is_abandoned() {
            tracing::debug!("a request was given up before it began");
        } else {
            if outcome.is_ok() {
                outcome = store.in_savepoint(|store| taken.run(store));
            }
            jobs.push(taken);
        }
        if outcome.is_err() || jobs.len() >= COMMIT_REQUESTS || began.elapsed() >= COMMIT_AFTER {
            break;
        }
        match receiver.try_recv() {
            Ok(Message::Job(next)) => job = Some(next),
            Ok(message) => other = Some(message),
            Err(_) => {}
        }
    }
    let result = outcome.and_then(|()| store.commit());
    if result.is_err() {
        store.roll_back();
    }
    if result.is_ok() {
        commits.fetch_add(1, Ordering::SeqCst);
        store.show();
    }
    for job in jobs {
        job.answer(&result);
    }
    if result.is_ok() {
        store.announce();
    }
    other
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Sql(trouble) => trouble,
            other => Self::other(&other),
        }
    }
}
