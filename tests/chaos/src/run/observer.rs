//! Looks at the store from beside all faults: who is registered, what was counted; and cancels tasks of an hour after a while.

use std::sync::Arc;
use std::time::Duration;

use tidemill::broker::contract::PAGE_MAX;
use tidemill::broker::{Broker, BrokerError, Delivery, ListQuery};
use tidemill::core::{Event, QueueName, State, TaskRef, TaskView};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::history::record::Announcement;
use crate::history::{Record, SeenWorker, Writer};
use crate::load::tasks::{LONG_MS, now_ms};

/// How often workers are read.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// At every so manieth look, figures are read and long tasks cancelled.
const FIGURES_EVERY: u32 = 4;
/// How long a task of an hour may run before it is cancelled, in milliseconds.
const LONG_ENOUGH_MS: u64 = 4_000;

/// Watches until `ending` is dropped. Once it says `true`, tasks of an hour are cancelled wherever they stand.
pub async fn run(broker: Arc<dyn Broker>, queues: Vec<QueueName>, history: Writer, mut ending: watch::Receiver<bool>) {
    for look in 0_u32.. {
        for queue in &queues {
            let seen = async {
                note_workers(broker.as_ref(), queue, &history).await?;
                if look.is_multiple_of(FIGURES_EVERY) {
                    let stats = broker.stats(queue).await?;
                    history.note(&Record::Figures { queue: queue.to_string(), stats, last: false });
                    let all = *ending.borrow();
                    cancel_long(broker.as_ref(), queue, all).await?;
                }
                Ok::<(), BrokerError>(())
            };
            if let Err(error) = seen.await {
                history.note(&Record::Away { error: error.to_string() });
            }
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            ended = ending.wait_for(|_| false) => if ended.is_err() { return },
        }
    }
}

/// Writes down what the store announces of a queue, until the broker is closed.
pub async fn listen(broker: Arc<dyn Broker>, queue: QueueName, history: Writer) {
    let name = queue.to_string();
    let mut subscription = loop {
        match broker.subscribe(&queue).await {
            Ok(subscription) => break subscription,
            Err(_) => sleep(LOOK_EVERY).await,
        }
    };
    while let Some(delivery) = subscription.next().await {
        let queue = name.clone();
        history.note(&match delivery {
            Delivery::Batch(batch) => {
                let announced = batch.events.iter().flat_map(announced).collect();
                Record::Announced { queue, number: batch.number, announced }
            }
            Delivery::Gap => Record::Gap { queue },
        });
    }
}

fn announced(event: &Event) -> Vec<(String, Announcement)> {
    let one = |task: &TaskRef, what| (task.id.to_string(), what);
    match event {
        Event::Scheduled(tasks) => tasks.iter().map(|task| one(task, Announcement::Scheduled)).collect(),
        Event::Start(task) => vec![one(task, Announcement::Started)],
        Event::Done(task, _) => vec![one(task, Announcement::Ended)],
        Event::Next(_) => Vec::new(),
    }
}

async fn note_workers(broker: &dyn Broker, queue: &QueueName, history: &Writer) -> Result<(), BrokerError> {
    let seen = broker.workers(queue).await?.into_iter().map(|worker| SeenWorker {
        worker: worker.info.id.to_string(),
        name: worker.info.name,
        active: worker.active,
        lease_left_ms: worker.lease_left_ms,
    });
    history.note(&Record::Workers { queue: queue.to_string(), workers: seen.collect() });
    Ok(())
}

async fn cancel_long(broker: &dyn Broker, queue: &QueueName, all: bool) -> Result<(), BrokerError> {
    let states: &[State] =
        if all { &[State::Active, State::Pending, State::Delayed, State::Retrying] } else { &[State::Active] };
    for state in states {
        let query = ListQuery { state: *state, task_type: None, cursor: None, limit: PAGE_MAX };
        let page = broker.list(queue, &query).await?;
        let enough = |task: &&TaskView| {
            let ran = task.started_at_ms.map_or(0, |started| now_ms().saturating_sub(started));
            task.duration_ms >= LONG_MS && (all || ran >= LONG_ENOUGH_MS)
        };
        for task in page.tasks.iter().filter(enough) {
            broker.cancel(queue, &task.id).await?;
        }
    }
    Ok(())
}
