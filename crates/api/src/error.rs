//! How errors leave: `application/problem+json`, with the headers that belong to them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidemill_broker::BrokerError;
use tidemill_core::problem::PROBLEM_JSON;
use tidemill_core::{FieldError, Problem, TaskId};

/// Faults of one body that are listed; more would help nobody.
pub(crate) const FAULTS_LISTED: usize = 100;
/// Faults whose words stand in `detail`; the rest stand in `errors` alone.
const FAULTS_IN_DETAIL: usize = 3;
/// Ids that are alive already and stand in `detail`; all of them stand in `errors`.
const IDS_IN_DETAIL: usize = 10;
/// After how many seconds a request is worth repeating that met a broker out of reach: clients of ours spread by jitter.
const RETRY_UNAVAILABLE_S: u32 = 1;
/// After how many seconds a full queue may have room again.
const RETRY_FULL_S: u32 = 5;

/// A request that was not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    problem: Box<Problem>,
    retry_after_s: Option<u32>,
    header: Option<(header::HeaderName, &'static str)>,
    alive: Vec<TaskId>,
}

/// The result of handlers.
pub(crate) type Answer<T> = Result<T, Refusal>;

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after_s: None, header: None, alive: Vec::new() }
    }
}

impl Refusal {
    /// What is said of it.
    #[cfg(test)]
    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }

    /// The sort of problem in one word, for traces.
    pub(crate) fn kind(&self) -> &str {
        self.problem.kind.rsplit('/').next().unwrap_or_default()
    }

    /// 400 for what is wrong at `pointer`.
    pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut faults = Faults::default();
        faults.at(pointer, detail);
        faults.refuse()
    }

    /// 503 for a server that has no room.
    pub(crate) fn busy(kind: &str, title: &str, detail: String) -> Self {
        Self { retry_after_s: Some(RETRY_FULL_S), ..Problem::new(503, kind, title, detail).into() }
    }

    /// Adds a header that the status calls for.
    #[must_use]
    pub(crate) fn with(self, name: header::HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// Says with `place` where the ids stand that are alive already; without, each is a member of the body itself.
    #[must_use]
    pub(crate) fn at_ids(mut self, place: impl Fn(&str) -> String) -> Self {
        for (fault, id) in self.problem.errors.iter_mut().zip(&self.alive) {
            fault.pointer = place(id.as_str());
        }
        self
    }

    /// Says of tasks that met a store out of reach what is known of them, and how to send them again.
    #[must_use]
    pub(crate) fn of_tasks(mut self) -> Self {
        if self.retry_after_s == Some(RETRY_UNAVAILABLE_S) {
            self.problem.detail.push_str(
                "; whether it was taken in is not known: send it again with ids of your own, and what is there already is \
                 refused with 409",
            );
        }
        self
    }

    /// 404 for a task that the store does not know.
    pub(crate) fn unknown_task(queue: &impl std::fmt::Display, id: &impl std::fmt::Display) -> Self {
        let detail = format!("queue {queue} has no task {id}; it may have ended and been forgotten by its retention");
        Problem::new(404, "unknown-task", "There is no such task", detail).into()
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let detail = error.to_string();
        match error {
            BrokerError::Unavailable { .. } => {
                tracing::debug!(error = detail, "answering 503");
                let problem = Problem::new(503, "broker-unavailable", "The store of tasks cannot be reached", detail);
                Self { retry_after_s: Some(RETRY_UNAVAILABLE_S), ..problem.into() }
            }
            BrokerError::UnknownQueue { queue, .. } => {
                Problem::new(404, "unknown-queue", "There is no such queue", format!("there is no queue {queue}"))
                    .into()
            }
            BrokerError::QueueFull { .. } => {
                let problem = Problem::new(429, "queue-full", "The queue is full", detail);
                Self { retry_after_s: Some(RETRY_FULL_S), ..problem.into() }
            }
            BrokerError::TaskExists { queue, ids } => {
                let named: Vec<String> =
                    ids.iter().take(IDS_IN_DETAIL).map(|id| format!("{:?}", id.as_str())).collect();
                let more = match ids.len().saturating_sub(IDS_IN_DETAIL) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let detail = format!("queue {queue} has live tasks of these ids already: {}{more}", named.join(", "));
                let mut problem = Problem::new(409, "task-exists", "Tasks of these ids are alive already", detail);
                problem.errors = ids
                    .iter()
                    .map(|id| FieldError {
                        pointer: crate::json::pointer("", id.as_str()),
                        detail: format!("task {:?} is alive already", id.as_str()),
                    })
                    .collect();
                Self { alive: ids, ..problem.into() }
            }
            BrokerError::BadCursor(_) => Self::invalid("?cursor", detail),
            BrokerError::DuplicateId(_) | BrokerError::BadOwner(_) => {
                Problem::new(400, "invalid-request", "The request is not valid", detail).into()
            }
            BrokerError::StoreFull { .. } => {
                tracing::error!(error = detail, "the store is full");
                Problem::new(507, "store-full", "The store of tasks is full", detail).into()
            }
            BrokerError::Unfit(_) => {
                Problem::new(503, "broker-unfit", "The store of tasks is not set up for Tidemill", detail).into()
            }
            BrokerError::Unreadable { .. } | BrokerError::Store { .. } => {
                tracing::error!(error = detail, "the store answered unexpectedly");
                Problem::new(500, "store-failed", "The store of tasks failed", detail).into()
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = problem_response(&self.problem);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// `problem` as a response.
pub(crate) fn problem_response(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = (status, body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The faults of a body as they are found.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    listed: Vec<FieldError>,
    found: usize,
}

impl Faults {
    /// Adds a fault at `pointer`.
    pub(crate) fn at(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.found += 1;
        if self.listed.len() < FAULTS_LISTED {
            self.listed.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// 400 with all of them.
    pub(crate) fn refuse(self) -> Refusal {
        let mut words: Vec<&str> =
            self.listed.iter().take(FAULTS_IN_DETAIL).map(|fault| fault.detail.as_str()).collect();
        let more = format!("and {} more", self.found.saturating_sub(FAULTS_IN_DETAIL));
        if self.found > FAULTS_IN_DETAIL {
            words.push(&more);
        }
        let mut problem = Problem::new(400, "invalid-request", "The request is not valid", words.join("; "));
        problem.errors = self.listed;
        problem.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_fault_is_the_detail_in_its_own_words() {
        let refusal = Refusal::invalid("/payload", "payload is empty");
        assert_eq!(refusal.problem.detail, "payload is empty");
        assert_eq!(refusal.problem.errors.len(), 1);
    }

    #[test]
    fn a_thousand_faults_are_counted_and_a_hundred_listed() {
        let mut faults = Faults::default();
        for n in 0..1_000 {
            faults.at(format!("/{n}"), "wrong");
        }
        let refusal = faults.refuse();
        assert_eq!(refusal.problem.errors.len(), FAULTS_LISTED);
        assert!(refusal.problem.detail.ends_with("and 997 more"), "{}", refusal.problem.detail);
    }
}
