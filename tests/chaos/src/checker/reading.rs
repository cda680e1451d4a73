//! Puts records together, one after the other, into what is known of each id.

use std::collections::HashMap;

use tidemill::core::State;

use super::story::{Book, Call, Claim, Fate, Kept, Queue, Rules, Settlement, Story, Try};
use crate::history::record::RETIRED;
use crate::history::{Answer, Entry, Record};

/// An exchange that was sent.
struct Sent<'a> {
    queue: &'a str,
    asked: (u64, usize),
    finished: &'a [crate::history::Finished],
    sendings: u32,
    answered: bool,
}

/// What is known so far.
pub(super) struct Reading<'a> {
    book: Book<'a>,
    calls: HashMap<(&'a str, u64), usize>,
    tries: Vec<Vec<(&'a str, &'a str, usize)>>,
    cancels: HashMap<(&'a str, u64), (&'a str, &'a str, usize)>,
    exchanges: HashMap<(&'a str, u64), Sent<'a>>,
    told_starts: HashMap<&'a str, u64>,
}

impl<'a> Reading<'a> {
    /// Nothing is known yet.
    pub(super) fn new(entries: &'a [Entry]) -> Self {
        Self {
            book: Book::empty(entries),
            calls: HashMap::new(),
            tries: Vec::new(),
            cancels: HashMap::new(),
            exchanges: HashMap::new(),
            told_starts: HashMap::new(),
        }
    }

    fn queue(&mut self, queue: &'a str) -> &mut Queue<'a> {
        self.book.queues.entry(queue).or_default()
    }

    fn story(&mut self, queue: &'a str, task: &'a str) -> &mut Story<'a> {
        self.queue(queue).stories.entry(task).or_default()
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, place: usize, entry: &'a Entry) {
        let (at, by): (u64, &'a str) = (entry.at_us, &entry.by);
        match &entry.record {
            Record::Rules { lease_ms, loss_limit, told_in_full } => {
                let told_in_full = told_in_full.iter().cloned().collect();
                self.book.rules = Rules { lease_ms: *lease_ms, loss_limit: *loss_limit, told_in_full };
            }
            Record::Enqueue { call, queue, tasks } => self.enqueue((at, place), (by, *call), queue, tasks),
            Record::Enqueued { call, answer } => self.enqueued((at, place), (by, *call), answer),
            Record::Exchange { queue, worker, number, finished } => {
                let asked = (at, place);
                let sent = Sent { queue, asked, finished, sendings: 0, answered: false };
                self.exchanges.entry((worker, *number)).or_insert(sent).sendings += 1;
            }
            Record::NotExchanged { worker, number, error } if error == RETIRED => {
                self.retired(place, (worker, *number));
            }
            Record::Exchanged { queue, worker, number, settled, claims } => {
                self.exchanged((at, place), queue, (worker, *number), settled, claims);
            }
            Record::Workers { queue, .. } => {
                self.queue(queue);
            }
            Record::Retire { queue, .. } => self.queue(queue).retires += 1,
            Record::Maintained { queue, lost, .. } => {
                let queue = self.queue(queue);
                queue.lost += lost.len() as u64;
                queue.lost_for_good += lost.iter().filter(|lost| lost.state == State::Dead).count() as u64;
            }
            Record::Cancel { call, queue, task } => {
                let cancels = &mut self.story(queue, task).cancels;
                cancels.push((at, place, None));
                let which = cancels.len() - 1;
                self.cancels.insert((by, *call), (queue, task, which));
            }
            Record::Cancelled { call, answer } => {
                if let Some((queue, task, which)) = self.cancels.remove(&(by, *call))
                    && let Some(cancel) = self.story(queue, task).cancels.get_mut(which)
                {
                    cancel.2 = Some(answer);
                }
            }
            Record::Told { .. } => self.told((at, place), &entry.record),
            Record::Figures { queue, stats, last } => {
                let queue = self.queue(queue);
                queue.figures.push((place, stats));
                if *last {
                    queue.last = Some((place, stats));
                }
            }
            Record::Kept { queue, task, life, state, failures, losses } => {
                let kept = Kept { life, state: *state, failures: *failures, losses: *losses, place };
                self.story(queue, task).kept.push(kept);
            }
            _ => {}
        }
    }

    fn enqueue(
        &mut self,
        asked: (u64, usize),
        call: (&'a str, u64),
        queue: &'a str,
        tasks: &'a [crate::history::Handed],
    ) {
        let mut tries = Vec::with_capacity(tasks.len());
        for handed in tasks {
            let story = self.story(queue, &handed.task);
            let known = story.tries.iter().position(|known| known.life == handed.life);
            let which = known.unwrap_or_else(|| {
                let (life, start) = (handed.life.as_str(), handed.start);
                story.tries.push(Try { life, start, asked, acknowledged: None, open: false });
                story.tries.len() - 1
            });
            tries.push((queue, handed.task.as_str(), which));
        }
        self.calls.insert(call, self.book.calls.len());
        self.book.calls.push(Call { asked, answer: None });
        self.tries.push(tries);
    }

    fn enqueued(&mut self, at: (u64, usize), call: (&'a str, u64), answer: &'a Answer) {
        let Some(which) = self.calls.remove(&call) else { return };
        self.book.calls[which].answer = Some((at.0, at.1, answer));
        for (queue, task, which) in std::mem::take(&mut self.tries[which]) {
            let Some(one) = self.story(queue, task).tries.get_mut(which) else { continue };
            match answer {
                Answer::Acknowledged => one.acknowledged = one.acknowledged.or(Some(at)),
                Answer::Unknown { .. } => one.open = true,
                Answer::Exists | Answer::StoreFull { .. } | Answer::Wrong { .. } => {}
            }
        }
    }

    fn exchanged(
        &mut self,
        (at, place): (u64, usize),
        queue: &'a str,
        exchange: (&'a str, u64),
        settled: &'a [Option<State>],
        claims: &'a [crate::history::Claimed],
    ) {
        if let Some(sent) = self.exchanges.get_mut(&exchange) {
            let (asked, finished, again) = (sent.asked, sent.finished, std::mem::replace(&mut sent.answered, true));
            self.queue(queue).answered.entry(exchange.0).or_default().push(asked);
            if !again {
                for (one, state) in finished.iter().zip(settled.iter().chain(std::iter::repeat(&None))) {
                    let fate = state.map_or(Fate::Refused, Fate::Now);
                    self.settlement(queue, one, asked, Some(place), fate);
                }
            }
        }
        for claim in claims {
            let story = self.story(queue, &claim.task);
            let new = Claim {
                token: &claim.token,
                life: Some(&claim.life),
                attempt: claim.attempt,
                store: Some((claim.started_ms, claim.enqueued_ms)),
                seen: (at, place),
            };
            match story.claims.iter_mut().find(|known| known.token == claim.token) {
                Some(known) if known.store.is_none() => *known = new,
                Some(_) => {}
                None => story.claims.push(new),
            }
        }
    }

    /// An incarnation that was over settled nothing, unless an earlier sending had done so before.
    fn retired(&mut self, place: usize, exchange: (&'a str, u64)) {
        let Some(sent) = self.exchanges.get_mut(&exchange).filter(|sent| !sent.answered && sent.sendings == 1) else {
            return;
        };
        sent.answered = true;
        let (queue, asked, finished) = (sent.queue, sent.asked, sent.finished);
        for one in finished {
            self.settlement(queue, one, asked, Some(place), Fate::Retired);
        }
    }

    fn settlement(
        &mut self,
        queue: &'a str,
        one: &'a crate::history::Finished,
        asked: (u64, usize),
        answered: Option<usize>,
        fate: Fate,
    ) {
        let (token, outcome) = (one.token.as_str(), one.outcome.as_str());
        let (retry_in_ms, timed_out) = (one.retry_in_ms, one.timed_out);
        let settlement = Settlement { token, outcome, retry_in_ms, timed_out, asked, answered, fate };
        self.story(queue, &one.task).settlements.push(settlement);
    }

    /// What a line of the program's log proves.
    fn told(&mut self, (at, place): (u64, usize), record: &'a Record) {
        let Record::Told { queue, task, event, token: Some(token), attempt, ran_ms, error } = record else { return };
        let token = token.as_str();
        if event == "started" {
            self.told_starts.insert(token, at);
        }
        let began = self.told_starts.get(token).copied();
        let story = self.story(queue, task);
        if story.claim(token).is_none() {
            let attempt = attempt.unwrap_or(0);
            story.claims.push(Claim { token, life: None, attempt, store: None, seen: (at, place) });
        }
        let fate = match event.as_str() {
            "succeeded" => Fate::Now(State::Succeeded),
            "retrying" => Fate::Now(State::Retrying),
            "dead" => Fate::Now(State::Dead),
            "cancelled" => Fate::Now(State::Cancelled),
            "released" => Fate::Now(State::Pending),
            // The program also says so of settlements that its incarnation could no longer send.
            "refused" if error.as_deref().is_some_and(|error| error.contains("too late")) => Fate::Refused,
            "refused" => Fate::Retired,
            _ => return,
        };
        // It was sent once the attempt was over. Its own clock tells when that began, in whole milliseconds.
        let ran_us = ran_ms.unwrap_or(0).saturating_mul(1_000);
        let asked = (began.map_or(0, |began| began.saturating_add(ran_us)), place);
        let settlement = Settlement {
            token,
            outcome: event,
            retry_in_ms: None,
            timed_out: false,
            asked,
            answered: Some(place),
            fate,
        };
        story.settlements.push(settlement);
    }

    /// What is known when there are no more.
    pub(super) fn finish(mut self) -> Book<'a> {
        // What was sent and never answered.
        for which in std::mem::take(&mut self.calls).into_values() {
            for (queue, task, which) in std::mem::take(&mut self.tries[which]) {
                if let Some(one) = self.story(queue, task).tries.get_mut(which) {
                    one.open = true;
                }
            }
        }
        for sent in std::mem::take(&mut self.exchanges).into_values().filter(|sent| !sent.answered) {
            for one in sent.finished {
                self.settlement(sent.queue, one, sent.asked, None, Fate::Open);
            }
        }
        self.book
    }
}
