//! Redis keeps the contract, and Valkey does.
//!
//! The servers are started here: `REDIS_SERVER` (`redis-server`) and `VALKEY_SERVER` (`valkey-server`) name the programs.
//! Without Valkey its tests fail, unless `TIDEMILL_SKIP_VALKEY=1` says that this is known.

mod on_redis {
    use std::sync::LazyLock;

    use tidemill_broker::conformance::Backend;
    use tidemill_broker::conformance::backends::Redis;
    use tidemill_broker::conformance::server::RedisServer;

    static SERVER: LazyLock<RedisServer> = LazyLock::new(RedisServer::start);

    async fn redis() -> Option<Box<dyn Backend>> {
        Some(Box::new(Redis::connect(&SERVER).await))
    }

    tidemill_broker::conformance_tests!(redis);

    #[test]
    fn random_walks_on_redis_agree_with_the_model() {
        tidemill_broker::conformance::model::random::run(redis);
    }
}

mod on_valkey {
    use std::sync::LazyLock;

    use tidemill_broker::conformance::Backend;
    use tidemill_broker::conformance::backends::Redis;
    use tidemill_broker::conformance::server::RedisServer;

    static SERVER: LazyLock<Option<RedisServer>> = LazyLock::new(RedisServer::start_valkey);

    async fn valkey() -> Option<Box<dyn Backend>> {
        match &*SERVER {
            Some(server) => Some(Box::new(Redis::connect(server).await)),
            None => None,
        }
    }

    tidemill_broker::conformance_tests!(valkey);

    #[test]
    fn random_walks_on_valkey_agree_with_the_model() {
        tidemill_broker::conformance::model::random::run(valkey);
    }
}
