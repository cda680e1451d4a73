//! Electors in a world where requests are late, lost or answered in vain, processes stand still and start anew, and clocks
//! show and run as they like; over a record with optimistic concurrency. Never do two of them believe that they lead.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::state::{Action, Attempt, Election, Failure, Moment, Record, Timing};
use super::{AGAIN, LEASE, RENEWAL, RETRY};

/// As in the campaign.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// When the last trouble begins, in milliseconds.
const TROUBLE: u64 = 120_000;
/// How long a trouble lasts at most.
const LONGEST: u64 = 20_000;
/// When the world ends: the last trouble is over, a lease has run out, and what was late has come.
const END: u64 = TROUBLE + 2 * LONGEST + 40_000;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
struct Fate {
    there: u64,
    back: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answered,
    RequestLost,
    AnswerLost,
    Refused,
}

#[derive(Debug, Clone, Copy)]
enum Upset {
    /// The process stands still for so long; its clock goes on.
    Pause(u64),
    /// The process is killed, and another starts.
    Restart,
    /// Someone writes an annotation.
    Touch,
    /// Someone deletes the record.
    Delete,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    /// What it shows at the start of the world, in milliseconds.
    offset: u64,
    /// How many seconds it counts in a thousand.
    rate: u64,
    /// What the wall clock shows at the start of the world, in seconds.
    wall: i64,
    /// Whether the wall clock stands still.
    stuck: bool,
}

impl Clock {
    fn shows(self, now: u64) -> Moment {
        Duration::from_micros(self.offset * 1_000 + now * self.rate)
    }

    /// When it has come to show this, rounded up.
    fn when(self, shown: Moment) -> u64 {
        let micros = u64::try_from(shown.as_micros()).unwrap().saturating_sub(self.offset * 1_000);
        micros.div_ceil(self.rate)
    }

    fn wall(self, now: u64) -> Timestamp {
        let micros = if self.stuck { 0 } else { i64::try_from(now).unwrap() * 1_000 };
        Timestamp::from_microsecond(self.wall * 1_000_000 + micros).unwrap()
    }
}

#[derive(Debug, Clone)]
enum Request {
    Read,
    Write(Attempt, Timestamp),
}

#[derive(Debug, Clone)]
enum Answer {
    Seen(Option<Record>),
    Written(Record),
    Failed(Failure),
}

#[derive(Debug, Clone)]
enum Event {
    Waited(Turn),
    Arrived(Turn, Request, Fate, Moment),
    Answered(Turn, Answer, Moment),
    TimedOut(Turn),
    Upset(usize, Upset),
}

/// Which turn of which life of which elector an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    node: usize,
    life: u32,
    step: u32,
}

struct Node {
    clock: Clock,
    election: Election,
    turn: Turn,
    paused_until: u64,
}

struct World {
    now: u64,
    events: BTreeMap<(u64, u64), Event>,
    sent: u64,
    record: Option<Record>,
    version: u64,
    nodes: Vec<Node>,
    fates: std::vec::IntoIter<Fate>,
    leaders: Vec<String>,
}

fn election(turn: Turn) -> Election {
    let timing = Timing { lease: LEASE, renewal: RENEWAL, retry: RETRY, again: AGAIN };
    Election::new(format!("{}.{}", turn.node, turn.life), timing)
}

impl World {
    fn new(clocks: &[Clock], fates: Vec<Fate>, upsets: Vec<(u64, usize, Upset)>) -> Self {
        let mut world = Self {
            now: 0,
            events: BTreeMap::new(),
            sent: 0,
            record: None,
            version: 0,
            nodes: Vec::new(),
            fates: fates.into_iter(),
            leaders: Vec::new(),
        };
        for (node, clock) in clocks.iter().enumerate() {
            let turn = Turn { node, life: 0, step: 0 };
            world.nodes.push(Node { clock: *clock, election: election(turn), turn, paused_until: 0 });
            world.at(0, Event::Waited(turn));
        }
        for (at, node, upset) in upsets {
            world.at(at, Event::Upset(node % clocks.len(), upset));
        }
        world
    }

    /// As after days of service: everyone has seen the record, which a process that is gone left behind.
    fn settled(mut self) -> Self {
        self.version = 1;
        self.record = Some(Record {
            version: "1".to_owned(),
            uid: "1".to_owned(),
            holder: Some("gone".to_owned()),
            renewed: None,
            transitions: 7,
            lasts: LEASE,
        });
        for node in &mut self.nodes {
            node.election.note(self.record.clone(), node.clock.shows(0));
        }
        self
    }

