//! The election's requests: each within its deadline, its outcome told to the state machine and shown to those who watch.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::lease::{LeaseRecord, failure};
use super::state::{Action, Attempt, Election, Failure, Farewell, Loss, Moment};
use super::view::View;

/// How long a request may take: less than the shortest pause between two.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long giving back may take in all: two requests.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// Requests for giving back: what others wrote meanwhile is looked at again, but not for ever.
const RELEASE_REQUESTS: u32 = 6;
/// How often an outage that lasts is said in the log.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// A process's election, and what it needs to take part.
pub(super) struct Campaign {
    identity: String,
    lease: LeaseRecord,
    election: Election,
    shown: watch::Sender<View>,
    born: Instant,
    said: Option<Instant>,
}

impl Campaign {
    pub(super) fn new(identity: String, lease: LeaseRecord, election: Election, shown: watch::Sender<View>) -> Self {
        Self { identity, lease, election, shown, born: Instant::now(), said: None }
    }

    /// Whether this process leads, whatever the clock says: that leadership has run out is for [`Campaign::wait`] and the
    /// others to say.
    pub(super) fn leads(&self) -> bool {
        self.election.leads_until().is_some()
    }

    /// Reads the record.
    pub(super) async fn look(&mut self) -> Action {
        let answer = timeout_at(self.patience(), self.lease.read()).await;
        let now = self.now();
        let action = match self.judge(answer) {
            Ok(record) => self.election.observe(record, now),
            Err(_) => self.election.failed(Failure::Unknown, now),
        };
        self.show();
        action
    }

    /// Writes the record, to its end: a write that was abandoned might succeed all the same.
    pub(super) async fn write(&mut self, attempt: &Attempt) -> Action {
        let begun = self.now();
        let answer = timeout_at(self.patience(), self.lease.write(attempt)).await;
        let now = self.now();
        let action = match self.judge(answer) {
            Ok(record) => self.election.wrote(record, begun, now),
            Err(failure) => self.election.failed(failure, now),
        };
        self.show();
        action
    }

    /// Waits until then.
    pub(super) async fn wait(&mut self, until: Moment) -> Action {
        sleep_until(self.born + until).await;
        self.resume()
    }

    /// Goes on, or begins.
    pub(super) fn resume(&mut self) -> Action {
        let now = self.now();
        self.election.resume(now)
    }

    /// Says that leadership was lost.
    pub(super) fn lost(&mut self, loss: &Loss) -> Action {
        self.show();
        match loss {
            Loss::Deadline => {
                tracing::warn!(identity = self.identity, "leadership lost: the lease could not be renewed in time");
            }
            Loss::Taken(Some(by)) => {
                tracing::warn!(
                    identity = self.identity,
                    leader = by,
                    "leadership lost: another process holds the lease"
                );
            }
            Loss::Taken(None) => {
                tracing::warn!(identity = self.identity, "leadership lost: the lease was released by another");
            }
        }
        Action::Look
    }

    /// Ends the term and lets the next take over at once, if the API server answers in time.
    pub(super) async fn resign(&mut self) {
        let led = self.leads();
        let done = timeout(RELEASE_TIMEOUT, self.release()).await.unwrap_or(false);
        self.show();
        match (led, done) {
            (true, true) => tracing::info!(identity = self.identity, "leadership released"),
            (true, false) => {
                tracing::warn!(
                    identity = self.identity,
                    "leadership could not be released; the lease runs out by itself"
                );
            }
            (false, _) => {}
        }
    }

    async fn release(&mut self) -> bool {
        for _ in 0..RELEASE_REQUESTS {
            let farewell = self.election.resign();
            self.show();
            let known = match farewell {
                Farewell::Nothing => return true,
                Farewell::Look => {
                    let answer = timeout(REQUEST_TIMEOUT, self.lease.read()).await;
                    self.judge(answer)
                }
                Farewell::Clear(attempt) => {
                    let answer = timeout(REQUEST_TIMEOUT, self.lease.write(&attempt)).await;
                    self.judge(answer).map(Some)
                }
            };
            let now = self.now();
            match known {
                Ok(record) => self.election.note(record, now),
                Err(failure) => {
                    if let Action::Wait(until) = self.election.failed(failure, now) {
                        let pause = (self.born + until).min(Instant::now() + RELEASE_TIMEOUT / RELEASE_REQUESTS);
                        sleep_until(pause).await;
                    }
                }
            }
        }
        false
    }

    fn now(&self) -> Moment {
        self.born.elapsed()
    }

    /// Until when a request may take: a leader's never longer than its term, so that its loss is seen in time.
    fn patience(&self) -> Instant {
        let end = Instant::now() + REQUEST_TIMEOUT;
        self.election.leads_until().map_or(end, |until| end.min(self.born + until))
    }

    fn judge<T>(&mut self, answer: Result<kube::Result<T>, tokio::time::error::Elapsed>) -> Result<T, Failure> {
        let (failure, error) = match answer {
            Ok(Ok(answer)) => {
                if self.said.take().is_some() {
                    tracing::info!("the API server answers the leader election again");
                }
                return Ok(answer);
            }
            Ok(Err(error)) => (failure(&error), error.to_string()),
            Err(_) => (Failure::Unknown, "no answer in time".to_owned()),
        };
        if failure == Failure::Conflict {
            tracing::debug!(error, "the lease was written by another; looking again");
        } else if self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            tracing::warn!(error, "the lease can be neither read nor written; trying on");
            self.said = Some(Instant::now());
        }
        Err(failure)
    }

    /// Shows how things are, and says in the log who leads when that has changed.
    fn show(&mut self) {
        let leads_until = self.election.leads_until().map(|until| self.born + until);
        let holder = self.election.holder().map(str::to_owned);
        let answered = self.election.has_seen();
        let (identity, mut now) = (&self.identity, View { answered, holder, leads_until });
        self.shown.send_if_modified(|shown| {
            let began = shown.leads_until.is_none() && now.leads_until.is_some();
            let other = shown.holder != now.holder || !shown.answered;
            if began {
                tracing::info!(identity, "this process leads now");
            } else if now.answered && other && now.holder.as_ref() != Some(identity) {
                if let Some(leader) = &now.holder {
                    tracing::info!(identity, leader, "another process leads now");
                } else {
                    tracing::info!(identity, "nobody leads now");
                }
            }
            std::mem::swap(shown, &mut now);
            *shown != now
        });
    }
}
