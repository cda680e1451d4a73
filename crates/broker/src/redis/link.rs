//! Running scripts and commands where their keys are: every call has a deadline, follows the keys when they move, and
//! waits out what passes.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Arg, Cmd, RedisError, Value};
use tidemill_core::QueueName;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::fitness;
use super::keys::KeyNames;
use super::node::{Node, Traffic, Turn};
use super::refusal::{Verdict, classify};
use super::reply::Reply;
use super::script::{Clock, Script};
use super::slots::slot;
use super::topology::Topology;
use crate::connect::Durability;
use crate::error::{BrokerError, Result};

/// How long an operation may take before it is called unavailable: with it, an API call is answered within 2 s.
pub(super) const OPERATION_DEADLINE: Duration = Duration::from_millis(1_700);
/// How often connecting is tried within one operation. A server that is away is away for longer than that.
const CONNECT_TRIES: u32 = 3;
/// The pause after a refusal that passes, which doubles up to the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// The first pause after a connection that could not be made; the second is twice that.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// Redirections that are followed without a pause.
const HOPS_AT_ONCE: u32 = 4;

/// What all operations of the process go through.
#[derive(Clone)]
pub(super) struct Link {
    topology: Arc<Topology>,
    keys: Arc<KeyNames>,
    clock: Clock,
    durability: Durability,
    server: Arc<OnceLock<String>>,
    #[cfg(feature = "conformance")]
    mutation: Option<super::script::Mutation>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("server", &self.server()).finish_non_exhaustive()
    }
}

/// One command on its way.
struct Call<'a> {
    operation: &'static str,
    command: Cmd,
    slot: u16,
    /// The text of the script that the command names by its hash.
    text: Option<Cow<'static, str>>,
    /// The queue whose writes replicas must have before they count.
    durable: Option<&'a QueueName>,
    /// Where it goes instead of to where the slot is, and whether that node must be told that it was sent there.
    next: Option<(Arc<Node>, bool)>,
}

impl Link {
    /// Connects with the first call.
    pub(super) fn new(topology: Arc<Topology>, clock: Clock, durability: Durability) -> Self {
        let keys = Arc::new(KeyNames::new(topology.is_cluster()));
        Self {
            topology,
            keys,
            clock,
            durability,
            server: Arc::default(),
            #[cfg(feature = "conformance")]
            mutation: None,
        }
    }

    /// The same with scripts of which a part says something else.
    #[cfg(feature = "conformance")]
    pub(super) fn mutated(self, mutation: Option<super::script::Mutation>) -> Self {
        Self { mutation, ..self }
    }

    /// What the server says of itself, once it has been reached: `redis 7.0.15`.
    pub(super) fn server(&self) -> Option<&str> {
        self.server.get().map(String::as_str)
    }

    /// Asks the servers again whether they can serve.
    pub(super) async fn check(&self) -> Result<()> {
        const OPERATION: &str = "ping";
        let locate = timeout(OPERATION_DEADLINE, self.topology.primaries());
        let primaries = locate.await.unwrap_or_else(|_| Err(late(OPERATION, None)))?;
        let all = primaries.into_iter().map(|node| self.call(Call::to(OPERATION, node, fitness::question())));
        for answer in futures::future::try_join_all(all).await? {
            self.judge(answer)?;
        }
        Ok(())
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
        let (slot, command, text) = self.spell(script, queue, args);
        let durable = (script.is_promise && self.durability.replicas > 0).then_some(queue);
        self.call(Call { text: Some(text), durable, ..Call::new(script.name, slot, command) }).await
    }

