//! The built-in task types, one file each.
//!
//! To add one: write its file (a type that implements [`Handler`](tidemill_executor::Handler), and a [`BuiltIn`] called
//! `TYPE` that describes it), and add its line to `types!` below. A handler knows its payload and its
//! [`Context`](tidemill_executor::Context), nothing of queues, stores or HTTP.

mod built_in;
pub mod objects;
mod outbox;
mod own;
mod templates;
mod web;

pub use built_in::BuiltIn;
pub use exec::{CommandError, CommandOptions, Exec};
pub use generate_pdf::{GeneratePdf, PdfOptions, render_pdf};
pub use http_request::{HttpRequest, HttpRequestOptions};
pub use outbox::{Outbox, letter_name};
pub use own::{OwnHandler, Remote, RemoteError};
pub use resize_image::{ResizeImage, ResizeOptions};
pub use send_email::{SendEmail, SmtpError, SmtpOptions};
pub use sleep::Sleep;
pub use web::WebError;

use std::collections::BTreeMap;

use objects::{ObjectError, ObjectOptions};
use tidemill_executor::{Registry, RegistryError};

macro_rules! types {
    ($($module:ident),* $(,)?) => {
        $(mod $module;)*

        /// All built-in task types.
        pub static TYPES: &[BuiltIn] = &[$($module::TYPE),*];
    };
}

types! {
    exec,
    generate_pdf,
    http_request,
    resize_image,
    send_email,
    sleep,
}

#[cfg(test)]
#[allow(unreachable_pub)] // the macro makes what the crate shows
mod instructions;

/// What the built-in handlers are told.
#[derive(Debug, Clone, Default)]
pub struct HandlerOptions {
    /// Which objects tasks may use.
    pub objects: ObjectOptions,
    /// How images are resized.
    pub resize_image: ResizeOptions,
    /// How PDFs are made.
    pub generate_pdf: PdfOptions,
    /// How mail is sent.
    pub smtp: SmtpOptions,
    /// What HTTP requests may do.
    pub http_request: HttpRequestOptions,
    /// The command of `exec`, which is served only where there is one.
    pub exec: Option<CommandOptions>,
    /// What serves the types of one's own, by their names.
    pub own: BTreeMap<String, OwnHandler>,
}

/// Handlers that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No object can be used with these options.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// Mail cannot be sent with these options.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// HTTP requests cannot be sent with these options.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A command cannot be run.
    #[error("the handler of {handler} cannot be used: {source}")]
    Command {
        /// The task type.
        handler: String,
        /// Why.
        source: CommandError,
    },
    /// A URL cannot be used.
    #[error("the handler of {handler} cannot be used: {source}")]
    Remote {
        /// The task type.
        handler: String,
        /// Why.
        source: RemoteError,
    },
    /// A type of one's own is called like a built-in one.
    #[error("handlers.{0}: {0} is a built-in type; choose another name")]
    BuiltIn(String),
    /// Two handlers of one type.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// All built-in task types and those of one's own, set up.
pub fn registry(options: &HandlerOptions) -> Result<Registry, SetupError> {
    let mut registry = Registry::new();
    for built_in in TYPES {
        (built_in.add)(&mut registry, options)?;
    }
    for (name, handler) in &options.own {
        own::add(&mut registry, name, handler)?;
    }
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use tidemill_core::{TaskId, TaskType};
    use tidemill_executor::Context;

    use super::*;

    #[test]
    fn every_type_is_served_under_the_name_that_it_has() {
        let command = CommandOptions { command: vec!["true".to_owned()], ..CommandOptions::default() };
        let options = HandlerOptions { exec: Some(command), ..HandlerOptions::default() };
        let registry = registry(&options).unwrap();
        let types: Vec<String> = registry.types().iter().map(ToString::to_string).collect();
        let names: Vec<&str> = TYPES.iter().map(|built_in| built_in.name).collect();
        assert_eq!(types, names);
        assert!(names.iter().all(|name| TaskType::BUILT_IN.contains(name)), "{names:?}");
    }

    #[test]
    fn a_type_of_ones_own_is_served_unless_it_is_called_like_a_built_in_one() {
        let own = |name: &str| {
            let handler = OwnHandler::Url { url: "http://127.0.0.1:1/".to_owned(), timeout: None };
            registry(&HandlerOptions { own: [(name.to_owned(), handler)].into(), ..HandlerOptions::default() })
        };
        let served = own("resize").unwrap();
        assert!(served.types().iter().any(|name| name.as_str() == "resize"));
        for name in ["sleep", "exec"] {
            let said = own(name).unwrap_err().to_string();
            assert_eq!(said, format!("handlers.{name}: {name} is a built-in type; choose another name"));
        }
        assert!(own("a b").is_err());
        assert!(!served.types().iter().any(|name| name.as_str() == "exec"), "there is no command");
    }

    #[tokio::test]
    async fn the_examples_of_images_and_documents_work_as_they_stand() {
        let registry = registry(&HandlerOptions::default()).unwrap();
        for (name, member) in [("resize_image", "image_base64"), ("generate_pdf", "pdf_base64")] {
            let built_in = TYPES.iter().find(|built_in| built_in.name == name).unwrap();
            let task_type = TaskType::new(name).unwrap();
            let cx = Context::detached(TaskId::new("a").unwrap(), task_type.clone(), built_in.example).0;
            let output = registry.get(&task_type).unwrap().run(cx).await.unwrap();
            let result: serde_json::Value = serde_json::from_slice(output.as_json().unwrap()).unwrap();
            assert!(result[member].is_string(), "{result}");
        }
    }
}
