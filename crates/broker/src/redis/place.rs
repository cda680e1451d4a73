//! What `broker.url` says: one server, the Sentinels that know where it is, or a Cluster.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use crate::connect::Access;
use crate::error::{BrokerError, Result};

/// Where Sentinels listen unless the URL says otherwise.
const SENTINEL_PORT: u16 = 26379;
/// Most hosts that one URL may name: far more than any installation has Sentinels.
const HOSTS_MAX: usize = 64;

/// A place where tasks are kept, as the URL describes it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What the servers are reached with: user, password, database, TLS. The address is that of the first host.
    pub info: ConnectionInfo,
    /// How the server that keeps a queue is found.
    pub form: Form,
}

/// How the server that keeps a queue is found.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// It is the one.
    Single,
    /// Sentinels name it.
    Sentinel {
        /// How each is reached.
        sentinels: Vec<ConnectionInfo>,
        /// What they call the primary and its replicas.
        name: String,
    },
    /// It has the queue's slot.
    Cluster {
        /// Nodes to begin with: host and port.
        seeds: Vec<(String, u16)>,
    },
}

/// Whether URLs of this scheme are for this store.
pub(crate) fn speaks(scheme: &str) -> bool {
    matches!(scheme, "redis+unix" | "valkey+unix" | "unix")
        || matches!(
            scheme.split_once('+').unwrap_or((scheme, "")),
            ("redis" | "rediss" | "valkey" | "valkeys", "" | "sentinel" | "cluster")
        )
}

impl Place {
    /// Reads the URL of `access`.
    pub(super) fn of(access: &Access) -> Result<Self> {
        let (scheme, rest) = access.url.split_once("://").unwrap_or((&access.url, ""));
        let malformed = |what: &str, example: &str| {
            BrokerError::Unfit(format!(
                "broker.url {:?} cannot be used: {what}; one that can looks like {example}",
                access.shown_url()
            ))
        };
        match scheme.split_once('+') {
            Some((base, "sentinel")) => {
                let example = format!("{base}+sentinel://user:password@host1:26379,host2:26379/mymaster/0");
                Self::sentinel(base, rest).map_err(|what| malformed(&what, &example))
            }
            Some((base, "cluster")) => {
                let example = format!("{base}+cluster://user:password@host1:6379,host2:6379");
                Self::cluster(base, rest).map_err(|what| malformed(&what, &example))
            }
            _ => {
                let several = rest.split(['/', '?']).next().unwrap_or_default().contains(',');
                if several && !scheme.contains("unix") {
                    return Err(malformed(
                        "it names several hosts, but not whether they are Sentinels or a Cluster",
                        "redis+sentinel://host1:26379,host2:26379/mymaster or redis+cluster://host1:6379,host2:6379",
                    ));
                }
                let info = access.url.as_str().into_connection_info().map_err(|error| {
                    malformed(
                        &error.to_string(),
                        "redis://user:password@host:6379/0, rediss://host:6379 (TLS) or redis+unix:///run/redis.sock",
                    )
                })?;
                Ok(Self { info, form: Form::Single })
            }
        }
    }

    fn sentinel(base: &str, rest: &str) -> std::result::Result<Self, String> {
        let parts = Parts::of(rest)?;
        let mut path = parts.path.splitn(2, '/');
        let name = path.next().unwrap_or_default();
        if name.is_empty() {
            return Err(
                "it does not say what the Sentinels call the primary (the first word after the hosts)".to_owned()
            );
        }
        let database = path.next().unwrap_or_default();
        let info = info(base, parts.user, parts.hosts[0], database)?;
        let mut user = [String::new(), String::new()];
        for (key, value) in parts.query {
            match key {
                "sentinel_username" => value.clone_into(&mut user[0]),
                "sentinel_password" => value.clone_into(&mut user[1]),
                other => return Err(unknown(other, "sentinel_username and sentinel_password")),
            }
        }
        let user = match user {
            [name, password] if name.is_empty() && password.is_empty() => None,
            [name, password] => Some(format!("{name}:{password}")),
        };
        let sentinels = parts
            .hosts
            .iter()
            .map(|host| {
                let with_port = if has_port(host) { (*host).to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
                self::info(base, user.as_deref(), &with_port, "")
            })
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self { info, form: Form::Sentinel { sentinels, name: name.to_owned() } })
    }

