//! The exchange: settle, promote, claim.

use bytes::Bytes;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use tidemill_core::{Claim, ClaimToken, Event, Record, RecordError, State};

use super::fault::{Fault, Outcome};
use super::rows::{Task, Worker, code, int, select_task, state, unsigned};
use super::session::Session;
use super::store::next_due;
use crate::contract::{BATCH_MAX, Exchange, Exchanged, MAINTAIN_MAX, Settled, UNREADABLE};

/// What the last exchange of an incarnation did, as it is kept beside its number.
#[derive(Serialize, Deserialize)]
struct Answer {
    /// The code of the state of each settled task; `None` was refused.
    settled: Vec<Option<u8>>,
    /// The rows of the claimed tasks.
    claims: Vec<i64>,
}

impl Session<'_> {
    pub(super) fn exchange(&mut self, exchange: &Exchange) -> Outcome<Exchanged> {
        let Some(worker) = self.worker(&exchange.worker)?.filter(|worker| !worker.lost) else {
            return Ok(Exchanged::Retired);
        };
        if exchange.number == worker.number && worker.number > 0 {
            return self.repeat(&worker);
        }
        if exchange.number < worker.number {
            return Ok(Exchanged::Retired);
        }
        if exchange.number != worker.number + 1 {
            self.lose_worker(&worker)?;
            self.announce_head()?;
            return Ok(Exchanged::Retired);
        }
        let (settled, freed) = self.settle_all(&worker, &exchange.finished)?;
        self.promote(MAINTAIN_MAX)?;
        self.announce_head()?;
        let claims = self.claim(&worker, exchange.number, exchange.want)?;
        let rows = claims.iter().map(|(row, _)| *row).collect();
        self.remember(&worker, exchange.number, worker.active - freed + int(claims.len()), &settled, rows)?;
        self.done(settled, claims.into_iter().map(|(_, claim)| claim).collect())
    }

    fn claim(&mut self, worker: &Worker, number: u64, want: usize) -> Outcome<Vec<(i64, Claim)>> {
        let want = want.min(BATCH_MAX);
        if want == 0 || self.queue.figures.paused || self.queue.figures.count(State::Pending) == 0 {
            return Ok(Vec::new());
        }
        let mut found = {
            let mut statement = self.connection.prepare_cached(concat!(
                "SELECT pk, id, state, priority, duration_ms, rank, worker, counter, cancel, aside, failures, losses, ",
                "errors, record FROM tasks WHERE queue = ?1 AND state = 0 ORDER BY rank, seq LIMIT ?2"
            ))?;
            let mut rows = statement.query(params![self.queue.pk, int(want)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let task = Task::read(row)?;
                let record = if row.get_ref(1)?.as_str().is_ok_and(|id| id == task.id.as_str()) {
                    Record::decode(&Bytes::from(row.get::<_, Vec<u8>>(13)?))
                } else {
                    Err(RecordError::Damaged("its id is none".to_owned()))
                };
                found.push((task, record));
            }
            found
        };
        for (task, _) in &mut found {
            self.hand_to(task, worker, number)?;
        }
        self.figures().counters.started += found.len() as u64;
        let head = self.head_task()?;
        let references: Vec<_> = found.iter().map(|(task, _)| task.reference()).collect();
        for (place, started) in references.iter().enumerate() {
            self.announce(|| Event::Start(started.clone()));
            if let Some(next) = references.get(place + 1).or(head.as_ref()) {
                self.announce(|| Event::Next(next.clone()));
            }
        }
        let token = ClaimToken { worker: worker.id, counter: number };
        let readable = |(task, record): (Task, Result<Record, RecordError>)| match record {
            Ok(record) => Some((task.pk, claim_of(task, record, token, self.now_ms))),
            Err(error) => {
                tracing::error!(queue = %self.name, task = %task.id, %error, "{UNREADABLE}");
                None
            }
        };
        Ok(found.into_iter().filter_map(readable).collect())
    }

    fn remember(
        &self,
        worker: &Worker,
        number: u64,
        active: i64,
        settled: &[Settled],
        claims: Vec<i64>,
    ) -> Outcome<()> {
        let kept = |settled: &Settled| match settled {
            Settled::Now(state) => u8::try_from(code(*state)).ok(),
            Settled::Refused => None,
        };
        let answer = postcard::to_stdvec(&Answer { settled: settled.iter().map(kept).collect(), claims })?;
        self.connection
            .prepare_cached("UPDATE workers SET number = ?2, active = ?3, answer = ?4 WHERE pk = ?1")?
            .execute(params![worker.pk, int(number), active, answer])?;
        Ok(())
    }

    /// Answers the last exchange as it was answered, less the claims that have ended since.
    fn repeat(&mut self, worker: &Worker) -> Outcome<Exchanged> {
        let answer: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT answer FROM workers WHERE pk = ?1")?
            .query_row([worker.pk], |row| row.get(0))?;
        let answer: Answer = postcard::from_bytes(&answer.unwrap_or_default())?;
        let settled = answer.settled.into_iter().map(|kept| match kept {
            Some(code) => Ok(Settled::Now(state(i64::from(code))?)),
            None => Ok(Settled::Refused),
        });
        let settled = settled.collect::<Outcome<Vec<_>>>()?;
        let mut claims = Vec::new();
        for row in answer.claims {
            claims.extend(self.held(row, worker)?);
        }
        self.done(settled, claims)
    }

    /// The claim that the last exchange of `worker` made on the task of this row, if it still holds.
    fn held(&self, row: i64, worker: &Worker) -> Outcome<Option<Claim>> {
        let task = self.task(
            select_task!("FROM tasks WHERE pk = ?1 AND state = 2 AND worker = ?2 AND counter = ?3"),
            params![row, worker.pk, int(worker.number)],
        )?;
        let Some(task) = task else {
            return Ok(None);
        };
        let record = match self.record(&task) {
            Err(Fault::Unreadable(_)) => return Ok(None),
            outcome => outcome?,
        };
        let token = ClaimToken { worker: worker.id, counter: worker.number };
        let started_at_ms = unsigned(task.rank);
        Ok(Some(claim_of(task, record, token, started_at_ms)))
    }

    pub(super) fn record(&self, task: &Task) -> Outcome<Record> {
        let bytes: Vec<u8> = self
            .connection
            .prepare_cached("SELECT record FROM tasks WHERE pk = ?1")?
            .query_row([task.pk], |row| row.get(0))
            .map_err(Fault::from)?;
        Ok(Record::decode(&Bytes::from(bytes))?)
    }

    fn done(&self, settled: Vec<Settled>, claims: Vec<Claim>) -> Outcome<Exchanged> {
        let figures = &self.queue.figures;
        let waits = figures.count(State::Delayed) + figures.count(State::Retrying) > 0;
        let due_ms = if waits { next_due(self.connection, self.queue.pk)? } else { None };
        Ok(Exchanged::Done {
            settled,
            claims,
            pending: figures.count(State::Pending),
            next_due_ms: due_ms.map(|due_ms| due_ms.saturating_sub(self.now_ms)),
            paused: figures.paused,
        })
    }
}

fn claim_of(task: Task, record: Record, token: ClaimToken, started_at_ms: u64) -> Claim {
    let attempt = task.failures.saturating_add(1);
    Claim { task: task.id, token, record, attempt, losses: task.losses, started_at_ms }
}
