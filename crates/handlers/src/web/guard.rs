//! What a payload may have us connect to.
//!
//! A URL is judged twice: by its own words before anything is sent, and by the addresses that its host's name has when the
//! connection is made. The connection goes to the addresses that were judged, so that a name cannot mean another host a
//! moment later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::WebError;
use super::address::{canonical, is_public};

/// Longest URL, in bytes: what servers take.
const URL_MAX: usize = 8 * 1024;
/// The setting of what may be asked.
const ALLOW: &str = "http_request.allow";
/// The setting of which private addresses may be connected to.
const ALLOW_PRIVATE: &str = "http_request.allow_private";

/// Which URLs and which addresses are admitted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    /// What may be asked; everything where it is empty.
    allow: Vec<Target>,
    /// Hosts whose addresses may be private.
    hosts: Vec<Name>,
    /// Private addresses that are admitted whatever the host is called.
    networks: Vec<IpNet>,
}

/// Something that may not be connected to, and why, as a sentence without its subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

/// An entry of `http_request.allow`.
#[derive(Debug, Clone)]
enum Target {
    /// A host, perhaps on one port alone.
    Host(Name, Option<u16>),
    /// Everything whose URL begins so.
    Prefix(Url),
}

/// The name of a host, or of all below it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Is(String),
    Below(String),
}

impl Guard {
    /// The guard that these settings ask for.
    pub(crate) fn new(allow: &[String], allow_private: &[String]) -> Result<Self, WebError> {
        let mut guard = Self::default();
        for entry in allow {
            guard.allow.push(target(entry).map_err(|reason| WebError::entry(ALLOW, entry, reason))?);
        }
        for entry in allow_private {
            match network(entry) {
                Some(network) => guard.networks.push(network),
                None => {
                    guard.hosts.push(name(entry).map_err(|reason| WebError::entry(ALLOW_PRIVATE, entry, reason))?);
                }
            }
        }
        Ok(guard)
    }

    /// Whether it is said what may be asked, rather than everything being admitted that is public.
    pub(crate) fn is_explicit(&self) -> bool {
        !self.allow.is_empty()
    }

    /// The URL of this text, if it may be asked. What its host's name means is judged when the connection is made.
    pub(crate) fn admit(&self, text: &str) -> Result<Url, Refused> {
        if text.len() > URL_MAX {
            return Err(Refused(format!("has {} bytes; at most {URL_MAX} are taken", text.len())));
        }
        let url = Url::parse(text).map_err(|error| Refused(format!("is not a URL: {error}")))?;
        self.check(&url)?;
        Ok(url)
    }

    /// Whether this URL may be asked.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refused(format!("must begin with http:// or https://, not {}:", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused("holds a user or a password; use a header whose value is a secret".to_owned()));
        }
        let host = shown(url);
        if self.is_explicit() && !self.allow.iter().any(|target| target.covers(url)) {
            return Err(Refused(format!("{host} is not among what {ALLOW} admits")));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            // By whatever it may be resolved to here.
            Some(Host::Domain(_)) if is_localhost(&host) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => return Ok(()),
        };
        if self.may_reach(&host, literal) { Ok(()) } else { Err(private(&host, literal)) }
    }

    /// Those of the addresses of `host` that may be connected to. The error names one that may not.
    pub(crate) fn admitted(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let first = found.first().copied();
        let admitted: Vec<SocketAddr> =
            found.into_iter().filter(|address| self.may_reach(host, address.ip())).collect();
        match first {
            Some(first) if admitted.is_empty() => Err(private(host, first.ip())),
            _ => Ok(admitted),
        }
    }

    fn may_reach(&self, host: &str, address: IpAddr) -> bool {
        let address = canonical(address);
        is_public(address)
            || self.networks.iter().any(|network| network.contains(&address))
            || self.hosts.iter().any(|name| name.covers(host))
    }
}

impl Target {
    fn covers(&self, url: &Url) -> bool {
        match self {
            Self::Host(name, port) => {
                name.covers(&shown(url)) && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
            Self::Prefix(prefix) => {
                let path = prefix.path();
                let under = url.path().strip_prefix(path);
                let plain = path == "/" || under.is_some_and(stays);
                plain
                    && prefix.scheme() == url.scheme()
                    && shown(prefix) == shown(url)
                    && prefix.port_or_known_default() == url.port_or_known_default()
                    && under.is_some_and(|rest| rest.is_empty() || path.ends_with('/') || rest.starts_with('/'))
            }
        }
    }
}

impl Name {
    fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::Is(name) => host.eq_ignore_ascii_case(name),
            Self::Below(name) => {
                let above = host.len().checked_sub(name.len()).and_then(|at| host.split_at_checked(at));
                above.is_some_and(|(below, end)| {
                    end.eq_ignore_ascii_case(name) && below.len() > 1 && below.ends_with('.')
                })
            }
        }
    }
}

