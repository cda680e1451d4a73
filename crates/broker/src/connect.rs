//! From a URL, and what belongs to it, to a broker.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::contract::Broker;
use crate::embedded::{SqliteBroker, SqliteOptions};
use crate::error::{BrokerError, Result};
use crate::redis::RedisBroker;

/// The store that serves without anything else being installed.
pub const DEFAULT_URL: &str = "sqlite:./tidemill-data";

/// What it takes to reach a store. Two that are equal reach the same one in the same way.
///
/// Shown by `{:?}` without passwords and without what a URL has before its `@`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Access {
    /// `sqlite:DIRECTORY`, or the URL of a Redis or Valkey:
    ///
    /// - one server: `redis://[USER:PASSWORD@]HOST[:6379][/DB]`, `redis+unix://SOCKET`
    /// - the primary that Sentinels name: `redis+sentinel://[USER:PASSWORD@]HOST[:26379],HOST,…/NAME[/DB]`, with
    ///   `?sentinel_username=…&sentinel_password=…` where the Sentinels ask for a password of their own
    /// - a Cluster: `redis+cluster://[USER:PASSWORD@]HOST[:6379],HOST,…`
    ///
    /// `rediss` instead of `redis` speaks TLS; `valkey` and `valkeys` are the same. User and password are those of the
    /// servers that keep the tasks, percent-encoded.
    pub url: String,
    /// The user. Wins over the one in the URL.
    pub username: Option<String>,
    /// The password. Wins over the one in the URL.
    pub password: Option<String>,
    /// Whom to trust with TLS; `None` is the public authorities, or those of the file that `SSL_CERT_FILE` names.
    pub authorities: Option<Authorities>,
    /// What is asked of a store before it counts as having kept something.
    pub durability: Durability,
}

/// How many copies of a write there must be before it is acknowledged.
///
/// It applies to what callers are told is done: enqueue, cancel, retry, delete, purge, pause, and all that creates,
/// configures, owns or drops a queue. What workers and maintenance write (claims, settlements, leases) is not waited for: where
/// a failover loses it, the task runs again, which handlers must bear anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Durability {
    /// Replicas of Redis that must have it besides the primary. 0 waits for none. The embedded store has none.
    pub replicas: u32,
    /// How long they have for that; longer than an operation may take (1.7 s in all) is of no effect.
    pub timeout: Duration,
}

impl Durability {
    /// The time for replicas where nothing else is said: far more than a healthy one takes, and within an operation's.
    pub const TIMEOUT: Duration = Duration::from_secs(1);
}

impl Default for Durability {
    fn default() -> Self {
        Self { replicas: 0, timeout: Self::TIMEOUT }
    }
}

/// The certificate authorities that TLS trusts, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authorities {
    /// A file, read when the store is opened.
    File(PathBuf),
    /// The certificates themselves.
    Pem(Vec<u8>),
}

impl Access {
    /// Access by a URL alone.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), username: None, password: None, authorities: None, durability: Durability::default() }
    }

    /// The URL for people: without user, password and query.
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, username, password, authorities, durability } = self;
        f.debug_struct("Access")
            .field("url", &self.shown_url())
            .field("username", username)
            .field("password", &password.as_ref().map(|_| "***"))
            .field("authorities", authorities)
            .field("durability", durability)
            .finish()
    }
}

/// Opens the store at `url`; see [`connect_with`].
pub fn connect(url: &str) -> Result<Arc<dyn Broker>> {
    connect_with(&Access::new(url))
}

/// Opens a store: `sqlite:DIRECTORY`, or a Redis or Valkey as [`RedisBroker::open_with`] takes it.
///
/// A Redis is connected to with the first operation, so that one that is away now is no error here. What can never work
/// (a wrong URL, a directory that cannot be used, authorities without a certificate or for a URL without TLS) is
/// [`BrokerError::Unfit`]; what it says shows no password.
///
/// Must be called within a tokio runtime.
pub fn connect_with(access: &Access) -> Result<Arc<dyn Broker>> {
    let url = access.url.as_str();
    let scheme = url.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("sqlite") => Ok(SqliteBroker::open(SqliteOptions::new(directory(access)?))?),
        Some(scheme) if crate::redis::speaks(scheme) => Ok(RedisBroker::open_with(access)?),
        _ => Err(BrokerError::Unfit(format!(
            "broker.url {:?} names no store that Tidemill knows; it begins with sqlite:, redis:// or rediss:// (one \
             server), redis+sentinel:// or rediss+sentinel://, redis+cluster:// or rediss+cluster://, redis+unix://, or the \
             same with valkey",
            access.shown_url()
        ))),
    }
}

