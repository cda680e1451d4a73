//! What an operator is told.

use tidemill_broker::Access;

/// What an operator is told. Everything else it reads from the cluster.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// The one namespace to look after; `None` is all of them.
    pub namespace: Option<String>,
    /// The image of worker pods that name none.
    pub worker_image: String,
    /// The installation's broker, for TaskQueues that name none. A file of authorities has been read: it is PEM here.
    pub installation: Option<Access>,
    /// The namespaces that the installation's broker is offered to; `*` is all.
    pub offered_namespaces: Vec<String>,
    /// Where the Lease of the leader is.
    pub lease_namespace: String,
    /// The name of that Lease.
    pub lease_name: String,
    /// Who this process is among the candidates: the pod's name.
    pub identity: String,
    /// A name of the cluster, so that two clusters on one broker do not take each other's queues. `None`: the uid of the
    /// namespace `kube-system`, or of the watched one.
    pub cluster: Option<String>,
    /// Whether worker pods get a NetworkPolicy.
    pub network_policies: bool,
    /// Where the pods of TaskQueues send their traces; `None`: nowhere.
    pub traces: Option<TraceSettings>,
}

/// Where pods send their traces, and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// The collector's endpoint, as the setting `traces.endpoint` has it.
    pub endpoint: String,
    /// Which part of the requests without a trace begins one.
    pub sample_ratio: f64,
}

impl OperatorOptions {
    /// Whether the installation's broker is offered to `namespace`.
    pub fn offers_broker_to(&self, namespace: &str) -> bool {
        self.offered_namespaces.iter().any(|offered| offered == "*" || offered == namespace)
    }
}
