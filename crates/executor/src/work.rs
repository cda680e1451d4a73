//! The loop: one exchange at a time that settles what ended and fills the free slots, a wait when there is nothing.

mod ending;
mod losing;

use std::collections::VecDeque;
use std::future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use tidemill_broker::{BrokerError, Exchanged, Settled};
use tidemill_core::policy::LOSSES_BEFORE_ALONE;
use tidemill_core::{Claim, Outcome, QueueSettings, Settlement, WorkerId};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::attempt::{End, Reason, deadline, judge};
use crate::context::Context;
use crate::executor::Shared;
use crate::heartbeat::Beat;
use crate::journal;
use crate::link::{Retry, millis, within};
use crate::report::{Closing, Report};
use crate::session::{self, Due, Session};
use crate::slots::{Ended, Slots};
use crate::status::add;
use crate::stock::Stock;

/// Longest wait for work: a wake-up that was lost costs no more.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Shortest: a due time of 0 means "now, more or less".
const WAIT_MIN: Duration = Duration::from_millis(1);
/// Time for a handler to end by itself once its task is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// How much later than agreed a wait may end before the store is taken for lost.
const WAIT_SLACK: Duration = Duration::from_secs(2);
/// Wake-ups in a row that found nothing before the next look is put off: others are faster, or the store is jumpy.
const VAIN_WAKES: u32 = 3;
/// How far it is put off at most.
const VAIN_PAUSE_MAX: Duration = Duration::from_millis(200);
/// While there is work in stock, settlements may wait so long for others: one exchange then carries many.
const GATHER: Duration = Duration::from_millis(1);
/// A timer that nothing needs.
const IDLE: Duration = Duration::from_mins(1);

/// The answer to the one operation that may be under way.
enum Answer {
    Opened(Result<(WorkerId, QueueSettings, Instant), BrokerError>),
    Exchanged(Result<Exchanged, BrokerError>),
}

struct Wait {
    call: BoxFuture<'static, Result<(), BrokerError>>,
    until: Instant,
}

pub(crate) struct Work {
    shared: Arc<Shared>,
    slots: Slots,
    /// What is claimed and waits for a slot.
    stock: Stock,
    /// What ended and is not settled.
    due: VecDeque<Due>,
    /// A task that was lost too often: it waits for all others to end, and has the worker to itself.
    alone: Option<Arc<Claim>>,
    alone_runs: bool,
    session: Option<Session>,
    /// The id of the next incarnation, and the last one where it may still hold claims.
    next_id: WorkerId,
    former: Option<WorkerId>,
    call: Option<BoxFuture<'static, Answer>>,
    /// That call waits for work before it exchanges: until when.
    call_waits: Option<Instant>,
    wait: Option<Wait>,
    /// Whether there may be something to claim.
    look: bool,
    /// It is not worth while before, after wake-ups in vain.
    look_at: Option<Instant>,
    vain: u32,
    next_due: Option<Instant>,
    retry: Retry,
    /// Settlements may wait for others until then.
    gather_until: Option<Instant>,
    /// Nothing is asked of the store before.
    rest_until: Option<Instant>,
    paused: bool,
    closing: Option<Closing>,
    report: Report,
}

impl Work {
    pub(crate) fn new(shared: Arc<Shared>, ground: Handle) -> Self {
        Self {
            shared,
            slots: Slots::on(ground),
            stock: Stock::default(),
            due: VecDeque::new(),
            alone: None,
            alone_runs: false,
            session: None,
            next_id: session::new_id(),
            former: None,
            call: None,
            call_waits: None,
            wait: None,
            look: true,
            look_at: None,
            vain: 0,
            next_due: None,
            retry: Retry::default(),
            gather_until: None,
            rest_until: None,
            paused: false,
            closing: None,
            report: Report::default(),
        }
    }

    pub(crate) async fn run(mut self, stop: CancellationToken, abort: CancellationToken) -> Report {
        loop {
            while let Some(ended) = self.slots.try_next() {
                self.ended(ended);
            }
            self.fill(Instant::now());
            self.turn(Instant::now());
            if self.is_over(Instant::now()) {
                return self.end().await;
            }
            self.begin(Instant::now());
            self.publish();
            let alarm = self.alarm();
            let aborting = self.closing.is_some_and(|closing| closing.aborting);
            tokio::select! {
                biased;
                () = abort.cancelled(), if !aborting => self.close(Closing::abort(Instant::now())),
                () = stop.cancelled(), if self.closing.is_none() => {
                    let timeout = self.shared.options.shutdown_timeout;
                    self.close(Closing::drain(Instant::now(), timeout));
                }
                answer = or_never(self.call.as_mut()) => {
                    self.call = None;
                    self.answered(answer);
                    // What was just started may be over at once: one exchange then settles all of it.
                    tokio::task::yield_now().await;
                }
                beat = next_beat(self.session.as_mut()) => self.beat(beat),
                ended = self.slots.next() => self.ended(ended),
                woken = or_never(self.wait.as_mut().map(|wait| &mut wait.call)) => self.woken(&woken),
                () = sleep_until(alarm) => {}
            }
        }
    }

