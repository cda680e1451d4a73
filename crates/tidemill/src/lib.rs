//! Write a Tidemill worker of your own.
//!
//! A task type is one async method, and a line in a registry:
//!
//! ```
//! use tidemill::{Context, Handler, HandlerResult, Output, Registry, async_trait};
//!
//! #[derive(serde::Deserialize)]
//! struct Greeting {
//!     name: String,
//! }
//!
//! struct Greet;
//!
//! #[async_trait]
//! impl Handler for Greet {
//!     async fn run(&self, cx: Context) -> HandlerResult {
//!         let Greeting { name } = cx.payload()?; // a payload that does not fit is a permanent error
//!         cx.progress(50, "thinking of something nice");
//!         let words = cx.blocking(move || format!("hello, {name}")).await?;
//!         Output::json(&words)
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let mut registry = Registry::new();
//! registry.add("greet", Greet)?;
//! registry.add("nothing", |_: Context| async { Ok(Output::NONE) })?;
//!
//! // Handlers can be tried without a worker:
//! let (cx, _stop) = Context::detached("t1".parse()?, "greet".parse()?, r#"{"name": "Ada"}"#);
//! assert_eq!(Greet.run(cx).await, Output::json(&"hello, Ada"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! and this runs it, on a store that was opened by one of the modules of [`broker`]:
//!
//! ```no_run
//! use std::sync::Arc;
//! use tidemill::{Broker, CancellationToken, Executor, ExecutorOptions, Registry};
//!
//! # async fn run(store: Arc<dyn Broker>, registry: Registry) -> Result<(), Box<dyn std::error::Error>> {
//! let options = ExecutorOptions { slots: 20, ..ExecutorOptions::new("greetings".parse()?) };
//! let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
//! let report = Executor::new(store, Arc::new(registry), options).run(stop, abort).await;
//! println!("{} tasks were not settled", report.unsettled.len());
//! # Ok(())
//! # }
//! ```

pub use tidemill_broker as broker;
pub use tidemill_broker::{Broker, BrokerError};
pub use tidemill_core as core;
pub use tidemill_core::{
    Backoff, FailureKind, NewTask, Priority, QueueName, QueueSettings, RequestId, Start, State, TaskId, TaskType,
};
pub use tidemill_executor::{
    Context, Executor, ExecutorOptions, Handler, HandlerError, HandlerResult, Metrics, OrFail, Output, Registry,
    RegistryError, Report, Status, Threads, async_trait,
};
pub use tokio_util::sync::CancellationToken;
