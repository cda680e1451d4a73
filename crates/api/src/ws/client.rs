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
/// Pings that a client may leave without any word before it counts as gone.
const UNANSWERED_MAX: u32 = 2;
/// How long a client may take to read what has been sent so far; who takes longer is behind for good.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the close frame may take to reach a client that lags.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the other half of a farewell may take: the client's close frame after ours, or the writing of ours.
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
    /// The client broke off.
    Gone,
    /// The client closes; our half of the farewell is still to be sent.
    Left,
    /// We close it.
    Close(u16, &'static str),
}

/// Whether the other side still lives: counted in pings and not in time, since none are sent while there is more to write.
#[derive(Debug, Default)]
struct Pulse {
    unanswered: u32,
}

impl Pulse {
    fn heard(&mut self) {
        self.unanswered = 0;
    }

    /// Another ping is due. Whether it is worth while.
    fn ping(&mut self) -> bool {
        self.unanswered += 1;
        self.unanswered <= UNANSWERED_MAX
    }
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
    } else if matches!(end, End::Left) && timeout(FAREWELL, drain(&mut stream)).await.is_err() {
        tracing::debug!("a WebSocket client did not take the answer to its close frame");
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
    let mut pulse = Pulse::default();
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
                    std::task::Poll::Ready(Some(Ok(_))) => pulse.heard(),
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
                Some(Ok(Message::Close(_))) => return End::Left,
                Some(Err(_)) | None => return End::Gone,
                Some(Ok(_)) => pulse.heard(),
            },
            _ = pings.tick() => {
                if !pulse.ping() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_leaves_two_pings_unanswered_is_gone() {
        let mut pulse = Pulse::default();
        assert!(pulse.ping() && pulse.ping() && !pulse.ping());
        pulse.heard();
        assert!(pulse.ping());
    }
}
