//! Which route leads where, and what every request passes on its way.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt as _;
use tidemill_core::Problem;
use tidemill_core::problem::PROBLEM_JSON;
use tower_http::compression::CompressionLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::{Answer, problem_response};
use crate::state::App;
use crate::{auth, health, metrics, observed, openapi, origin, rest, ui, v1, ws};

/// All routes that the OpenAPI document describes, whatever the form.
pub(crate) fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi()).merge(guarded()).merge(events()).merge(open())
}

/// The whole application in the form of its options.
pub(crate) fn application(app: &App) -> Router {
    let form = app.options.form;
    let mut guarded = guarded();
    if form.has_ws() {
        guarded = guarded.merge(events());
    }
    let guarded: Router<App> = Router::from(guarded).route_layer(from_fn_with_state(app.clone(), auth::guard));
    let mut router = guarded.merge(Router::from(open()));
    if form.has_page() {
        let page = Router::new().route("/", get(ui::index)).fallback(static_or_nothing).layer(CompressionLayer::new());
        router = router.merge(page);
    } else {
        router = router.fallback(nothing);
    }
    dressed(router, app)
}

/// Metrics as text, and health. A port of their own is there to be opened to scrapers alone, which have no tokens.
pub(crate) fn metrics_alone(app: &App) -> Router {
    let router = Router::new().route("/metrics", get(metrics::metrics_text));
    dressed(router.merge(Router::from(open())).fallback(nothing), app)
}

/// Metrics in both forms, the log level, and health: what a worker shows.
pub(crate) fn health_alone(app: &App) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics::metrics))
        .merge(Router::from(v1::process()))
        .route_layer(from_fn_with_state(app.clone(), auth::guard));
    dressed(guarded.merge(Router::from(open())).fallback(nothing), app)
}

fn guarded() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(rest::schedule))
        .routes(routes!(rest::tasks))
        .routes(routes!(rest::enqueue))
        .routes(routes!(metrics::metrics))
        .merge(v1::router())
        .routes(routes!(openapi::openapi))
}

fn events() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(ws::ws))
}

fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(health::livez)).routes(routes!(health::readyz))
}

fn dressed(router: Router<App>, app: &App) -> Router {
    router.layer(from_fn_with_state(app.clone(), passage)).with_state(app.clone())
}

/// What every request passes on its way. One layer and not three: each would box what it passes on, and copy all below it.
async fn passage(State(app): State<App>, request: Request, next: Next) -> Response {
    observed::observe(&app, request, async |request| {
        let answered = AssertUnwindSafe(origin::guard(&app, request, next)).catch_unwind();
        answered.await.unwrap_or_else(|panic| panicked(&*panic))
    })
    .await
}

async fn static_or_nothing(State(app): State<App>, request: Request) -> Answer<Response> {
    let below = request.uri().path().strip_prefix(&app.options.static_endpoint).and_then(|rest| rest.strip_prefix('/'));
    match below.map(str::to_owned) {
        Some(path) => ui::serve_static(&app, &path, request).await,
        None => nothing(request).await,
    }
}

async fn nothing(request: Request) -> Answer<Response> {
    let detail = format!("there is nothing at {}; GET /api/v1/openapi.json lists what there is", request.uri().path());
    Err(Problem::new(404, "not-found", "There is nothing here", detail).into())
}

/// What the framework refuses by itself becomes a problem as well, its headers kept (`Allow`, with 405). It adds those outside of
/// all layers of a router: so this is for what comes out of the whole router.
pub(crate) fn as_problem(response: Response) -> Response {
    let status = response.status();
    let said = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error())
        || said.starts_with(PROBLEM_JSON)
        || said.starts_with("application/json")
    {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).cloned();
    let problem = if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = allowed.as_ref().and_then(|methods| methods.to_str().ok()).unwrap_or_default();
        Problem::new(405, "method-not-allowed", "Not this method", format!("this path takes {methods}"))
    } else {
        let title = status.canonical_reason().unwrap_or("Refused");
        Problem::new(status.as_u16(), "refused", title, "the request cannot be served as it is")
    };
    let mut answer = problem_response(&problem);
    if let Some(allowed) = allowed {
        answer.headers_mut().insert(header::ALLOW, allowed);
    }
    answer
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = said.unwrap_or("(not text)"), "a request panicked");
    let detail = "the server failed inside while answering this; its log has more";
    problem_response(&Problem::new(500, "internal", "The server failed inside", detail)).into_response()
}
