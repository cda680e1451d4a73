//! From settings to the options of the task types.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemill_handlers::objects::{ObjectOptions, S3Options};
use tidemill_handlers::{CommandOptions, HttpRequestOptions, OwnHandler, PdfOptions, SmtpOptions};

use crate::args::RENDER_PDF;
use crate::config::handlers::{Handler, Handlers};
use crate::config::settings::{Exec, GeneratePdf, HttpRequest, ObjectSettings, Smtp};
use crate::exit::usage;

/// How mail is sent.
pub(super) fn smtp(smtp: &Smtp) -> SmtpOptions {
    SmtpOptions {
        url: Some(smtp.url.clone()).filter(|url| !url.is_empty()),
        from: smtp.from.clone(),
        outbox: PathBuf::from(&smtp.outbox),
        ca_file: given(&smtp.ca_file),
        templates: PathBuf::from(&smtp.templates),
    }
}

/// Which objects tasks may use.
pub(super) fn objects(settings: &ObjectSettings) -> ObjectOptions {
    let optional = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let s3 = S3Options {
        endpoint: optional(&settings.s3_endpoint),
        region: optional(&settings.s3_region),
        access_key_id: optional(&settings.s3_access_key_id),
        secret_access_key: optional(&settings.s3_secret_access_key),
    };
    ObjectOptions { allow: settings.allow.clone(), max_bytes: settings.max_bytes, s3 }
}

/// How PDFs are made: by this very program, started again.
pub(super) fn generate_pdf(settings: &GeneratePdf) -> anyhow::Result<PdfOptions> {
    Ok(PdfOptions {
        templates: PathBuf::from(&settings.templates),
        timeout: Duration::from_millis(settings.timeout_ms),
        max_memory_bytes: settings.max_memory_bytes,
        renderer: Some(vec![this_program()?, RENDER_PDF.into()]),
    })
}

/// What starts this program again, also where its file was replaced meanwhile by a newer one.
fn this_program() -> anyhow::Result<OsString> {
    let linux = Path::new("/proc/self/exe");
    let program = if linux.exists() { linux.to_owned() } else { std::env::current_exe()? };
    Ok(program.into_os_string())
}

/// What HTTP requests may do.
pub(super) fn http_request(settings: &HttpRequest) -> HttpRequestOptions {
    HttpRequestOptions {
        allow: settings.allow.clone(),
        allow_private: settings.allow_private.clone(),
        secrets: given(&settings.secrets),
    }
}

/// The command of `exec`, where there is one.
pub(super) fn exec(settings: &Exec) -> anyhow::Result<Option<CommandOptions>> {
    if settings.command.is_empty() {
        return Ok(None);
    }
    let variable = |text: &String| {
        let variable = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        variable.ok_or_else(|| usage("exec.env takes NAME=VALUE, and there is an entry without \"=\""))
    };
    Ok(Some(CommandOptions {
        command: settings.command.clone(),
        env: settings.env.iter().map(variable).collect::<Result<BTreeMap<_, _>, _>>()?,
        pass_env: settings.pass_env.clone(),
        directory: given(&settings.directory),
        timeout: Some(settings.timeout_ms).filter(|&limit| limit != 0).map(Duration::from_millis),
    }))
}

/// What serves the types of one's own.
pub(super) fn own(handlers: &Handlers) -> BTreeMap<String, OwnHandler> {
    handlers.iter().map(|(name, handler)| (name.clone(), served_by(handler))).collect()
}

fn served_by(handler: &Handler) -> OwnHandler {
    let timeout = handler.timeout_ms.map(Duration::from_millis);
    match &handler.url {
        Some(url) => OwnHandler::Url { url: url.clone(), timeout },
        None => OwnHandler::Command(CommandOptions {
            command: handler.command.clone(),
            env: handler.env.clone(),
            pass_env: handler.pass_env.clone(),
            directory: handler.directory.as_deref().map(PathBuf::from),
            timeout,
        }),
    }
}

fn given(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}
