//! The election as a pure state machine: what was seen of the record, until when this process leads, and what to do next.
//!
//! Why no two lead at once: a leader counts its term from before it *sent* its last confirmed renewal, and ends it
//! [`Timing::renewal`] later. Whoever takes over has seen the record unchanged for [`Timing::lease`], which is longer,
//! since a moment after that renewal was *written*, and writes only if the record is still the one it saw. Only spans
//! on one clock are ever compared, so clocks may show what they like; they must not run at rates that differ by more
//! than a quarter, and must go on while a process is paused.

use std::time::Duration;

use jiff::Timestamp;

/// A reading of this process's monotonic clock: the time since some moment that is the same for all readings.
pub type Moment = Duration;

/// The longest lease of another that is respected. A record that claims more was written by hand.
const LEASE_MAX: Duration = Duration::from_mins(1);
/// Pause before looking again after a conflict, so that two that write in turn do not do so as fast as they can.
const CONFLICT_PAUSE: Duration = Duration::from_millis(100);

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a record must have stood unchanged before another takes it over.
    pub lease: Duration,
    /// How long a leader leads from the start of its last confirmed renewal. Less than `lease`.
    pub renewal: Duration,
    /// Pause between two renewals of a leader, and between two looks of those who wait.
    pub retry: Duration,
    /// Pause of a leader after a request that got no good answer: its term is short, so it tries on sooner.
    pub again: Duration,
}

/// What a Lease says. Two records are the same only if nothing was written between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The object's `resourceVersion`.
    pub version: String,
    /// The object's `uid`.
    pub uid: String,
    /// Who holds it; nobody after a release.
    pub holder: Option<String>,
    /// When it was renewed, by the holder's wall clock: looked at for change alone.
    pub renewed: Option<Timestamp>,
    /// How often it went from one holder to another.
    pub transitions: i32,
    /// How long its holder asks others to wait.
    pub lasts: Duration,
}

/// A write, valid only while the record is `base`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The record that is replaced; `None` creates it, which fails where there is one.
    pub base: Option<Record>,
    /// Who holds the record then; `None` releases it.
    pub holder: Option<String>,
    /// The number of changes of holder to write.
    pub transitions: i32,
    /// Whether a term begins, rather than goes on or ends.
    pub begins: bool,
}

/// Why leadership ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// No renewal was confirmed in time.
    Deadline,
    /// The record names another holder, or nobody.
    Taken(Option<String>),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Read the record; then [`Election::observe`].
    Look,
    /// Write this to become the leader; then [`Election::wrote`].
    Acquire(Attempt),
    /// Write this to remain the leader; then [`Election::wrote`].
    Renew(Attempt),
    /// Do nothing until this moment; then [`Election::resume`].
    Wait(Moment),
    /// Stop at once: this process leads no more.
    Lost(Loss),
}

/// What to do to leave in good order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// Write this, so that the next takes over at once.
    Clear(Attempt),
    /// It is not known how the record is: read it, [`Election::note`] it and ask again.
    Look,
    /// The record is not this process's.
    Nothing,
}

/// A request without a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The record is not the one that the write was meant for, any more: another wrote, or this very write was sent twice.
    Conflict,
    /// Anything else, a lost answer included: a write may have happened, or may yet.
    Unknown,
}

/// One process's part in the election.
#[derive(Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    sight: Option<Sight>,
    certain: bool,
    term: Option<Moment>,
}

/// The record as last seen.
#[derive(Debug)]
struct Sight {
    record: Option<Record>,
    closed_until: Moment,
}

