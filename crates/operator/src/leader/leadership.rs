//! Being the leader: renewing in the background until it is lost or given back.

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::campaign::Campaign;
use super::state::Action;
use super::view::LeaderView;

/// This process leads. Dropped without [`Leadership::release`], it renews no more, and the next takes over after a lease.
pub struct Leadership {
    lost: CancellationToken,
    stop: CancellationToken,
    keeper: AbortOnDropHandle<OwnedMutexGuard<Campaign>>,
    view: LeaderView,
}

impl Leadership {
    pub(super) fn keep(campaign: OwnedMutexGuard<Campaign>, action: Action, view: LeaderView) -> Self {
        let (lost, stop) = (CancellationToken::new(), CancellationToken::new());
        let keeper = tokio::spawn(renew(campaign, action, lost.clone(), stop.clone()));
        Self { lost, stop, keeper: AbortOnDropHandle::new(keeper), view }
    }

    /// Cancelled when leadership is lost, in time to stop before another leads.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Whether this process leads now, judged by the clock. A process that was paused finds `false` here even before
    /// [`Leadership::lost`] has been cancelled.
    pub fn is_leader(&self) -> bool {
        !self.lost.is_cancelled() && self.view.leads()
    }

    /// Gives leadership back, so that another takes over with its next look. The work that needs leadership must have
    /// stopped before. Takes five seconds at most; where the API server does not answer, the lease runs out instead.
    pub async fn release(self) {
        let Self { lost: _, stop, keeper, view: _ } = self;
        stop.cancel();
        match keeper.await {
            Ok(mut campaign) => campaign.resign().await,
            Err(error) => tracing::error!(%error, "the renewal of the lease failed; it runs out by itself"),
        }
    }
}

/// Renews until leadership is lost or given back. However it ends, `lost` is cancelled.
async fn renew(
    mut campaign: OwnedMutexGuard<Campaign>,
    mut action: Action,
    lost: CancellationToken,
    stop: CancellationToken,
) -> OwnedMutexGuard<Campaign> {
    let _ended = lost.drop_guard();
    while campaign.leads() {
        let next = match &action {
            Action::Look => stop.run_until_cancelled(campaign.look()).await,
            Action::Acquire(attempt) | Action::Renew(attempt) => Some(campaign.write(attempt).await),
            Action::Wait(until) => stop.run_until_cancelled(campaign.wait(*until)).await,
            Action::Lost(_) => break,
        };
        let Some(next) = next.filter(|_| !stop.is_cancelled()) else { return campaign };
        action = next;
    }
    if let Action::Lost(loss) = &action {
        campaign.lost(loss);
    }
    campaign
}
