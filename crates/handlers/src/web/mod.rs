//! What `http_request` and handlers behind a URL have in common: the client, what it may connect to, and how an answer is
//! judged.

mod address;
mod answer;
mod client;
mod guard;
mod verdict;

pub(crate) use answer::{Body, read};
pub(crate) use client::{client, failed, guarded_client, repetition};
pub(crate) use guard::{Guard, Refused};
pub(crate) use verdict::{failure, without_query};

use tidemill_tls::TlsError;

/// HTTP that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The client cannot be made.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(#[from] reqwest::Error),
    /// An entry of a list of hosts is none.
    #[error(
        "{setting}: {entry:?} cannot be used: {reason}; it takes a host, *.HOST, HOST:PORT, a URL's beginning or, for private addresses, a network such as 10.1.0.0/16"
    )]
    Entry {
        /// The setting.
        setting: &'static str,
        /// What was given.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl WebError {
    fn entry(setting: &'static str, entry: &str, reason: String) -> Self {
        Self::Entry { setting, entry: entry.to_owned(), reason }
    }
}
