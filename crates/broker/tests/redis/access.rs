//! How the store is reached: users, passwords, databases, sockets and TLS.

use std::time::Duration;

use tidemill_broker::conformance::server::RedisServer;
use tidemill_broker::redis::RedisBroker;
use tidemill_broker::{Access, Authorities, Broker, BrokerError, Delivery};
use tidemill_core::{NewTask, QueueSettings, RequestId, TaskId};

use super::{SOON, broker, queue, tasks};

#[tokio::test(flavor = "multi_thread")]
async fn user_password_and_database_of_the_url_are_used() {
    let server = RedisServer::start();
    let () = server.ask(&["ACL", "SETUSER", "mill", "on", ">grist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
    let broker = broker(&format!("redis://mill:grist@127.0.0.1:{}/3", server.port())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    let keyspace = server.ask::<String>(&["INFO", "keyspace"]).await;
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");

    let stranger = RedisBroker::open(&format!("redis://mill:chaff@127.0.0.1:{}", server.port())).unwrap();
    let error = stranger.ping().await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unfit(said) if said.contains("password")), "{error}");
    assert!(!stranger.describe().contains("chaff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = RedisServer::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let broker = broker(&format!("redis+unix://{}", socket.display())).await;
    broker.enqueue(&queue(), &tasks(&["a"]), RequestId([1; 8])).await.unwrap();
    assert_eq!(broker.stats(&queue()).await.unwrap().pending, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_a_certificate_of_an_unknown_authority_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let tls_port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let _server = RedisServer::start_with(&[
        "--tls-port",
        &tls_port,
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        certificate.to_str().unwrap(),
        "--tls-key-file",
        key.to_str().unwrap(),
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    assert!(RedisBroker::open(&url).unwrap().ping().await.is_err());
    let pem = std::fs::read(&certificate).unwrap();
    for authorities in [Authorities::File(certificate), Authorities::Pem(pem)] {
        let access = Access { authorities: Some(authorities), ..Access::new(&url) };
        tidemill_broker::connect_with(&access).unwrap().ping().await.unwrap();
    }
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem().into_bytes();
    let access = Access { authorities: Some(Authorities::Pem(stranger)), ..Access::new(&url) };
    assert!(tidemill_broker::connect_with(&access).unwrap().ping().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn user_and_password_given_apart_win_over_those_of_the_url() {
    let server = RedisServer::start();
    let () = server.ask(&["ACL", "SETUSER", "mill", "on", ">grist", "~tidemill:*", "&tidemill:*", "+@all"]).await;
    let () = server.ask(&["CONFIG", "SET", "requirepass", "flour"]).await;
    let text = |text: &str| Some(text.to_owned());
    let access = |user: Option<&str>, password: Option<&str>, of_url: &str| Access {
        username: user.map(str::to_owned),
        password: password.map(str::to_owned),
        ..Access::new(format!("redis://{of_url}127.0.0.1:{}", server.port()))
    };
    let right = [
        access(Some("mill"), Some("grist"), ""),
        access(Some("mill"), Some("grist"), "nobody:chaff@"),
        access(None, Some("grist"), "mill:chaff@"),
        access(Some("mill"), None, "nobody:grist@"),
        access(None, Some("flour"), ""),
    ];
    for access in right {
        let broker = tidemill_broker::connect_with(&access).unwrap();
        broker.ping().await.unwrap_or_else(|error| panic!("{access:?}: {error}"));
        // The connections that wait and watch are let in as well.
        broker.ensure_queue(&queue(), &QueueSettings::default()).await.unwrap();
        let mut events = broker.subscribe(&queue()).await.unwrap();
        let id = TaskId::new(uuid::Uuid::new_v4().to_string()).unwrap();
        broker.enqueue(&queue(), &[NewTask::sleep(id, 0)], RequestId(rand::random())).await.unwrap();
        assert!(matches!(tokio::time::timeout(SOON, events.next()).await, Ok(Some(Delivery::Batch(_)))));
        broker.wait(&queue(), Duration::from_millis(1)).await.unwrap();
    }
    let wrong = Access { password: text("chaff"), ..access(None, None, "mill:grist@") };
    let error = tidemill_broker::connect_with(&wrong).unwrap().ping().await.unwrap_err();
    assert!(matches!(&error, BrokerError::Unfit(said) if said.contains("broker.password")), "{error}");
}