    fn at(&mut self, at: u64, event: Event) {
        self.sent += 1;
        self.events.insert((at, self.sent), event);
    }

    /// Lets time pass, and says who leads at the end.
    fn run(&mut self, end: u64) -> Option<String> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > end {
                self.at(at, event);
                break;
            }
            self.now = at;
            self.happen(event);
            self.leader();
        }
        self.now = end;
        self.leader()
    }

    /// Who believes to lead: one at most.
    fn leader(&self) -> Option<String> {
        let leads = |node: &&Node| node.election.leads(node.clock.shows(self.now));
        let leaders: Vec<Turn> = self.nodes.iter().filter(leads).map(|node| node.turn).collect();
        assert!(leaders.len() <= 1, "at {} ms {leaders:?} all lead", self.now);
        leaders.first().map(|turn| format!("{}.{}", turn.node, turn.life))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Upset(node, upset) => self.upset(node, upset),
            Event::Arrived(turn, request, fate, begun) => {
                let answer =
                    if fate.kind == Kind::Refused { Answer::Failed(Failure::Unknown) } else { self.serve(request) };
                if fate.kind != Kind::AnswerLost {
                    self.at(self.now + fate.back, Event::Answered(turn, answer, begun));
                }
            }
            Event::Waited(turn) | Event::TimedOut(turn) | Event::Answered(turn, ..) => {
                let node = &mut self.nodes[turn.node];
                if node.turn != turn {
                    return;
                }
                if node.paused_until > self.now {
                    let until = node.paused_until;
                    self.at(until, event);
                    return;
                }
                let led = node.election.leads_until().is_some();
                let now = node.clock.shows(self.now);
                let action = match event {
                    Event::Answered(_, Answer::Seen(record), _) => node.election.observe(record, now),
                    Event::Answered(_, Answer::Written(record), begun) => node.election.wrote(record, begun, now),
                    Event::Answered(_, Answer::Failed(failure), _) => node.election.failed(failure, now),
                    Event::TimedOut(_) => node.election.failed(Failure::Unknown, now),
                    _ => node.election.resume(now),
                };
                if !led && node.election.leads_until().is_some() {
                    self.leaders.push(format!("{}.{}", turn.node, turn.life));
                }
                self.act(turn.node, action);
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        let node = &mut self.nodes[index];
        node.turn.step += 1;
        let (turn, clock, begun) = (node.turn, node.clock, node.clock.shows(self.now));
        let request = match action {
            Action::Wait(until) => return self.at(clock.when(until).max(self.now), Event::Waited(turn)),
            Action::Look | Action::Lost(_) => Request::Read,
            Action::Acquire(attempt) | Action::Renew(attempt) => Request::Write(attempt, clock.wall(self.now)),
        };
        let patience = begun + REQUEST_TIMEOUT;
        let patience = node.election.leads_until().map_or(patience, |until| patience.min(until));
        let troubled = if self.now < TROUBLE { self.fates.next() } else { None };
        let fate = troubled.unwrap_or(Fate { there: 3, back: 3, kind: Kind::Answered });
        if fate.kind != Kind::RequestLost {
            self.at(self.now + fate.there, Event::Arrived(turn, request, fate, begun));
        }
        self.at(clock.when(patience), Event::TimedOut(turn));
    }

    fn serve(&mut self, request: Request) -> Answer {
        let Request::Write(attempt, wall) = request else { return Answer::Seen(self.record.clone()) };
        let same =
            self.record.as_ref().map(|record| &record.version) == attempt.base.as_ref().map(|base| &base.version);
        if !same {
            return Answer::Failed(Failure::Conflict);
        }
        let mut record = Record {
            version: self.version.to_string(),
            uid: self.record.as_ref().map_or_else(|| self.version.to_string(), |record| record.uid.clone()),
            holder: attempt.holder,
            renewed: Some(wall),
            transitions: attempt.transitions,
            lasts: LEASE,
        };
        // What changes nothing is not stored.
        if self.record.as_ref() != Some(&record) {
            self.version += 1;
            record.version = self.version.to_string();
            self.record = Some(record.clone());
        }
        Answer::Written(record)
    }

    fn upset(&mut self, index: usize, upset: Upset) {
        let now = self.now;
        match upset {
            Upset::Pause(span) => {
                let node = &mut self.nodes[index];
                node.paused_until = node.paused_until.max(now + span);
            }
            Upset::Restart => {
                let node = &mut self.nodes[index];
                node.turn = Turn { node: index, life: node.turn.life + 1, step: 0 };
                node.election = election(node.turn);
                node.paused_until = 0;
                let turn = node.turn;
                self.at(now, Event::Waited(turn));
            }
            Upset::Touch => {
                self.version += 1;
                let version = self.version.to_string();
                if let Some(record) = &mut self.record {
                    record.version = version;
                }
            }
            Upset::Delete => {
                self.version += 1;
                self.record = None;
            }
        }
    }
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 1..100_u64, 3 => 100..3_000_u64, 1 => 3_000..LONGEST]
}

