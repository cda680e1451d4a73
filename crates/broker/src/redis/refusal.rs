//! What an error of a server means: to whoever sent the command, and to the caller of the operation.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::BrokerError;

/// What to do after an error. Of all but the last two it is known that the command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server does not know the script: send its text.
    NoScript,
    /// Another server has the slot now.
    Moved(String),
    /// Another server may have the key already: ask that one, this once.
    Ask(String),
    /// The slot is on its way, or the server about to serve: later.
    Later,
    /// The server is a replica, or none of the Cluster's that serve: find out who serves, then again.
    Elsewhere,
    /// The connection is of no more use. What became of the command is not known.
    Lost,
    /// That is the answer.
    Final,
}

impl Verdict {
    pub(super) fn on(error: &RedisError) -> Self {
        let to = || error.redirect_node().map(|(address, _)| address.to_owned());
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript) => Self::NoScript,
            ErrorKind::Server(ServerErrorKind::Moved) => to().map_or(Self::Final, Self::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => to().map_or(Self::Final, Self::Ask),
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::BusyLoading) => Self::Later,
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown,
            ) => Self::Elsewhere,
            _ if error.code() == Some("UNBLOCKED") => Self::Elsewhere,
            _ if error.is_unrecoverable_error() => Self::Lost,
            _ => Self::Final,
        }
    }
}

/// What an error of the client means to a caller.
pub(super) fn classify(operation: &'static str, error: &RedisError) -> BrokerError {
    let reason = error.to_string();
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH" | "NOPERM")) => {
            BrokerError::Unfit(format!(
                "Redis refuses Tidemill: {reason}. Check the user and password (those of broker.url, or broker.username \
                 and broker.password), and that the user may run EVALSHA, EVAL, INFO, BLPOP, SUBSCRIBE and PUBLISH on \
                 keys and channels tidemill:* (and CLUSTER and ASKING in a Cluster, WAIT for durability.replicas)"
            ))
        }
        (ErrorKind::InvalidClientConfig, _) => BrokerError::Unfit(format!("broker.url cannot be used: {reason}")),
        (_, Some("OOM")) => BrokerError::StoreFull { operation, reason },
        (ErrorKind::Server(ServerErrorKind::ResponseError), code) if code != Some("MISCONF") => {
            BrokerError::Store { operation, reason }
        }
        (
            ErrorKind::UnexpectedReturnType
            | ErrorKind::Server(ServerErrorKind::CrossSlot | ServerErrorKind::ExecAbort),
            _,
        ) => BrokerError::Store { operation, reason },
        _ => BrokerError::Unavailable { operation, reason },
    }
}
