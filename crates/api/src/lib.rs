//! HTTP and WebSocket: how people and programs reach the queues.
//!
//! ```text
//!   curl, browsers, Prometheus ──► connection ─► origin ─► auth ─► rest/ v1/ ws/ ui/ metrics health ──► dyn Broker
//!                                                                        ▲
//!                             subscription ─► ws/hub, one feed a queue ──┘
//! ```
//!
//! [`Server`] is the whole of it, in one of four [`Form`]s; [`HealthServer`] is what a worker shows: health and metrics.
//! Both speak to the store through [`tidemill_broker::Broker`] alone: this crate knows nothing of executors, handlers,
//! Kubernetes, or which store it is. Every error leaves as `application/problem+json`.

mod auth;
mod connection;
mod error;
mod extract;
mod health;
mod json;
mod maintenance;
mod metrics;
mod observed;
mod openapi;
mod options;
mod origin;
mod rest;
mod router;
mod server;
mod state;
mod ui;
mod v1;
mod ws;

pub use auth::TokenError;
pub use health::Health;
pub use openapi::openapi_json;
pub use options::{Form, HealthOptions, Options, UnknownForm, WorkerGauge, WorkerProbe};
pub use server::{BindError, HealthServer, ServeError, Server};