/// Whether each part of this path is a plain name for every server: one that decodes it twice, that takes a backslash for a
/// slash or drops what follows a semicolon, would else climb out of where it began.
fn stays(path: &str) -> bool {
    path.split('/').all(|part| {
        let name: Vec<u8> = percent_decode_str(part).collect();
        let bare = name.split(|&byte| byte == b';').next().unwrap_or_default();
        !matches!(bare, b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b'%' | 0))
    })
}

/// The host of a URL without the dot that a name may end with.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    host.strip_suffix('.').unwrap_or(host).to_owned()
}

/// RFC 6761: whatever a resolver says of it, it is this machine.
fn is_localhost(host: &str) -> bool {
    Name::Is("localhost".to_owned()).covers(host) || Name::Below("localhost".to_owned()).covers(host)
}

fn private(host: &str, address: IpAddr) -> Refused {
    let address = canonical(address);
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let what = if literal { host.to_owned() } else { format!("{host} has the address {address}, which") };
    Refused(format!("{what} is not a public address; {ALLOW_PRIVATE} can admit it"))
}

fn target(entry: &str) -> Result<Target, String> {
    if entry.contains("://") {
        let url = Url::parse(entry).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("a URL begins with http:// or https://".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(
                "a URL has a host, perhaps a port and the beginning of a path, and nothing else here".to_owned()
            );
        }
        return Ok(Target::Prefix(url));
    }
    let port = entry.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match port {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
            Ok(Target::Host(name(host)?, Some(port)))
        }
        None => Ok(Target::Host(name(entry)?, None)),
    }
}

fn name(entry: &str) -> Result<Name, String> {
    let (host, below) = entry.strip_prefix("*.").map_or((entry, false), |rest| (rest, true));
    let parsed = Host::parse(host.strip_suffix('.').unwrap_or(host)).map_err(|error| error.to_string())?;
    match (parsed, below) {
        (Host::Domain(name), true) => Ok(Name::Below(name)),
        (_, true) => Err("only a name has names below it".to_owned()),
        (host, false) => Ok(Name::Is(host.to_string())),
    }
}

