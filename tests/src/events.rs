//! The events of a queue, as a WebSocket client hears them.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::stream::MaybeTlsStream;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

/// How long one read may block.
const READ_STEP: Duration = Duration::from_millis(100);

/// A WebSocket on `/ws`.
#[derive(Debug)]
pub struct Events {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    heard: VecDeque<Value>,
    closed: bool,
    farewell: Option<CloseFrame>,
}

impl Events {
    /// Connects to `ws://ADDRESS/ws`.
    pub fn connect(address: &str) -> anyhow::Result<Self> {
        let (socket, _) = tungstenite::connect(format!("ws://{address}/ws"))?;
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(READ_STEP))?;
        }
        Ok(Self { socket, heard: VecDeque::new(), closed: false, farewell: None })
    }

    /// Reads until `enough` says so of all that was heard so far, at most for `deadline`, and returns it.
    ///
    /// # Panics
    /// When there is not enough by then.
    pub fn until(mut self, deadline: Duration, enough: impl Fn(&VecDeque<Value>) -> bool) -> Vec<Value> {
        self.read_until(deadline, |events| enough(&events.heard));
        self.heard.into()
    }

    /// Reads until the server closes, at most for `deadline`: the close code and reason.
    ///
    /// # Panics
    /// When it does not by then.
    pub fn until_closed(mut self, deadline: Duration) -> (u16, String) {
        self.read_until(deadline, |events| events.closed);
        self.farewell.map_or((1006, String::new()), |frame| (frame.code.into(), frame.reason.to_string()))
    }

    fn read_until(&mut self, deadline: Duration, enough: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !enough(self) {
            assert!(
                began.elapsed() < deadline,
                "not enough events within {deadline:?}: {} heard, the last {:?}, closed {:?}",
                self.heard.len(),
                self.heard.back(),
                self.closed
            );
            match self.socket.read() {
                Ok(Message::Text(text)) => self.heard.extend(serde_json::from_str::<Value>(&text)),
                Ok(Message::Close(frame)) => {
                    self.closed = true;
                    self.farewell = frame;
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error))
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
                Err(_) if self.closed => return,
                Err(error) => {
                    self.closed = true;
                    assert!(enough(self), "the socket failed: {error}");
                }
            }
        }
    }
}

/// The ids of an event's tasks: `{"start": {"a": 1}}` → `["a"]`, `{"scheduled": [{"a": 1}, {"b": 2}]}` → `["a", "b"]`.
pub fn ids(event: &Value, kind: &str) -> Vec<String> {
    let names = |task: &Value| task.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect::<Vec<_>>();
    match event.get(kind) {
        Some(Value::Array(tasks)) => tasks.iter().flat_map(names).collect(),
        Some(task) => names(task),
        None => Vec::new(),
    }
}