fn directory(access: &Access) -> Result<PathBuf> {
    let Access { url, username, password, authorities, durability } = access;
    let directory = url.trim_start_matches("sqlite:").trim_start_matches("//");
    if directory.is_empty() {
        return Err(BrokerError::Unfit(format!(
            "broker.url {url:?} names no directory; {DEFAULT_URL:?} is an example of one that does"
        )));
    }
    if username.is_some() || password.is_some() {
        return Err(BrokerError::Unfit(format!(
            "broker.url {url:?} names a directory, which asks for no broker.username and broker.password: leave them out, \
             or name the Redis that they are for"
        )));
    }
    if authorities.is_some() {
        return Err(no_tls(url));
    }
    if durability.replicas > 0 {
        return Err(BrokerError::Unfit(format!(
            "durability.replicas is {}, but broker.url {url:?} names a directory, which has no replicas (and writes all to \
             the disk before it acknowledges): leave it at 0, or name a Redis that has them",
            durability.replicas
        )));
    }
    Ok(PathBuf::from(directory))
}

/// Authorities were given for a URL that does not speak TLS.
pub(crate) fn no_tls(shown_url: &str) -> BrokerError {
    BrokerError::Unfit(format!(
        "certificate authorities were given (broker.ca_file), but broker.url {shown_url:?} does not speak TLS: begin it with \
         rediss:// (rediss+sentinel://, rediss+cluster://) or valkeys://, or leave the authorities out"
    ))
}

/// A URL without what may be secret: all before its `@`, and its query. A directory is shown as it is.
fn shown(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        _ if url.starts_with("sqlite:") => return url.to_owned(),
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // Whatever this password holds, it ends what is shown.
    let rest = rest.split("sentinel_password=").next().unwrap_or_default();
    // The URL of a socket has its password in the query.
    let (rest, hidden) = match rest.rsplit_once('@') {
        Some((_, rest)) if !scheme.contains("unix") => (rest, "…@"),
        _ => (rest, ""),
    };
    format!("{scheme}{hidden}{}", rest.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_password_and_query() {
        for (url, expected) in [
            ("redis://host:1/0", "redis://host:1/0"),
            ("rediss://u:p@ss?w/rd@host:1/0?x=y", "rediss://…@host:1/0"),
            ("redis+unix:///run/r.sock?user=u&pass=p@ss", "redis+unix:///run/r.sock"),
            ("u:pass@host", "…@host"),
            ("redis+sentinel://u:p@one:1,two/prime/0?sentinel_password=p@ss", "redis+sentinel://…@one:1,two/prime/0"),
            ("redis+sentinel://one/prime?sentinel_username=u&sentinel_password=p@ss", "redis+sentinel://one/prime"),
            ("sqlite:/data/a@b", "sqlite:/data/a@b"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn access_is_shown_without_passwords() {
        let access = Access {
            username: Some("mill".to_owned()),
            password: Some("grist".to_owned()),
            authorities: Some(Authorities::File("/ca.pem".into())),
            ..Access::new("rediss://other:chaff@host")
        };
        let text = format!("{access:?}");
        assert!(text.contains("mill") && text.contains("host") && text.contains("/ca.pem"), "{text}");
        assert!(!text.contains("grist") && !text.contains("chaff"), "{text}");
    }

    #[tokio::test]
    async fn access_that_cannot_work_is_refused_in_words_without_its_password() {
        let pem = |text: &str| Some(Authorities::Pem(text.as_bytes().to_vec()));
        let password = Some("grist".to_owned());
        let refused = [
            (Access { authorities: pem(""), ..Access::new("redis://u:chaff@host") }, "does not speak TLS"),
            (Access { authorities: pem(""), ..Access::new("sqlite:./x") }, "does not speak TLS"),
            (Access { authorities: pem("grain"), ..Access::new("rediss://u:chaff@host") }, "no certificate"),
            (
                Access { authorities: Some(Authorities::File("/nowhere".into())), ..Access::new("rediss://host") },
                "/nowhere",
            ),
            (Access { password: password.clone(), ..Access::new("sqlite:./x") }, "asks for no broker.username"),
            (
                Access { durability: Durability { replicas: 1, ..Durability::default() }, ..Access::new("sqlite:./x") },
                "durability.replicas is 1",
            ),
            (Access::new("redis+cluster://u:chaff@host/1"), "no databases"),
            (Access::new("rediss+raft://u:chaff@host"), "names no store"),
            (Access { password, ..Access::new("u:chaff@host") }, "names no store"),
        ];
        for (access, expected) in refused {
            let Err(BrokerError::Unfit(said)) = connect_with(&access) else { panic!("{access:?} should not open") };
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("grist") && !said.contains("chaff"), "{said}");
        }
    }
}
