//! What ends an operation early inside the store, and what its caller is told.

use tidemill_core::RecordError;

use crate::error::BrokerError;

/// The result of a step inside the store.
pub(super) type Outcome<T> = std::result::Result<T, Fault>;

/// Why an operation was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The contract says no.
    Refused(BrokerError),
    /// A stored task cannot be read.
    Unreadable(RecordError),
    /// SQLite says no.
    Sql(Trouble),
    /// Something stored besides tasks cannot be read.
    Damaged(String),
}

/// An error of SQLite's, sorted by what a caller can do about it.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    sort: Sort,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Full,
    Away,
    Other,
}

impl Fault {
    pub(super) fn into_error(self, operation: &'static str) -> BrokerError {
        match self {
            Self::Refused(error) => error,
            Self::Unreadable(source) => BrokerError::Unreadable { operation, source },
            Self::Sql(trouble) => trouble.error(operation),
            Self::Damaged(reason) => BrokerError::Store { operation, reason },
        }
    }

    pub(super) fn damaged(what: impl std::fmt::Display) -> Self {
        Self::Damaged(format!("the database is damaged: {what}"))
    }
}

impl Trouble {
    pub(super) fn away(reason: &str) -> Self {
        Self { sort: Sort::Away, reason: reason.to_owned() }
    }

    pub(super) fn other(fault: &Fault) -> Self {
        Self { sort: Sort::Other, reason: format!("{fault:?}") }
    }

    pub(super) fn error(&self, operation: &'static str) -> BrokerError {
        let reason = self.reason.clone();
        match self.sort {
            Sort::Full => BrokerError::StoreFull { operation, reason },
            Sort::Away => BrokerError::Unavailable { operation, reason },
            Sort::Other => BrokerError::Store { operation, reason },
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let sort = match error.sqlite_error_code() {
            Some(Code::DiskFull) => Sort::Full,
            Some(
                Code::SystemIoFailure | Code::DatabaseBusy | Code::DatabaseLocked | Code::CannotOpen | Code::ReadOnly,
            ) => Sort::Away,
            _ => Sort::Other,
        };
        Self { sort, reason: error.to_string() }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl From<RecordError> for Fault {
    fn from(error: RecordError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::damaged(error)
    }
}

impl From<postcard::Error> for Fault {
    fn from(error: postcard::Error) -> Self {
        Self::damaged(error)
    }
}

impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        Self::Refused(error)
    }
}
