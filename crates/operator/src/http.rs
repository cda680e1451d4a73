//! `/livez`, `/readyz` and `/metrics` of the operator: a server of its own, without tokens, for the kubelet and for scrapers. The
//! log level is changed from the pod itself alone, as `kubectl port-forward` comes, so that the cluster's rules guard it.

mod health;
mod listener;
mod log;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tidemill_core::{QueueName, QueueStats};
use tidemill_telemetry::LogLevel;
use tidemill_telemetry::metrics::{Metrics, TextFormat};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::health::{livez, readyz};
use self::listener::{BoundedListener, Peer};

pub use self::health::{Health, Phase};

/// How long a scrape waits for the figures of all queues: less than the ten seconds after which Prometheus gives up.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests under way may take once the server stops: as long as a scrape does.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the figures of all queues, for one scrape.
pub type QueueFigures = Arc<dyn Fn() -> BoxFuture<'static, Vec<(QueueName, QueueStats)>> + Send + Sync>;

/// What the server shows.
#[derive(Clone)]
pub struct OperatorState {
    /// How the operator is.
    pub health: Arc<Health>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// The figures of whole queues. Asked for only while [`Phase::Leading`], so that no sum counts them twice.
    pub queues: QueueFigures,
    /// What this process logs, where that may be changed.
    pub log_level: Option<LogLevel>,
}

