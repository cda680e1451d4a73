//! From settings to the options of the parts that the program alone has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidemill_api::Options;
use tidemill_executor::{Executor, Registry};
use tidemill_handlers::objects::{ObjectOptions, S3Options};
use tidemill_handlers::{HandlerOptions, PdfOptions, ResizeOptions, SmtpOptions};
use tidemill_process::options::{path, probe};

use crate::args::RENDER_PDF;
use crate::config::settings::{ObjectSettings, Settings};
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
        ca_file: path(&smtp.ca_file),
        templates: PathBuf::from(&smtp.templates),
    };
    let pdf = &settings.generate_pdf;
    let generate_pdf = PdfOptions {
        templates: PathBuf::from(&pdf.templates),
        timeout: Duration::from_millis(pdf.timeout_ms),
        max_memory_bytes: pdf.max_memory_bytes,
        renderer: Some(vec![this_program()?, RENDER_PDF.into()]),
    };
    let options = HandlerOptions {
        objects: objects(&settings.objects),
        resize_image: ResizeOptions { max_pixels: settings.resize_image.max_pixels },
        generate_pdf,
        smtp,
    };
    tidemill_handlers::registry(&options).map(Arc::new).map_err(|error| usage(error.to_string()))
}

/// The objects that tasks may use.
fn objects(settings: &ObjectSettings) -> ObjectOptions {
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let s3 = S3Options {
        endpoint: given(&settings.s3_endpoint),
        region: given(&settings.s3_region),
        access_key_id: given(&settings.s3_access_key_id),
        secret_access_key: given(&settings.s3_secret_access_key),
    };
    ObjectOptions { allow: settings.allow.clone(), max_bytes: settings.max_bytes, s3 }
}

/// What starts this very program again, also where its file was replaced meanwhile by a newer one.
fn this_program() -> anyhow::Result<OsString> {
    let linux = Path::new("/proc/self/exe");
    let program = if linux.exists() { linux.to_owned() } else { std::env::current_exe()? };
    Ok(program.into_os_string())
}
