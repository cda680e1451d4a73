//! What goes wrong when objects are applied.

/// An object could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused it, or did not answer.
    #[error("{kind} {name} cannot be applied: {source}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// Someone else made an object of this name.
    #[error(
        "{kind} {name} is there already and belongs to somebody else: rename or delete it, or name the TaskQueue differently"
    )]
    Foreign {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// An object of this name is being deleted.
    #[error("{kind} {name} of an earlier TaskQueue is still there and on its way out")]
    Going {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Pods could not be listed or marked.
    #[error("the worker pods cannot be read: {0}")]
    Pods(#[source] Box<kube::Error>),
    /// An object could not be written as JSON.
    #[error("an object cannot be written as JSON: {0}")]
    Json(#[source] serde_json::Error),
}

impl ApplyError {
    /// Whether the API server did not answer at all, so that nothing is wrong with the object.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused { source, .. } | Self::Pods(source) => match &**source {
                kube::Error::Api(status) => status.code >= 500 || status.code == 429,
                _ => true,
            },
            Self::Foreign { .. } | Self::Going { .. } | Self::Json(_) => false,
        }
    }
}
