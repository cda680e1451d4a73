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
//!
//! Each operation is one script (`lua/*.lua`), which takes the time from Redis. Three sorts of connections: one for
//! commands ([`link`]), one for subscriptions ([`subscriber`]), one per queue that is waited for ([`waiter`]).

mod broker;
mod coalesce;
mod fitness;
mod keys;
mod link;
mod reply;
mod script;
mod subscriber;
mod tls;
mod waiter;
mod wire;

use std::sync::Arc;
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
use std::time::Duration;

use redis::io::tcp::TcpSettings;

use crate::connect::Access;
use crate::error::{BrokerError, Result};
use coalesce::Coalescer;
use link::{Link, classify};
use script::Clock;
use subscriber::Subscriber;
use waiter::Waiters;

/// How long what was sent may stay unacknowledged by the server's machine before the connection counts as dead. The
/// system's own patience is a quarter of an hour.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);

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

    /// Prepares a broker for `redis://`, `rediss://`, `valkey://`, `valkeys://`, `redis+unix://` or `unix://` with user,
    /// password and database as usual. Connects with the first operation, and again whenever it has to; a server that
    /// cannot be trusted with tasks (it evicts, or is too old) is `Unfit` then.
    ///
    /// User and password that are given apart win over those of the URL. TLS trusts the authorities that are given, else
    /// those of the PEM file that the environment variable `SSL_CERT_FILE` names, else the public ones.
    ///
    /// Must be called within a tokio runtime.
    pub fn open_with(access: &Access) -> Result<Arc<Self>> {
        Self::prepare(access, Clock::Real)
    }

    /// A broker on a clock that [`advance_clock`](Self::advance_clock) moves on.
    #[cfg(feature = "conformance")]
    pub fn open_with_skewed_clock(url: &str) -> Result<Arc<Self>> {
        Self::prepare(&Access::new(url), Clock::Skewed)
    }

    fn prepare(access: &Access, clock: Clock) -> Result<Arc<Self>> {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::trace!("a TLS provider has been installed before");
        }
        let client = redis::Client::open(access.url.as_str()).map_err(|error| {
            BrokerError::Unfit(format!(
                "broker.url is not a Redis URL: {error}; one looks like redis://user:password@host:6379/0, \
                 rediss://host:6379 (TLS) or redis+unix:///run/redis.sock"
            ))
        })?;
        let info = client.get_connection_info();
        let mut settings = info.redis_settings().clone().set_protocol(redis::ProtocolVersion::RESP3);
        if let Some(username) = &access.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &access.password {
            settings = settings.set_password(password);
        }
        let address = info.addr().to_string();
        let info = info.clone().set_redis_settings(settings).set_tcp_settings(tcp_settings());
        let speaks_tls = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
        let client = match tls::authorities(access, speaks_tls)? {
            Some(pem) => {
                let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(pem) };
                redis::Client::build_with_tls(info, certificates)
            }
            None => redis::Client::open(info),
        };
        let client = client.map_err(|error| classify("open", &error))?;
        let link = Link::new(client.clone(), clock)?;
        Ok(Arc::new(Self {
            address,
            coalescer: Coalescer::new(link.clone()),
            link,
            subscriber: Subscriber::new(client.clone()),
            waiters: Waiters::new(client),
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

/// Small commands leave at once, and a server that went away without a word (its machine died, the network drops its
/// packets) is given up soon: the client keeps a connection on which answers are merely late.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED);
    settings
}
