//! From settings to the options of the parts that the program alone has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::Options;
use tidemill_executor::{Executor, Registry};
use tidemill_handlers::{HandlerOptions, ResizeOptions};
use tidemill_process::options::{path, probe};
use tidemill_telemetry::LogLevel;

use super::handlers;
use crate::config::settings::Settings;
use crate::exit::usage;

/// The options of the API. `executor` is the one of this process.
pub(super) fn api(
    settings: &Settings,
    executor: Option<&Executor>,
    level: Option<LogLevel>,
) -> anyhow::Result<Options> {
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
        log_level: level,
    })
}

/// The task types that are served: those of the program, and those of one's own.
pub(super) fn handlers(settings: &Settings) -> anyhow::Result<Arc<Registry>> {
    let options = HandlerOptions {
        objects: handlers::objects(&settings.objects),
        resize_image: ResizeOptions { max_pixels: settings.resize_image.max_pixels },
        generate_pdf: handlers::generate_pdf(&settings.generate_pdf)?,
        smtp: handlers::smtp(&settings.smtp),
        http_request: handlers::http_request(&settings.http_request),
        exec: handlers::exec(&settings.exec)?,
        own: handlers::own(&settings.handlers),
    };
    tidemill_handlers::registry(&options).map(Arc::new).map_err(|error| usage(error.to_string()))
}
