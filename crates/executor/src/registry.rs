//! Which handler serves which task type.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tidemill_core::{NameError, TaskType};

use crate::handler::Handler;

/// Task types and their handlers. Adding one is one line: `registry.add("resize_image", ResizeImage)?;`
#[derive(Default, Clone)]
pub struct Registry {
    handlers: BTreeMap<TaskType, Arc<dyn Handler>>,
}

/// A handler that cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The type's name is not one.
    #[error("cannot add a handler: {0}")]
    BadName(#[from] NameError),
    /// The type has a handler already.
    #[error("cannot add a handler for {0}: there is one already")]
    Duplicate(TaskType),
}

impl Registry {
    /// A registry that serves nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `handler` serve the tasks of `task_type`.
    pub fn add(&mut self, task_type: &str, handler: impl Handler) -> Result<&mut Self, RegistryError> {
        let task_type = TaskType::new(task_type)?;
        if self.handlers.contains_key(&task_type) {
            return Err(RegistryError::Duplicate(task_type));
        }
        self.handlers.insert(task_type, Arc::new(handler));
        Ok(self)
    }

    /// The handler of `task_type`.
    pub fn get(&self, task_type: &TaskType) -> Option<&Arc<dyn Handler>> {
        self.handlers.get(task_type)
    }

    /// The types that are served, in alphabetical order.
    pub fn types(&self) -> Vec<TaskType> {
        self.handlers.keys().cloned().collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::handler::{HandlerResult, Output};

    async fn nothing(_: Context) -> HandlerResult {
        Ok(Output::NONE)
    }

    #[test]
    fn a_type_has_one_handler_and_a_proper_name() {
        let mut registry = Registry::new();
        registry.add("b", nothing).unwrap().add("a", nothing).unwrap();
        assert_eq!(registry.types().iter().map(TaskType::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            registry.add("a", nothing).unwrap_err().to_string(),
            "cannot add a handler for a: there is one already"
        );
        assert!(matches!(registry.add("no spaces", nothing), Err(RegistryError::BadName(_))));
    }
}
