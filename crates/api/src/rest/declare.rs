//! One task as `POST /enqueue` takes it: members in any letter case, each checked, all faults with their place.

use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidemill_core::policy::{DELAY_MS_MAX, DURATION_MS_MAX, RETRIES_MAX, TIMEOUT_MS_MAX};
use tidemill_core::{NewTask, Priority, QueueName, Start, TaskId, TaskType, suggest};
use uuid::Uuid;

use crate::error::Faults;
use crate::json::{self, Members};

/// The members of a task.
const MEMBERS: [&str; 9] =
    ["type", "retries", "payload", "id", "queue", "delay_ms", "run_at", "priority", "timeout_ms"];
/// The shortest time that an attempt may be given, in milliseconds.
const TIMEOUT_MS_MIN: i64 = 1;

/// A task and the queue that it names.
pub(crate) struct Declared {
    pub(crate) task: NewTask,
    pub(crate) queue: Option<QueueName>,
}

/// Where the members stand by their right name.
#[derive(Default)]
struct Slots<'a>([Option<&'a RawValue>; MEMBERS.len()]);

impl<'a> Slots<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let place = MEMBERS.iter().position(|member| *member == name)?;
        self.0[place].filter(|raw| raw.get() != "null")
    }
}

/// Reads one task. `at` is the pointer to it; `now_ms` bounds how far ahead `run_at` may be.
pub(crate) fn read(members: &Members<'_>, at: &str, now_ms: u64, faults: &mut Faults) -> Option<Declared> {
    let slots = sort(members, at, faults);
    let mut reader = Reader { slots: &slots, at, faults };
    let task_type = reader.task_type();
    let payload = reader.payload();
    let id = match slots.get("id") {
        Some(_) => reader.parsed::<TaskId>("id"),
        None => Some(TaskId::from_uuid(Uuid::now_v7())),
    };
    let queue = reader.parsed::<QueueName>("queue");
    let retries = reader.whole("retries", 0, i64::from(RETRIES_MAX));
    let timeout_ms = reader.whole("timeout_ms", TIMEOUT_MS_MIN, bound(TIMEOUT_MS_MAX));
    let priority = reader.whole("priority", -100, 100).map_or(Ok(Priority::NORMAL), Priority::new);
    let start = reader.start(now_ms);
    let (Some(task_type), Some(payload), Some(id), Ok(priority)) = (task_type, payload, id, priority) else {
        return None;
    };
    let task = NewTask {
        start,
        priority,
        retries: retries.and_then(|number| u16::try_from(number).ok()),
        timeout_ms: timeout_ms.and_then(|number| u64::try_from(number).ok()),
        duration_ms: declared_duration(payload),
        ..NewTask::new(id, task_type, Bytes::copy_from_slice(payload.get().as_bytes()))
    };
    Some(Declared { task, queue })
}

fn sort<'a>(members: &Members<'a>, at: &str, faults: &mut Faults) -> Slots<'a> {
    let mut slots = Slots::default();
    for (name, raw) in &members.list {
        let pointer = || json::pointer(at, name);
        match MEMBERS.iter().position(|member| member.eq_ignore_ascii_case(name)) {
            Some(place) if slots.0[place].is_some() => {
                faults.at(pointer(), format!("{:?} stands twice (letter case makes no difference)", MEMBERS[place]));
            }
            Some(place) => slots.0[place] = Some(raw),
            None => {
                let near = suggest::nearest(name, MEMBERS, 1);
                let hint = match near.first() {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("the members of a task are {}", MEMBERS.join(", ")),
                };
                faults.at(pointer(), format!("unknown member {name:?}; {hint}"));
            }
        }
    }
    slots
}

struct Reader<'a, 'f> {
    slots: &'f Slots<'a>,
    at: &'f str,
    faults: &'f mut Faults,
}

impl<'a> Reader<'a, '_> {
    fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.at(json::pointer(self.at, name), detail);
    }

    fn task_type(&mut self) -> Option<TaskType> {
        let text = match self.slots.get("type").map(json::text) {
            None => String::new(),
            Some(Ok(text)) => text,
            Some(Err(wrong)) => {
                self.fault("type", format!("type {wrong}"));
                return None;
            }
        };
        TaskType::new(text.trim()).map_err(|error| self.fault("type", error.to_string())).ok()
    }

    fn payload(&mut self) -> Option<&'a RawValue> {
        let Some(raw) = self.slots.get("payload") else {
            self.fault("payload", "payload is empty");
            return None;
        };
        if !raw.get().starts_with('{') {
            self.fault("payload", format!("payload must be a JSON object, not {}", json::shown(raw)));
            return None;
        }
        if json::too_deep(raw.get()) {
            self.fault("payload", "payload is nested more than 100 deep");
            return None;
        }
        Some(raw)
    }

    fn parsed<T: FromStr<Err: ToString>>(&mut self, name: &str) -> Option<T> {
        let raw = self.slots.get(name)?;
        let parsed = json::text(raw)
            .map_err(|wrong| format!("{name} {wrong}"))
            .and_then(|text| text.parse().map_err(|error: T::Err| error.to_string()));
        parsed.map_err(|wrong| self.fault(name, wrong)).ok()
    }

    fn whole(&mut self, name: &str, min: i64, max: i64) -> Option<i64> {
        let raw = self.slots.get(name)?;
        json::whole(raw, min, max).map_err(|wrong| self.fault(name, format!("{name} {wrong}"))).ok()
    }

    fn start(&mut self, now_ms: u64) -> Start {
        let delay = self.whole("delay_ms", 0, bound(DELAY_MS_MAX));
        let Some(raw) = self.slots.get("run_at") else {
            return match delay.and_then(|ms| u64::try_from(ms).ok()) {
                None | Some(0) => Start::Now,
                Some(ms) => Start::AfterMs(ms),
            };
        };
        if self.slots.get("delay_ms").is_some() {
            self.fault("run_at", "delay_ms and run_at exclude each other; send one of them");
            return Start::Now;
        }
        match moment(raw) {
            Some(at) if at > now_ms.saturating_add(DELAY_MS_MAX) => {
                self.fault("run_at", "run_at is more than 366 days ahead");
                Start::Now
            }
            Some(at) => Start::AtMs(at),
            None => {
                let shown = json::shown(raw);
                let wanted = "a time such as \"2027-01-31T09:30:00Z\", or milliseconds since 1970";
                self.fault("run_at", format!("run_at must be {wanted}, not {shown}"));
                Start::Now
            }
        }
    }
}

