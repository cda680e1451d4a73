use tidemill_api::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use std::sync::atomic::Ordering;

use crate::sockets::{closed, connect};
use crate::support::{Api, Faulty, options};

#[tokio::test]
async fn at_shutdown_websockets_are_closed_with_1001_and_the_port_is_free() {
    let api = Api::start().await;
    let mut socket = connect(&api, "").await;
    let address = api.address.clone();
    let watching = tokio::spawn(async move { closed(&mut socket).await.0 });
    api.stopped().await;
    assert_eq!(watching.await.unwrap(), CloseCode::Away);
    assert!(TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_an_idle_connection_holds_nothing_up() {
    let api = Api::with(Options { http_shutdown_timeout: Duration::from_secs(10), ..options() }, Faulty::new()).await;
    let idle = TcpStream::connect(&api.address).await.unwrap();
    let mut open = TcpStream::connect(&api.address).await.unwrap();
    let head = "POST /schedule HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n{\"a\"";
    open.write_all(head.as_bytes()).await.unwrap();
    // The request has begun once the server waits for the rest of its body: another request has passed it by.
    assert_eq!(api.get("/tasks").await.status, 200);
    let begun = Instant::now();
    let stopping = tokio::spawn(api.stopped());
    open.write_all(b": 1}").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    stopping.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_in_time() {
    let api =
        Api::with(Options { http_shutdown_timeout: Duration::from_millis(200), ..options() }, Faulty::new()).await;
    api.broker.hangs.store(true, Ordering::SeqCst);
    let mut open = TcpStream::connect(&api.address).await.unwrap();
    open.write_all(b"POST /api/v1/queues/default/purge?state=dead HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let begun = Instant::now();
    api.stopped().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
