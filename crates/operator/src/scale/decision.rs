//! What the autoscaler answers, in a form that goes into a status and onto a terminal.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::millis;

/// How many pods, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// How many pods the Deployment should ask for.
    pub replicas: u32,
    /// How many the work alone asks for, before limits and stabilization.
    pub wanted: u32,
    /// Why that many.
    pub reason: Reason,
    /// Which limit of the spec made it another number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
    /// What the answer was reckoned from.
    pub inputs: Inputs,
    /// After that many milliseconds at the latest the answer may change by the passing of time alone; absent when
    /// only news of the queue can change it.
    #[serde(rename = "lookAgainMs", default, skip_serializing_if = "Option::is_none", with = "millis")]
    #[schemars(with = "Option<u64>")]
    pub look_again: Option<Duration>,
}

/// Why there are as many pods as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Reason {
    /// `mode: Manual`.
    Manual,
    /// The broker could not be asked.
    NoData,
    /// The queue is paused.
    Paused,
    /// Nothing to do.
    Idle,
    /// Nothing to do yet.
    DueSoon,
    /// Tasks are waiting, and too few have ended to know how long one takes.
    Backlog,
    /// More tasks are waiting than the arrival rate alone accounts for.
    Burst,
    /// The arrival rate.
    Work,
    /// Running tasks hold their slots.
    InFlight,
    /// Fewer would do, but not with a tenth to spare, or not for long enough yet.
    Stabilizing,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 10] = [
        Self::Manual,
        Self::NoData,
        Self::Paused,
        Self::Idle,
        Self::DueSoon,
        Self::Backlog,
        Self::Burst,
        Self::Work,
        Self::InFlight,
        Self::Stabilizing,
    ];

    /// The word that stands in a status or a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "Manual",
            Self::NoData => "NoData",
            Self::Paused => "Paused",
            Self::Idle => "Idle",
            Self::DueSoon => "DueSoon",
            Self::Backlog => "Backlog",
            Self::Burst => "Burst",
            Self::Work => "Work",
            Self::InFlight => "InFlight",
            Self::Stabilizing => "Stabilizing",
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manual => "The spec says how many pods there are; the autoscaler is off.",
            Self::NoData => "The broker does not answer, so the number of pods stays as it is.",
            Self::Paused => "The queue is paused: only tasks that are running count, and waiting ones stay.",
            Self::Idle => "Nothing is waiting, running or due soon.",
            Self::DueSoon => "Nothing is waiting or running, but a task is due soon, so a pod is made ready for it.",
            Self::Backlog => {
                "Tasks are waiting and too few have ended to know how long one takes, so they are counted."
            }
            Self::Burst => {
                "More tasks are waiting than arrivals account for, so pods are added to meet the target wait."
            }
            Self::Work => "This many pods keep up with the tasks that arrive.",
            Self::InFlight => "Running tasks need their slots.",
            Self::Stabilizing => "Fewer pods would do, but not with room to spare throughout the stabilization window.",
        })
    }
}

/// The limit of a spec that an answer ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Limit {
    /// `scaling.minReplicas`: fewer were wanted.
    MinReplicas,
    /// `scaling.maxReplicas`: more were wanted.
    MaxReplicas,
    /// `scaling.scaleUp.maxStep`: more were wanted at once.
    MaxStep,
}

impl Limit {
    /// The word that stands in a status or a metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MinReplicas => "MinReplicas",
            Self::MaxReplicas => "MaxReplicas",
            Self::MaxStep => "MaxStep",
        }
    }
}

impl Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MinReplicas => "scaling.minReplicas keeps more than the work asks for.",
            Self::MaxReplicas => "scaling.maxReplicas allows no more.",
            Self::MaxStep => "scaling.scaleUp.maxStep lets further pods start only when these are ready.",
        })
    }
}

/// What a decision was reckoned from. Whole numbers; rates and slots in thousandths. None exceeds 2^53 - 1.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Inputs {
    /// Pods that the Deployment asked for.
    pub replicas: u32,
    /// Pods that were ready.
    pub ready: u32,
    /// Tasks that waited for a slot.
    pub pending: u64,
    /// Tasks that ran.
    pub active: u64,
    /// Tasks that were not due yet, those between two attempts included.
    pub later: u64,
    /// How long the head of the queue had waited, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_pending_ms: Option<u64>,
    /// Until the next task is due, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due_ms: Option<u64>,
    /// Attempts that became due per second, in thousandths, averaged over the last minute or so.
    pub arrivals_per_second_milli: u64,
    /// How long an attempt takes, in milliseconds; absent when nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_ms: Option<u64>,
    /// How many ended attempts the service time rests on.
    pub measured: u64,
    /// Slots that the work asks for, in thousandths.
    pub demand_slots_milli: u64,
    /// Slots of a pod.
    pub slots_per_pod: u32,
    /// The most pods that were asked for within the stabilization window.
    pub window_replicas: u32,
}

/// A decision in a few lines, for a terminal.
pub fn explain(decision: &Decision) -> String {
    let Decision { replicas, wanted, reason, limited_by, inputs, look_again } = decision;
    let mut text = format!("{} ({}): {reason}\n", pods(*replicas), reason.as_str());
    if let Some(limit) = limited_by {
        line(&mut text, format_args!("limited:   {limit}"));
    }
    line(
        &mut text,
        format_args!("queue:     {} pending, {} active, {} later", inputs.pending, inputs.active, inputs.later),
    );
    if let Some(oldest) = inputs.oldest_pending_ms {
        line(&mut text, format_args!("oldest:    waits for {}", Span(oldest)));
    }
    if let Some(due) = inputs.next_due_ms {
        line(&mut text, format_args!("next due:  in {}", Span(due)));
    }
    let service = inputs.service_ms.map_or_else(|| "not known yet".to_owned(), |ms| Span(ms).to_string());
    line(
        &mut text,
        format_args!(
            "measured:  {} arrivals/s, {service} each, from {} ended attempts",
            Milli(inputs.arrivals_per_second_milli),
            inputs.measured
        ),
    );
    line(
        &mut text,
        format_args!(
            "demand:    {} slots, {} a pod: {} wanted, {} asked for, {} ready, {} at most within the window",
            Milli(inputs.demand_slots_milli),
            inputs.slots_per_pod,
            pods(*wanted),
            inputs.replicas,
            inputs.ready,
            inputs.window_replicas
        ),
    );
    if let Some(again) = look_again {
        line(&mut text, format_args!("next look: in {} at the latest", Span(millis::of(*again))));
    }
    text
}

fn line(text: &mut String, what: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    writeln!(text, "  {what}").unwrap_or_default();
}

fn pods(count: u32) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

/// Thousandths, with one decimal below ten.
struct Milli(u64);

impl Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_add(50) / 100;
        if tenths < 100 {
            write!(f, "{}.{}", tenths / 10, tenths % 10)
        } else {
            write!(f, "{}", self.0.saturating_add(500) / 1000)
        }
    }
}

/// Milliseconds, rounded for reading.
struct Span(u64);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1000 => write!(f, "{ms} ms"),
            ms @ 1000..60_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 60_000..3_600_000 => write!(f, "{} min {} s", ms / 60_000, ms % 60_000 / 1000),
            ms => write!(f, "{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        }
    }
}