    /// Asks of the store what there is to ask, if nothing is under way.
    fn begin(&mut self, now: Instant) {
        if self.call.is_some() || self.rest_until.is_some_and(|until| now < until) {
            return;
        }
        self.rest_until = None;
        self.look_at.take_if(|at| *at <= now);
        let want = self.want();
        if want == 0 {
            self.wait = None;
        }
        let gathers = self.gathers(now);
        let shared = Arc::clone(&self.shared);
        let Some(session) = &mut self.session else {
            if self.closing.is_none() {
                let opening = session::open(shared, self.next_id, self.former);
                self.call = Some(Box::pin(async { Answer::Opened(opening.await) }));
            }
            return;
        };
        let look = self.look && self.look_at.is_none() && want > 0;
        if gathers && !session.is_open() {
            return;
        }
        self.gather_until = None;
        if session.is_open() || !self.due.is_empty() || look {
            let request = session.request(&mut self.due, want, now);
            // Whatever wakes it from now on may have come too late for this exchange to see.
            self.look = false;
            self.call = Some(Box::pin(async move {
                let call = shared.broker.exchange(&shared.options.queue, &request);
                Answer::Exchanged(within("exchange", call).await)
            }));
            return;
        }
        if want == 0 || self.look {
            return;
        }
        let due = self.next_due.map_or(WAIT_MAX, |due| due.saturating_duration_since(now));
        let longest = due.clamp(WAIT_MIN, WAIT_MAX);
        if self.slots.is_empty() && self.stock.is_empty() && self.vain <= VAIN_WAKES {
            // Nothing can end meanwhile that would have to be settled.
            let request = session.request(&mut self.due, want, now + longest);
            (self.wait, self.call_waits) = (None, Some(now + longest));
            self.call = Some(Box::pin(async move {
                let call = shared.broker.exchange_after_wait(&shared.options.queue, &request, longest);
                Answer::Exchanged(not_much_later(longest, "exchange", call).await)
            }));
        } else if self.wait.is_none() {
            let call = Box::pin(async move {
                let waiting = shared.broker.wait(&shared.options.queue, longest);
                not_much_later(longest, "wait", waiting).await
            });
            self.wait = Some(Wait { call, until: now + longest });
        }
    }

    fn takes_nothing(&self) -> bool {
        self.closing.is_some() || self.session.as_ref().is_some_and(|session| session.leaving)
    }

    fn want(&self) -> usize {
        if self.takes_nothing() || self.alone.is_some() || self.alone_runs {
            return 0;
        }
        let slots = self.shared.options.slots;
        (slots + self.stock.aim(slots)).saturating_sub(self.slots.len() + self.stock.len())
    }

    /// Whether more may end soon that one exchange can settle together: the stock will keep the slots busy meanwhile.
    fn gathers(&self, now: Instant) -> bool {
        let half = self.stock.aim(self.shared.options.slots) / 2;
        self.stock.len() > half && self.due.len() < half && self.gather_until.is_some_and(|until| now < until)
    }

    /// Gives free slots what is in stock; gives the store back what has waited in vain.
    fn fill(&mut self, now: Instant) {
        while self.slots.len() < self.shared.options.slots && !self.alone_runs {
            let Some(claim) = self.stock.take() else { break };
            self.start(claim);
        }
        for claim in self.stock.take_stale(now) {
            self.release(claim);
        }
    }

