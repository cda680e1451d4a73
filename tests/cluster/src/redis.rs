//! The brokers of TaskQueues under test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidemill_broker::Broker;
pub use tidemill_broker::conformance::server::RedisServer;
use tidemill_core::{NewTask, QueueName, RequestId, TaskId};

/// A client of the broker at `url`.
///
/// # Panics
/// When the URL is none.
pub fn connect(url: &str) -> Arc<dyn Broker> {
    tidemill_broker::connect(url).expect("the URL names a broker")
}

/// Lets the server ask everybody for this password from now on.
///
/// # Panics
/// When the server does not.
pub fn require_password(server: &RedisServer, password: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("the server listens");
    stream.write_all(format!("CONFIG SET requirepass {password}\r\n").as_bytes()).expect("the server listens");
    let mut reply = [0; 5];
    stream.read_exact(&mut reply).expect("the server answers");
    assert_eq!(&reply, b"+OK\r\n", "the server takes no password");
}

/// A queue's name.
///
/// # Panics
/// When it is none.
pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).expect("the name of a queue")
}

/// Enqueues `count` tasks that each sleep for a second.
///
/// # Panics
/// When the broker does not take every one of them.
pub async fn enqueue(broker: &dyn Broker, queue: &QueueName, count: usize) {
    const DURATION_MS: u32 = 1_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set").as_nanos();
    let batch: Vec<_> = (0..count)
        .map(|number| NewTask::sleep(TaskId::new(format!("{now}-{number}")).expect("the id of a task"), DURATION_MS))
        .collect();
    let request = RequestId(u64::try_from(now % u128::from(u64::MAX)).expect("it was cut").to_be_bytes());
    broker.enqueue(queue, &batch, request).await.expect("the broker takes tasks");
}
