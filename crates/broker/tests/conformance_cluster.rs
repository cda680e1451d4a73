//! A Redis Cluster of three keeps the contract.

use std::sync::LazyLock;

use tidemill_broker::conformance::Backend;
use tidemill_broker::conformance::backends::Redis;
use tidemill_broker::conformance::fleet::Cluster;
use tidemill_broker::conformance::harness::block_on;

static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    // In a thread of its own: a test that first asks for it may be on the runtime already.
    let starting = std::thread::spawn(|| block_on(Cluster::start(3, 0)));
    starting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
});

async fn cluster() -> Option<Box<dyn Backend>> {
    Some(Box::new(Redis::connect_cluster(&CLUSTER).await))
}

tidemill_broker::conformance_tests!(cluster);
