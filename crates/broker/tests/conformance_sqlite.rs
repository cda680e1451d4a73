//! The embedded store keeps the contract.

use tidemill_broker::conformance::Backend;
use tidemill_broker::conformance::backends::Sqlite;

async fn sqlite() -> Option<Box<dyn Backend>> {
    Some(Box::new(Sqlite::start()))
}

tidemill_broker::conformance_tests!(sqlite);

#[test]
fn random_walks_on_sqlite_agree_with_the_model() {
    tidemill_broker::conformance::model::random::run(sqlite);
}
