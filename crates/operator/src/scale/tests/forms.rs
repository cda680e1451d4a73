//! How decisions look in a status and on a terminal.

use schemars::schema_for;
use serde_json::{Value, json};

use super::super::{Limit, Reason, explain};
use super::*;

fn limited() -> Decision {
    let mut queue = Queue::new(Policy { max_replicas: 5, ..policy() }, 0);
    let due = Some(Duration::from_mins(5));
    let oldest = Some(Duration::from_millis(1250));
    queue.look(Sample { pending: 1000, delayed: 2, next_due: due, oldest_pending: oldest, ..sample(0) })
}

#[test]
fn a_decision_is_plain_camel_case_json() {
    let expected = json!({
        "replicas": 5, "wanted": 10, "reason": "Backlog", "limitedBy": "MaxReplicas", "lookAgainMs": 270_000,
        "inputs": {
            "replicas": 0, "ready": 0, "pending": 1000, "active": 0, "later": 2, "oldestPendingMs": 1250,
            "nextDueMs": 300_000, "arrivalsPerSecondMilli": 0, "measured": 0, "demandSlotsMilli": 100_000,
            "slotsPerPod": 10, "windowReplicas": 11,
        },
    });
    let decision = limited();
    assert_eq!(serde_json::to_value(&decision).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Decision>(expected).unwrap(), decision);
}

#[test]
fn its_schema_has_whole_numbers_only() {
    let schema = serde_json::to_string(&schema_for!(Decision)).unwrap();
    assert!(schema.contains("lookAgainMs") && schema.contains("integer"), "{schema}");
    assert!(!schema.contains("\"number\""), "{schema}");
}

#[test]
fn every_reason_is_one_short_sentence_and_a_word() {
    for reason in Reason::ALL {
        let sentence = reason.to_string();
        assert!(sentence.ends_with('.') && sentence.len() <= 100 && !sentence.contains(". "), "{sentence}");
        assert_eq!(serde_json::to_value(reason).unwrap(), Value::from(reason.as_str()));
    }
    for limit in [Limit::MinReplicas, Limit::MaxReplicas, Limit::MaxStep] {
        assert!(limit.to_string().ends_with('.'));
        assert_eq!(serde_json::to_value(limit).unwrap(), Value::from(limit.as_str()));
    }
}

#[test]
fn an_explanation_says_what_why_and_from_what() {
    let expected = "\
5 pods (Backlog): Tasks are waiting and too few have ended to know how long one takes, so they are counted.
  limited:   scaling.maxReplicas allows no more.
  queue:     1000 pending, 0 active, 2 later
  oldest:    waits for 1.2 s
  next due:  in 5 min 0 s
  measured:  0.0 arrivals/s, not known yet each, from 0 ended attempts
  demand:    100 slots, 10 a pod: 10 pods wanted, 0 asked for, 0 ready, 11 at most within the window
  next look: in 4 min 30 s at the latest
";
    assert_eq!(explain(&limited()), expected);
}
