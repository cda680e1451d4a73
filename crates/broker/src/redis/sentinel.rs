//! What Sentinels say of where the primary is.
//!
//! They are asked when something is in doubt, and listened to all the time: after a failover that they were told to make,
//! the old primary lives on, and takes writes that will be lost, until they get round to making it a replica (8 s).

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use redis::{Client, RedisError};
use tokio::time::{interval, sleep, timeout};

use super::asking::{ANSWER_DEADLINE, best_of};
use super::dial;
use crate::error::{BrokerError, Result};

/// The channel on which a Sentinel says that another server is the primary.
const SWITCHED: &str = "+switch-master";
/// How long it may take to be heard.
const LISTEN_DEADLINE: Duration = Duration::from_secs(2);
/// The pause before the next Sentinel is listened to.
const LISTEN_PAUSE: Duration = Duration::from_millis(500);
/// How often the one that is listened to is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Where the primary is: host and port.
pub(super) type Found = (String, u16);

/// Asks all of them at once, and believes the one that knows the latest configuration.
pub(super) async fn ask(sentinels: &[Client], name: &str) -> Result<Found> {
    let asked = sentinels.iter().map(|sentinel| one(sentinel, name));
    let (_, found) = best_of(asked, |(epoch, _)| *epoch).await.map_err(|worst| refused(name, worst.as_ref()))?;
    Ok(found)
}

/// Calls `switched` whenever a Sentinel says that another server is the primary now, and when it may have said so while it
/// was not heard. One Sentinel is listened to at a time; where that fails, the next. Never ends.
pub(super) async fn listen(sentinels: Vec<Client>, switched: impl AsyncFn()) {
    for sentinel in sentinels.iter().cycle() {
        if let Err(error) = listen_to(sentinel, &switched).await {
            tracing::debug!(%error, "a Sentinel cannot be listened to");
        }
        sleep(LISTEN_PAUSE).await;
    }
}

async fn listen_to(sentinel: &Client, switched: &impl AsyncFn()) -> redis::RedisResult<()> {
    let late = || RedisError::from((redis::ErrorKind::Io, "no answer in time"));
    let connecting = async {
        let (mut sink, stream) = sentinel.get_async_pubsub().await?.split();
        sink.subscribe(SWITCHED).await?;
        Ok((sink, stream))
    };
    let (mut sink, mut stream) = timeout(LISTEN_DEADLINE, connecting).await.unwrap_or_else(|_| Err(late()))?;
    switched().await;
    let mut ping = interval(PING_EVERY);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(_) => switched().await,
                None => return Ok(()),
            },
            _ = ping.tick() => {
                timeout(LISTEN_DEADLINE, sink.ping::<redis::Value>()).await.unwrap_or_else(|_| Err(late()))?;
            }
        }
    }
}

async fn one(sentinel: &Client, name: &str) -> redis::RedisResult<(u64, Found)> {
    let mut connection = dial::connect(sentinel, Some(ANSWER_DEADLINE)).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTER").arg(name);
    let fields: HashMap<String, String> = command.query_async(&mut connection).await?;
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let port = field("port").parse();
    let port =
        port.map_err(|_| RedisError::from((redis::ErrorKind::UnexpectedReturnType, "a Sentinel names no port")))?;
    Ok((field("config-epoch").parse().unwrap_or(0), (field("ip"), port)))
}

fn refused(name: &str, error: Option<&RedisError>) -> BrokerError {
    const OPERATION: &str = "ask the Sentinels";
    let Some(error) = error else {
        return BrokerError::Unavailable { operation: OPERATION, reason: "none of them answers".to_owned() };
    };
    let said = error.to_string();
    if said.contains("No such master") {
        return BrokerError::Unfit(format!(
            "the Sentinels of broker.url know no primary {name:?}; `SENTINEL MASTERS` asked of one of them lists what they know"
        ));
    }
    if said.contains("unknown command") {
        return BrokerError::Unfit(
            "what answers at broker.url is no Sentinel: name Sentinels (usually at port 26379), or begin with redis:// for \
             one server"
                .to_owned(),
        );
    }
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => BrokerError::Unfit(format!(
            "the Sentinels of broker.url refuse Tidemill: {said}. They have users and passwords of their own: \
             ?sentinel_username=…&sentinel_password=… at the end of broker.url"
        )),
        _ => BrokerError::Unavailable { operation: OPERATION, reason: said },
    }
}
