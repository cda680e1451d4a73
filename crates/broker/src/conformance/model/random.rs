//! Draws random walks, and prints the shortest that fails.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tidemill_core::State;

use super::steps::{End, IDS, OWNERS, Op, SLOTS};
use super::walk::Walk;
use crate::conformance::harness::{Backend, block_on};

/// Names the number of walks on each store.
pub const SEQUENCES: &str = "TIDEMILL_MODEL_SEQUENCES";
/// Names the seed of a run that is to be repeated.
pub const SEED: &str = "TIDEMILL_MODEL_SEED";

/// Walks on each store unless [`SEQUENCES`] says otherwise: with two stores, ten thousand in a run of all tests.
const DEFAULT_SEQUENCES: u32 = 5_000;
/// Walks at a time: as many as a small machine has processors.
const LANES: u32 = 2;
/// Walks on one opened store, before the next is opened.
const WALKS_PER_STORE: u32 = 50;
/// Most steps of a walk.
const STEPS_MAX: usize = 40;
/// Fewest steps of a walk.
const STEPS_MIN: usize = 5;
/// Shorter walks are tried for so long, to explain a failure.
const SHRINKING: Duration = Duration::from_mins(1);

/// Walks at random on the store that `open` opens. Panics with the shortest failing walk that it finds.
pub fn run<F, Fut>(open: F)
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Option<Box<dyn Backend>>>,
{
    let wanted = variable(SEQUENCES).unwrap_or(DEFAULT_SEQUENCES);
    let seed = variable(SEED).unwrap_or_else(rand::random);
    let next = AtomicU32::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(|| lane(&open, wanted, seed, &next))).collect();
        lanes.into_iter().filter_map(|lane| lane.join().expect("a lane ends")).collect()
    });
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
}

/// Walks on one store until one differs from the model, at most so many. What differed, in a sentence.
pub fn first_difference(backend: &dyn Backend, wanted: u32, seed: u32) -> Option<String> {
    let steps = steps();
    (0..wanted).find_map(|number| {
        let mut runner = TestRunner::new_with_rng(Config::default(), rng(seed, number));
        let tree = steps.new_tree(&mut runner).expect("a walk can be drawn");
        let difference = block_on(Walk::run(backend, &tree.current())).err()?;
        Some(format!("walk {number}: {difference}"))
    })
}

fn variable(name: &str) -> Option<u32> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// Takes walks by their numbers until there are none or one fails.
fn lane<F, Fut>(open: &F, wanted: u32, seed: u32, next: &AtomicU32) -> Option<String>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Option<Box<dyn Backend>>>,
{
    let steps = steps();
    loop {
        let backend = block_on(open())?;
        for _ in 0..WALKS_PER_STORE {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= wanted {
                return None;
            }
            let mut runner = TestRunner::new_with_rng(Config::default(), rng(seed, number));
            let mut tree = steps.new_tree(&mut runner).expect("a walk can be drawn");
            if let Err(difference) = block_on(Walk::run(&*backend, &tree.current())) {
                next.fetch_max(wanted, Ordering::Relaxed);
                return Some(explain(&*backend, &mut tree, difference, seed, number));
            }
        }
        block_on(backend.broker().close());
    }
}

fn rng(seed: u32, number: u32) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

/// Looks for a shorter walk that fails too.
fn explain<T>(backend: &dyn Backend, tree: &mut T, mut difference: String, seed: u32, number: u32) -> String
where
    T: ValueTree<Value = Vec<Op>>,
{
    let mut shortest = tree.current();
    let mut moved = tree.simplify();
    let began = Instant::now();
    while moved && began.elapsed() < SHRINKING {
        let ops = tree.current();
        match block_on(Walk::run(backend, &ops)) {
            Err(found) => {
                (shortest, difference) = (ops, found);
                moved = tree.simplify();
            }
            Ok(()) => moved = tree.complicate(),
        }
    }
    let mut text = format!("walk {number} of seed {seed} ({SEED}={seed} repeats it) differs from the model.\n");
    for (n, op) in shortest.iter().enumerate() {
        let _written = writeln!(text, "  {:>2}. {op:?}", n + 1);
    }
    text + &difference
}

fn steps() -> impl Strategy<Value = Vec<Op>> {
    let slot = || 0..SLOTS;
    let id = || 0..IDS;
    let who = || 0..OWNERS;
    let own = (who(), proptest::option::of(who())).prop_map(|(who, instead_of)| Op::Own { who, instead_of });
    let enqueue = (vec(id(), 1..4), proptest::option::weighted(0.3, 0..6_u8), -1..=1_i8)
        .prop_map(|(ids, delay, priority)| Op::Enqueue { ids, delay, priority });
    let exchange = (slot(), vec((any::<u8>(), end()), 0..4), 0..4_usize, proptest::bool::weighted(0.15))
        .prop_map(|(slot, ends, want, lost)| Op::Exchange { slot, ends, want, lost });
    let purged =
        proptest::sample::select(State::ALL.into_iter().filter(|state| *state != State::Active).collect::<Vec<_>>());
    let step = prop_oneof![
        24 => enqueue,
        4 => Just(Op::EnqueueAgain),
        3 => slot().prop_map(|slot| Op::Register { slot }),
        36 => exchange,
        2 => (slot(), 0..3_u64).prop_map(|(slot, by)| Op::Skip { slot, by }),
        6 => (slot(), proptest::option::of(id())).prop_map(|(slot, progress)| Op::Heartbeat { slot, progress }),
        4 => slot().prop_map(|slot| Op::Crash { slot }),
        3 => slot().prop_map(|slot| Op::Retire { slot }),
        8 => id().prop_map(|id| Op::Cancel { id }),
        7 => id().prop_map(|id| Op::Retry { id }),
        4 => id().prop_map(|id| Op::Delete { id }),
        2 => purged.prop_map(|state| Op::Purge { state }),
        3 => any::<bool>().prop_map(|paused| Op::Pause { paused }),
        10 => Just(Op::Maintain),
        12 => (1..4_u64).prop_map(|steps| Op::Wait { steps }),
        2 => Just(Op::Snapshot),
        2 => Just(Op::RollBack),
        3 => any::<u8>().prop_map(|choice| Op::Configure { choice }),
        5 => own,
        2 => who().prop_map(|who| Op::Disown { who }),
        3 => who().prop_map(|who| Op::DropQueue { who }),
        5 => Just(Op::Compare),
    ];
    vec(step, STEPS_MIN..STEPS_MAX)
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        5 => any::<bool>().prop_map(|result| End::Succeed { result }),
        4 => any::<bool>().prop_map(|timeout| End::Retry { timeout }),
        2 => any::<bool>().prop_map(|timeout| End::Die { timeout }),
        3 => Just(End::Release),
        2 => Just(End::Unserved),
        1 => Just(End::Cancel),
        2 => Just(End::Late),
    ]
}