/// A server that cannot start. One sentence each.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("port {port} of {host} is taken by another program; stop it or choose another port")]
    PortTaken {
        /// The address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {host} port {port}: {source}")]
    Address {
        /// The address.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
}

/// A server that did not end in good order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It ended although nobody asked for it.
    #[error("the operator's HTTP server failed: {0}")]
    Failed(#[from] std::io::Error),
}

/// The operator's server: bound, not yet serving.
pub struct OperatorServer {
    listener: TcpListener,
    state: OperatorState,
}

impl OperatorServer {
    /// Takes the port; 0 picks a free one.
    pub async fn bind(host: &str, port: u16, state: OperatorState) -> Result<Self, BindError> {
        let listener = TcpListener::bind((host, port)).await.map_err(|source| match source.kind() {
            std::io::ErrorKind::AddrInUse => BindError::PortTaken { host: host.to_owned(), port },
            _ => BindError::Address { host: host.to_owned(), port, source },
        })?;
        Ok(Self { listener, state })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until `stop`; requests under way then have five seconds more. To be seen as not ready before, the operator
    /// enters [`Phase::Stopping`] first and stops the server last.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { listener, state } = self;
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/api/v1/process/log", get(log::level).put(log::change))
            .with_state(state);
        let router = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(BoundedListener::new(listener), router);
        let serving = serving.with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
        let cut_off = async {
            stop.cancelled().await;
            sleep(SHUTDOWN_TIMEOUT).await;
        };
        tokio::select! {
            ended = serving => Ok(ended?),
            () = cut_off => {
                tracing::warn!("requests under way were cut off at shutdown");
                Ok(())
            }
        }
    }
}

async fn metrics(State(state): State<OperatorState>, headers: HeaderMap) -> Response {
    let queues = if state.health.phase() == Phase::Leading { figures(&state).await } else { Vec::new() };
    let format = accepted(&headers);
    match state.metrics.render(format, &queues) {
        Ok(text) => ([(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

async fn figures(state: &OperatorState) -> Vec<(QueueName, QueueStats)> {
    timeout(FIGURES_TIMEOUT, (state.queues)()).await.unwrap_or_else(|_| {
        tracing::debug!("a scrape goes without queues: their figures took too long");
        Vec::new()
    })
}

/// The text form that `Accept` names; the plain one where it names none.
fn accepted(headers: &HeaderMap) -> TextFormat {
    let names_open_metrics = headers.get_all(header::ACCEPT).iter().any(|value| {
        let mut ranges = value.to_str().unwrap_or_default().split(',');
        ranges.any(|range| range.split(';').next().unwrap_or_default().trim() == "application/openmetrics-text")
    });
    if names_open_metrics { TextFormat::OpenMetrics } else { TextFormat::Plain }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server on a free port, and how it ends.
    struct Served {
        state: OperatorState,
        addr: SocketAddr,
        stop: CancellationToken,
        ended: JoinHandle<Result<(), ServeError>>,
    }

    async fn serve(queues: QueueFigures) -> Served {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let state = OperatorState { health: Arc::new(Health::new()), metrics, queues, log_level: None };
        let server = OperatorServer::bind("127.0.0.1", 0, state.clone()).await.unwrap();
        let (addr, stop) = (server.local_addr().unwrap(), CancellationToken::new());
        let ended = tokio::spawn(server.run(stop.clone()));
        Served { state, addr, stop, ended }
    }

    fn one_queue() -> QueueFigures {
        Arc::new(|| {
            let stats = QueueStats { pending: 3, ..QueueStats::default() };
            async move { vec![(QueueName::default_queue(), stats)] }.boxed()
        })
    }

    /// The status and everything that was answered to a request of its own connection.
    async fn get(addr: SocketAddr, path: &str, accept: &str) -> (u16, String) {
        let exchange = async {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = timeout(Duration::from_secs(20), exchange).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    #[tokio::test]
    async fn ready_means_that_the_api_server_has_answered_and_that_the_operator_leads_or_waits_to() {
        let Served { state, addr, .. } = serve(one_queue()).await;
        let health = &state.health;
        let ready = async || get(addr, "/readyz", "*/*").await;
        health.enter(Phase::Standby);
        let (status, body) = ready().await;
        assert!(
            status == 503 && body.ends_with(r#"{"status":"starting","detail":"the API server has not answered yet"}"#)
        );
        health.answered();
        for (phase, expected, word) in [
            (Phase::Standby, 200, "standby"),
            (Phase::Syncing, 503, "syncing"),
            (Phase::Leading, 200, "ok"),
            (Phase::Stopping, 503, "stopping"),
            (Phase::Leading, 503, "stopping"),
        ] {
            health.enter(phase);
            let (status, body) = ready().await;
            assert_eq!(status, expected, "{phase:?}: {body}");
            assert!(body.contains(&format!(r#"{{"status":"{word}""#)), "{body}");
        }
    }

    #[tokio::test]
    async fn it_lives_whether_ready_or_not() {
        let Served { addr, .. } = serve(one_queue()).await;
        let (status, answer) = get(addr, "/livez", "*/*").await;
        assert!(status == 200 && answer.ends_with(r#"{"status":"ok"}"#), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
        assert_eq!(get(addr, "/elsewhere", "*/*").await.0, 404);
    }

    #[tokio::test]
    async fn metrics_come_in_the_form_that_is_asked_for_and_queues_from_the_leader_alone() {
        let Served { state, addr, .. } = serve(one_queue()).await;
        let (status, text) = get(addr, "/metrics", "text/plain").await;
        assert!(status == 200 && text.contains("text/plain; version=0.0.4"), "{text}");
        assert!(text.contains("tidemill_build_info") && !text.contains("tidemill_queue_"), "{text}");
        state.health.enter(Phase::Leading);
        let open = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
        let (_, text) = get(addr, "/metrics", open).await;
        assert!(text.contains("application/openmetrics-text; version=1.0.0") && text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains(r#"tidemill_queue_tasks{queue="default",state="pending"} 3"#), "{text}");
    }

    #[tokio::test]
    async fn a_scrape_goes_without_queues_when_their_figures_take_too_long() {
        let Served { state, addr, .. } = serve(Arc::new(|| std::future::pending().boxed())).await;
        state.health.enter(Phase::Leading);
        let (status, text) = get(addr, "/metrics", "*/*").await;
        assert!(status == 200 && text.contains("tidemill_build_info") && !text.contains("tidemill_queue_"), "{text}");
    }

    #[tokio::test]
    async fn a_taken_port_is_said_in_words() {
        let Served { state, addr, .. } = serve(one_queue()).await;
        let refused = OperatorServer::bind("127.0.0.1", addr.port(), state).await.err().unwrap();
        assert!(matches!(refused, BindError::PortTaken { .. }), "{refused}");
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections_and_ends() {
        let Served { addr, stop, ended, .. } = serve(one_queue()).await;
        let mut idle = TcpStream::connect(addr).await.unwrap();
        idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert!(idle.read(&mut [0; 1_024]).await.unwrap() > 0);
        stop.cancel();
        timeout(Duration::from_secs(4), ended).await.unwrap().unwrap().unwrap();
        let mut rest = Vec::new();
        timeout(Duration::from_secs(4), idle.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty());
    }
}
