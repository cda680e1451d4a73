//! Errors for people and programs: `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What was wrong, where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the sort of problem, `/problems/<kebab-case>`; the same for all of its sort.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort of problem in a few words, the same for all of its sort.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// This very problem: what was wrong and what would be right.
    pub detail: String,
    /// The single faults of a body, each with its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One fault of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Where: a JSON Pointer (RFC 6901) into the body, or the name of a query parameter after `?`.
    pub pointer: String,
    /// What was wrong there and what would be right.
    pub detail: String,
}

impl Problem {
    /// A problem of the sort `kind` (kebab-case, such as `task-exists`).
    pub fn new(status: u16, kind: &str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.into(),
            status,
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// Adds a fault at `pointer`.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }
}
