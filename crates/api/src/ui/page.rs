//! `GET /`: the page, rendered from its template.

use std::path::PathBuf;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use minijinja::{Environment, Value, context, path_loader};
use rust_embed::RustEmbed;
use tidemill_core::Problem;

use crate::error::{Answer, Refusal};
use crate::options::Options;
use crate::state::App;

/// The name of the page's template, without its ending.
const TEMPLATE: &str = "index";
/// The ending of the embedded templates.
const EMBEDDED_EXT: &str = ".html";

#[derive(RustEmbed)]
#[folder = "ui/views/"]
struct Views;

/// Where templates come from.
pub(crate) struct Page {
    folder: PathBuf,
    own: String,
}

impl Page {
    pub(crate) fn new(options: &Options) -> Self {
        Self { folder: options.views_folder.clone(), own: format!("{TEMPLATE}{}", options.templates_ext) }
    }

    /// Renders anew each time: who edits a template in the folder sees it with the next reload.
    fn render(&self, app: &App) -> Result<String, minijinja::Error> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        let name = if self.folder.join(&self.own).is_file() {
            templates.set_loader(path_loader(&self.folder));
            self.own.clone()
        } else {
            templates
                .set_loader(|name| Ok(Views::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned())));
            format!("{TEMPLATE}{EMBEDDED_EXT}")
        };
        templates.get_template(&name)?.render(context! {
            // Has been checked to be a plain path: safe in attributes and scripts alike.
            static_endpoint => Value::from_safe_string(app.options.static_endpoint.clone()),
            form => app.options.form.as_str(),
            version => env!("CARGO_PKG_VERSION"),
            default_queue => app.options.default_queue.as_str(),
            ws => app.options.form.has_ws(),
        })
    }
}

/// The page.
pub(crate) async fn index(State(app): State<App>) -> Answer<Response> {
    let rendering = app.clone();
    let rendered = tokio::task::spawn_blocking(move || rendering.page.render(&rendering)).await;
    let failed = |detail: String| {
        tracing::error!(error = detail, "the page could not be rendered");
        Refusal::from(Problem::new(500, "page-failed", "The page could not be rendered", detail))
    };
    let html = rendered.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(format!("{error:#}")))?;
    let mut response = html.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    super::secure(headers);
    Ok(response)
}