    /// Gives back what has not begun to run.
    fn release_waiting(&mut self) {
        if let Some(claim) = self.alone.take() {
            self.release(claim);
        }
        for claim in self.stock.take_all() {
            self.release(claim);
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Opened(Ok((id, settings, sent))) => {
                self.succeeded();
                add(&self.shared.metrics.incarnations, 1);
                self.shared.instruments.registered();
                self.shared.set_settings(settings);
                self.session = Some(Session::new(&self.shared, id, sent));
                (self.former, self.look) = (None, true);
                self.next_id = session::new_id();
                tracing::info!(queue = self.shared.options.queue.as_str(), worker = %id, "worker registered");
            }
            Answer::Exchanged(Ok(Exchanged::Done { settled, claims, pending, next_due_ms, paused })) => {
                self.succeeded();
                self.settled(&settled, claims.len());
                add(&self.shared.metrics.exchanges, 1);
                add(&self.shared.metrics.claims, claims.len());
                if let Some(until) = self.call_waits.take()
                    && claims.is_empty()
                {
                    self.woken_in_vain(Instant::now() < until);
                }
                self.vain = if claims.is_empty() { self.vain } else { 0 };
                self.look |= !claims.is_empty() && pending > 0 && !paused;
                self.paused = paused;
                self.next_due = next_due_ms.map(|ms| Instant::now() + Duration::from_millis(ms));
                let due = self.next_due;
                self.wait.take_if(|wait| due.is_some_and(|due| due + WAIT_MIN < wait.until));
                self.gather_until = Some(Instant::now() + GATHER);
                for claim in claims {
                    self.admit(claim);
                }
                self.fill(Instant::now());
            }
            Answer::Exchanged(Ok(Exchanged::Retired) | Err(BrokerError::UnknownQueue { .. })) => {
                self.fence("the store no longer knows this incarnation", false);
            }
            Answer::Opened(Err(error)) | Answer::Exchanged(Err(error)) => self.failed(&error),
        }
    }

    fn succeeded(&mut self) {
        self.shared.link.answered();
        self.retry.reset();
    }

    fn failed(&mut self, error: &BrokerError) {
        self.call_waits = None;
        self.shared.link.failed(error);
        add(&self.shared.metrics.failures, 1);
        self.look = true;
        self.rest_until = Some(Instant::now() + self.retry.next());
    }

    fn settled(&mut self, answers: &[Settled], claimed: usize) {
        let Some((request, claims, due)) = self.session.as_mut().and_then(Session::answered) else { return };
        let metrics = &self.shared.metrics;
        let took = Instant::now().checked_duration_since(due);
        self.shared.instruments.exchanged(took, claims.len(), claimed);
        add(&metrics.settlements, claims.len());
        metrics.largest_batch.fetch_max(claims.len() as u64, Ordering::Relaxed);
        let answers = answers.iter().copied().chain(std::iter::repeat(Settled::Refused));
        for ((claim, settlement), answer) in claims.iter().zip(&request.finished).zip(answers) {
            journal::settled(&self.shared, claim, settlement, answer);
            match (self.closing.is_some() && answer != Settled::Refused, &settlement.outcome) {
                (true, Outcome::Released | Outcome::Unserved) => self.report.released += 1,
                (true, _) => self.report.settled += 1,
                (false, _) => {}
            }
        }
    }

    /// Finds a claim its place: a slot, or back to the store.
    fn admit(&mut self, claim: Claim) {
        let claim = Arc::new(claim);
        if self.takes_nothing() {
            self.release(claim);
        } else if self.shared.registry.get(&claim.record.task_type).is_none() {
            self.ended(Ended { claim, end: End::Unserved, ran: Duration::ZERO });
        } else if claim.losses < LOSSES_BEFORE_ALONE {
            self.stock.add(claim, Instant::now());
        } else if self.alone.is_none() && !self.alone_runs {
            self.alone = Some(claim);
        } else {
            self.release(claim);
        }
    }

    fn start(&mut self, claim: Arc<Claim>) {
        let shared = &self.shared;
        let Some(handler) = shared.registry.get(&claim.record.task_type).map(Arc::clone) else { return };
        journal::started(shared, &claim);
        let until = deadline(Instant::now(), &claim, &shared.settings());
        self.slots.start(claim, handler, |claim, stop| {
            let (queue, progress) = (shared.options.queue.clone(), Arc::clone(&shared.progress));
            Context::new(queue, claim, until, stop, progress)
        });
    }

    fn release(&mut self, claim: Arc<Claim>) {
        self.ended(Ended { claim, end: End::Stopped(Reason::Draining), ran: Duration::ZERO });
    }

