//! The arguments: every command with examples that can be pasted.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tidemill_process::args::SettingArgs;

use crate::client::enqueue::EnqueueArgs;
use crate::client::healthcheck::HealthcheckArgs;
use crate::client::queues::QueuesArgs;
use crate::client::schedule::ScheduleArgs;
use crate::client::tasks::TasksArgs;
use crate::config::Role;
use crate::output::Format;

const TOP: &str = "\
EXAMPLES:
  tidemill standalone                          everything in one process
  tidemill schedule task123=1000 task456=2500  two tasks of so many ms
  tidemill enqueue send_email --payload '{\"to\": \"a@b.org\", \"subject\": \"hi\"}'
  tidemill tasks --state dead                  what failed
  tidemill tasks retry task123                 … and once more
  tidemill config --print                      the settings in force, each with its origin

EXIT CODES:
  0 done
  1 failed or refused
  2 wrong usage or configuration, port taken, store unfit
  3 no server answers";

/// A task queue: takes tasks over HTTP and runs them on a limited number of workers.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, arg_required_else_help = true, after_help = TOP, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: HTTP, WebSocket, page, executor and the embedded broker.
    #[command(after_help = STANDALONE)]
    Standalone(ServerArgs),
    /// Run HTTP, WebSocket and the page; workers run the tasks.
    #[command(after_help = API)]
    Api(ServerArgs),
    /// Run the tasks of a queue.
    #[command(after_help = WORKER)]
    Worker(ServerArgs),
    /// Keep the worker pods of all TaskQueues of a Kubernetes cluster.
    #[command(after_help = OPERATOR)]
    Operator(OperatorArgs),
    /// Check or show the configuration.
    #[command(after_help = CONFIG)]
    Config(ConfigArgs),
    /// Put a task into a queue.
    Enqueue(EnqueueArgs),
    /// Put tasks into a queue that take so many milliseconds each.
    Schedule(ScheduleArgs),
    /// List tasks, look at one, cancel, retry or delete some.
    Tasks(TasksArgs),
    /// List queues, pause, resume or purge one, list its workers.
    Queues(QueuesArgs),
    /// Ask a server whether it is ready; for containers without a shell.
    Healthcheck(HealthcheckArgs),
    /// Print the OpenAPI document of the HTTP API.
    #[command(after_help = "EXAMPLES:\n  tidemill openapi > openapi.json")]
    Openapi,
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Make one PDF, within limits: what a worker starts for each task of `generate_pdf`.
    #[command(name = RENDER_PDF, hide = true, after_help = "EXAMPLES:\n  workers start it, and give it its job on stdin")]
    RenderPdf {
        /// The bytes of memory that it may take.
        memory_bytes: u64,
        /// The seconds of processor time that it may take.
        processor_seconds: u64,
    },
}

/// The command by which a worker starts itself to make a PDF.
pub const RENDER_PDF: &str = "__render-pdf";

const STANDALONE: &str = "\
EXAMPLES:
  tidemill standalone
  tidemill standalone --port 9090 --data-dir /var/lib/tidemill --slots 50
  tidemill standalone --config config/app_html_ws.yaml --form html_ws
  tidemill standalone --broker-url redis://127.0.0.1:6379
  TIDEMILL_APP__PORT=9090 tidemill standalone --set queue.settings.retries=3";

const API: &str = "\
EXAMPLES:
  tidemill api --broker-url redis://redis:6379
  tidemill api --form rest --set auth.tokens_file=/run/secrets/tokens";

const WORKER: &str = "\
EXAMPLES:
  tidemill worker --broker-url redis://redis:6379
  tidemill worker --broker-url redis://redis:6379 --queue emails --slots 20

A worker serves /livez, /readyz and /metrics on its port.";

const OPERATOR: &str = "\
EXAMPLES:
  tidemill operator                                  all namespaces; usually the Helm chart starts it
  tidemill operator --namespace team-a --set operator.worker_image=localhost/tidemill:dev
  tidemill operator explain emails -n team-a         why a TaskQueue has the pods that it has
  tidemill operator crd | kubectl apply --server-side -f -

The cluster is the one of KUBECONFIG, or the pod's own. It serves /livez, /readyz and /metrics on its port.";

const CONFIG: &str = "\
EXAMPLES:
  tidemill config --config config/app_rest.yaml  check a file
  tidemill config --print        what is in force, each with its origin
  tidemill config --print -o json --role worker
  tidemill config --keys         every setting and what it does";

const COMPLETIONS: &str = "\
EXAMPLES:
  tidemill completions bash > /etc/bash_completion.d/tidemill
  tidemill completions zsh > ~/.zfunc/_tidemill";

/// Arguments of the roles.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Settings.
    #[command(flatten)]
    pub settings: SettingArgs,
}

/// Arguments of `operator`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct OperatorArgs {
    /// Look after this namespace alone [operator.namespace].
    #[arg(long, short = 'n', value_name = "NAME")]
    pub namespace: Option<String>,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingArgs,
    /// Something other than running it.
    #[command(subcommand)]
    pub command: Option<OperatorCommand>,
}

impl OperatorArgs {
    /// All settings that were given as flags.
    pub fn settings(&self) -> SettingArgs {
        let mut settings = self.settings.clone();
        settings.set.extend(self.namespace.iter().map(|namespace| format!("operator.namespace={namespace}")));
        settings
    }
}

/// What the operator's command does beside running.
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Print what was last decided of a TaskQueue's pods, and why.
    Explain {
        /// The TaskQueue.
        task_queue: String,
        /// Its namespace; the one of the kubeconfig by default.
        #[arg(long, short = 'n', value_name = "NAME")]
        namespace: Option<String>,
    },
    /// Print the CustomResourceDefinition.
    Crd,
    /// Apply the TaskQueues of a file and delete those that are no longer in it; for the chart.
    ApplyRelease {
        /// Their namespace.
        #[arg(long, short = 'n', value_name = "NAME")]
        namespace: String,
        /// The labels of all that the file ever held.
        #[arg(long, short = 'l', value_name = "SELECTOR")]
        selector: String,
        /// The file: YAML, any number of documents.
        #[arg(long, short = 'f', value_name = "FILE")]
        file: PathBuf,
    },
    /// Delete TaskQueues and wait until their workers have drained; for the chart, before it goes.
    DrainRelease {
        /// Their namespace.
        #[arg(long, short = 'n', value_name = "NAME")]
        namespace: String,
        /// Their labels.
        #[arg(long, short = 'l', value_name = "SELECTOR")]
        selector: String,
        /// How long to wait, in seconds.
        #[arg(long, default_value_t = 240, value_name = "SECONDS")]
        timeout: u64,
    },
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Show what is in force and where each value came from; secrets are masked.
    #[arg(long)]
    pub print: bool,
    /// Show every setting there is.
    #[arg(long, conflicts_with = "print")]
    pub keys: bool,
    /// The defaults of which process.
    #[arg(long, value_enum, default_value_t = Role::Standalone)]
    pub role: Role,
    /// How to print.
    #[arg(long, short = 'o', value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub output: Format,
    /// Settings.
    #[command(flatten)]
    pub settings: SettingArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("EXAMPLES:"), "{}", command.get_name());
        }
    }
}
