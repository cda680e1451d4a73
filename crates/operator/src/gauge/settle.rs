//! What a gauge sets on the broker: the queue itself, who owns it, its settings, its pause.

use tidemill_broker::{Broker, BrokerError, Ownership};
use tidemill_core::{QueueOwner, QueueSettings};

use super::{IsGone, Pause, Target};

/// Makes the queue what `target` wants it to be. Somebody else's is left alone.
pub(super) async fn settle(
    broker: &dyn Broker,
    target: &Target,
    is_gone: &IsGone,
) -> Result<Result<(), QueueOwner>, BrokerError> {
    let queue = &target.queue;
    let settings = |kept: &QueueSettings| target.spec.settings(kept);
    broker.ensure_queue(queue, &settings(&QueueSettings::default())).await?;
    if let Some(other) = claim(broker, target, is_gone).await? {
        return Ok(Err(other));
    }
    let kept = broker.settings(queue).await?;
    let wanted = settings(&kept);
    if wanted != kept {
        broker.configure(queue, &wanted).await?;
    }
    match target.pause {
        Pause::Hold => _ = broker.pause(queue, true).await?,
        Pause::Lift => _ = broker.pause(queue, false).await?,
        Pause::LeaveAlone => {}
    }
    Ok(Ok(()))
}

/// Who owns the queue, if not we. The record of a TaskQueue that is no more (it was deleted while its broker was away)
/// is taken over.
async fn claim(broker: &dyn Broker, target: &Target, is_gone: &IsGone) -> Result<Option<QueueOwner>, BrokerError> {
    let Target { queue, owner, .. } = target;
    let other = match broker.own(queue, owner, None).await? {
        Ownership::Ours => return Ok(None),
        Ownership::Theirs(other) => other,
    };
    if other.cluster != owner.cluster || !is_gone(other.clone()).await {
        return Ok(Some(other));
    }
    match broker.own(queue, owner, Some(&other)).await? {
        Ownership::Ours => {
            tracing::info!(
                queue = queue.as_str(),
                before = format!("{}/{}", other.namespace, other.name),
                "took over the queue of a TaskQueue that is no more"
            );
            Ok(None)
        }
        Ownership::Theirs(another) => Ok(Some(another)),
    }
}
