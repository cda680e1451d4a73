//! Claims in hand that wait for a slot, and how many are worth having.
//!
//! While tasks take microseconds, a round trip to the store takes longer than all that the slots hold: so some more are
//! claimed ahead, as many as run within a few milliseconds. Tasks that take longer than that are never claimed ahead, so
//! that none waits here while another worker is free.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidemill_core::Claim;
use tokio::time::Instant;

/// As much is claimed ahead as runs within this time: a round trip on a busy machine.
const AHEAD: Duration = Duration::from_millis(4);
/// The most claims that wait here.
const CLAIMS_MAX: usize = 512;
/// The most bytes that their payloads have, going by those before them.
const BYTES_MAX: f64 = 4.0 * 1024.0 * 1024.0;
/// Attempts that must have been timed before anything is claimed ahead.
const TIMED_MIN: u32 = 8;
/// The weight of the latest attempt in the moving averages: slow ones are noticed at once, since one counts for thousands
/// of fast ones.
const WEIGHT: f64 = 1.0 / 16.0;
/// How long after the last addition what is left goes back to the store: what runs takes longer than it used to.
const PATIENCE: Duration = Duration::from_millis(50);

/// What waits for a slot.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    claims: VecDeque<Arc<Claim>>,
    /// When something was added last. While it holds more than is worth having, nothing is.
    added: Option<Instant>,
    timed: u32,
    seconds: f64,
    bytes: f64,
}

impl Stock {
    pub(crate) fn len(&self) -> usize {
        self.claims.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Puts a claim behind the others.
    pub(crate) fn add(&mut self, claim: Arc<Claim>, now: Instant) {
        self.claims.push_back(claim);
        self.added = Some(now);
    }

    /// The claim that is next.
    pub(crate) fn take(&mut self) -> Option<Arc<Claim>> {
        self.claims.pop_front()
    }

    /// All of them.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Claim>> {
        self.claims.drain(..).collect()
    }

    /// All of them, where they waited in vain. How long attempts take is no longer known then: nothing is claimed ahead
    /// until some have been timed anew.
    pub(crate) fn take_stale(&mut self, now: Instant) -> Vec<Arc<Claim>> {
        if self.goes_back_at().is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.timed = 0;
        self.take_all()
    }

    /// Notes how long an attempt took.
    pub(crate) fn note(&mut self, ran: Duration, payload: usize) {
        let weight = if self.timed == 0 { 1.0 } else { WEIGHT };
        self.timed = self.timed.saturating_add(1);
        self.seconds += (ran.as_secs_f64() - self.seconds) * weight;
        #[allow(clippy::cast_precision_loss)] // a payload is far below 2^52 bytes
        let bytes = payload as f64;
        self.bytes += (bytes - self.bytes) * weight;
    }

    /// How many claims are worth having here, beside those that run in `slots`.
    pub(crate) fn aim(&self, slots: usize) -> usize {
        if self.timed < TIMED_MIN || self.seconds > AHEAD.as_secs_f64() {
            return 0;
        }
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let runs_ahead = (slots as f64 * AHEAD.as_secs_f64() / self.seconds.max(1e-9)) as usize;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let fit = (BYTES_MAX / self.bytes.max(1.0)) as usize;
        runs_ahead.min(fit).min(CLAIMS_MAX)
    }

    /// When what waits here goes back to the store, unless the slots take it before.
    pub(crate) fn goes_back_at(&self) -> Option<Instant> {
        self.added.filter(|_| !self.claims.is_empty()).map(|added| added + PATIENCE)
    }
}