    /// A script as a command that names it by its hash, the slot that it belongs to, and its text.
    pub(super) fn spell(
        &self,
        script: &'static Script,
        queue: &QueueName,
        args: impl FnOnce(&mut Cmd),
    ) -> (u16, Cmd, Cow<'static, str>) {
        let keys = self.keys.of(queue, script);
        let source = script.source(self.clock);
        let (sha, text) = (source.sha.as_str(), Cow::Borrowed(source.text.as_str()));
        #[cfg(feature = "conformance")]
        let mutant = self.mutation.map(|mutation| mutation.of(source));
        #[cfg(feature = "conformance")]
        let (sha, text) = mutant.as_ref().map_or((sha, text), |mutant| (&mutant.sha, Cow::Owned(mutant.text.clone())));
        let mut command = redis::cmd("EVALSHA");
        command.arg(sha).arg(keys.len());
        for key in keys.iter() {
            command.arg(key);
        }
        args(&mut command);
        (keys.first().map_or(0, |key| slot(key.as_bytes())), command, text)
    }

    /// Runs a command that is no script and has its key as first argument.
    pub(super) async fn raw(&self, operation: &'static str, command: &Cmd) -> Result<Value> {
        let slot = match command.args_iter().nth(1) {
            Some(Arg::Simple(key)) => slot(key),
            _ => 0,
        };
        self.call(Call::new(operation, slot, command.clone())).await
    }

    async fn call(&self, mut call: Call<'_>) -> Result<Value> {
        let deadline = Instant::now() + OPERATION_DEADLINE;
        let mut pauses = Pauses::default();
        let mut last = None;
        loop {
            let Ok(step) = timeout_at(deadline, self.step(&mut call, deadline)).await else {
                // Perhaps it hangs, and another serves by now.
                self.topology.doubt();
                return Err(late(call.operation, last));
            };
            let refusal = match step? {
                Step::Done(value) => return Ok(value),
                Step::Refused(refusal) => refusal,
            };
            let rest = self.digest(&mut call, &refusal, &mut pauses)?;
            last = Some(refusal.error);
            if Instant::now() + rest >= deadline {
                return Err(late(call.operation, last));
            }
            sleep(rest).await;
        }
    }

    /// Sends the command to where it belongs.
    async fn step(&self, call: &mut Call<'_>, deadline: Instant) -> Result<Step> {
        let (node, asking) = match call.next.take() {
            Some(next) => next,
            None => (self.topology.locate(call.slot).await?, false),
        };
        let traffic = if call.durable.is_some() { Traffic::Durable } else { Traffic::Commands };
        let (verdict, error, is_news) = match node.turn(traffic).await {
            Err(error) => (None, error, false),
            Ok(mut turn) => match self.send(call, &node, &mut turn, asking, deadline).await {
                Ok(_) if self.topology.has_left(&node) => {
                    let reason = format!("{} answered, but another server had taken over: repeat it", node.name);
                    return Err(BrokerError::Unavailable { operation: call.operation, reason });
                }
                Ok(value) => return Ok(Step::Done(value)),
                Err(Trouble::Told(error)) => return Err(error),
                Err(Trouble::Met(error)) => {
                    let verdict = Verdict::on(&error);
                    let is_news = matches!(verdict, Verdict::Elsewhere | Verdict::Lost) && node.lost(&turn);
                    (Some(verdict), error, is_news)
                }
            },
        };
        Ok(Step::Refused(Refusal { node, verdict, error, is_news }))
    }

    async fn send(
        &self,
        call: &Call<'_>,
        node: &Node,
        turn: &mut Turn<'_>,
        asking: bool,
        deadline: Instant,
    ) -> std::result::Result<Value, Trouble> {
        let connection = &mut turn.connection;
        node.fit
            .get_or_try_init(async || {
                let answer = fitness::question().query_async(connection).await?;
                self.judge(answer).map_err(Trouble::Told)
            })
            .await?;
        let value =
            if asking { ask(connection, &call.command).await? } else { call.command.query_async(connection).await? };
        if let Some(queue) = call.durable {
            let confirmed = turn.witness.confirm(connection, call.operation, queue, self.durability, deadline);
            confirmed.await.map_err(Trouble::Told)?;
        }
        Ok(value)
    }

