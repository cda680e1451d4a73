//! What comes from outside, whatever it is: answered with a refusal in words, taken whole or not at all, and survived.

use futures::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::support::{Api, SOON};

const ROUNDS: usize = 400;
const BODIES: [&str; 8] = [
    r#"{"a": 1, "b": 20}"#,
    r#"[{"a": 1}, {"b": 20}]"#,
    r#"{"type":"x","payload":{"n":[1,2,{"k":"v"}]},"id":"i","retries":3,"priority":-7,"timeout_ms":100,"delay_ms":5}"#,
    r#"{"tasks":[{"type":"x","payload":{}},{"type":"y","payload":{"a":"\u00e9\ud83d\ude00"}}]}"#,
    r#"[{"type":"x","payload":{}},{"type":"y","payload":{},"run_at":"2030-01-01T00:00:00Z"}]"#,
    r#"{"retries":1,"backoff":{"initial_ms":1,"max_ms":2},"lease_ms":5000,"retention":{"dead":{"count":1,"age_s":2}}}"#,
    r#"{"state":"dead"}"#,
    "{}",
];
const PIECES: [&str; 22] = [
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "-",
    "1e999",
    "-0",
    "18446744073709551616",
    "NaN",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\"a\":1,\"a\":2",
    "0.1",
    "99999999999999999999999999",
];
const PATHS: [&str; 12] = [
    "/schedule",
    "/enqueue",
    "/tasks",
    "/metrics",
    "/api/v1/queues",
    "/api/v1/queues/default",
    "/api/v1/queues/default/tasks",
    "/api/v1/queues/default/tasks/i",
    "/api/v1/queues/default/tasks/i/cancel",
    "/api/v1/queues/default/tasks/i/retry",
    "/api/v1/queues/default/purge",
    "/api/v1/queues/default/workers",
];
const QUERIES: [&str; 20] = [
    "",
    "queue=default",
    "queue=",
    "queue=%00",
    "queue=%ff%fe",
    "queue=a&queue=b",
    "queue=../../x",
    "state=dead",
    "state=%",
    "state=active&limit=0",
    "limit=-1",
    "limit=1e3",
    "limit=99999999999999999999",
    "cursor=",
    "cursor=-1",
    "cursor=18446744073709551615",
    "cursor=pending%3A%00",
    "cursor=zzzz",
    "type=%zz",
    "format=%F0%9F%98%80",
];

/// A body that was once a good one, or never.
fn body(random: &mut StdRng) -> String {
    let mut text = (*BODIES.choose(random).unwrap()).to_owned();
    for _ in 0..random.random_range(0..5) {
        let places: Vec<_> = text.char_indices().map(|(place, _)| place).collect();
        let place = places.choose(random).copied().unwrap_or(0);
        match random.random_range(0..4) {
            0 => text.insert_str(place, PIECES.choose(random).unwrap()),
            1 => drop(text.drain(place..places.last().copied().unwrap_or(0).max(place))),
            2 => text.truncate(place),
            _ if !text.is_empty() => drop(text.remove(place)),
            _ => {}
        }
    }
    match random.random_range(0..40) {
        0 => "[".repeat(20_000),
        1 => format!("{{\"{}\":1}}", "k".repeat(5_000)),
        2 => format!("{}{text}{}", "[".repeat(200), "]".repeat(200)),
        _ => text,
    }
}

fn query(random: &mut StdRng) -> String {
    let parts: Vec<_> = (0..random.random_range(0..3)).map(|_| *QUERIES.choose(random).unwrap()).collect();
    if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
}

