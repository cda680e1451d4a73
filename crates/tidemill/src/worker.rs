//! A worker: put together, configured, run until it is told to stop.

use std::fmt;
use std::sync::Arc;

use clap::Parser;
use tidemill_executor::{Handler, Registry, RegistryError};
use tidemill_process::args::SettingArgs;
use tidemill_process::config::settings::Settings;
use tidemill_process::config::{Config, Layers, Preset, Role};
use tidemill_process::exit::usage;
use tidemill_process::process::{Chosen, Process, raise_open_files};
use tidemill_process::sight::{Sight, log_panics};
use tidemill_process::signals::Stop;
use tidemill_process::{resolve, worker};
use tidemill_telemetry::metrics::Metrics;

use crate::error::WorkerError;
use crate::function::{Function, TaskFunction};

/// What a worker in a pod is started with: `worker --config /etc/tidemill/config.yaml`, as `tidemill` itself.
#[derive(Debug, Parser)]
#[command(
    about = "Runs the tasks of a queue",
    after_help = "The environment says the same: app.port is TIDEMILL_APP__PORT."
)]
struct Arguments {
    /// The role, as `tidemill` has it; a worker of one's own has no other.
    #[arg(value_parser = ["worker"], hide = true)]
    role: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
}

/// Runs the tasks of one queue.
///
/// ```no_run
/// use tidemill::{HandlerError, Payload, Worker};
///
/// #[derive(serde::Deserialize)]
/// struct Greeting {
///     name: String,
/// }
///
/// async fn greet(Payload(Greeting { name }): Payload<Greeting>) -> Result<String, HandlerError> {
///     Ok(format!("hello, {name}"))
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), tidemill::WorkerError> {
///     Worker::builder().broker("redis://127.0.0.1:6379").queue("greetings").slots(20).handler("greet", greet).run().await
/// }
/// ```
///
/// [`run`](Worker::run) ends in order on SIGTERM or SIGINT: nothing more is claimed, what runs may end within the shutdown
/// timeout, the rest goes back to the queue at no cost of a retry. A second signal ends at once.
pub struct Worker {
    settings: Settings,
    registry: Arc<Registry>,
    is_program: bool,
    shows_health: bool,
}

impl Worker {
    /// A worker that is told everything in code.
    pub fn builder() -> WorkerBuilder {
        WorkerBuilder {
            presets: Vec::new(),
            arguments: None,
            registry: Registry::new(),
            refused: Vec::new(),
            state: (),
            has_port: false,
        }
    }

    /// A worker that is told everything from outside: [`Worker::builder`] and [`configured`](WorkerBuilder::configured).
    pub fn from_environment() -> WorkerBuilder {
        Self::builder().configured()
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Runs until SIGTERM or SIGINT, and drains.
    pub async fn run(self) -> Result<(), WorkerError> {
        let stop = Stop::default();
        let _listening = stop.listen().map_err(anyhow::Error::from)?;
        self.serve(stop).await
    }

    /// Runs until `end` has come, and drains. Signals are the caller's business.
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Result<(), WorkerError> {
        let stop = Stop::default();
        let drain = stop.stop.clone();
        let serving = self.serve(stop);
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => return result,
            () = end => drain.cancel(),
        }
        serving.await
    }

    async fn serve(self, stop: Stop) -> Result<(), WorkerError> {
        let Self { settings, registry, is_program, shows_health } = self;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        // A program that has set up logs of its own keeps them.
        let opens = is_program && !tracing::dispatcher::has_been_set();
        let sight = if opens { Some(Sight::open(&settings, &metrics)?) } else { None };
        if is_program {
            log_panics();
            raise_open_files();
        }
        let process = Process { chosen: Chosen::new(), metrics, level: sight.as_ref().map(Sight::level) };
        let result = if shows_health {
            worker::serve(&settings, registry, process, stop).await
        } else {
            worker::serve_unseen(&settings, registry, process, stop).await
        };
        if let Some(sight) = sight {
            tokio::task::spawn_blocking(|| drop(sight.end_traces())).await.map_err(anyhow::Error::from)?;
        }
        Ok(result?)
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("queue", &self.settings.queue.name)
            .field("types", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Puts a [`Worker`] together. What is wrong is told by [`build`](WorkerBuilder::build), all at once.
#[must_use = "a worker does nothing until it is run"]
pub struct WorkerBuilder<S = ()> {
    presets: Vec<Preset>,
    arguments: Option<SettingArgs>,
    registry: Registry,
    refused: Vec<RegistryError>,
    state: S,
    has_port: bool,
}

impl<S> WorkerBuilder<S> {
    /// The store of tasks: `redis://HOST:PORT`, `rediss://…`, `redis+sentinel://…` or `redis+cluster://…`.
    pub fn broker(self, url: impl Into<String>) -> Self {
        self.set("broker.url", url)
    }

    /// The queue; `default` unless told.
    pub fn queue(self, name: impl Into<String>) -> Self {
        self.set("queue.name", name)
    }

    /// How many tasks run at a time; 10 unless told.
    pub fn slots(self, count: usize) -> Self {
        self.set("executor_service.workers_limit", count.to_string())
    }

    /// Serves `/livez`, `/readyz` and `/metrics` on this port of all addresses. A [configured](WorkerBuilder::configured)
    /// worker does so anyway.
    pub fn port(mut self, port: u16) -> Self {
        self.has_port = true;
        self.set("app.port", port.to_string())
    }

    /// Any setting that `tidemill config --keys` lists, written as in the environment.
    pub fn set(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.presets.push(Preset { key, text: value.into() });
        self
    }

    /// Lets whoever starts the program decide: takes the arguments, the settings file and the `TIDEMILL_*` environment
    /// that `tidemill worker` takes, which win over what the code says; logs as it does, and serves its health and
    /// metrics. So an image around such a worker can be the `image` of a `TaskQueue`.
    ///
    /// Like any program, it ends the process here where the arguments are wrong or ask for `--help`. Logging that the
    /// program has set up itself stays as it is.
    pub fn configured(self) -> Self {
        let Arguments { role: _, settings } = Arguments::parse();
        self.configured_by(settings)
    }

    /// The same, with arguments that were parsed elsewhere.
    pub fn configured_by(mut self, arguments: SettingArgs) -> Self {
        self.arguments = Some(arguments);
        self
    }

    /// Hands a clone of `state` to each handler after it that asks for [`State<T>`](crate::State).
    pub fn state<T: Clone + Send + Sync + 'static>(self, state: T) -> WorkerBuilder<T> {
        let Self { presets, arguments, registry, refused, state: _, has_port } = self;
        WorkerBuilder { presets, arguments, registry, refused, state, has_port }
    }

    /// Lets a type that implements [`Handler`] serve the tasks of this type.
    pub fn serve(mut self, task_type: &str, handler: impl Handler) -> Self {
        if let Err(error) = self.registry.add(task_type, handler) {
            self.refused.push(error);
        }
        self
    }

    /// Lets an async function serve the tasks of this type.
    ///
    /// A function that is none is refused where it is added, in words:
    ///
    /// ```compile_fail,E0277
    /// async fn wrong(name: String) {}
    /// tidemill::Worker::builder().handler("wrong", wrong);
    /// ```
    pub fn handler<F, Args>(self, task_type: &str, function: F) -> Self
    where
        F: TaskFunction<Args, S>,
        Args: 'static,
        S: Clone + Send + Sync + 'static,
    {
        let state = self.state.clone();
        self.serve(task_type, Function::new(function, state))
    }

    /// Checks everything.
    pub fn build(self) -> Result<Worker, WorkerError> {
        let is_program = self.arguments.is_some();
        let shows_health = is_program || self.has_port;
        let registry = served(self.registry, &self.refused)?;
        let config = match &self.arguments {
            Some(arguments) => resolve(Role::Worker, self.presets, arguments)?,
            None => Config::resolve(Role::Worker, Layers { presets: self.presets, ..Layers::default() })
                .map_err(anyhow::Error::from)?,
        };
        let settings = config.settings().map_err(anyhow::Error::from)?;
        Ok(Worker { settings, registry: Arc::new(registry), is_program, shows_health })
    }

    /// [Builds](WorkerBuilder::build) the worker and [runs](Worker::run) it.
    pub async fn run(self) -> Result<(), WorkerError> {
        self.build()?.run().await
    }

    /// [Builds](WorkerBuilder::build) the worker and [runs](Worker::run_until) it until `end` has come.
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Result<(), WorkerError> {
        self.build()?.run_until(end).await
    }

    /// The handlers alone, for a worker that is put together otherwise.
    pub fn into_registry(self) -> Result<Registry, WorkerError> {
        served(self.registry, &self.refused)
    }
}

fn served(registry: Registry, refused: &[RegistryError]) -> Result<Registry, WorkerError> {
    if !refused.is_empty() {
        let sentences: Vec<String> = refused.iter().map(ToString::to_string).collect();
        return Err(usage(sentences.join("\n")).into());
    }
    if registry.types().is_empty() {
        return Err(usage("the worker serves no task type: add one by .handler(\"greet\", greet)").into());
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HandlerError, Payload, State};

    async fn nothing() {}

    #[test]
    fn what_the_code_says_is_in_force() {
        let worker = Worker::builder().broker("redis://host").queue("emails").slots(20).handler("a", nothing);
        let worker = worker.build().unwrap();
        let settings = worker.settings();
        assert_eq!(settings.broker.url, "redis://host");
        assert_eq!((settings.queue.name.as_str(), settings.executor_service.workers_limit), ("emails", 20));
        assert!(!worker.shows_health);
    }

    #[test]
    fn whoever_starts_the_program_has_the_last_word() {
        let arguments = Arguments::try_parse_from(["mine", "worker", "--queue", "theirs", "--port", "0"]).unwrap();
        let worker = Worker::builder().queue("ours").slots(3).handler("a", nothing).configured_by(arguments.settings);
        let worker = worker.build().unwrap();
        assert_eq!(worker.settings().queue.name.as_str(), "theirs");
        assert_eq!(worker.settings().executor_service.workers_limit, 3);
        assert!(worker.shows_health);
        assert!(Arguments::try_parse_from(["mine", "api"]).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_in_sentences() {
        let wrong = |builder: WorkerBuilder| builder.build().unwrap_err().to_string();
        assert!(wrong(Worker::builder()).contains("serves no task type"));
        let twice = Worker::builder().handler("a", nothing).handler("a", nothing).handler("b c", nothing);
        let twice = wrong(twice);
        assert!(twice.contains("there is one already") && twice.lines().count() == 2, "{twice}");
        let slots = Worker::builder().slots(0).handler("a", nothing).build().unwrap_err();
        assert_eq!(slots.exit_code(), 2);
        assert!(slots.to_string().contains("must be a whole number from 1 to 10000"), "{slots:?}");
    }

    #[test]
    fn each_handler_has_the_state_that_was_given_last() {
        async fn first(State(word): State<&'static str>) -> Result<&'static str, HandlerError> {
            Ok(word)
        }
        async fn second(Payload(_): Payload<serde_json::Value>, State(number): State<u8>) -> Result<u8, HandlerError> {
            Ok(number)
        }
        let registry = Worker::builder()
            .handler("none", nothing)
            .state("word")
            .handler("first", first)
            .state(7_u8)
            .handler("second", second)
            .into_registry()
            .unwrap();
        assert_eq!(registry.types().len(), 3);
    }
}
