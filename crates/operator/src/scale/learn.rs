//! What a sample teaches: the arrival rate and the service time.

use tidemill_core::Counters;

use super::memory::{Last, Memory};
use super::millis;
use super::sample::Sample;

/// Over how long arrivals are averaged, at least and at most; between these, over the service time, since the tasks
/// that run at a time are those that came within it. The least is long enough that chance hardly moves the number of
/// pods under a steady load; a spike is seen at once all the same, since it stands in the backlog. The most lets a
/// queue of very long tasks forget a busy day within hours.
const ARRIVALS_MS: (u64, u64) = (60_000, 3_600_000);

/// Over how long service times are averaged, where enough attempts end.
const SERVICE_MS: u64 = 120_000;

/// As many attempts an old service time goes on counting for, however old it is: it is better than none, and the next
/// few measurements outweigh it. Slow tasks are thereby averaged over so many rather than over a time.
const SERVICE_KEEPS: u64 = 20;

const MICRO: u64 = 1_000_000;

/// What came between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct News {
    /// Attempts that became due.
    pub(super) arrived: u64,
}

impl Memory {
    /// Learns from `sample`.
    pub(super) fn learn(&mut self, sample: &Sample) -> News {
        let at_ms = millis::of(sample.at);
        let now = Last { at_ms, pending: sample.pending, counters: sample.counters };
        let Some(last) = self.last else {
            self.begin_with(sample);
            self.last = Some(now);
            return News::default();
        };
        if at_ms < last.at_ms {
            return News::default();
        }
        self.last = Some(now);
        let elapsed_ms = at_ms - last.at_ms;
        let delta = Delta::between(&last, &now);
        self.learn_arrivals(delta.arrived, elapsed_ms);
        self.learn_service(delta.ended, delta.ran_ms, elapsed_ms);
        News { arrived: delta.arrived }
    }

    /// The first sample: the counters of the queue's whole life tell how long a task took on average, and the tasks
    /// that run tell at what rate they come, since under a steady load that many come within a service time. Without
    /// it an operator that takes over would have to see a minute of arrivals before it knew the load.
    fn begin_with(&mut self, sample: &Sample) {
        let ended = ended(&sample.counters);
        if ended == 0 || self.measured > 0 {
            return;
        }
        let weight = ended.min(SERVICE_KEEPS);
        self.measured = ended;
        self.ended_micro = weight * MICRO;
        self.ran_micros = narrow(u128::from(sample.counters.ran_ms) * 1000 * u128::from(weight) / u128::from(ended));
        let running = u128::from(sample.active) * u128::from(MICRO) * u128::from(MICRO);
        let service = self.measured_micros().unwrap_or(0);
        self.arrivals_micro = narrow(running.checked_div(service).unwrap_or(0));
    }

    /// rate ← (rate × T + n) ÷ (T + elapsed): what was fades by T ÷ (T + elapsed), what is new is seen at once.
    fn learn_arrivals(&mut self, arrived: u64, elapsed_ms: u64) {
        let (least, most) = ARRIVALS_MS;
        let service_ms = self.measured_micros().map_or(0, |micros| micros / 1000);
        let over_ms = u128::from(narrow(service_ms).clamp(least, most));
        let old = u128::from(self.arrivals_micro) * over_ms;
        // n tasks are n × 10⁹ when time is in milliseconds and the rate in millionths per second.
        let new = u128::from(arrived) * u128::from(MICRO) * 1000;
        self.arrivals_micro = narrow((old + new) / (over_ms + u128::from(elapsed_ms)));
    }

    fn learn_service(&mut self, ended: u64, ran_ms: u64, elapsed_ms: u64) {
        let before = u128::from(self.ended_micro);
        let faded = before * u128::from(SERVICE_MS) / (u128::from(SERVICE_MS) + u128::from(elapsed_ms));
        let kept = faded.max(before.min(u128::from(SERVICE_KEEPS * MICRO)));
        self.ran_micros = narrow((u128::from(self.ran_micros) * kept).checked_div(before).unwrap_or(0));
        self.ended_micro = narrow(kept);
        if ended > 0 {
            self.ended_micro = self.ended_micro.saturating_add(ended.saturating_mul(MICRO));
            self.ran_micros = self.ran_micros.saturating_add(ran_ms.saturating_mul(1000));
            self.measured = self.measured.saturating_add(ended);
        }
    }

    /// How long an attempt takes, in microseconds, those that still run included: they are counted as if they ended
    /// now, so that running tasks older than the estimate raise it and younger ones leave it alone.
    pub(super) fn service_micros(&self, sample: &Sample) -> Option<u64> {
        let running = sample.running.as_micros();
        let active = u128::from(sample.active) * u128::from(MICRO);
        let ran = u128::from(self.ran_micros).saturating_add(running).saturating_mul(u128::from(MICRO));
        let at_least = ran.checked_div(u128::from(self.ended_micro) + active);
        self.measured_micros().max(at_least).map(narrow)
    }

    fn measured_micros(&self) -> Option<u128> {
        (u128::from(self.ran_micros) * u128::from(MICRO)).checked_div(u128::from(self.ended_micro))
    }
}

/// How far the counters have come between two samples.
struct Delta {
    arrived: u64,
    ended: u64,
    ran_ms: u64,
}

impl Delta {
    /// What was pending and has been started came from somewhere: `arrived` is the growth of the backlog and all
    /// claims, without those that were given back, since they are claimed again. So a delayed task or a further attempt
    /// arrives when it is due and not when it is announced, and a task that a lost worker held arrives again.
    fn between(last: &Last, now: &Last) -> Self {
        let (old, new) = (&last.counters, &now.counters);
        let went_back = new.started < old.started
            || new.released < old.released
            || new.ran_ms < old.ran_ms
            || ended(new) < ended(old);
        if went_back {
            // Another store, or the same one restored: nothing can be told from the difference.
            return Self { arrived: 0, ended: 0, ran_ms: 0 };
        }
        let came = u128::from(now.pending) + u128::from(new.started - old.started);
        let went = u128::from(last.pending) + u128::from(new.released - old.released);
        Self {
            arrived: narrow(came.saturating_sub(went)),
            ended: ended(new) - ended(old),
            ran_ms: new.ran_ms - old.ran_ms,
        }
    }
}

/// Attempts that ran to an end of their own. Released and cancelled ones were cut short, lost ones report no time.
fn ended(counters: &Counters) -> u64 {
    counters.succeeded.saturating_add(counters.failed)
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
