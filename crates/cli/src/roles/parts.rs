//! From settings to the options of the parts that the program alone has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::Options;
use tidemill_executor::{Executor, Registry};
use tidemill_handlers::{HandlerOptions, SmtpOptions};
use tidemill_process::options::{path, probe};

use crate::config::settings::Settings;
use crate::exit::usage;

/// The options of the API. `executor` is the one of this process.
pub(super) fn api(settings: &Settings, executor: Option<&Executor>) -> anyhow::Result<Options> {
    let app = &settings.app;
    Ok(Options {
        host: app.host.clone(),
        port: app.port,
        form: settings.form.parse().map_err(|error: tidemill_api::UnknownForm| usage(error.to_string()))?,
        default_queue: settings.queue.name.clone(),
        creates_queues: executor.is_some(),
        default_settings: settings.queue.settings,
        static_endpoint: app.static_endpoint.clone(),
        public_folder: PathBuf::from(&app.public_folder),
        views_folder: PathBuf::from(&app.views_folder),
        templates_ext: app.templates_ext.clone(),
        http_shutdown_timeout: Duration::from_millis(app.fiber_shutdown_timeout_ms),
        tokens_file: path(&settings.auth.tokens_file),
        tokens: settings.auth.tokens.clone(),
        allowed_origins: settings.auth.allowed_origins.clone(),
        metrics_port: (settings.metrics.port != 0).then_some(settings.metrics.port),
        queue_metrics: executor.is_some(),
        worker: executor.map(probe),
    })
}

/// The built-in task types.
pub(super) fn handlers(settings: &Settings) -> anyhow::Result<Arc<Registry>> {
    let smtp = &settings.smtp;
    let smtp = SmtpOptions {
        url: Some(smtp.url.clone()).filter(|url| !url.is_empty()),
        from: smtp.from.clone(),
        outbox: PathBuf::from(&smtp.outbox),
    };
    tidemill_handlers::registry(&HandlerOptions { smtp }).map(Arc::new).map_err(|error| usage(error.to_string()))
}
