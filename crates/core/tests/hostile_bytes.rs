//! Bytes from outside: whatever they are, they are read or refused, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test code fails by panicking

use proptest::collection::vec;
use proptest::prelude::*;
use tidemill_core::envelope::{FORMAT, body};
use tidemill_core::*;

fn task() -> impl Strategy<Value = NewTask> {
    let policy = (any::<i8>(), any::<Option<u16>>(), any::<Option<(u32, u32)>>(), any::<Option<u64>>());
    (policy, "[a-z][a-z0-9._-]{0,30}[a-z0-9]", "\\PC{0,80}", any::<u32>(), vec(any::<u8>(), 0..200)).prop_map(
        |((priority, retries, backoff, timeout_ms), task_type, trace, duration_ms, payload)| NewTask {
            priority: Priority::new(i64::from(priority) % 101).unwrap(),
            retries,
            backoff: backoff.map(|(initial_ms, max_ms)| Backoff { initial_ms, max_ms }),
            timeout_ms,
            duration_ms,
            traceparent: (!trace.is_empty()).then_some(trace),
            ..NewTask::new(TaskId::new("a").unwrap(), TaskType::new(task_type).unwrap(), payload)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_record_reads_what_was_written(task in task(), request in any::<[u8; 8]>(), now_ms in 0..1_u64 << 48) {
        let record = Record::decode(&Record::stamp(&body(&task, RequestId(request)).unwrap(), now_ms).into()).unwrap();
        prop_assert_eq!(record.enqueued_at_ms, now_ms);
        prop_assert_eq!((record.priority, record.duration_ms), (task.priority, task.duration_ms));
        prop_assert_eq!((record.retries, record.backoff, record.timeout_ms), (task.retries, task.backoff, task.timeout_ms));
        prop_assert_eq!((record.request, record.traceparent), (RequestId(request), task.traceparent));
        prop_assert_eq!((record.task_type, record.payload), (task.task_type, task.payload));
    }

    #[test]
    fn any_bytes_are_a_record_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        drop(Record::decode(&bytes.clone().into()));
        let stamped: Vec<u8> = std::iter::once(FORMAT).chain(bytes).collect();
        if let Ok(record) = Record::decode(&stamped.clone().into()) {
            prop_assert!(stamped.ends_with(&record.payload));
        }
    }

    #[test]
    fn a_damaged_record_is_a_record_or_refused(
        task in task(),
        cut in any::<prop::sample::Index>(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = Record::stamp(&body(&task, RequestId([7; 8])).unwrap(), 1);
        for (place, byte) in damages {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        drop(Record::decode(&bytes.clone().into()));
        bytes.truncate(cut.index(bytes.len() + 1));
        drop(Record::decode(&bytes.into()));
    }

    #[test]
    fn a_record_of_another_format_is_refused_in_words(format in any::<u8>(), bytes in vec(any::<u8>(), 0..60)) {
        prop_assume!(format == 0 || format > FORMAT);
        let all: Vec<u8> = std::iter::once(format).chain(bytes).collect();
        let said = Record::decode(&all.into()).unwrap_err().to_string();
        prop_assert!(said.contains(&format!("format {format}")), "{}", said);
    }

    #[test]
    fn a_text_that_is_taken_for_a_name_is_written_as_it_was_read(text in "\\PC{0,140}|(?s).{0,140}") {
        if let Ok(id) = text.parse::<TaskId>() {
            prop_assert_eq!(id.as_str(), text.as_str());
            prop_assert!(!text.chars().any(char::is_control) && (1..=128).contains(&text.chars().count()));
        }
        if let Ok(name) = text.parse::<QueueName>() {
            prop_assert_eq!(name.as_str(), text.as_str());
            prop_assert!(!text.contains(['{', '}', ':', ' ', '\n']), "a queue's name is part of a key: {:?}", text);
        }
        if let Ok(name) = text.parse::<TaskType>() {
            prop_assert_eq!(name.as_str(), text.as_str());
        }
        drop((text.parse::<State>(), text.parse::<WorkerId>(), text.parse::<ClaimToken>()));
    }

    #[test]
    fn settings_and_what_workers_say_are_read_from_any_json_or_refused(text in "\\PC{0,200}") {
        drop(serde_json::from_str::<QueueSettings>(&text));
        drop(serde_json::from_str::<WorkerInfo>(&text));
        drop(serde_json::from_str::<QueueOwner>(&text));
        drop(serde_json::from_str::<Progress>(&text));
    }

    #[test]
    fn retry_times_are_bounded_by_whatever_policy_was_stored(
        initial_ms in any::<u32>(), max_ms in any::<u32>(), failures in any::<u32>(), unit in 0.0..1.0_f64,
    ) {
        let backoff = Backoff { initial_ms, max_ms };
        prop_assert!(backoff.delay_ms(failures, unit) <= u64::from(max_ms));
    }

    #[test]
    fn any_lease_has_an_outage_within_it(lease_ms in any::<u32>()) {
        let settings = QueueSettings { lease_ms, ..QueueSettings::default() };
        prop_assert!(settings.outage_ms() <= u64::from(lease_ms).max(1));
    }
}