    /// Judges what ended, and puts it on its way.
    fn ended(&mut self, ended: Ended) {
        let Ended { claim, end, ran } = ended;
        self.alone_runs &= !self.slots.is_empty();
        if !matches!(end, End::Unserved | End::Stopped(_)) {
            self.stock.note(ran, claim.record.payload.len());
        }
        if !ran.is_zero() {
            self.shared.instruments.ran(&claim, ran);
        }
        self.shared.progress.forget(&claim.task);
        let ran_ms = millis(ran);
        self.shared.metrics.ran_ms.fetch_add(ran_ms, Ordering::Relaxed);
        if self.session.as_ref().is_none_or(|session| session.id != claim.token.worker) {
            journal::refused(&self.shared, &claim);
            return;
        }
        let outcome = match end {
            End::Succeeded(result) => Outcome::Succeeded { result },
            end => judge(end, &claim, &self.shared.settings(), rand::random()),
        };
        let settlement = Settlement { task: claim.task.clone(), token: claim.token, outcome, ran_ms };
        self.due.push_back(Due { claim, settlement });
    }

    fn beat(&mut self, beat: Beat) {
        let Some(session) = &mut self.session else { return };
        match beat {
            Beat::Retired => self.fence("the store no longer knows this incarnation", false),
            Beat::Renewed { at, cancelled } => {
                session.renewed(at, &self.shared.settings());
                let worker = session.id;
                for task in cancelled {
                    if let Some(claim) = self.alone.take_if(|claim| claim.task == task) {
                        self.ended(Ended { claim, end: End::Stopped(Reason::Asked), ran: Duration::ZERO });
                    }
                    self.slots.stop(&task, worker, Reason::Asked, CANCEL_GRACE);
                }
            }
        }
    }

    fn woken(&mut self, woken: &Result<(), BrokerError>) {
        let early = self.wait.take().is_some_and(|wait| Instant::now() < wait.until);
        self.look = true;
        match woken {
            Ok(()) => self.woken_in_vain(early),
            Err(BrokerError::UnknownQueue { .. }) => self.fence("the queue is gone", false),
            Err(error) => self.failed(error),
        }
    }

    /// Perhaps in vain: an exchange that brings something says otherwise.
    fn woken_in_vain(&mut self, early: bool) {
        self.vain = if early { self.vain.saturating_add(1) } else { 0 };
        if self.vain > VAIN_WAKES {
            let pause = Duration::from_millis(1 << (self.vain - VAIN_WAKES).min(10)).min(VAIN_PAUSE_MAX);
            (self.look, self.look_at) = (true, Some(Instant::now() + pause));
        }
    }

    /// What is due by the clock: the end of a lease, the steps of the drain, the turn of a task that runs alone.
    fn turn(&mut self, now: Instant) {
        self.give_up(now);
        if self.slots.is_empty()
            && self.stock.is_empty()
            && self.session.is_some()
            && let Some(claim) = self.alone.take()
        {
            self.start(claim);
            self.alone_runs = true;
        }
        self.drain(now);
    }

    /// When the loop has to look at the clock again.
    fn alarm(&self) -> Instant {
        let rest = self.rest_until.filter(|_| self.call.is_none());
        let closing = self.closing.map(|closing| closing.next());
        let gather = self.gather_until.filter(|_| self.call.is_none() && !self.due.is_empty());
        let stock = self.stock.goes_back_at();
        let earliest = [rest, self.look_at, closing, gather, stock, self.gives_up_at()].into_iter().flatten().min();
        earliest.unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn publish(&self) {
        let worker = self.session.as_ref().map(|session| session.id);
        let active = self.slots.len() + self.stock.len() + usize::from(self.alone.is_some());
        let (paused, draining) = (self.paused, self.closing.is_some());
        self.shared.status.send_if_modified(|status| {
            let now = (worker, active, paused, draining);
            let changed = (status.worker, status.active, status.paused, status.draining) != now;
            (status.worker, status.active, status.paused, status.draining) = now;
            changed
        });
    }
}

/// Awaits what may take `longest`, and not much longer.
async fn not_much_later<T>(
    longest: Duration,
    operation: &'static str,
    call: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    timeout(longest + WAIT_SLACK, call).await.unwrap_or_else(|_| {
        let reason = format!("a wait of {} ms did not end", longest.as_millis());
        Err(BrokerError::Unavailable { operation, reason })
    })
}

async fn or_never<T>(call: Option<&mut BoxFuture<'static, T>>) -> T {
    match call {
        Some(call) => Pin::new(call).await,
        None => future::pending().await,
    }
}

async fn next_beat(session: Option<&mut Session>) -> Beat {
    match session {
        Some(session) => session.beat().await,
        None => future::pending().await,
    }
}
