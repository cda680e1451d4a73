//! The built-in task types, one file each.
//!
//! To add one: write its file (a type that implements [`Handler`](tidemill_executor::Handler)), and add its line to
//! [`registry`]. A handler knows its payload and its [`Context`](tidemill_executor::Context), nothing of queues, stores
//! or HTTP.

mod outbox;
mod send_email;
mod sleep;

pub use outbox::{Outbox, letter_name};
pub use send_email::{SendEmail, SmtpError, SmtpOptions};
pub use sleep::Sleep;

use tidemill_executor::{Registry, RegistryError};

/// What the built-in handlers are told.
#[derive(Debug, Clone, Default)]
pub struct HandlerOptions {
    /// How mail is sent.
    pub smtp: SmtpOptions,
}

/// Handlers that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Mail cannot be sent with these options.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// Two handlers of one type.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// All built-in task types: one line each.
pub fn registry(options: &HandlerOptions) -> Result<Registry, SetupError> {
    let mut registry = Registry::new();
    registry.add("sleep", Sleep)?;
    registry.add("send_email", SendEmail::new(&options.smtp)?)?;
    Ok(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_types_are_these() {
        let registry = registry(&HandlerOptions::default()).unwrap();
        let types: Vec<String> = registry.types().iter().map(ToString::to_string).collect();
        assert_eq!(types, ["send_email", "sleep"]);
    }
}