fn network(entry: &str) -> Option<IpNet> {
    let bare = entry.trim_matches(['[', ']']);
    bare.parse::<IpNet>().ok().or_else(|| bare.parse::<IpAddr>().ok().map(|address| canonical(address).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], private: &[&str]) -> Guard {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Guard::new(&texts(allow), &texts(private)).unwrap()
    }

    fn refusal(guard: &Guard, url: &str) -> String {
        guard.admit(url).expect_err(url).0
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let urls = [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://017700000001/",
            "http://0177.0.0.01/",
            "http://0/",
            "http://0.0.0.0:80/",
            "http://10.1.2.3./",
            "http://169.254.169.254/latest/meta-data/",
            "http://2852039166/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00:ec2::254]/",
            "http://[fe80::1]/",
            "http://１２７.０.０.１/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http:\\\\127.0.0.1\\",
            "http:/127.0.0.1",
            "http:127.0.0.1",
            "  http://127.0.0.1",
            "http://\t127.0.0.1",
            "https://100.64.0.1",
            "http://224.0.0.1",
            "http://255.255.255.255",
            "HTTP://127.0.0.1:8080/",
        ];
        for url in urls {
            let said = refusal(&guard(&[], &[]), url);
            assert!(
                said.ends_with("is not a public address; http_request.allow_private can admit it"),
                "{url}: {said}"
            );
        }
    }

    #[test]
    fn only_http_is_spoken_and_no_user_hides_the_host() {
        let open = guard(&[], &[]);
        for url in ["file:///etc/passwd", "ftp://example.org", "gopher://example.org:25/_x", "data:,x", "unix:/run/x"] {
            assert!(refusal(&open, url).starts_with("must begin with http:// or https://"), "{url}");
        }
        for url in ["http://example.org@127.0.0.1/", "http://a:b@example.org/", "http://example.org%2f@127.0.0.1/"] {
            assert!(refusal(&open, url).starts_with("holds a user or a password"), "{url}");
        }
        for url in
            ["", "example.org", "//example.org", "http://", "http://exa mple.org", "http://[::1", "http://a:99999"]
        {
            assert!(refusal(&open, url).starts_with("is not a URL"), "{url}");
        }
        assert!(refusal(&open, &format!("http://a/{}", "x".repeat(URL_MAX))).starts_with("has 8"));
        assert!(open.admit("http://example.org:8080/a?b#c").is_ok());
    }

    #[test]
    fn a_name_is_judged_by_its_addresses_when_the_connection_is_made() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
        };
        let open = guard(&[], &[]);
        assert_eq!(open.admitted("a.org", at(&["8.8.8.8"])), Ok(at(&["8.8.8.8"])));
        // A name that means a public address at one time and a private one at the next, or both at once.
        assert_eq!(open.admitted("a.org", at(&["127.0.0.1", "8.8.8.8"])), Ok(at(&["8.8.8.8"])));
        let said = open.admitted("a.org", at(&["10.0.0.7", "::1"])).unwrap_err().0;
        assert_eq!(
            said,
            "a.org has the address 10.0.0.7, which is not a public address; http_request.allow_private can admit it"
        );
        assert!(open.admitted("a.org", at(&["::ffff:10.0.0.7"])).is_err());
        assert_eq!(open.admitted("a.org", Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn private_addresses_are_admitted_by_network_and_by_host() {
        let guard = guard(&[], &["10.1.0.0/16", "127.0.0.1", "[fd00::7]", "*.svc.cluster.local", "mill"]);
        for url in ["http://10.1.9.9", "http://127.0.0.1:1", "http://[::ffff:10.1.0.1]", "http://[fd00::7]/"] {
            assert!(guard.admit(url).is_ok(), "{url}");
        }
        for url in ["http://10.2.0.1", "http://127.0.0.2", "http://[fd00::8]"] {
            assert!(guard.admit(url).is_err(), "{url}");
        }
        let inner = vec![SocketAddr::new("10.9.9.9".parse().unwrap(), 0)];
        for host in ["hook.shop.svc.cluster.local", "hook.shop.svc.cluster.local.", "MILL"] {
            assert!(guard.admitted(host, inner.clone()).is_ok(), "{host}");
        }
        for host in ["svc.cluster.local", "evilsvc.cluster.local", "mill.org", ".svc.cluster.local"] {
            assert!(guard.admitted(host, inner.clone()).is_err(), "{host}");
        }
    }

    #[test]
    fn the_list_of_what_may_be_asked_admits_nothing_else() {
        let guard =
            guard(&["example.org", "*.example.com", "api.example.net:8443", "https://hooks.example.org/in"], &[]);
        let admitted = [
            "http://example.org",
            "https://EXAMPLE.org:444/x",
            "https://example.org./",
            "http://a.b.example.com/",
            "https://api.example.net:8443/",
            "https://hooks.example.org/in",
            "https://hooks.example.org/in/a?b",
            "https://hooks.example.org/in/a%20b/..c/d;e=..?f=../%2f",
            "https://example.org/100%25/..%2f",
        ];
        for url in admitted {
            assert!(guard.admit(url).is_ok(), "{url}");
        }
        let refused = [
            "http://www.example.org",
            "http://example.com",
            "http://badexample.com",
            "https://api.example.net/",
            "http://hooks.example.org/in",
            "https://hooks.example.org/inside",
            "https://hooks.example.org/in/../x",
            "https://hooks.example.org/in/%2e%2e/x",
            "https://hooks.example.org/in/..%2fadmin",
            "https://hooks.example.org/in/..%5cadmin",
            "https://hooks.example.org/in/..;/admin",
            "https://hooks.example.org/in/%2e%2e;a/admin",
            "https://hooks.example.org/in/..%3b/admin",
            "https://hooks.example.org/in/.%2e%2fadmin",
            "https://hooks.example.org/in/%252e%252e/admin",
            "https://hooks.example.org/in/..%00/admin",
            "https://hooks.example.org/in%2f..%2fadmin",
            "https://hooks.example.org:444/in",
            "http://example.org.evil.net/",
            "http://evil.net/example.org",
            "http://evil.net#example.org",
            "http://evil.net\\@example.org/",
            "http://8.8.8.8/",
        ];
        for url in refused {
            let said = refusal(&guard, url);
            assert!(said.contains("is not among what http_request.allow admits"), "{url}: {said}");
        }
    }

    #[test]
    fn an_entry_that_is_none_is_refused_and_named() {
        let texts = |text: &str| vec![text.to_owned()];
        for entry in ["", "*.", "*.10.0.0.1", "a b", "ftp://a", "http://a:b@c", "http://a?b", "example.org:http"] {
            let said = Guard::new(&texts(entry), &[]).unwrap_err().to_string();
            assert!(said.starts_with(&format!("http_request.allow: {entry:?} ")), "{said}");
        }
        let said = Guard::new(&[], &texts("10.0.0.0/33")).unwrap_err().to_string();
        assert!(said.starts_with("http_request.allow_private: \"10.0.0.0/33\" "), "{said}");
    }
}
