//! Where a server is found.

/// The URL at which a browser on this machine finds a server that listens on `host`.
pub fn local_url(host: &str, port: u16) -> String {
    match host {
        "0.0.0.0" => format!("http://127.0.0.1:{port}"),
        "::" | "[::]" => format!("http://[::1]:{port}"),
        host if host.contains(':') && !host.starts_with('[') => format!("http://[{host}]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_address_is_reached_by_loopback() {
        assert_eq!(local_url("0.0.0.0", 8080), "http://127.0.0.1:8080");
        assert_eq!(local_url("::", 1), "http://[::1]:1");
        assert_eq!(local_url("fe80::1", 1), "http://[fe80::1]:1");
        assert_eq!(local_url("localhost", 1), "http://localhost:1");
    }
}
