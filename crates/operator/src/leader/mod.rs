//! Who of several operators leads: an election over a Lease.
//!
//! ```text
//!   Elector::acquire ─► Leadership (renews in the background) ─► lost, or release
//!        └── campaign: requests with deadlines ◄──► state: what to do next (pure)
//! ```
//!
//! A leader leads for [`RENEWAL`] from the start of its last confirmed renewal, by its own monotonic clock; another takes
//! over once it has seen the record unchanged for [`LEASE`], by its own. No two clocks are ever compared. What may still
//! overlap is a request that an old leader had under way. A process that dies is followed within 13 seconds: the lease,
//! a renewal that the other saw one look later, and the requests themselves.
//!
//! The election needs the verbs `get`, `create` and `patch` on `leases.coordination.k8s.io` in the Lease's namespace.

mod campaign;
mod leadership;
mod lease;
#[cfg(test)]
mod simulation;
pub mod state;
mod view;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::Api;
use rand::Rng;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::campaign::Campaign;
use self::lease::LeaseRecord;
use self::state::{Action, Election, Timing};
use self::view::View;

pub use self::leadership::Leadership;
pub use self::view::LeaderView;

/// How long a record must have stood unchanged before another operator takes over.
pub const LEASE: Duration = Duration::from_secs(10);
/// How long a leader leads without a confirmed renewal. Four seconds less than [`LEASE`], so that clocks may run at rates
/// that differ by a quarter, and a leader's work has time to stop.
pub const RENEWAL: Duration = Duration::from_secs(6);
/// Pause between two renewals, and between two looks of an operator that waits: two renewals may fail in a term.
pub const RETRY: Duration = Duration::from_secs(2);
/// Each process draws its own pause between this and [`RETRY`], so that replicas started together do not keep step. More
/// than a request may take.
const RETRY_LEAST: Duration = Duration::from_millis(1_600);
/// Pause of a leader after a request that failed: four seconds are left by then.
const AGAIN: Duration = Duration::from_millis(500);

/// Which Lease, and who takes part.
#[derive(Debug, Clone)]
pub struct LeaderOptions {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// What people call this process, such as the name of its pod. The record shows it with a random suffix, since a
    /// container that starts again is another process.
    pub identity: String,
}

/// Takes part in the election.
pub struct Elector {
    identity: String,
    campaign: Arc<Mutex<Campaign>>,
    view: LeaderView,
}

impl Elector {
    /// A process that may come to lead. Nothing is sent before [`Elector::acquire`].
    pub fn new(client: Client, options: LeaderOptions) -> Self {
        let LeaderOptions { namespace, name, identity } = options;
        let identity = format!("{identity}_{}", Uuid::new_v4());
        let lease = LeaseRecord::new(Api::namespaced(client, &namespace), name, LEASE);
        let retry = rand::rng().random_range(RETRY_LEAST..=RETRY);
        let election = Election::new(identity.clone(), Timing { lease: LEASE, renewal: RENEWAL, retry, again: AGAIN });
        let (shown, seen) = watch::channel(View::default());
        let campaign = Arc::new(Mutex::new(Campaign::new(identity.clone(), lease, election, shown)));
        Self { identity, campaign, view: LeaderView::new(seen) }
    }

    /// The name of this process in the record.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Who leads, to be watched from elsewhere.
    pub fn view(&self) -> LeaderView {
        self.view.clone()
    }

    /// Waits until this process leads; `None` when `stop` came first. What was won in that moment is given back, which
    /// takes three seconds at most. While a [`Leadership`] of this elector is alive, this waits for its end.
    pub async fn acquire(&self, stop: &CancellationToken) -> Option<Leadership> {
        let mut campaign = stop.run_until_cancelled(self.campaign.clone().lock_owned()).await?;
        let mut action = campaign.resume();
        while !campaign.leads() {
            action = match action {
                Action::Look => stop.run_until_cancelled(campaign.look()).await?,
                Action::Acquire(attempt) | Action::Renew(attempt) => campaign.write(&attempt).await,
                Action::Wait(until) => stop.run_until_cancelled(campaign.wait(until)).await?,
                Action::Lost(loss) => campaign.lost(&loss),
            };
            if stop.is_cancelled() {
                campaign.resign().await;
                return None;
            }
        }
        Some(Leadership::keep(campaign, action, self.view.clone()))
    }
}
