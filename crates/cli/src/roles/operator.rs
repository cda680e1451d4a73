//! The operator, and the commands that ask a cluster of its work.

use std::time::Duration;

use anyhow::Context as _;
use tidemill_broker::{Access, Authorities};
use tidemill_operator::{Listen, OperatorError, OperatorOptions, TraceSettings, client, crd};
use tidemill_process::options::process_name;
use tidemill_process::process::{self, Process};
use tidemill_process::signals::Stop;

use crate::args::{OperatorArgs, OperatorCommand};
use crate::config::Role;
use crate::config::settings::Settings;
use crate::exit::{failed, usage};
use crate::output;

/// Runs until a signal, or does what the command says.
pub fn run(args: &OperatorArgs) -> anyhow::Result<()> {
    match &args.command {
        None => process::run(Role::Operator, &args.settings(), serve),
        Some(OperatorCommand::Explain { task_queue, namespace }) => once(async {
            let client = client::connect().await.context("no cluster is configured (KUBECONFIG, ~/.kube/config)")?;
            let text = client::explain(&client, namespace.as_deref(), task_queue).await;
            let text = text.map_err(|error| failed(error.to_string()))?;
            output::print(|out| writeln!(out, "{}", text.trim_end()))
        }),
        Some(OperatorCommand::Crd) => {
            output::print(|out| write!(out, "{}", crd::manifest().map_err(std::io::Error::other)?))
        }
        Some(OperatorCommand::ApplyRelease { namespace, selector, file }) => once(async {
            let text = std::fs::read_to_string(file).map_err(|error| usage(format!("{}: {error}", file.display())))?;
            let client = client::connect().await.context("no cluster is configured (KUBECONFIG, ~/.kube/config)")?;
            let done = client::apply_all(&client, namespace, selector, &text).await;
            let done = done.map_err(|error| failed(error.to_string()))?;
            output::print(|out| {
                done.iter().try_for_each(|(name, what)| writeln!(out, "taskqueue.tidemill.dev/{name} {what}"))
            })
        }),
        Some(OperatorCommand::DrainRelease { namespace, selector, timeout }) => once(async {
            let client = client::connect().await.context("no cluster is configured (KUBECONFIG, ~/.kube/config)")?;
            let deleted = client::delete_all(&client, namespace, selector, Duration::from_secs(*timeout)).await;
            let deleted = deleted.map_err(|error| failed(error.to_string()))?;
            output::print(|out| {
                deleted.iter().try_for_each(|name| writeln!(out, "taskqueue.tidemill.dev/{name} deleted"))
            })
        }),
    }
}

fn once(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn serve(settings: Settings, process: Process, stop: Stop) -> anyhow::Result<()> {
    let Process { metrics, level, .. } = process;
    let options = options(&settings)?;
    let client = client::connect().await.map_err(|error| {
        usage(format!(
            "the cluster is not to be found: run in a pod with a ServiceAccount, or name a file in KUBECONFIG: {error}"
        ))
    })?;
    let listen = Listen { host: settings.app.host.clone(), port: settings.app.port };
    let shared = tidemill_operator::Process { metrics, log_level: level };
    let running = tidemill_operator::run(client, options, listen, shared, stop.stop.clone());
    let ended = tokio::select! {
        ended = running => ended,
        () = stop.abort.cancelled() => return Err(failed("ended at once, as a second signal asked")),
    };
    ended.map_err(|error| match error {
        OperatorError::Bind(_) | OperatorError::Cluster { .. } => usage(error.to_string()),
        other => failed(other.to_string()),
    })?;
    tracing::info!("stopped");
    Ok(())
}

fn options(settings: &Settings) -> anyhow::Result<OperatorOptions> {
    let operator = &settings.operator;
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    if operator.worker_image.is_empty() {
        return Err(usage(
            "operator.worker_image is missing: name the image of worker pods, as in \
             --set operator.worker_image=registry.example.org/tidemill:0.1.0 (usually the operator's own)",
        ));
    }
    Ok(OperatorOptions {
        namespace: given(&operator.namespace),
        worker_image: operator.worker_image.clone(),
        installation: installation(settings)?,
        offered_namespaces: operator.offered_namespaces.clone(),
        lease_namespace: given(&operator.lease_namespace)
            .or_else(|| variable("POD_NAMESPACE"))
            .unwrap_or_else(|| "default".to_owned()),
        lease_name: operator.lease_name.clone(),
        identity: process_name(),
        cluster: given(&operator.cluster),
        network_policies: operator.network_policies == "on",
        traces: given(&settings.traces.endpoint)
            .map(|endpoint| TraceSettings { endpoint, sample_ratio: settings.traces.sample_ratio }),
    })
}

/// The broker that is offered to TaskQueues that name none. The embedded store, which is the default elsewhere, is none:
/// pods could not share it.
fn installation(settings: &Settings) -> anyhow::Result<Option<Access>> {
    let mut access = settings.access();
    if access.url.starts_with("sqlite:") {
        return Ok(None);
    }
    if let Some(Authorities::File(file)) = &access.authorities {
        let pem = std::fs::read(file).map_err(|error| usage(format!("broker.ca_file {}: {error}", file.display())))?;
        access.authorities = Some(Authorities::Pem(pem));
    }
    Ok(Some(access))
}
