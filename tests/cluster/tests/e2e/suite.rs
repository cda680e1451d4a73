//! Which scenarios run, what became of them, and the closing line.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::{diagnosis, images, release};

/// Names the scenarios to run: numbers with blanks or commas between them. All by default.
const SELECTION: &str = "TIDEMILL_E2E";
/// How many there are.
const SCENARIOS: u32 = 11;

/// What became of the scenarios so far: number, passed, seconds.
static DONE: Mutex<Vec<(u32, bool, u64)>> = Mutex::new(Vec::new());

/// Runs a scenario if it is among those to run. One that fails says what the cluster says.
pub(crate) fn scenario(number: u32, run: fn()) {
    let selected = selected();
    if !selected.contains(&number) {
        return;
    }
    println!("\n---- scenario {number}");
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(run));
    let seconds = began.elapsed().as_secs();
    println!("---- scenario {number} {} in {seconds} s", if result.is_ok() { "passed" } else { "FAILED" });
    if result.is_err() {
        diagnosis::print();
        release::spoil();
    }
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    done.push((number, result.is_ok(), seconds));
    if done.len() == selected.len() {
        let passed = done.iter().filter(|(_, passed, _)| *passed).count();
        // What failed is left to be looked at, and the tests' own cluster goes as a whole.
        if passed == done.len() && std::env::var_os(images::CLUSTER).is_none() {
            release::clean_up();
        }
        let times: Vec<String> = done.iter().map(|(number, _, seconds)| format!("{number}: {seconds} s")).collect();
        println!("\n{}", times.join(", "));
        println!("e2e: {passed} of {} scenarios passed", done.len());
    }
    drop(done);
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

fn selected() -> Vec<u32> {
    let all: Vec<u32> = (1..=SCENARIOS).collect();
    let Ok(text) = std::env::var(SELECTION) else { return all };
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let picked: Vec<u32> = words
        .map(|word| match word.parse() {
            Ok(number) if all.contains(&number) => number,
            _ => panic!("{SELECTION}: there is no scenario {word:?}; choose from {all:?}"),
        })
        .collect();
    if picked.is_empty() { all } else { picked }
}
