//! The model: arrival traces, rules that choose a number of pods, and the world in which both meet.
//!
//! Used by the example and by the autoscaler's tests; each has `scale` in the module above this one.

mod random;
mod rules;
mod traces;
mod world;

pub(crate) use rules::RULES;
#[allow(unused_imports)] // the tests make traces of their own
pub(crate) use traces::{Length, even, traces};
pub(crate) use world::{Figures, simulate};