    fn cluster(base: &str, rest: &str) -> std::result::Result<Self, String> {
        let parts = Parts::of(rest)?;
        if !matches!(parts.path.trim_matches('/'), "" | "0") {
            return Err("a Cluster has no databases, so nothing may follow the hosts".to_owned());
        }
        if let Some((key, _)) = parts.query.first() {
            return Err(unknown(key, "none"));
        }
        let mut infos = Vec::new();
        for host in &parts.hosts {
            infos.push(info(base, parts.user, host, "")?);
        }
        let seeds = infos
            .iter()
            .filter_map(|info| match info.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    Some((host.clone(), *port))
                }
                _ => None,
            })
            .collect();
        Ok(Self { info: infos.swap_remove(0), form: Form::Cluster { seeds } })
    }

    /// Whether connections are encrypted.
    pub(super) fn speaks_tls(&self) -> bool {
        matches!(self.info.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// For people: hosts, and what they are.
    pub(super) fn describe(&self) -> String {
        match &self.form {
            Form::Single => self.info.addr().to_string(),
            Form::Sentinel { sentinels, name } => {
                let hosts: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                format!("{name} of the Sentinels {}", hosts.join(", "))
            }
            Form::Cluster { seeds } => {
                let hosts: Vec<_> = seeds.iter().map(|(host, port)| format!("{host}:{port}")).collect();
                format!("the Cluster of {}", hosts.join(", "))
            }
        }
    }
}

/// What follows `://` in a URL of several hosts.
struct Parts<'a> {
    user: Option<&'a str>,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> std::result::Result<Self, String> {
        if rest.contains('#') {
            return Err("it has a # (in a password, write %23)".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.contains('@') {
            return Err("it has an @ behind the hosts (in a password, write / as %2F and @ as %40)".to_owned());
        }
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let hosts: Vec<_> = hosts.split(',').map(str::trim).collect();
        if hosts.contains(&"") {
            return Err("it names no host, or has a comma with none beside it".to_owned());
        }
        if hosts.len() > HOSTS_MAX {
            return Err(format!("it names {} hosts; {HOSTS_MAX} are the most", hosts.len()));
        }
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        Ok(Self { user, hosts, path: path.trim_end_matches('/'), query })
    }
}

fn unknown(parameter: &str, known: &str) -> String {
    format!("it has a parameter {parameter:?}, and of this form the known ones are: {known}")
}

fn has_port(host: &str) -> bool {
    // An IPv6 address is in brackets and has colons of its own.
    host.rsplit_once(']').map_or(host, |(_, after)| after).contains(':')
}

/// One host as the client takes it. What it would say of a wrong one may have a password in it, so it is not repeated.
fn info(base: &str, user: Option<&str>, host: &str, database: &str) -> std::result::Result<ConnectionInfo, String> {
    let user = user.map(|user| format!("{user}@")).unwrap_or_default();
    if !database.is_empty() && database.parse::<u32>().is_err() {
        return Err("its database is not a number".to_owned());
    }
    format!("{base}://{user}{host}/{database}").into_connection_info().map_err(|_| {
        "one of its hosts is not HOST or HOST:PORT, or its user or password is not percent-encoded".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place> {
        Place::of(&Access::new(url))
    }

    #[test]
    fn several_hosts_are_read_with_what_belongs_to_them() {
        let place =
            place("rediss+sentinel://mill:gr%40ist@one,two:5,[::1]:7/prime/3?sentinel_password=ch%26aff").unwrap();
        assert!(place.speaks_tls());
        let settings = place.info.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("mill"), Some("gr@ist"), 3));
        assert_eq!(place.describe(), "prime of the Sentinels one:26379, two:5, ::1:7");
        let Form::Sentinel { sentinels, name } = place.form else { panic!("Sentinels") };
        assert_eq!(name, "prime");
        let own = sentinels[2].redis_settings();
        assert_eq!((own.username(), own.password(), own.db()), (None, Some("ch&aff"), 0));
    }

    #[test]
    fn a_cluster_is_read_with_its_seeds() {
        let place = place("valkey+cluster://:grist@one,two:7000").unwrap();
        assert_eq!(place.info.redis_settings().password(), Some("grist"));
        let Form::Cluster { seeds } = place.form else { panic!("a Cluster") };
        assert_eq!(seeds, [("one".to_owned(), 6379), ("two".to_owned(), 7000)]);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_its_password() {
        for (url, expected) in [
            ("redis+sentinel://u:chaff@host", "what the Sentinels call the primary"),
            ("redis+sentinel://u:chaff@host/prime/x", "database is not a number"),
            ("redis+sentinel://u:chaff@host/prime?password=chaff", "sentinel_password"),
            ("redis+sentinel://u:chaff@one,,two/prime", "comma"),
            ("redis+sentinel://u:cha/chaff@host/prime", "%2F"),
            ("redis+cluster://u:chaff@host/3", "no databases"),
            ("redis+cluster://u:chaff@host:port", "HOST:PORT"),
            ("redis+cluster://u:chaff#@host", "%23"),
            ("redis+cluster://", "names no host"),
            ("redis://u:chaff@one:1,two:2", "redis+cluster://host1:6379,host2:6379"),
            ("redis://u:chaff@host:port", "redis://user:password@host:6379/0"),
        ] {
            let Err(BrokerError::Unfit(said)) = place(url) else { panic!("{url} should not be read") };
            assert!(said.contains(expected) && said.contains("looks like"), "{said}");
            assert!(!said.contains("chaff"), "{said}");
        }
    }
}
