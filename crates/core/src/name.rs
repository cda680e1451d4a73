//! Names that appear in keys, labels and URLs: of queues and of task types.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest [`QueueName`], in characters: a Kubernetes label value holds as many.
pub const QUEUE_NAME_MAX: usize = 63;
/// Longest [`TaskType`], in characters.
pub const TASK_TYPE_MAX: usize = 64;

const QUEUE_NAME_RULE: &str =
    "a queue name has letters, digits, '.', '_' and '-', and begins and ends with a letter or digit";
const TASK_TYPE_RULE: &str =
    "a task type has letters, digits, '.', '_', ':' and '-', and begins and ends with a letter or digit";

/// Why a text is not a valid name. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{what} is empty")]
    Empty {
        /// What was to be named.
        what: &'static str,
    },
    /// The text has too many characters.
    #[error("{what} has {length} characters; at most {max} are allowed")]
    TooLong {
        /// What was to be named.
        what: &'static str,
        /// How many characters the text has.
        length: usize,
        /// How many are allowed.
        max: usize,
    },
    /// The text has a character that is not allowed, or not allowed in its place.
    #[error("{what} {text:?} has {found:?} at character {at}; {rule}")]
    BadCharacter {
        /// What was to be named.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The offending character.
        found: char,
        /// Its place, counted from 1.
        at: usize,
        /// What is allowed, as a clause.
        rule: &'static str,
    },
}

/// The name of a queue: 1–63 letters, digits, `.`, `_` and `-`, first and last a letter or digit.
///
/// It is the hash tag of the queue's keys in Redis, a label value in Kubernetes and a segment of URLs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(Arc<str>);

/// The type of a task, which picks its handler: 1–64 letters, digits, `.`, `_`, `:` and `-`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskType(Arc<str>);

impl QueueName {
    /// Checks `text` and makes it a name.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        check("queue name", &text, QUEUE_NAME_MAX, QUEUE_NAME_RULE, |c, edge| {
            c.is_ascii_alphanumeric() || (!edge && matches!(c, '.' | '_' | '-'))
        })?;
        Ok(Self(text))
    }

    /// The queue that the routes of the root serve when none is named.
    pub fn default_queue() -> Self {
        Self("default".into())
    }
}

impl TaskType {
    /// The type of the tasks of `POST /schedule`.
    pub const SLEEP: &'static str = "sleep";
    /// The types of the program, whose names no type of one's own may have.
    pub const BUILT_IN: [&'static str; 6] =
        ["exec", "generate_pdf", "http_request", "resize_image", "send_email", Self::SLEEP];

    /// Checks `text` and makes it a type.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        check("task type", &text, TASK_TYPE_MAX, TASK_TYPE_RULE, |c, edge| {
            c.is_ascii_alphanumeric() || (!edge && matches!(c, '.' | '_' | ':' | '-'))
        })?;
        Ok(Self(text))
    }

    /// The type `sleep`: waits for `duration_ms` and succeeds.
    pub fn sleep() -> Self {
        Self(Self::SLEEP.into())
    }
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    rule: &'static str,
    allowed: impl Fn(char, bool) -> bool,
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    let length = text.chars().count();
    if length > max {
        return Err(NameError::TooLong { what, length, max });
    }
    for (index, found) in text.chars().enumerate() {
        let edge = index == 0 || index + 1 == length;
        if !allowed(found, edge) {
            return Err(NameError::BadCharacter { what, text: text.to_owned(), found, at: index + 1, rule });
        }
    }
    Ok(())
}

macro_rules! text_newtype {
    ($name:ident, $error:ty) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}
pub(crate) use text_newtype;

text_newtype!(QueueName, NameError);
text_newtype!(TaskType, NameError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_name_is_a_kubernetes_label_value() {
        for good in ["a", "emails", "a.b_c-d", "A1", &"x".repeat(63)] {
            assert!(QueueName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", "a{b}", "ä", &"x".repeat(64)] {
            assert!(QueueName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_says_which_character_is_wrong_and_what_is_right() {
        let error = QueueName::new("mail queue").unwrap_err().to_string();
        assert_eq!(
            error,
            "queue name \"mail queue\" has ' ' at character 5; \
             a queue name has letters, digits, '.', '_' and '-', and begins and ends with a letter or digit"
        );
    }

    #[test]
    fn a_task_type_may_be_scoped_with_colons() {
        assert!(TaskType::new("mail:send.v2").is_ok());
        assert!(TaskType::new("send email").is_err());
        assert_eq!(TaskType::new("").unwrap_err().to_string(), "task type is empty");
    }
}
