//! What the nodes of a Cluster say of who has which slot.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::{Client, RedisError, Value};
use tokio::time::timeout;

use super::dial;
use super::refusal::classify;
use super::slots::Said;
use crate::error::{BrokerError, Result};

const OPERATION: &str = "ask the Cluster";
/// How long one node may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// How much longer than the first the others get: one that was cut off from them, or has just come back, knows less.
const OTHERS_GET: Duration = Duration::from_millis(100);

/// Asks these nodes (by host) at once, and believes the one that is well and knows the latest epoch.
pub(super) async fn ask(nodes: &[(String, Client)]) -> Result<Said> {
    let mut answers: FuturesUnordered<_> =
        nodes.iter().map(|(host, client)| timeout(ANSWER_DEADLINE, one(host, client))).collect();
    let mut best: Option<Said> = None;
    let mut worst = None;
    loop {
        let next = answers.next();
        let answer = if best.is_some() { timeout(OTHERS_GET, next).await.unwrap_or(None) } else { next.await };
        match answer {
            None => break,
            Some(Ok(Ok(said))) if best.as_ref().is_none_or(|best| best.weight() < said.weight()) => best = Some(said),
            Some(Ok(Err(error))) => worst = Some(error),
            Some(_) => {}
        }
    }
    best.ok_or_else(|| match worst {
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