fn fate() -> impl Strategy<Value = Fate> {
    let kind = prop_oneof![
        12 => Just(Kind::Answered),
        1 => Just(Kind::RequestLost),
        2 => Just(Kind::AnswerLost),
        1 => Just(Kind::Refused),
    ];
    (span(), span(), kind).prop_map(|(there, back, kind)| Fate { there, back, kind })
}

/// Rates differ by up to a third in all, which is what the margin between term and lease allows for and a little less.
fn clock(stuck: impl Strategy<Value = bool>) -> impl Strategy<Value = Clock> {
    let offset = 0..1_000_000_000_u64;
    let wall = -2_000_000_000..4_000_000_000_i64;
    (offset, 850..=1_150_u64, wall, stuck).prop_map(|(offset, rate, wall, stuck)| Clock { offset, rate, wall, stuck })
}

fn upsets(upset: impl Strategy<Value = Upset>) -> impl Strategy<Value = Vec<(u64, usize, Upset)>> {
    proptest::collection::vec((0..TROUBLE, 0..8_usize, upset), 0..16)
}

fn pause() -> impl Strategy<Value = Upset> {
    (1..LONGEST).prop_map(Upset::Pause)
}

proptest! {
    #[test]
    fn no_two_lead_at_once_and_one_leads_once_trouble_is_over(
        clocks in proptest::collection::vec(clock(Just(false)), 2..5),
        fates in proptest::collection::vec(fate(), 0..300),
        upsets in upsets(prop_oneof![3 => pause(), 2 => Just(Upset::Restart), 1 => Just(Upset::Touch)]),
    ) {
        let mut world = World::new(&clocks, fates, upsets);
        prop_assert!(world.run(END).is_some(), "nobody leads in the end");
    }

    #[test]
    fn no_two_lead_at_once_though_wall_clocks_stand_still(
        clocks in proptest::collection::vec(clock(any::<bool>()), 2..4),
        fates in proptest::collection::vec(fate(), 0..100),
        upsets in upsets(pause()),
    ) {
        World::new(&clocks, fates, upsets).run(END);
    }

    #[test]
    fn no_two_lead_at_once_though_the_record_is_deleted(
        clocks in proptest::collection::vec(clock(Just(false)), 2..4),
        fates in proptest::collection::vec(fate(), 0..200),
        mut upsets in upsets(pause()),
        deleted in 0..TROUBLE,
    ) {
        upsets.push((deleted, 0, Upset::Delete));
        let mut world = World::new(&clocks, fates, upsets).settled();
        prop_assert!(world.run(END).is_some(), "nobody leads in the end");
    }
}

const PLAIN: Clock = Clock { offset: 0, rate: 1_000, wall: 0, stuck: false };

#[test]
fn without_trouble_the_first_leads_on() {
    let mut world = World::new(&[PLAIN; 3], Vec::new(), Vec::new());
    let leader = world.run(100);
    assert!(leader.is_some());
    assert_eq!(world.run(END), leader);
    assert_eq!(world.leaders.len(), 1, "{:?}", world.leaders);
}

#[test]
fn a_leader_that_dies_at_any_moment_is_followed_within_thirteen_seconds() {
    for died in (20_000..24_000).step_by(50) {
        let mut world = World::new(&[PLAIN; 2], Vec::new(), Vec::new());
        let leader = world.run(died).unwrap();
        let dead: usize = leader[..1].parse().unwrap();
        world.upset(dead, Upset::Restart);
        // Killed for good: it does nothing from here on.
        world.upset(dead, Upset::Pause(END));
        let follower = world.run(died + 13_000);
        assert_eq!(follower, Some(format!("{}.0", 1 - dead)), "died at {died} ms");
    }
}

#[test]
fn a_leader_paused_beyond_its_term_finds_on_waking_that_it_leads_no_more() {
    let mut world = World::new(&[PLAIN; 2], Vec::new(), Vec::new());
    let first = world.run(20_000).unwrap();
    world.upset(first[..1].parse().unwrap(), Upset::Pause(60_000));
    let second = world.run(60_000);
    assert!(second.is_some() && second.as_ref() != Some(&first));
    assert_eq!(world.run(END), second);
    assert_eq!(world.leaders.len(), 2, "{:?}", world.leaders);
}
