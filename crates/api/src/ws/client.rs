//! One connected client: messages out, pings out, nothing of interest in.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::feed::{Lost, Reader};
use crate::state::App;

/// How often a client is pinged.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long a client may be silent, pongs included, before it counts as gone: two pings.
const SILENT_FOR: Duration = Duration::from_secs(40);
/// How long a client may take to read what has been sent so far; who takes longer is behind for good.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the close frame may take to reach a client that lags.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the client's own close frame, so that ours is not cut off.
const FAREWELL: Duration = Duration::from_millis(500);
/// Messages written between two looks at the other side.
const SENT_AT_ONCE: usize = 256;
/// Bytes written between two looks at the other side.
const BYTES_AT_ONCE: usize = 256 << 10;
/// What a client is told that would have missed events.
const EVENTS_LOST: &str = "events lost, reload /tasks";
/// What clients are told at shutdown.
const GOING_AWAY: &str = "the server is going away, connect again";

/// Why a connection ends.
enum End {
    /// The client left, or broke off.
    Gone,
    /// We close it.
    Close(u16, &'static str),
}

/// Serves one client until it leaves, lags, or the server closes.
pub(crate) async fn serve(socket: WebSocket, reader: Reader, app: &App) {
    app.metrics.ws_clients(1);
    let (mut sink, mut stream) = socket.split();
    let end = run(&mut sink, &mut stream, reader, app).await;
    if let End::Close(code, reason) = end {
        if code == close_code::RESTART {
            app.metrics.ws_events_lost();
        }
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let closed = timeout(CLOSE_TIMEOUT, sink.send(Message::Close(Some(frame)))).await;
        if matches!(closed, Ok(Ok(()))) && timeout(FAREWELL, drain(&mut stream)).await.is_err() {
            tracing::debug!("a WebSocket client did not answer the close frame");
        }
    }
    app.metrics.ws_clients(-1);
}

async fn run(
    sink: &mut SplitSink<WebSocket, Message>,
    stream: &mut SplitStream<WebSocket>,
    mut reader: Reader,
    app: &App,
) -> End {
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut messages = Vec::new();
    loop {
        match reader.take(SENT_AT_ONCE, BYTES_AT_ONCE, &mut messages) {
            Err(Lost) => return End::Close(close_code::RESTART, EVENTS_LOST),
            Ok(()) if messages.is_empty() => {}
            Ok(()) => {
                match timeout(SEND_TIMEOUT, send(sink, &mut messages)).await {
                    Err(_) => return End::Close(close_code::RESTART, EVENTS_LOST),
                    Ok(Err(_)) => return End::Gone,
                    Ok(Ok(())) => {}
                }
                if app.closing.is_cancelled() {
                    return End::Close(close_code::AWAY, GOING_AWAY);
                }
                // More may be there already; who only writes must still hear.
                match futures::poll!(stream.next()) {
                    std::task::Poll::Ready(Some(Ok(_))) => heard = Instant::now(),
                    std::task::Poll::Ready(_) => return End::Gone,
                    std::task::Poll::Pending => {}
                }
                continue;
            }
        }
        tokio::select! {
            () = app.closing.cancelled() => return End::Close(close_code::AWAY, GOING_AWAY),
            () = reader.grown() => {}
            incoming = stream.next() => match incoming {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return End::Gone,
                Some(Ok(_)) => heard = Instant::now(),
            },
            _ = pings.tick() => {
                if heard.elapsed() >= SILENT_FOR {
                    return End::Gone;
                }
                let ping = sink.send(Message::Ping(Bytes::new()));
                if !matches!(timeout(SEND_TIMEOUT, ping).await, Ok(Ok(()))) {
                    return End::Gone;
                }
            }
        }
    }
}

async fn send(sink: &mut SplitSink<WebSocket, Message>, messages: &mut Vec<Utf8Bytes>) -> Result<(), axum::Error> {
    for message in messages.drain(..) {
        sink.feed(Message::Text(message)).await?;
    }
    sink.flush().await
}

async fn drain(stream: &mut SplitStream<WebSocket>) {
    while let Some(Ok(_)) = stream.next().await {}
}
