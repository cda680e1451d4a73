//! Connections, bounded in number, and in how long a peer may keep one without taking an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; those beyond wait in the system's backlog. The kubelet and a few scrapers need a handful.
const CONNECTIONS_MAX: usize = 128;
/// How long after an answer the next one must begin: the silence between requests, the request's head and the work on it
/// included. An idle connection ends with it, and so does one whose head comes drop by drop, or whose answer nobody reads.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Pause after a connection could not be accepted, as when the process has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener with a bound on its connections.
pub(super) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for BoundedListener {
    type Io = Answering<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = self.places.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, addr)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "TCP_NODELAY was refused");
                    }
                    return (Answering::new(stream, place), addr);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// A stream that fails once nothing of an answer was taken for [`ANSWER_WITHIN`].
pub(super) struct Answering<S> {
    stream: S,
    limit: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Answering<S> {
    fn new(stream: S, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, limit: Box::pin(sleep(ANSWER_WITHIN)), _place: place }
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.limit.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "no answer was asked for or taken in time"))
    }

    fn answered(&mut self, polled: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if polled.is_ready() {
            self.limit.as_mut().reset(Instant::now() + ANSWER_WITHIN);
            return polled;
        }
        self.overdue(cx).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Answering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.overdue(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Answering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.answered(polled, cx)
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
        self.answered(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_drop_by_drop_ends_in_time() {
        let (mut peer, stream) = duplex(64);
        let mut answering = Answering::new(stream, None);
        let began = Instant::now();
        let error = loop {
            peer.write_all(b"x").await.unwrap();
            match answering.read_u8().await {
                Ok(_) => advance(Duration::from_secs(7)).await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(35));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_ends_in_time_and_one_that_is_read_does_not() {
        let (mut peer, stream) = duplex(64);
        let mut answering = Answering::new(stream, None);
        for _ in 0..5 {
            answering.write_all(&[0; 64]).await.unwrap();
            advance(Duration::from_secs(20)).await;
            peer.read_exact(&mut [0; 64]).await.unwrap();
        }
        let stuck = timeout(Duration::from_secs(40), answering.write_all(&[0; 65])).await.unwrap();
        assert_eq!(stuck.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_until_another_ends() {
        let mut listener = BoundedListener::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
        listener.places = Arc::new(Semaphore::new(1));
        let addr = listener.local_addr().unwrap();
        let _peers = (TcpStream::connect(addr).await.unwrap(), TcpStream::connect(addr).await.unwrap());
        let (first, _) = listener.accept().await;
        assert!(listener.places.try_acquire().is_err());
        drop(first);
        timeout(Duration::from_secs(5), listener.accept()).await.unwrap();
    }
}
