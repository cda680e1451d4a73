//! The reference pages of the documentation, made of what the code declares: settings, task types, the resource, the HTTP
//! API, metrics and commands. `make docs` writes them; a test compares them with the code.

mod commands;
mod http;
mod markdown;
mod metrics;
mod resource;
mod schema;
mod settings;
mod task_types;

/// A page in `docs/src/reference`.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The file's name.
    pub file: &'static str,
    /// Markdown.
    pub text: String,
}

/// All of them.
pub fn pages() -> anyhow::Result<Vec<Page>> {
    Ok(vec![
        page("settings.md", &settings::text()),
        page("task-types.md", &task_types::text()),
        page("taskqueue.md", &resource::text()?),
        page("http.md", &http::text()?),
        page("metrics.md", &metrics::text()),
        page("commands.md", &commands::text()),
    ])
}

fn page(file: &'static str, text: &str) -> Page {
    Page { file, text: format!("<!-- Made from the code by `make docs`. Do not edit. -->\n\n{}\n", text.trim()) }
}
