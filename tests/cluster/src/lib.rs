//! What the tests against a real Kubernetes share.
//!
//! The cluster is the one that `KUBECONFIG` names; `scripts/with-cluster` starts one and sets it. The suite `control_plane`
//! needs an API server alone, `e2e` a node that runs pods (`TIDEMILL_CLUSTER_NODE=1`).
