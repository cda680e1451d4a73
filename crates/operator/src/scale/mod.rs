//! The autoscaler: how many worker pods a queue needs.
//!
//! ```text
//!   Policy (spec) ──┐
//!   Memory ─────────┼─► decide ─► Decision (pods, reason, inputs) + Memory for the next time
//!   Sample (gauge) ─┘
//!
//!   learn: arrivals, service time ─► demand: slots, pods ─► window: not down too soon ─► limits
//! ```
//!
//! Pure: it does no I/O, awaits nothing, reads no clock, and computes in whole numbers, so that a recorded trace of
//! samples gives the same decisions on any machine. Times are counted from the operator's start by its monotonic clock.
//!
//! The rule: slots = arrival rate × service time + backlog × service time ÷ target wait, pods = slots ÷ slots per pod,
//! rounded up. Up at once and in one step; down only when the smaller number would have done, with a tenth to spare,
//! throughout the stabilization window. [`demand`] has the rule with its refinements and their reasons.

mod decide;
mod decision;
mod demand;
mod learn;
mod memory;
mod millis;
mod policy;
mod sample;
#[cfg(test)]
mod tests;
mod window;

pub use decide::decide;
pub use decision::{Decision, Inputs, Limit, Reason, explain};
pub use demand::{ASSUMED_SERVICE, DUE_SOON, MEASURED_ENOUGH};
pub use memory::Memory;
pub use policy::{Mode, Policy};
pub use sample::Sample;