impl Election {
    /// Takes part as `identity`, which no other process may ever use.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, sight: None, certain: false, term: None }
    }

    /// Until when this process leads, if nothing is confirmed before.
    pub fn leads_until(&self) -> Option<Moment> {
        self.term
    }

    /// Whether this process leads at `now`.
    pub fn leads(&self, now: Moment) -> bool {
        self.term.is_some_and(|until| now < until)
    }

    /// Whether the record, or that there is none, has ever been seen.
    pub fn has_seen(&self) -> bool {
        self.sight.is_some()
    }

    /// Who holds the record, as last seen.
    pub fn holder(&self) -> Option<&str> {
        self.sight.as_ref()?.record.as_ref()?.holder.as_deref()
    }

    /// A wait has ended, or the election begins.
    pub fn resume(&mut self, now: Moment) -> Action {
        if let Some(lost) = self.overdue(now) {
            return lost;
        }
        match &self.sight {
            Some(sight) if self.certain && self.term.is_some() => Action::Renew(self.hold(sight.record.as_ref())),
            _ => Action::Look,
        }
    }

    /// The record was read, the answer arriving at `now`; `None` means that there is none.
    pub fn observe(&mut self, record: Option<Record>, now: Moment) -> Action {
        self.note(record, now);
        if let Some(lost) = self.overdue(now) {
            return lost;
        }
        let Some(sight) = &self.sight else { return Action::Look };
        if self.term.is_some() {
            return match &sight.record {
                Some(record) if record.holder.as_ref() != Some(&self.identity) => {
                    let by = record.holder.clone();
                    self.term = None;
                    Action::Lost(Loss::Taken(by))
                }
                record => Action::Renew(self.hold(record.as_ref())),
            };
        }
        if now < sight.closed_until {
            return Action::Wait(sight.closed_until.min(now + self.timing.retry));
        }
        Action::Acquire(self.hold(sight.record.as_ref()))
    }

    /// A write of this process, sent at `begun`, was confirmed at `now` and made the record this.
    pub fn wrote(&mut self, record: Record, begun: Moment, now: Moment) -> Action {
        let before = self.sight.as_ref().and_then(|sight| sight.record.as_ref());
        if before.is_some_and(|before| before.version == record.version) {
            // A write that changes nothing is not stored: nobody else could see it.
            return self.failed(Failure::Unknown, now);
        }
        let ours = record.holder.as_ref() == Some(&self.identity);
        if !ours {
            return self.observe(Some(record), now);
        }
        self.note(Some(record), now);
        if let Some(lost) = self.overdue(now) {
            return lost;
        }
        let until = begun + self.timing.renewal;
        if until <= now {
            return Action::Look;
        }
        self.term = Some(until);
        Action::Wait((begun + self.timing.retry).clamp(now, until))
    }

    /// A request failed at `now`.
    pub fn failed(&mut self, failure: Failure, now: Moment) -> Action {
        self.certain = false;
        if let Some(lost) = self.overdue(now) {
            return lost;
        }
        let pause = match failure {
            Failure::Conflict => CONFLICT_PAUSE,
            Failure::Unknown if self.term.is_some() => self.timing.again,
            Failure::Unknown => self.timing.retry,
        };
        let end = now + pause;
        Action::Wait(self.term.map_or(end, |until| end.min(until)))
    }

    /// Ends the term, and says how to let the next take over. The work that needs leadership must have stopped before.
    pub fn resign(&mut self) -> Farewell {
        self.term = None;
        match &self.sight {
            Some(sight) if self.certain => match &sight.record {
                Some(record) if record.holder.as_ref() == Some(&self.identity) => Farewell::Clear(Attempt {
                    transitions: record.transitions,
                    base: Some(record.clone()),
                    holder: None,
                    begins: false,
                }),
                _ => Farewell::Nothing,
            },
            _ => Farewell::Look,
        }
    }

    /// Takes in the record as it was at some moment up to `now`.
    pub fn note(&mut self, record: Option<Record>, now: Moment) {
        self.certain = true;
        let closed_until = match &self.sight {
            Some(sight) if sight.record == record => return,
            before => self.closed_until(before.as_ref(), record.as_ref(), now),
        };
        self.sight = Some(Sight { record, closed_until });
    }

    /// From when on this process may take the record, now that it has changed. A record that was there and was deleted
    /// may have been held a moment ago; one that was never there was not, or its deletion was this process's first sight,
    /// which is the one case where a deletion by hand can make two lead for the rest of a term.
    fn closed_until(&self, before: Option<&Sight>, record: Option<&Record>, now: Moment) -> Moment {
        let Some(record) = record else {
            let deleted = before.is_some_and(|sight| sight.record.is_some());
            return if deleted { now + self.timing.lease } else { now };
        };
        match &record.holder {
            Some(holder) if *holder != self.identity => now + record.lasts.min(LEASE_MAX).max(self.timing.lease),
            _ => now,
        }
    }

    fn hold(&self, base: Option<&Record>) -> Attempt {
        let begins = self.term.is_none();
        let transitions = match base {
            Some(base) if base.holder.as_ref() == Some(&self.identity) => base.transitions,
            Some(base) => base.transitions.saturating_add(1),
            None => 0,
        };
        Attempt { base: base.cloned(), holder: Some(self.identity.clone()), transitions, begins }
    }

    fn overdue(&mut self, now: Moment) -> Option<Action> {
        let until = self.term?;
        (until <= now).then(|| {
            self.term = None;
            Action::Lost(Loss::Deadline)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        lease: Duration::from_secs(10),
        renewal: Duration::from_secs(6),
        retry: Duration::from_secs(2),
        again: Duration::from_millis(500),
    };

    fn at(seconds: f64) -> Moment {
        Duration::from_secs_f64(seconds)
    }

    fn record(version: &str, holder: &str) -> Record {
        Record {
            version: version.to_owned(),
            uid: "u".to_owned(),
            holder: (!holder.is_empty()).then(|| holder.to_owned()),
            renewed: None,
            transitions: 3,
            lasts: TIMING.lease,
        }
    }

    fn election() -> Election {
        Election::new("me".to_owned(), TIMING)
    }

    /// Leads since 100 s.
    fn leader() -> Election {
        let mut election = election();
        assert!(matches!(election.observe(Some(record("1", "")), at(99.0)), Action::Acquire(_)));
        assert_eq!(election.wrote(record("2", "me"), at(100.0), at(100.5)), Action::Wait(at(102.0)));
        election
    }

    #[test]
    fn a_record_that_nobody_holds_is_taken_at_once() {
        for (seen, transitions) in [(None, 0), (Some(record("1", "")), 4), (Some(record("1", "me")), 3)] {
            let expected = Attempt { base: seen.clone(), holder: Some("me".to_owned()), transitions, begins: true };
            assert_eq!(election().observe(seen, at(5.0)), Action::Acquire(expected));
        }
    }

    #[test]
    fn a_record_of_another_is_taken_once_it_stood_unchanged_for_a_lease_since_it_was_first_seen() {
        let mut election = election();
        assert_eq!(election.observe(Some(record("1", "other")), at(5.0)), Action::Wait(at(7.0)));
        assert_eq!(election.resume(at(7.0)), Action::Look);
        assert_eq!(election.observe(Some(record("1", "other")), at(14.9)), Action::Wait(at(15.0)));
        assert!(matches!(election.observe(Some(record("1", "other")), at(15.0)), Action::Acquire(_)));
    }

    #[test]
    fn every_change_of_the_record_begins_the_wait_anew_whatever_the_clock_in_it_says() {
        let renewed = |seconds| Record {
            renewed: Timestamp::from_second(seconds).ok(),
            ..record(if seconds > 0 { "2" } else { "1" }, "other")
        };
        let changed = [
            record("2", "other"),
            record("1", "third"),
            renewed(-4_000_000_000),
            renewed(4_000_000_000),
            Record { transitions: 4, ..record("1", "other") },
            Record { uid: "v".to_owned(), ..record("1", "other") },
        ];
        for change in changed {
            let mut election = election();
            election.observe(Some(record("1", "other")), at(0.0));
            assert_eq!(election.observe(Some(change.clone()), at(9.0)), Action::Wait(at(11.0)), "{change:?}");
            assert_eq!(election.observe(Some(change.clone()), at(18.9)), Action::Wait(at(19.0)));
            assert!(matches!(election.observe(Some(change), at(19.0)), Action::Acquire(_)));
        }
    }

    #[test]
    fn a_longer_lease_of_another_is_respected_up_to_a_minute() {
        for (lasts, wait) in [(5, 10.0), (15, 15.0), (86_400, 60.0)] {
            let mut election = election();
            let seen = Record { lasts: Duration::from_secs(lasts), ..record("1", "other") };
            election.observe(Some(seen.clone()), at(0.0));
            assert!(matches!(election.observe(Some(seen.clone()), at(wait - 0.1)), Action::Wait(_)));
            assert!(matches!(election.observe(Some(seen), at(wait)), Action::Acquire(_)));
        }
    }

    #[test]
    fn a_record_that_was_deleted_is_created_only_after_a_lease() {
        let mut election = election();
        election.observe(Some(record("1", "other")), at(0.0));
        assert_eq!(election.observe(None, at(9.0)), Action::Wait(at(11.0)));
        assert_eq!(election.observe(None, at(18.0)), Action::Wait(at(19.0)));
        assert!(matches!(election.observe(None, at(19.0)), Action::Acquire(Attempt { base: None, .. })));
    }

    #[test]
    fn a_term_counts_from_the_start_of_the_request_that_was_confirmed() {
        let mut election = leader();
        assert_eq!(election.leads_until(), Some(at(106.0)));
        assert!(matches!(election.resume(at(102.0)), Action::Renew(Attempt { begins: false, transitions: 3, .. })));
        assert_eq!(election.wrote(record("3", "me"), at(102.0), at(103.4)), Action::Wait(at(104.0)));
        assert_eq!(election.leads_until(), Some(at(108.0)));
        assert!(election.leads(at(107.9)) && !election.leads(at(108.0)));
    }

    #[test]
    fn leadership_is_lost_at_the_deadline_whatever_comes_then() {
        let late: [fn(&mut Election) -> Action; 4] = [
            |election| election.resume(at(106.0)),
            |election| election.observe(Some(record("2", "me")), at(106.0)),
            |election| election.wrote(record("3", "me"), at(105.0), at(106.0)),
            |election| election.failed(Failure::Unknown, at(106.0)),
        ];
        for event in late {
            let mut election = leader();
            assert_eq!(event(&mut election), Action::Lost(Loss::Deadline));
            assert!(!election.leads(at(106.0)) && election.leads_until().is_none());
        }
    }

    #[test]
    fn a_leader_whose_renewal_failed_looks_again_soon_and_renews_what_is_still_its_own() {
        let mut election = leader();
        assert_eq!(election.failed(Failure::Unknown, at(103.5)), Action::Wait(at(104.0)));
        assert_eq!(election.resume(at(104.0)), Action::Look);
        assert!(matches!(election.observe(Some(record("9", "me")), at(104.1)), Action::Renew(_)));
        assert_eq!(election.failed(Failure::Conflict, at(104.2)), Action::Wait(at(104.3)));
        assert_eq!(election.failed(Failure::Unknown, at(105.9)), Action::Wait(at(106.0)));
    }

    #[test]
    fn a_leader_that_sees_another_or_nobody_in_the_record_has_lost() {
        for (seen, by) in [("other", Some("other".to_owned())), ("", None)] {
            let mut election = leader();
            assert_eq!(election.observe(Some(record("9", seen)), at(101.0)), Action::Lost(Loss::Taken(by)));
            assert!(!election.leads(at(101.0)));
        }
    }

    #[test]
    fn a_leader_whose_record_was_deleted_makes_it_anew() {
        let mut election = leader();
        assert!(matches!(election.observe(None, at(101.0)), Action::Renew(Attempt { base: None, .. })));
    }

    #[test]
    fn a_write_that_changed_nothing_renews_nothing() {
        let mut election = leader();
        assert_eq!(election.wrote(record("2", "me"), at(102.0), at(102.1)), Action::Wait(at(102.6)));
        assert_eq!(election.leads_until(), Some(at(106.0)));
    }

    #[test]
    fn an_acquisition_confirmed_after_its_own_deadline_is_none() {
        let mut election = election();
        election.observe(None, at(0.0));
        assert_eq!(election.wrote(record("1", "me"), at(0.0), at(6.0)), Action::Look);
        assert!(election.leads_until().is_none());
        assert!(matches!(election.observe(Some(record("1", "me")), at(6.1)), Action::Acquire(_)));
    }

    #[test]
    fn who_resigns_clears_its_own_record_and_no_other() {
        let mut election = leader();
        let cleared = Attempt { base: Some(record("2", "me")), holder: None, transitions: 3, begins: false };
        assert_eq!(election.resign(), Farewell::Clear(cleared));
        assert!(!election.leads(at(101.0)));

        election.failed(Failure::Unknown, at(101.0));
        assert_eq!(election.resign(), Farewell::Look);
        election.note(Some(record("3", "other")), at(102.0));
        assert_eq!(election.resign(), Farewell::Nothing);
    }
}
