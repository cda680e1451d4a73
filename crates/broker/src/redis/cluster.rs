//! What the nodes of a Cluster say of who has which slot.

use redis::{Client, RedisError, Value};

use super::asking::{ANSWER_DEADLINE, best_of};
use super::dial;
use super::refusal::classify;
use super::slots::Said;
use crate::error::{BrokerError, Result};

const OPERATION: &str = "ask the Cluster";

/// Asks these nodes (by host) at once, and believes the one that is well and knows the latest epoch.
pub(super) async fn ask(nodes: &[(String, Client)]) -> Result<Said> {
    let asked = nodes.iter().map(|(host, client)| one(host, client));
    best_of(asked, Said::weight).await.map_err(|worst| match worst {
        Some(error) if error.to_string().contains("cluster support disabled") => BrokerError::Unfit(
            "the server at broker.url is not part of a Cluster: begin broker.url with redis:// (or rediss://)"
                .to_owned(),
        ),
        Some(error) => classify(OPERATION, &error),
        None => BrokerError::Unavailable { operation: OPERATION, reason: "none of its nodes answers".to_owned() },
    })
}

async fn one(host: &str, client: &Client) -> redis::RedisResult<Said> {
    let mut connection = dial::connect(client, Some(ANSWER_DEADLINE)).await?;
    let mut commands = redis::pipe();
    commands.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
    let (info, slots): (String, Value) = commands.query_async(&mut connection).await?;
    Said::read(host, &info, slots)
        .ok_or_else(|| RedisError::from((redis::ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS cannot be read")))
}
