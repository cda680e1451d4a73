//! Reads commands, calls the system, tells what it took.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use crate::{Peer, Tally, monotonic_ns};

/// Serves commands until there are no more. A failure is told and ends nothing: the driver decides.
pub async fn serve(peer: impl Peer) -> anyhow::Result<()> {
    let peer = Arc::new(peer);
    let mut tally = Arc::new(Tally::new(false));
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = commands.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = answer(&peer, &mut tally, &words).await;
        println!("{}", answer.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })));
    }
    Ok(())
}

async fn answer<P: Peer>(peer: &Arc<P>, tally: &mut Arc<Tally>, words: &[&str]) -> anyhow::Result<Value> {
    match *words {
        ["hello"] => {
            peer.ping().await?;
            Ok(json!({ "version": peer.version() }))
        }
        ["bulk", count, batch, flights] => {
            let (count, batch, flights) = (number(count)?, number(batch)?, number(flights)?);
            let calls = count.div_ceil(batch);
            let seconds = repeat(peer, flights, calls, move |peer, call| async move {
                peer.enqueue_batch(batch.min(count - call * batch)).await
            });
            Ok(json!({ "seconds": seconds.await? }))
        }
        ["callers", callers, count] => {
            let seconds = repeat(peer, number(callers)?, number(count)?, |peer, _| async move { peer.enqueue().await });
            Ok(json!({ "seconds": seconds.await? }))
        }
        ["ping", count] => {
            let seconds = repeat(peer, 1, number(count)?, |peer, _| async move { peer.ping().await });
            Ok(json!({ "seconds": seconds.await? }))
        }
        ["send"] => {
            let at = monotonic_ns();
            peer.enqueue().await?;
            Ok(json!({ "at": at }))
        }
        ["work", slots, tells] => {
            *tally = Arc::new(Tally::new(tells == "tell"));
            peer.work(number(slots)?, Arc::clone(tally)).await?;
            Ok(json!({}))
        }
        ["handled"] => Ok(tally.told()),
        _ => peer.other(&words.join(" ")).await,
    }
}

fn number(word: &str) -> anyhow::Result<usize> {
    word.parse().with_context(|| format!("'{word}' is no number"))
}

/// Seconds that `calls` calls take of which so many are under way at a time.
async fn repeat<P, F, C>(peer: &Arc<P>, callers: usize, calls: usize, call: F) -> anyhow::Result<f64>
where
    P: Peer,
    F: Fn(Arc<P>, usize) -> C + Copy + Send + 'static,
    C: Future<Output = anyhow::Result<()>> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut under_way = JoinSet::new();
    let began = Instant::now();
    for _ in 0..callers {
        let (peer, next) = (Arc::clone(peer), Arc::clone(&next));
        under_way.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= calls {
                    return anyhow::Ok(());
                }
                call(Arc::clone(&peer), number).await?;
            }
        });
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    Ok(began.elapsed().as_secs_f64())
}
