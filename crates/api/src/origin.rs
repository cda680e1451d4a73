//! Which pages may use the API: a browser sends any page's requests, with the user's reach into the network.
//!
//! What a page of another origin can do without being asked is POST and open a WebSocket, so those are checked; what a
//! page can make of its own name by rebinding it to this machine is caught by the host where only this machine listens.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidemill_core::Problem;

use crate::error::Refusal;
use crate::state::App;

/// What an allowed page may do from its own origin, in words of CORS.
const ALLOWED_METHODS: &str = "GET, POST, PUT, DELETE";
const ALLOWED_HEADERS: &str = "authorization, content-type";
/// How long a browser may remember that, in seconds.
const ALLOWED_FOR: &str = "600";

/// Refuses what a foreign page sends.
pub(crate) async fn guard(app: &App, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let allowed = &app.options.allowed_origins;
    if app.loopback && !is_local(headers, allowed) {
        return foreign("the Host header names another machine, but this server serves its own machine alone");
    }
    let Some(origin) = headers.get(header::ORIGIN).cloned() else { return next.run(request).await };
    let listed = origin.to_str().is_ok_and(|origin| is_listed(origin, allowed));
    if listed && request.method() == Method::OPTIONS {
        return allow(Response::default(), origin);
    }
    let acts = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        || headers.contains_key(header::UPGRADE);
    if acts && !listed && !is_same(&origin, headers) {
        return foreign("a page of another origin sent this; list its origin in allowed_origins if it may");
    }
    let response = next.run(request).await;
    if listed { allow(response, origin) } else { response }
}

fn foreign(detail: &str) -> Response {
    Refusal::from(Problem::new(403, "foreign-origin", "Not from this origin", detail)).into_response()
}

fn allow(mut response: Response, origin: HeaderValue) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(ALLOWED_FOR));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

fn is_listed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|one| one == "*" || one.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

/// Whether `origin` is where the request went to. The scheme is left out: a proxy may have ended TLS before us.
fn is_same(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let Some((scheme, origin)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let Some(host) = host(headers) else { return false };
    let usual = if scheme == "https" { 443 } else { 80 };
    authority(origin, usual) == authority(host, usual)
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

fn authority(text: &str, usual_port: u16) -> (String, u16) {
    let name_end = if text.starts_with('[') { text.find(']').map_or(text.len(), |at| at + 1) } else { 0 };
    match text[name_end..].rsplit_once(':') {
        Some((rest, port)) => {
            (format!("{}{rest}", &text[..name_end]).to_ascii_lowercase(), port.parse().unwrap_or(usual_port))
        }
        None => (text.to_ascii_lowercase(), usual_port),
    }
}

fn is_local(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(host) = host(headers) else { return true };
    let (name, _) = authority(host, 80);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost"
        || bare.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        || allowed
            .iter()
            .any(|one| one == "*" || one.split_once("://").is_some_and(|(_, origin)| authority(origin, 80).0 == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(origin: &str, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        is_same(&origin.parse().unwrap(), &headers)
    }

    #[test]
    fn an_origin_is_ours_when_host_and_port_are_those_of_the_request() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("https://Q.example.com", "q.example.com"),
            ("https://q.example.com", "q.example.com:443"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(same(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "localhost:8080"),
            ("http://localhost:3000", "localhost:8080"),
            ("null", "localhost:8080"),
            ("https://q.example.com", "q.example.com:80"),
            ("http://localhost.evil.example:8080", "localhost:8080"),
        ] {
            assert!(!same(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn a_name_rebound_to_this_machine_is_not_local() {
        let local = |host: &str| is_local(&HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]), &[]);
        for good in ["localhost", "127.0.0.1:8080", "[::1]:8080", "app.localhost:1"] {
            assert!(local(good), "{good}");
        }
        for bad in ["evil.example:8080", "10.0.0.1", "127.0.0.1.evil.example"] {
            assert!(!local(bad), "{bad}");
        }
    }
}
