//! A queue and its pods, event by event.
//!
//! Tasks wait in one line, first in, first out; a free slot of any ready pod takes the next at once, a pod picked at
//! random among those with one, as whoever asks first gets it. A pod costs from the moment it is asked for. It takes 2
//! to 5 s until it is ready. A pod that is taken away claims nothing more, ends what it runs and costs until then; no
//! task is cut short. Starting pods go first; then it depends on the rule.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tidemill_core::Counters;

use super::random::Random;
use super::rules::Rule;
use super::traces::Trace;

/// How long it takes until a pod is ready: from the change of the Deployment to the first claim, the image being there.
const STARTS_MS: (u64, u64) = (2_000, 5_000);

/// What a rule can see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) now_ms: u64,
    pub(crate) replicas: u32,
    pub(crate) ready: u32,
    pub(crate) pending: u64,
    pub(crate) active: u64,
    pub(crate) oldest_ms: Option<u64>,
    pub(crate) running_ms: u64,
    pub(crate) counters: Counters,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) p50_ms: u64,
    pub(crate) p95_ms: u64,
    pub(crate) p99_ms: u64,
    pub(crate) longest_ms: u64,
    pub(crate) pod_seconds: u64,
    /// How often the number of pods was changed.
    pub(crate) scalings: u32,
    /// The most pods that were asked for.
    pub(crate) peak: u32,
    pub(crate) tasks: usize,
}

/// Replays `trace` under `rule`.
pub(crate) fn simulate(trace: &Trace, rule: Box<dyn Rule>) -> Figures {
    let mut world = World::new(trace, rule);
    world.run();
    world.figures()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ready(usize),
    Ended { pod: usize, began_ms: u64 },
    Look,
    Woken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Draining,
    Gone,
}

struct Pod {
    phase: Phase,
    asked_ms: u64,
    running: u32,
}

struct World<'a> {
    trace: &'a Trace,
    rule: Box<dyn Rule>,
    random: Random,
    now_ms: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    come: usize,
    line: VecDeque<usize>,
    /// Every pod there ever was; those from `first_living` on may still be there.
    pods: Vec<Pod>,
    first_living: usize,
    replicas: u32,
    active: u64,
    began_sum_ms: u64,
    counters: Counters,
    waits_ms: Vec<u64>,
    pod_ms: u64,
    scalings: u32,
    peak: u32,
    is_waking: bool,
}

impl<'a> World<'a> {
    fn new(trace: &'a Trace, rule: Box<dyn Rule>) -> Self {
        let mut world = Self {
            trace,
            rule,
            random: Random::new(trace.seed ^ u64::MAX),
            now_ms: 0,
            events: BinaryHeap::new(),
            order: 0,
            come: 0,
            line: VecDeque::new(),
            pods: Vec::new(),
            first_living: 0,
            replicas: 0,
            active: 0,
            began_sum_ms: 0,
            counters: Counters::default(),
            waits_ms: Vec::with_capacity(trace.tasks.len()),
            pod_ms: 0,
            scalings: 0,
            peak: 0,
            is_waking: false,
        };
        for _ in 0..world.rule.begins_with() {
            world.add_pod();
        }
        world.later(0, Event::Look);
        world
    }

    fn run(&mut self) {
        while self.now_ms < self.trace.ends_ms || self.waits_ms.len() < self.trace.tasks.len() || self.active > 0 {
            let task_ms = self.trace.tasks.get(self.come).map(|task| task.at_ms);
            let event_ms = self.events.peek().map(|Reverse((at_ms, ..))| *at_ms);
            match (task_ms, event_ms) {
                (Some(task_ms), event_ms) if event_ms.is_none_or(|event_ms| task_ms <= event_ms) => {
                    self.now_ms = task_ms;
                    self.come();
                }
                _ => {
                    let Some(Reverse((at_ms, _, event))) = self.events.pop() else { return };
                    self.now_ms = at_ms;
                    self.happen(event);
                }
            }
        }
    }

    fn come(&mut self) {
        self.line.push_back(self.come);
        self.come += 1;
        self.counters.enqueued += 1;
        self.claim();
        if let (0, false, Some(soon_ms)) = (self.replicas, self.is_waking, self.rule.wakes_after()) {
            self.is_waking = true;
            self.later(soon_ms, Event::Woken);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Ready(pod) if self.pods[pod].phase == Phase::Starting => self.pods[pod].phase = Phase::Ready,
            Event::Ready(_) => {}
            Event::Ended { pod, began_ms } => self.end(pod, began_ms),
            Event::Look => {
                self.look();
                let next_ms = self.rule.looks_next(self.now_ms);
                self.later(next_ms - self.now_ms, Event::Look);
            }
            Event::Woken => {
                self.is_waking = false;
                self.look();
            }
        }
        self.claim();
    }