#[tokio::test]
async fn no_request_is_answered_as_a_fault_of_the_server_and_every_refusal_says_why() {
    let api = Api::start().await;
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..ROUNDS {
        let method = *["POST", "GET", "PUT", "DELETE", "PATCH"].choose(&mut random).unwrap();
        let path = format!("{}{}", PATHS.choose(&mut random).unwrap(), query(&mut random));
        let sent = body(&mut random);
        let kind = *["application/json", "text/plain", "application/json; charset=\"", ""].choose(&mut random).unwrap();
        let reply = api.send(method, &path, &[("Content-Type", kind)], &sent).await;
        let what = format!("{method} {path} {kind:?} {:?}: {reply:?}", &sent[..sent.len().min(300)]);
        assert!(reply.status < 500, "{what}");
        if reply.status >= 400 {
            assert_eq!(reply.header("content-type"), "application/problem+json", "{what}");
            assert!(!reply.problem(reply.status).is_empty(), "{what}");
        }
    }
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.post("/schedule", r#"{"after-all-of-it": 1}"#).await.status, 202);
}

#[tokio::test]
async fn a_refused_body_leaves_nothing_behind() {
    let api = Api::start().await;
    let mut random = StdRng::seed_from_u64(2);
    let total = async || api.get("/api/v1/queues/default").await.json()["counters"]["enqueued"].as_u64().unwrap();
    api.post("/schedule", r#"{"first": 1}"#).await;
    let (mut before, mut refused) = (total().await, 0);
    for _ in 0..ROUNDS / 2 {
        let path = *["/schedule", "/enqueue"].choose(&mut random).unwrap();
        let sent = body(&mut random);
        let reply = api.post(path, &sent).await;
        let after = total().await;
        if reply.status != 202 {
            refused += 1;
            assert_eq!(after, before, "{path} {sent:?}: {reply:?}");
        }
        before = after;
    }
    assert!(refused > ROUNDS / 20, "this test refused only {refused}");
}

/// Bytes on a connection of HTTP that are no request, or half of one.
#[tokio::test]
async fn bytes_that_are_no_request_end_their_connection_alone() {
    let api = Api::start().await;
    let mut random = StdRng::seed_from_u64(3);
    for round in 0..100 {
        let mut bytes: Vec<u8> = (0..random.random_range(1..400)).map(|_| random.random()).collect();
        if round % 2 == 0 {
            let mut request = b"POST /enqueue HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n".to_vec();
            request.append(&mut bytes);
            bytes = request;
        }
        let mut stream = TcpStream::connect(&api.address).await.unwrap();
        // The server may have closed already.
        drop(stream.write_all(&bytes).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        let ended = timeout(SOON, stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "a connection stays open after {bytes:?}");
    }
    assert_eq!(api.get("/livez").await.json(), json!({"status": "ok"}));
}

#[tokio::test]
async fn a_socket_that_says_what_nobody_asked_disturbs_no_other() {
    let api = Api::start().await;
    let url = format!("ws://{}/ws", api.address);
    let (mut good, _) = connect_async(&url).await.unwrap();
    let mut random = StdRng::seed_from_u64(4);
    for round in 0..60 {
        let (mut socket, _) = connect_async(&url).await.unwrap();
        for _ in 0..random.random_range(1..6) {
            let size = *[0, 1, 125, 126, 65_536, 300_000].choose(&mut random).unwrap();
            let message = match random.random_range(0..5) {
                0 => Message::text("x".repeat(size)),
                1 => Message::binary(vec![random.random(); size]),
                2 => Message::Ping(vec![1; size.min(125)].into()),
                3 => Message::Pong(vec![2; size.min(125)].into()),
                _ => {
                    Message::Close(Some(CloseFrame { code: random.random_range(1000..5000).into(), reason: "".into() }))
                }
            };
            // The server may have closed already, or this side has.
            drop(timeout(Duration::from_secs(5), socket.send(message)).await);
        }
        if round % 3 == 0 {
            // Bytes that are no frame.
            let noise: Vec<u8> = (0..64).map(|_| random.random()).collect();
            if let tokio_tungstenite::MaybeTlsStream::Plain(stream) = socket.get_mut() {
                drop(stream.write_all(&noise).await);
            }
        }
    }
    assert_eq!(api.post("/schedule", r#"{"heard": 1}"#).await.status, 202);
    let heard = timeout(SOON, async {
        while let Some(message) = good.next().await {
            if message.unwrap().to_text().is_ok_and(|text| text.contains("heard")) {
                return true;
            }
        }
        false
    });
    assert!(heard.await.expect("an event in time"), "the good socket was closed");
}
