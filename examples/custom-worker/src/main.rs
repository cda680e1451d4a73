//! A worker of one's own: counts the words of texts.

use serde::{Deserialize, Serialize};
use tidemill::{Context, HandlerError, Payload, State, Worker, WorkerError};

/// What handlers share: here a bound, elsewhere a pool of connections.
#[derive(Clone)]
struct Limits {
    words: usize,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    words: usize,
    attempt: u32,
}

async fn count_words(
    cx: Context,
    Payload(Text { text }): Payload<Text>,
    State(limits): State<Limits>,
) -> Result<Counted, HandlerError> {
    let words = cx.blocking(move || text.split_whitespace().count()).await?;
    if words > limits.words {
        return Err(HandlerError::permanent(format!("{words} words; at most {} are counted", limits.words)));
    }
    Ok(Counted { words, attempt: cx.attempt() })
}

#[tokio::main]
async fn main() -> Result<(), WorkerError> {
    Worker::from_environment().state(Limits { words: 1_000 }).handler("count_words", count_words).run().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn words_are_counted_and_too_many_are_refused_for_good() {
        let count = |text: String| {
            let payload = serde_json::json!({ "text": text });
            tidemill::testing::run_with(Limits { words: 3 }, count_words, payload)
        };
        let counted: Counted = count("to be or".to_owned()).await.result().unwrap();
        assert_eq!(counted, Counted { words: 3, attempt: 1 });
        assert!(count("to be or not".to_owned()).await.error().unwrap().is_permanent());
    }
}
