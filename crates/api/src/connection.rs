//! One connection: HTTP/1.1 with upgrades, over a stream that no silent peer holds open.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::router::as_problem;

/// How long a request's head may take, the silence before it included: an idle connection ends with it too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream may stand still in both directions, an answer that nobody reads included. Longer than two of the
/// pings of a WebSocket are apart.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Who is at the other end; an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Serves `stream` until its end, or, after `closing`, until the request under way has its answer.
pub(crate) async fn serve(stream: TcpStream, router: Router, closing: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let peer = stream.peer_addr().ok().map(Peer);
    let io = TokioIo::new(Unstalled::new(stream));
    let named = move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    };
    let router = router.map_request(named).map_response(as_problem);
    let connection = http.serve_connection(io, TowerToHyperService::new(router)).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// A stream that fails once nothing has moved on it for [`STALL_TIMEOUT`].
struct Unstalled {
    stream: TcpStream,
    moved_at: Instant,
    /// Moved on only when it fires: with each read and write, that would be a visit to the timers of the runtime.
    limit: Pin<Box<Sleep>>,
}

impl Unstalled {
    fn new(stream: TcpStream) -> Self {
        Self { stream, moved_at: Instant::now(), limit: Box::pin(sleep(STALL_TIMEOUT)) }
    }

    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.limit.as_mut().poll(cx));
            let until = self.moved_at + STALL_TIMEOUT;
            if until <= Instant::now() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the peer stood still"));
            }
            self.limit.as_mut().reset(until);
        }
    }

    fn check<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.moved_at = Instant::now();
            return polled;
        }
        self.stalled(cx).map(Err)
    }
}

impl AsyncRead for Unstalled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.check(cx, polled)
    }
}

impl AsyncWrite for Unstalled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_given_up_a_minute_after_the_last_that_moved_on_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (peer, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut peer, mut stream) = (peer.unwrap(), Unstalled::new(accepted.unwrap().0));
        let (began, speaks_after, mut byte) = (Instant::now(), STALL_TIMEOUT * 2 / 3, [0]);
        let speaking = async {
            sleep(speaks_after).await;
            peer.write_all(b"a").await.unwrap();
        };
        let ((), heard) = tokio::join!(speaking, stream.read_exact(&mut byte));
        heard.unwrap();
        let error = stream.read_exact(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let stood = began.elapsed().saturating_sub(speaks_after);
        assert!(stood >= STALL_TIMEOUT && stood < STALL_TIMEOUT * 2, "{stood:?}");
    }
}
