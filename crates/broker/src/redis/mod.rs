//! The store on Redis or Valkey, 7 or later.
//!
//! A queue lives in a fixed set of keys under one hash tag; where an id stands is its task's state:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `meta` | hash | settings, format, owner (JSON), sequence numbers, time of the last maintenance |
//! | `records` | hash | id → record of each live task (and a placeholder under the empty id) |
//! | `pending`, `ranked`, `stale` | list, sorted set, set | who waits: see `lua/lib/line.lua` |
//! | `delayed`, `retrying` | sorted sets | id → due time |
//! | `claims` | hash | id → `worker:exchange:place:started` (and a placeholder) |
//! | `attempts`, `results`, `progress`, `cancels` | hashes | what is known beside the record, only where there is something |
//! | `ended`; `succeeded`, `dead`, `cancelled` | hash; sorted sets | records of ended tasks; id → time of its end |
//! | `workers`, `leases`, `exchanges` | hash, sorted set, hash | incarnations; end of each lease; number and answer of the last exchange |
//! | `stats` | hash | how often each transition happened |
//! | `wake` | list | the wake-up marker |
//! | `channel` | – | pub/sub channel of events; number 0 says that the queue was dropped |
//! | `absent` | – | never exists; declared by all scripts in a Cluster, so that none begins while its slot moves (see [`keys`]) |
//!
//! Each operation is one script (`lua/*.lua`), which takes the time from Redis. Three sorts of connections: a few for
//! commands ([`link`]), one for subscriptions ([`subscriber`]), one per queue that is waited for ([`waiter`]).
//!
//! ```text
//!   broker ─► link ─────► topology ─► node ─► dial      link: one operation, whatever it takes within its deadline
//!      ├────► subscriber ─► │  │                        topology: which server has the slot; place: what the URL says
//!      └────► waiter ─────► │  └─► sentinel, cluster    node: a server and its connections for commands
//! ```
//!
//! One server, Sentinels and a Cluster differ in nothing but how [`topology`] learns where a slot is. The client library's
//! own clients for Sentinel and Cluster are not used: they choose the connection of each command themselves, while a `WAIT`
//! must follow its write on the same one, a blocking pop needs one of its own, and what may be sent again, and until when,
//! is for the contract to say.

mod asking;
mod broker;
mod cluster;
mod coalesce;
mod dial;
mod durable;
mod fitness;
mod keys;
mod link;
mod node;
mod place;
mod refusal;
mod reply;
mod script;
mod sentinel;
mod slots;
mod subscriber;
mod tls;
mod topology;
mod waiter;
mod wire;

use std::sync::Arc;

use crate::connect::Access;
use crate::error::Result;
use coalesce::Coalescer;
use dial::Dialer;
use link::Link;
use place::Place;
use script::Clock;
use subscriber::Subscriber;
use topology::Topology;
use waiter::Waiters;

pub(crate) use place::speaks;
#[cfg(feature = "conformance")]
pub use script::Mutation;
#[cfg(feature = "conformance")]
pub(crate) use slots::SLOTS;

/// A [`Broker`](crate::Broker) on Redis or Valkey.
#[derive(Debug)]
pub struct RedisBroker {
    address: String,
    link: Link,
    coalescer: Coalescer,
    subscriber: Subscriber,
    waiters: Waiters,
}

impl RedisBroker {
    /// A broker for a URL alone; see [`open_with`](Self::open_with).
    pub fn open(url: &str) -> Result<Arc<Self>> {
        Self::open_with(&Access::new(url))
    }

    /// Prepares a broker for one server, for the one that Sentinels name, or for a Cluster, as [`Access::url`] says.
    /// Connects with the first operation, and again whenever it has to; a server that cannot be trusted with tasks (it
    /// evicts, or is too old) is `Unfit` then. When another server takes over, or a slot moves, that is found out and
    /// followed: callers see no more of it than that something took longer, or was [`BrokerError::Unavailable`].
    ///
    /// [`BrokerError::Unavailable`]: crate::BrokerError::Unavailable
    ///
    /// User and password that are given apart win over those of the URL. TLS trusts the authorities that are given, else
    /// those of the PEM file that the environment variable `SSL_CERT_FILE` names, else the public ones.
    ///
    /// Must be called within a tokio runtime.
    pub fn open_with(access: &Access) -> Result<Arc<Self>> {
        Self::prepare(access, Clock::Real, |link| link)
    }

    /// A broker on a clock that [`advance_clock`](Self::advance_clock) moves on.
    #[cfg(feature = "conformance")]
    pub fn open_with_skewed_clock(url: &str) -> Result<Arc<Self>> {
        Self::prepare(&Access::new(url), Clock::Skewed, |link| link)
    }

    /// The same with scripts of which a part says something else.
    #[cfg(feature = "conformance")]
    pub fn open_mutated(url: &str, mutation: Mutation) -> Result<Arc<Self>> {
        Self::prepare(&Access::new(url), Clock::Skewed, |link| link.mutated(Some(mutation)))
    }

    fn prepare(access: &Access, clock: Clock, dress: impl FnOnce(Link) -> Link) -> Result<Arc<Self>> {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::trace!("a TLS provider has been installed before");
        }
        let place = Place::of(access)?;
        let address = place.describe();
        let dialer = Dialer::new(&place, access)?;
        let topology = Topology::new(place, dialer)?;
        let link = dress(Link::new(Arc::clone(&topology), clock, access.durability));
        Ok(Arc::new(Self {
            address,
            coalescer: Coalescer::new(link.clone()),
            link,
            subscriber: Subscriber::new(Arc::clone(&topology)),
            waiters: Waiters::new(topology),
        }))
    }

    /// Moves the clock of a queue on, for tests that let time pass.
    #[cfg(feature = "conformance")]
    pub async fn advance_clock(&self, queue: &tidemill_core::QueueName, by_ms: u64) -> Result<()> {
        let mut command = redis::cmd("HINCRBY");
        command.arg(keys::key(queue, "meta")).arg("skew").arg(by_ms);
        self.link.raw("advance_clock", &command).await.map(|_| ())
    }
}
