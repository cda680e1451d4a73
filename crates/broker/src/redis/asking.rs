//! Several servers that may know, asked at once: the best answer counts, and no slow one is waited for long.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use redis::{RedisError, RedisResult};
use tokio::time::timeout;

/// How long one server may take to answer.
pub(super) const ANSWER_DEADLINE: Duration = Duration::from_millis(500);
/// How much longer than the first the others get: one that was cut off from them, or has just come back, knows less.
const OTHERS_GET: Duration = Duration::from_millis(100);

/// The answer of the greatest weight, or else an error of one that answered.
pub(super) async fn best_of<T, W: PartialOrd>(
    asked: impl Iterator<Item = impl Future<Output = RedisResult<T>>>,
    weight: impl Fn(&T) -> W,
) -> Result<T, Option<RedisError>> {
    let mut answers: FuturesUnordered<_> = asked.map(|answer| timeout(ANSWER_DEADLINE, answer)).collect();
    let mut best: Option<T> = None;
    let mut worst = None;
    loop {
        let next = answers.next();
        let answer = if best.is_some() { timeout(OTHERS_GET, next).await.unwrap_or(None) } else { next.await };
        match answer {
            None => break,
            Some(Ok(Ok(found))) if best.as_ref().is_none_or(|best| weight(best) < weight(&found)) => best = Some(found),
            Some(Ok(Err(error))) => worst = Some(error),
            Some(_) => {}
        }
    }
    best.ok_or(worst)
}
