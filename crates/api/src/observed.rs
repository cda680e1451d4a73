//! What every request leaves behind: a count, its duration, and where its trace is recorded, a span.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use tidemill_telemetry::traceparent::{Traceparent, sampled_id};
use tidemill_telemetry::traces;
use tokio::time::Instant;
use tracing::Instrument;

use crate::state::App;

/// The route under which requests are counted that match none: paths are anyone's invention.
const NO_ROUTE: &str = "other";
/// Routes without spans: probes, scrapes, and connections that last for hours.
const UNTRACED: [&str; 5] = [NO_ROUTE, "/livez", "/readyz", "/metrics", "/ws"];

/// Counts every request by the pattern of its route, and traces those of the API. A caller's trace goes on here where it is
/// recorded; of requests without one, those that change something may begin a trace.
pub(crate) async fn observe(app: &App, request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let begun = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref().unwrap_or(NO_ROUTE);
    let caller = traceparent(request.headers());
    let changes = !matches!(method, "GET" | "HEAD" | "other");
    let span = if UNTRACED.contains(&route) {
        tracing::Span::none()
    } else {
        traces::request(method, route, request.uri().path(), caller.as_deref(), changes)
    };
    let response = next(request).instrument(span.clone()).await;
    let status = response.status();
    let own = traces::traceparent_of(&span);
    app.metrics.request(method, route, status.as_u16(), begun.elapsed(), sampled_id(own.as_deref()));
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", status.as_str());
    }
    response
}

/// The trace that the caller belongs to, where it says so in the form of W3C.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    Traceparent::parse(text).map(|found| found.as_str().to_owned())
}
