//! Whether a server can be trusted with tasks.

use redis::Cmd;

use crate::error::{BrokerError, Result};

/// The oldest major version that has what the scripts need (flags, `LPOP` with a count inside of scripts, `PUBSUB`).
const OLDEST_MAJOR: u32 = 7;

/// What a server is asked so that it can be judged.
pub(super) fn question() -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg("server").arg("memory");
    command
}

/// Judges a server by what it says to the [`question`], and describes it. (`CONFIG`, which says more, is often forbidden.)
pub(super) fn judge(info: &str) -> Result<String> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let (program, version) = match (field("valkey_version"), field("redis_version")) {
        (Some(version), _) => ("valkey", version),
        (None, Some(version)) => ("redis", version),
        (None, None) => return Ok("redis of an unknown version".to_owned()),
    };
    if field("redis_mode").or_else(|| field("server_mode")) == Some("sentinel") {
        return Err(BrokerError::Unfit(
            "the server at broker.url is a Sentinel, which keeps no tasks but knows who does: begin broker.url with \
             redis+sentinel:// and name the primary behind the host, as in redis+sentinel://host:26379/mymaster"
                .to_owned(),
        ));
    }
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < OLDEST_MAJOR {
        return Err(BrokerError::Unfit(format!(
            "the server at broker.url is {program} {version}; Tidemill needs Redis 7.0 or later, or Valkey: upgrade it"
        )));
    }
    let policy = field("maxmemory_policy").unwrap_or("noeviction");
    if policy.starts_with("allkeys-") {
        return Err(BrokerError::Unfit(format!(
            "the server at broker.url evicts keys when its memory is full (maxmemory-policy {policy}), which would lose \
             tasks: set `maxmemory-policy noeviction` on it, or give Tidemill a server of its own"
        )));
    }
    Ok(format!("{program} {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_evicts_is_refused_with_the_remedy() {
        let error = judge("redis_version:7.2.4\r\nmaxmemory_policy:allkeys-lru\r\n").unwrap_err().to_string();
        assert!(error.contains("allkeys-lru") && error.contains("maxmemory-policy noeviction"), "{error}");
    }

    #[test]
    fn a_server_older_than_seven_is_refused() {
        let error = judge("redis_version:6.2.14\r\n").unwrap_err().to_string();
        assert!(error.contains("redis 6.2.14") && error.contains("7.0 or later"), "{error}");
    }

    #[test]
    fn a_sentinel_in_the_place_of_a_server_is_refused_with_the_remedy() {
        for mode in ["redis_version:7.0.15\r\nredis_mode:sentinel", "valkey_version:8.1.1\nserver_mode:sentinel"] {
            let error = judge(mode).unwrap_err().to_string();
            assert!(error.contains("redis+sentinel://host:26379/mymaster"), "{error}");
        }
    }

    #[test]
    fn a_sound_server_is_described() {
        assert_eq!(judge("redis_version:7.0.15\nmaxmemory_policy:noeviction\n").unwrap(), "redis 7.0.15");
        assert_eq!(judge("redis_version:7.2.4\nvalkey_version:8.0.1\n").unwrap(), "valkey 8.0.1");
    }
}
