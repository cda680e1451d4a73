//! The connection for commands: it connects by itself, again and again, and every call on it has a deadline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tidemill_core::QueueName;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::fitness;
use super::keys::KeyNames;
use super::reply::Reply;
use super::script::{Clock, Script};
use crate::error::{BrokerError, Result};

/// How long an operation may take before it is called unavailable: with it, an API call is answered within 2 s.
const OPERATION_DEADLINE: Duration = Duration::from_millis(1_700);
/// How long a connection may take to be made.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// The longest pause between attempts to connect.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A connection that is shared by all operations of the process.
#[derive(Clone)]
pub(super) struct Link {
    client: redis::Client,
    connection: Arc<Mutex<ConnectionManager>>,
    keys: Arc<KeyNames>,
    clock: Clock,
    fit: Arc<OnceCell<String>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("server", &self.fit.get()).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects with the first call.
    pub(super) fn new(client: redis::Client, clock: Clock) -> Result<Self> {
        let connection = lazy(&client).map_err(|error| classify("connect", &error))?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { client, connection, keys: Arc::default(), clock, fit: Arc::default() })
    }

    /// What the server says of itself, once it has been reached: `redis 7.0.15`.
    pub(super) fn server(&self) -> Option<&str> {
        self.fit.get().map(String::as_str)
    }

    fn connection(&self) -> ConnectionManager {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins anew after an error that the manager of the connection would keep for good: one that was met while connecting
    /// and is not of the network, such as an answer that is no Redis's, or a password that was wrong and may be mended.
    fn begin_anew_after(&self, error: &RedisError) {
        if !error.is_unrecoverable_error() || error.is_io_error() {
            return;
        }
        match lazy(&self.client) {
            Ok(connection) => *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection,
            Err(error) => tracing::debug!(%error, "no new connection can be prepared"),
        }
    }

    /// Asks the server again whether it can serve.
    pub(super) async fn check(&self) -> Result<()> {
        let described = self.examine().await?;
        if self.fit.set(described).is_err() {
            tracing::trace!("the server has been described before");
        }
        Ok(())
    }

    async fn examine(&self) -> Result<String> {
        let info = self.raw("ping", redis::cmd("INFO").arg("server").arg("memory")).await?;
        fitness::judge(&redis::from_redis_value::<String>(info).unwrap_or_default())
    }

    /// Runs a script on a queue and opens its reply.
    pub(super) async fn run(
        &self,
        script: &'static Script,
        queue: &QueueName,
        args: impl FnOnce(&mut Cmd),
    ) -> Result<(String, Reply)> {
        Reply::open(script.name, queue, self.eval(script, queue, args).await?)
    }

    /// Runs a script on a queue. A server that does not know it yet is sent its text.
    pub(super) async fn eval(
        &self,
        script: &'static Script,
        queue: &QueueName,
        args: impl FnOnce(&mut Cmd),
    ) -> Result<Value> {
        // One deadline for all of it: at the start, callers queue up for the examination of the server.
        timeout(OPERATION_DEADLINE, self.evaluate(script, queue, args)).await.unwrap_or_else(|_| Err(late(script.name)))
    }

    async fn evaluate(&self, script: &'static Script, queue: &QueueName, args: impl FnOnce(&mut Cmd)) -> Result<Value> {
        self.fit.get_or_try_init(|| self.examine()).await?;
        let keys = self.keys.of(queue, script);
        let source = script.source(self.clock);
        let mut command = redis::cmd("EVALSHA");
        command.arg(&source.sha).arg(keys.len());
        for key in keys.iter() {
            command.arg(key);
        }
        args(&mut command);
        match command.query_async(&mut self.connection()).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.raw(script.name, redis::cmd("SCRIPT").arg("LOAD").arg(&source.text)).await?;
                self.raw(script.name, &command).await
            }
            outcome => outcome.map_err(|error| self.failed(script.name, &error)),
        }
    }

    /// Runs a command that is no script.
    pub(super) async fn raw(&self, operation: &'static str, command: &Cmd) -> Result<Value> {
        timeout(OPERATION_DEADLINE, command.query_async(&mut self.connection()))
            .await
            .map_err(|_| late(operation))?
            .map_err(|error| self.failed(operation, &error))
    }

    fn failed(&self, operation: &'static str, error: &RedisError) -> BrokerError {
        self.begin_anew_after(error);
        classify(operation, error)
    }
}

/// A connection that is made with the first command.
fn lazy(client: &redis::Client) -> redis::RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_DEADLINE))
        .set_response_timeout(Some(OPERATION_DEADLINE))
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(RECONNECT_PAUSE_MAX)
        .set_number_of_retries(2);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn late(operation: &'static str) -> BrokerError {
    BrokerError::Unavailable { operation, reason: format!("no answer within {} ms", OPERATION_DEADLINE.as_millis()) }
}

/// What an error of the client means to a caller.
pub(super) fn classify(operation: &'static str, error: &RedisError) -> BrokerError {
    let reason = error.to_string();
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH" | "NOPERM")) => {
            BrokerError::Unfit(format!(
                "Redis refuses Tidemill: {reason}. Check the user and password (those of broker.url, or broker.username \
                 and broker.password), and that the user may run EVALSHA, SCRIPT, INFO, BLPOP, SUBSCRIBE and PUBLISH on \
                 keys and channels tidemill:*"
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
