//! From settings to the options of the task types.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tidemill_handlers::{CommandOptions, HttpRequestOptions, OwnHandler, SmtpOptions};

use crate::config::handlers::{Handler, Handlers};
use crate::config::settings::{Exec, HttpRequest, Smtp};
use crate::exit::usage;

/// How mail is sent.
pub(super) fn smtp(smtp: &Smtp) -> SmtpOptions {
    SmtpOptions {
        url: Some(smtp.url.clone()).filter(|url| !url.is_empty()),
        from: smtp.from.clone(),
        outbox: PathBuf::from(&smtp.outbox),
    }
}

/// What HTTP requests may do.
pub(super) fn http_request(settings: &HttpRequest) -> HttpRequestOptions {
    HttpRequestOptions {
        allow: settings.allow.clone(),
        allow_private: settings.allow_private.clone(),
        secrets: folder(&settings.secrets),
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
        directory: folder(&settings.directory),
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

fn folder(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}
