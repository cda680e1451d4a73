//! Who reconciles a queue.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::NameError;

/// Longest part of a [`QueueOwner`], in characters: as long as the name of an object may be in Kubernetes.
pub const OWNER_PART_MAX: usize = 253;

/// Who reconciles a queue: an object, by its place and its uid. A store keeps at most one for each queue, so that two
/// who share the store do not both manage the same queue.
///
/// The place is cluster, namespace and name. The uid tells an object from another that had the place before it.
/// A store takes at most [`OWNER_PART_MAX`] characters of each part.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueOwner {
    /// The cluster, by whatever tells it from the others that share the store.
    pub cluster: String,
    /// The namespace in the cluster.
    pub namespace: String,
    /// The name in the namespace.
    pub name: String,
    /// This very object.
    pub uid: String,
}

impl QueueOwner {
    /// Whether both stand at the same place, whatever their uids.
    pub fn same_place(&self, other: &Self) -> bool {
        (&self.cluster, &self.namespace, &self.name) == (&other.cluster, &other.namespace, &other.name)
    }

    /// Fails where a part is longer than [`OWNER_PART_MAX`].
    pub fn check(&self) -> Result<(), NameError> {
        let parts = [
            ("cluster", &self.cluster),
            ("namespace", &self.namespace),
            ("name of the owner", &self.name),
            ("uid", &self.uid),
        ];
        for (what, part) in parts {
            let length = part.chars().count();
            if length > OWNER_PART_MAX {
                return Err(NameError::TooLong { what, length, max: OWNER_PART_MAX });
            }
        }
        Ok(())
    }
}

/// For people: namespace, name and cluster.
impl fmt::Display for QueueOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} in cluster {}", self.namespace, self.name, self.cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> QueueOwner {
        let [cluster, namespace, name, uid] = ["east", "mill", "mail", "u1"].map(str::to_owned);
        QueueOwner { cluster, namespace, name, uid }
    }

    #[test]
    fn a_place_is_cluster_namespace_and_name_without_the_uid() {
        let same = QueueOwner { uid: "u2".to_owned(), ..owner() };
        assert!(owner().same_place(&same));
        assert_ne!(owner(), same);
        for other in [
            QueueOwner { cluster: "west".to_owned(), ..owner() },
            QueueOwner { namespace: "other".to_owned(), ..owner() },
            QueueOwner { name: "fax".to_owned(), ..owner() },
        ] {
            assert!(!owner().same_place(&other), "{other}");
        }
    }

    #[test]
    fn a_part_has_at_most_253_characters() {
        let long = |length| QueueOwner { cluster: "ä".repeat(length), ..owner() };
        assert_eq!(long(OWNER_PART_MAX).check(), Ok(()));
        let error = long(OWNER_PART_MAX + 1).check().unwrap_err().to_string();
        assert_eq!(error, "cluster has 254 characters; at most 253 are allowed");
    }

    #[test]
    fn an_owner_comes_back_from_json_as_it_was() {
        let text = serde_json::to_string(&owner()).unwrap();
        assert_eq!(text, r#"{"cluster":"east","namespace":"mill","name":"mail","uid":"u1"}"#);
        assert_eq!(serde_json::from_str::<QueueOwner>(&text).unwrap(), owner());
    }
}