fn moment(raw: &RawValue) -> Option<u64> {
    match json::text(raw) {
        Ok(text) => u64::try_from(text.parse::<Timestamp>().ok()?.as_millisecond().max(0)).ok(),
        Err(_) => raw.get().parse().ok(),
    }
}

/// `duration_ms` of a payload, where it is a whole number of a day at most.
fn declared_duration(payload: &RawValue) -> u32 {
    #[derive(Deserialize)]
    struct Duration<'a> {
        #[serde(borrow)]
        duration_ms: Option<&'a RawValue>,
    }
    serde_json::from_str::<Duration<'_>>(payload.get())
        .ok()
        .and_then(|declared| json::whole(declared.duration_ms?, 0, i64::from(DURATION_MS_MAX)).ok())
        .and_then(|ms| u32::try_from(ms).ok())
        .unwrap_or(0)
}

fn bound(max: u64) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_core::Problem;

    const NOW_MS: u64 = 1_790_000_000_000;

    fn check(body: &str) -> Result<Declared, Problem> {
        let members: Members<'_> = json::read(body.as_bytes()).unwrap();
        let mut faults = Faults::default();
        let declared = read(&members, "", NOW_MS, &mut faults);
        if faults.is_empty() { Ok(declared.unwrap()) } else { Err(faults.refuse().into_problem()) }
    }

    #[test]
    fn names_match_in_any_letter_case() {
        let declared = check(r#"{"TYPE":"mail","Retries":3,"PayLoad":{"to":"a@b", "duration_ms": 250}}"#).unwrap();
        assert_eq!(declared.task.task_type.as_str(), "mail");
        assert_eq!(declared.task.retries, Some(3));
        assert_eq!(declared.task.duration_ms, 250);
        assert_eq!(declared.task.payload, r#"{"to":"a@b", "duration_ms": 250}"#);
    }

    #[test]
    fn what_is_wrong_is_said_in_words_at_its_place() {
        for (body, pointer, detail) in [
            (r#"{"type":"mail"}"#, "/payload", "payload is empty"),
            (r#"{"type":"mail","payload":null}"#, "/payload", "payload is empty"),
            (r#"{"type":"","payload":{}}"#, "/type", "task type is empty"),
            (r#"{"type":" ","payload":{}}"#, "/type", "task type is empty"),
            (r#"{"payload":{}}"#, "/type", "task type is empty"),
            (r#"{"type":7,"payload":{}}"#, "/type", "type must be a string, not 7"),
            (r#"{"type":"a","payload":[1]}"#, "/payload", "payload must be a JSON object, not [1]"),
            (
                r#"{"type":"a","payload":{},"payloads":1}"#,
                "/payloads",
                "unknown member \"payloads\"; did you mean \"payload\"?",
            ),
            (
                r#"{"type":"a","Type":"b","payload":{}}"#,
                "/Type",
                "\"type\" stands twice (letter case makes no difference)",
            ),
            (
                r#"{"type":"a","payload":{},"retries":-1}"#,
                "/retries",
                "retries must be a whole number from 0 to 1000, not -1",
            ),
            (
                r#"{"type":"a","payload":{},"priority":101}"#,
                "/priority",
                "priority must be a whole number from -100 to 100, not 101",
            ),
            (
                r#"{"type":"a","payload":{},"delay_ms":1,"run_at":2}"#,
                "/run_at",
                "delay_ms and run_at exclude each other; send one of them",
            ),
            (
                r#"{"type":"a","payload":{},"id":""}"#,
                "/id",
                "task id is empty; an id has 1 to 128 printable characters",
            ),
        ] {
            let problem = check(body).err().unwrap_or_else(|| panic!("{body} is taken"));
            assert_eq!((problem.errors[0].pointer.as_str(), problem.detail.as_str()), (pointer, detail), "{body}");
        }
    }

    #[test]
    fn a_start_is_a_delay_or_a_time() {
        let start = |member: &str| check(&format!(r#"{{"type":"a","payload":{{}},{member}}}"#)).map(|it| it.task.start);
        assert_eq!(start(r#""delay_ms":500"#).unwrap(), Start::AfterMs(500));
        assert_eq!(start(r#""run_at":1790000000500"#).unwrap(), Start::AtMs(1_790_000_000_500));
        let text = start(r#""run_at":"2026-11-22T02:00:00.250+01:00""#).unwrap();
        assert_eq!(text, Start::AtMs(1_795_309_200_250));
        assert!(start(r#""run_at":"tomorrow""#).is_err());
        assert!(start(r#""run_at":"2199-01-01T00:00:00Z""#).is_err());
    }

    #[test]
    fn a_task_without_an_id_gets_one() {
        let first = check(r#"{"type":"a","payload":{}}"#).unwrap().task.id;
        let second = check(r#"{"type":"a","payload":{},"id":null}"#).unwrap().task.id;
        assert_eq!(first.as_str().len(), 36);
        assert_ne!(first, second);
    }
}
