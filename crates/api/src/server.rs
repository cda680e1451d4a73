//! Listening, serving and going away in good order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidemill_broker::Broker;
use tidemill_telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::auth::{TokenError, Tokens};
use crate::health::{self, Health};
use crate::options::{HealthOptions, Options};
use crate::state::App;
use crate::{connection, maintenance, router};

/// HTTP connections at a time, those of WebSocket clients not counted: those beyond wait in the system's backlog.
const CONNECTIONS_MAX: usize = 4_096;
/// Pause after a connection could not be accepted, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    /// The path of static files is none.
    #[error(
        "static_endpoint {0:?} is no path below the root; it is one such as /static, of letters, digits, '/', '-', '_' and '.'"
    )]
    StaticEndpoint(String),
    /// The tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenError),
}

/// A server that did not end in good order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A part of the server ended although nobody asked for it.
    #[error("a part of the HTTP server failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

/// The API: bound, not yet serving.
pub struct Server {
    app: App,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
}

impl Server {
    /// Takes the ports.
    pub async fn bind(mut options: Options, broker: Arc<dyn Broker>, metrics: Arc<Metrics>) -> Result<Self, BindError> {
        options.static_endpoint = static_endpoint(&options.static_endpoint)?;
        let tokens = Tokens::load(options.tokens_file.clone(), &options.tokens).await?;
        let listener = listen(&options.host, options.port).await?;
        let metrics_listener = match options.metrics_port {
            Some(port) => Some(listen(&options.host, port).await?),
            None => None,
        };
        let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        Ok(Self { app: App::new(options, tokens, broker, metrics, loopback), listener, metrics_listener })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Where it listens for metrics, where they have a port of their own.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref()?.local_addr().ok()
    }

    /// How it is, and the way to say that it is going away.
    pub fn health(&self) -> Arc<Health> {
        self.app.health.clone()
    }

    /// Serves until `stop`: then takes no connection more, closes each WebSocket with 1001, and gives requests under way
    /// `http_shutdown_timeout`. The broker stays open.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { app, listener, metrics_listener } = self;
        let mut parts = JoinSet::new();
        parts.spawn(health::watch(app.clone(), true, stop.clone()));
        parts.spawn(maintenance::run(app.clone(), stop.clone()));
        if let Some(listener) = metrics_listener {
            parts.spawn(accept(listener, router::metrics_alone(&app), app.clone(), stop.clone()));
        }
        let main = router::application(&app);
        parts.spawn(accept(listener, main, app.clone(), stop.clone()));
        finish(app, parts, stop).await
    }
}

/// Health and metrics of a worker.
pub struct HealthServer {
    app: App,
    listener: TcpListener,
}

impl HealthServer {
    /// Takes the port.
    pub async fn bind(
        options: HealthOptions,
        broker: Arc<dyn Broker>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, BindError> {
        let options = Options::from(options);
        let tokens = Tokens::load(options.tokens_file.clone(), &options.tokens).await?;
        let listener = listen(&options.host, options.port).await?;
        let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        Ok(Self { app: App::new(options, tokens, broker, metrics, loopback), listener })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// How it is, and the way to say that it is going away.
    pub fn health(&self) -> Arc<Health> {
        self.app.health.clone()
    }

    /// Serves until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServeError> {
        let Self { app, listener } = self;
        let mut parts = JoinSet::new();
        parts.spawn(health::watch(app.clone(), false, stop.clone()));
        parts.spawn(accept(listener, router::health_alone(&app), app.clone(), stop.clone()));
        finish(app, parts, stop).await
    }
}

async fn finish(app: App, mut parts: JoinSet<()>, stop: CancellationToken) -> Result<(), ServeError> {
    let (fresh, stopped) = (app.clone(), stop.clone());
    parts.spawn(async move { fresh.tokens.keep_fresh(stopped).await });
    if let Some(level) = app.options.log_level.clone() {
        let stopped = stop.clone();
        parts.spawn(async move {
            stopped.run_until_cancelled(level.keep()).await;
        });
    }
    while let Some(Some(ended)) = stop.run_until_cancelled(parts.join_next()).await {
        ended?;
    }
    stop.cancelled().await;
    app.health.drain();
    app.closing.cancel();
    app.sockets.close();
    let end = Instant::now() + app.options.http_shutdown_timeout;
    if timeout_at(end, app.sockets.wait()).await.is_err() {
        tracing::warn!(open = app.sockets.len(), "WebSocket clients were cut off at shutdown");
    }
    app.hub.close().await;
    while let Some(ended) = parts.join_next().await {
        ended?;
    }
    Ok(())
}

async fn accept(listener: TcpListener, router: Router, app: App, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let Some((accepted, place)) = stop.run_until_cancelled(next).await else { break };
        match accepted {
            Ok((stream, _)) => {
                let serving = connection::serve(stream, router.clone(), app.closing.clone());
                open.spawn(async move {
                    serving.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    app.closing.cancel();
    let end = Instant::now() + app.options.http_shutdown_timeout;
    while let Ok(Some(_)) = timeout_at(end, open.join_next()).await {}
    if !open.is_empty() {
        tracing::warn!(open = open.len(), "requests under way were cut off at shutdown");
        open.shutdown().await;
    }
}

async fn listen(host: &str, port: u16) -> Result<TcpListener, BindError> {
    TcpListener::bind((host, port)).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => BindError::PortTaken { host: host.to_owned(), port },
        _ => BindError::Address { host: host.to_owned(), port, source },
    })
}

fn static_endpoint(text: &str) -> Result<String, BindError> {
    let path = text.trim_end_matches('/');
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.'));
    if path.starts_with('/') && path.len() > 1 && plain {
        return Ok(path.to_owned());
    }
    Err(BindError::StaticEndpoint(text.to_owned()))
}
