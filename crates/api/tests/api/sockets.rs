use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidemill_broker::{Delivery, Publisher};
use tidemill_core::{Event, EventBatch, Outcome, TaskId, TaskRef};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{Api, Faulty, SOON, options, until};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn connect(api: &Api, query: &str) -> Socket {
    connect_async(format!("ws://{}/ws{query}", api.address)).await.unwrap().0
}

async fn message(socket: &mut Socket) -> Message {
    loop {
        let message = timeout(SOON, socket.next()).await.expect("no message in time").expect("closed").unwrap();
        if !matches!(message, Message::Ping(_)) {
            return message;
        }
    }
}

async fn event(socket: &mut Socket) -> Value {
    serde_json::from_str(message(socket).await.to_text().unwrap()).unwrap()
}

/// Reads to the end: the close code and its reason.
pub(crate) async fn closed(socket: &mut Socket) -> (CloseCode, String) {
    loop {
        if let Message::Close(frame) = message(socket).await {
            let frame = frame.expect("a reason");
            return (frame.code, frame.reason.to_string());
        }
    }
}

fn batch(number: u64, ids: std::ops::Range<u32>) -> Delivery {
    let task = |n: u32| TaskRef { id: TaskId::new(format!("task-{n}")).unwrap(), duration_ms: n };
    Delivery::Batch(Arc::new(EventBatch { number, events: ids.map(|n| Event::Start(task(n))).collect() }))
}

async fn scripted() -> (Api, Publisher) {
    let publisher = Publisher::default();
    let mut broker = Faulty::new();
    broker.events = Some(publisher.clone());
    (Api::with(options(), broker).await, publisher)
}

#[tokio::test]
async fn a_client_sees_every_event_of_what_it_schedules_after_connecting() {
    let api = Api::start().await;
    let mut sockets = [connect(&api, "").await, connect(&api, "?queue=default").await];
    api.post("/schedule", r#"{"a": 7, "b": 8}"#).await;
    for socket in &mut sockets {
        assert_eq!(message(socket).await.to_text().unwrap(), r#"{"scheduled":[{"a":7},{"b":8}]}"#);
        assert_eq!(event(socket).await, json!({"next": {"a": 7}}));
    }
    let claim = api.broker.claim("default", 1).await.remove(0);
    api.broker.settle("default", &claim, Outcome::Succeeded { result: None }).await;
    for socket in &mut sockets {
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(event(socket).await);
        }
        let place =
            |wanted: Value| seen.iter().position(|event| *event == wanted).unwrap_or_else(|| panic!("{seen:?}"));
        assert!(place(json!({"start": {"a": 7}})) < place(json!({"done": {"a": 7}})));
        place(json!({"next": {"b": 8}}));
    }
}

#[tokio::test]
async fn a_client_of_one_queue_sees_nothing_of_another() {
    let api = Api::start().await;
    let mut other = connect(&api, "?queue=other").await;
    api.post("/schedule", r#"{"a": 1}"#).await;
    api.post("/schedule?queue=other", r#"{"b": 1}"#).await;
    assert_eq!(event(&mut other).await, json!({"scheduled": [{"b": 1}]}));
}

#[tokio::test]
async fn a_gap_closes_the_clients_that_would_have_missed_something() {
    let (api, publisher) = scripted().await;
    let mut first = connect(&api, "").await;
    publisher.publish(batch(1, 0..1));
    assert_eq!(event(&mut first).await, json!({"start": {"task-0": 0}}));
    publisher.publish(Delivery::Gap);
    assert_eq!(closed(&mut first).await, (CloseCode::Restart, "events lost, reload /tasks".to_owned()));
    let mut second = connect(&api, "").await;
    publisher.publish(batch(9, 5..6));
    assert_eq!(event(&mut second).await, json!({"start": {"task-5": 5}}));
    drop(first);
    until("counted", async || {
        let text = api.get("/metrics?format=prometheus").await.body;
        text.contains("tidemill_ws_events_lost_total 1\n") && text.contains("tidemill_ws_clients 1\n")
    })
    .await;
}

#[tokio::test]
async fn thirty_thousand_events_arrive_complete_and_in_order() {
    let (api, publisher) = scripted().await;
    let mut socket = connect(&api, "").await;
    for number in 0..30 {
        publisher.publish(batch(u64::from(number), number * 1_000..(number + 1) * 1_000));
    }
    for n in 0..30_000 {
        assert_eq!(event(&mut socket).await, json!({"start": {format!("task-{n}"): n}}));
    }
}

#[tokio::test]
async fn a_client_that_lags_is_closed_with_the_reason_and_holds_up_nobody() {
    let (api, publisher) = scripted().await;
    let mut slow = connect(&api, "").await;
    let mut quick = connect(&api, "").await;
    // More than the sockets' buffers and the feed hold together.
    for number in 0..600_u32 {
        publisher.publish(batch(u64::from(number), number * 1_000..(number + 1) * 1_000));
        let last = json!({"start": {format!("task-{}", number * 1_000 + 999): number * 1_000 + 999}});
        while event(&mut quick).await != last {}
    }
    assert_eq!(closed(&mut slow).await, (CloseCode::Restart, "events lost, reload /tasks".to_owned()));
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let api = Api::start().await;
    let mut socket = connect(&api, "").await;
    let frame = CloseFrame { code: CloseCode::Normal, reason: "enough".into() };
    socket.close(Some(frame)).await.unwrap();
    assert_eq!(closed(&mut socket).await.0, CloseCode::Normal);
}

#[tokio::test]
async fn what_clients_say_is_ignored_and_what_is_too_long_ends_them() {
    let api = Api::start().await;
    let mut socket = connect(&api, "").await;
    socket.send(Message::text("hello")).await.unwrap();
    api.post("/schedule", r#"{"a": 1}"#).await;
    assert_eq!(event(&mut socket).await, json!({"scheduled": [{"a": 1}]}));
    socket.send(Message::text("x".repeat(5_000))).await.unwrap();
    let ended = timeout(SOON, async { while let Some(Ok(_)) = socket.next().await {} }).await;
    assert!(ended.is_ok());
}