    /// Free slots take what waits.
    fn claim(&mut self) {
        while !self.line.is_empty() {
            let Some(pod) = self.pod_with_a_slot() else { return };
            let Some(task) = self.line.pop_front() else { return };
            let task = self.trace.tasks[task];
            self.pods[pod].running += 1;
            self.active += 1;
            self.began_sum_ms += self.now_ms;
            self.counters.started += 1;
            self.waits_ms.push(self.now_ms - task.at_ms);
            self.later(task.runs_ms, Event::Ended { pod, began_ms: self.now_ms });
        }
    }

    fn pod_with_a_slot(&mut self) -> Option<usize> {
        let living = self.pods.len() - self.first_living;
        if living == 0 {
            return None;
        }
        let start = usize::try_from(self.random.between(0, living as u64 - 1)).unwrap_or(0);
        (0..living).map(|step| self.first_living + (start + step) % living).find(|pod| {
            let pod = &self.pods[*pod];
            pod.phase == Phase::Ready && pod.running < self.trace.slots_per_pod
        })
    }

    fn end(&mut self, pod: usize, began_ms: u64) {
        self.active -= 1;
        self.began_sum_ms -= began_ms;
        self.counters.succeeded += 1;
        self.counters.ran_ms += self.now_ms - began_ms;
        self.pods[pod].running -= 1;
        if self.pods[pod].phase == Phase::Draining && self.pods[pod].running == 0 {
            self.leave(pod);
        }
    }

    fn look(&mut self) {
        let view = self.view();
        let wanted = self.rule.look(&view);
        if wanted == self.replicas {
            return;
        }
        self.scalings += 1;
        while self.replicas < wanted {
            self.add_pod();
        }
        while self.replicas > wanted {
            self.take_pod();
        }
    }

    fn view(&self) -> View {
        View {
            now_ms: self.now_ms,
            replicas: self.replicas,
            ready: u32::try_from(self.pods.iter().filter(|pod| pod.phase == Phase::Ready).count()).unwrap_or(u32::MAX),
            pending: self.line.len() as u64,
            active: self.active,
            oldest_ms: self.line.front().map(|task| self.now_ms - self.trace.tasks[*task].at_ms),
            running_ms: self.active * self.now_ms - self.began_sum_ms,
            counters: self.counters,
        }
    }

    fn add_pod(&mut self) {
        self.pods.push(Pod { phase: Phase::Starting, asked_ms: self.now_ms, running: 0 });
        self.replicas += 1;
        self.peak = self.peak.max(self.replicas);
        let (least, most) = STARTS_MS;
        let starts_ms = self.random.between(least, most);
        self.later(starts_ms, Event::Ready(self.pods.len() - 1));
    }

    fn take_pod(&mut self) {
        let idle_first = self.rule.takes_idle_first();
        let staying = (self.first_living..self.pods.len())
            .filter(|pod| matches!(self.pods[*pod].phase, Phase::Starting | Phase::Ready));
        let Some(pod) = staying.min_by_key(|pod| {
            let running = if idle_first { self.pods[*pod].running } else { 0 };
            (self.pods[*pod].phase == Phase::Ready, running, Reverse(*pod))
        }) else {
            return;
        };
        self.replicas -= 1;
        if self.pods[pod].running > 0 { self.pods[pod].phase = Phase::Draining } else { self.leave(pod) }
    }

    fn leave(&mut self, pod: usize) {
        self.pods[pod].phase = Phase::Gone;
        self.pod_ms += self.now_ms - self.pods[pod].asked_ms;
        while self.pods.get(self.first_living).is_some_and(|pod| pod.phase == Phase::Gone) {
            self.first_living += 1;
        }
    }

    fn later(&mut self, in_ms: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now_ms + in_ms, self.order, event)));
    }

    fn figures(mut self) -> Figures {
        self.waits_ms.sort_unstable();
        let at = |per_mille: usize| {
            let place = (self.waits_ms.len() * per_mille).div_ceil(1000).max(1) - 1;
            self.waits_ms.get(place).copied().unwrap_or(0)
        };
        let staying = self.pods.iter().filter(|pod| pod.phase != Phase::Gone);
        let pod_ms = self.pod_ms + staying.map(|pod| self.now_ms - pod.asked_ms).sum::<u64>();
        Figures {
            p50_ms: at(500),
            p95_ms: at(950),
            p99_ms: at(990),
            longest_ms: at(1000),
            pod_seconds: pod_ms / 1000,
            scalings: self.scalings,
            peak: self.peak,
            tasks: self.waits_ms.len(),
        }
    }
}
