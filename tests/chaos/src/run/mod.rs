//! A run: everything started, faults by plan, everything healed and drained, histories checked.

pub mod admin;
pub mod cast;
pub mod clocks;
pub mod conductor;
pub mod faults;
pub mod observer;
pub mod plan;
pub mod report;