    /// Draws the conclusions of a refusal. The pause before the next step, or why there is none.
    fn digest(&self, call: &mut Call<'_>, refusal: &Refusal, pauses: &mut Pauses) -> Result<Duration> {
        let Refusal { node, verdict, error, is_news } = refusal;
        match verdict {
            None => {
                self.topology.doubt();
                pauses.connects += 1;
                if pauses.connects == CONNECT_TRIES || !error.is_io_error() {
                    return Err(classify(call.operation, error));
                }
                Ok(CONNECT_PAUSE * pauses.connects)
            }
            Some(Verdict::NoScript) if call.spell_out() => Ok(Duration::ZERO),
            Some(Verdict::Moved(address)) => {
                call.next = Some((self.topology.moved(call.slot, address, node)?, false));
                Ok(pauses.hop())
            }
            Some(Verdict::Ask(address)) => {
                call.next = Some((self.topology.node(address, node)?, true));
                Ok(pauses.hop())
            }
            Some(Verdict::Later) => Ok(pauses.next()),
            Some(Verdict::Elsewhere) => {
                self.topology.doubt();
                if *is_news {
                    self.topology.announce_change();
                }
                Ok(pauses.next())
            }
            Some(Verdict::Lost) => {
                self.topology.doubt();
                Err(classify(call.operation, error))
            }
            Some(Verdict::NoScript | Verdict::Final) => Err(classify(call.operation, error)),
        }
    }

    /// Judges what a server says of itself.
    fn judge(&self, answer: Value) -> Result<String> {
        let described = fitness::judge(&redis::from_redis_value::<String>(answer).unwrap_or_default())?;
        if self.server.set(described.clone()).is_err() {
            tracing::trace!("a server has been described before");
        }
        Ok(described)
    }
}

impl Call<'_> {
    fn new(operation: &'static str, slot: u16, command: Cmd) -> Self {
        Self { operation, command, slot, text: None, durable: None, next: None }
    }

    fn to(operation: &'static str, node: Arc<Node>, command: Cmd) -> Self {
        Self { next: Some((node, false)), ..Self::new(operation, 0, command) }
    }

    /// Replaces the hash of the script by its text. Whether that was still to be done.
    fn spell_out(&mut self) -> bool {
        let Some(text) = self.text.take() else { return false };
        let mut command = redis::cmd("EVAL");
        command.arg(text.as_ref());
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(arg) = arg {
                command.arg(arg);
            }
        }
        self.command = command;
        true
    }
}

/// What one attempt came to.
enum Step {
    Done(Value),
    Refused(Refusal),
}

/// A command that was not carried out, or of which that is not known.
struct Refusal {
    node: Arc<Node>,
    /// `None` where there was no connection to send it on.
    verdict: Option<Verdict>,
    error: RedisError,
    /// Whether the node's connections were thought to be good until now.
    is_news: bool,
}

/// What kept a command from its answer.
enum Trouble {
    /// The connection or the server.
    Met(RedisError),
    /// What a caller is to be told.
    Told(BrokerError),
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Met(error)
    }
}

/// How long to pause within one operation.
#[derive(Default)]
struct Pauses {
    connects: u32,
    hops: u32,
    last: Duration,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        self.last = (self.last * 2).clamp(PAUSE.0, PAUSE.1);
        self.last.mul_f64(rand::random_range(0.5..1.0))
    }

    /// After a redirection: none, unless redirections go round in a circle.
    fn hop(&mut self) -> Duration {
        self.hops += 1;
        if self.hops <= HOPS_AT_ONCE { Duration::ZERO } else { self.next() }
    }
}

/// Sends a command to a node that is about to get its slot.
async fn ask(connection: &mut MultiplexedConnection, command: &Cmd) -> redis::RedisResult<Value> {
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let mut answers = connection.send_packed_commands(&both, 0, 2).await?;
    answers.pop().unwrap_or(Value::Nil).extract_error()
}

fn late(operation: &'static str, last: Option<RedisError>) -> BrokerError {
    let within = format!("no answer within {} ms", OPERATION_DEADLINE.as_millis());
    let reason = last.map_or_else(|| within.clone(), |error| format!("{within}; the last was: {error}"));
    BrokerError::Unavailable { operation, reason }
}
