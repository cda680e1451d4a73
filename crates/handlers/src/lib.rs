//! The built-in task types, one file each.
//!
//! To add one: write its file (a type that implements [`Handler`](tidemill_executor::Handler), and a [`BuiltIn`] called
//! `TYPE` that describes it), and add its line to `types!` below. A handler knows its payload and its
//! [`Context`](tidemill_executor::Context), nothing of queues, stores or HTTP.

mod built_in;
pub mod objects;
mod outbox;
mod templates;
mod tls;

pub use built_in::BuiltIn;
pub use generate_pdf::{GeneratePdf, PdfOptions, render_pdf};
pub use outbox::{Outbox, letter_name};
pub use resize_image::{ResizeImage, ResizeOptions};
pub use send_email::{SendEmail, SmtpError, SmtpOptions};
pub use sleep::Sleep;
pub use tls::TlsError;

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
    generate_pdf,
    resize_image,
    send_email,
    sleep,
}

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
    /// Two handlers of one type.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// All built-in task types, set up.
pub fn registry(options: &HandlerOptions) -> Result<Registry, SetupError> {
    let mut registry = Registry::new();
    for built_in in TYPES {
        (built_in.add)(&mut registry, options)?;
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
        let registry = registry(&HandlerOptions::default()).unwrap();
        let types: Vec<String> = registry.types().iter().map(ToString::to_string).collect();
        let names: Vec<&str> = TYPES.iter().map(|built_in| built_in.name).collect();
        assert_eq!(types, names);
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
