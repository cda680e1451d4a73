//! The built-in task types, one file each.
//!
//! To add one: write its file (a type that implements [`Handler`](tidemill_executor::Handler), and a [`BuiltIn`] called
//! `TYPE` that describes it), and add its line to `types!` below. A handler knows its payload and its
//! [`Context`](tidemill_executor::Context), nothing of queues, stores or HTTP.

mod built_in;
mod outbox;
mod tls;

pub use built_in::BuiltIn;
pub use outbox::{Outbox, letter_name};
pub use send_email::{SendEmail, SmtpError, SmtpOptions};
pub use sleep::Sleep;
pub use tls::TlsError;

use tidemill_executor::{Registry, RegistryError};

macro_rules! types {
    ($($module:ident),* $(,)?) => {
        $(mod $module;)*

        /// All built-in task types.
        pub static TYPES: &[BuiltIn] = &[$($module::TYPE),*];
    };
}

types! {
    send_email,
    sleep,
}

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
    use super::*;

    #[test]
    fn every_type_is_served_under_the_name_that_it_has() {
        let registry = registry(&HandlerOptions::default()).unwrap();
        let types: Vec<String> = registry.types().iter().map(ToString::to_string).collect();
        let names: Vec<&str> = TYPES.iter().map(|built_in| built_in.name).collect();
        assert_eq!(types, names);
    }
}
