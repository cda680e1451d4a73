//! The operator and its resource against a real API server, without a node: pods are made, and stay pending unless a test
//! plays the kubelet.
//!
//! `scripts/test control-plane` runs it; each test has a namespace, an operator and a Redis of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod access;
mod broker;
mod deletion;
mod leader;
mod many;
mod monitoring;
mod objects;
mod outage;
mod ownership;
mod scaling;
mod schema;
mod secrets;
mod wake;
