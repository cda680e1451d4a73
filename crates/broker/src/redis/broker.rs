//! The contract's operations, each on its script.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue as _};
use tidemill_core::{
    Counters, NewTask, Progress, QueueName, QueueOwner, QueueSettings, QueueStats, RequestId, State, TaskId, TaskView,
    WorkerId, WorkerInfo, WorkerView,
};

use super::reply::Reply;
use super::script::{self, Script};
use super::{RedisBroker, keys, wire};
use crate::contract::{
    Broker, Cancelled, Deleted, Enqueued, Exchange, Exchanged, Heartbeat, ListQuery, Lost, MAINTAIN_MAX, Maintained,
    Ownership, PAGE_MAX, Page, Requeued,
};
use crate::error::{BrokerError, Result};
use crate::subscription::Subscription;

/// Records that one page of a filtered list may look at.
const FILTER_REACH: usize = 10 * PAGE_MAX;
/// Tasks that one step of a purge deletes.
const PURGE_STEP: usize = 1_000;

#[async_trait]
impl Broker for RedisBroker {
    fn describe(&self) -> String {
        format!("{} at {}", self.link.server().unwrap_or("redis"), self.address)
    }

    async fn ping(&self) -> Result<()> {
        self.link.check().await
    }

    async fn ensure_queue(&self, queue: &QueueName, settings: &QueueSettings) -> Result<bool> {
        // A full store takes no queue in, but a worker of one that is there must get on, or it never drains.
        match self.settings(queue).await {
            Err(BrokerError::UnknownQueue { .. }) => self.write_settings(queue, settings, "create").await,
            known => known.map(|_| false),
        }
    }

    async fn configure(&self, queue: &QueueName, settings: &QueueSettings) -> Result<()> {
        self.write_settings(queue, settings, "replace").await.map(|_| ())
    }

    async fn settings(&self, queue: &QueueName) -> Result<QueueSettings> {
        const OPERATION: &str = "settings";
        let mut command = redis::cmd("HGET");
        command.arg(keys::key(queue, "meta")).arg("settings");
        let text = Option::<String>::from_redis_value(self.link.raw(OPERATION, &command).await?)
            .map_err(|error| store(OPERATION, &error))?
            .ok_or_else(|| BrokerError::UnknownQueue { operation: OPERATION, queue: queue.clone() })?;
        serde_json::from_str(&text).map_err(|error| store(OPERATION, &error))
    }

    async fn own(&self, queue: &QueueName, owner: &QueueOwner, instead_of: Option<&QueueOwner>) -> Result<Ownership> {
        const OPERATION: &str = "own";
        owner.check().map_err(BrokerError::BadOwner)?;
        let owner = json(OPERATION, owner)?;
        let instead_of = instead_of.map(|kept| json(OPERATION, kept)).transpose()?.unwrap_or_default();
        let put = |command: &mut Cmd| {
            command.arg(owner).arg(instead_of);
        };
        let (word, mut reply) = self.link.run(&script::OWN, queue, put).await?;
        match (word.as_str(), reply.is_empty()) {
            ("OURS", _) => Ok(Ownership::Ours),
            ("THEIRS", false) => {
                reply.json()?.map(Ownership::Theirs).ok_or_else(|| reply.wrong(&"an owner of nothing"))
            }
            (other, _) => Err(reply.wrong(&other)),
        }
    }

    async fn disown(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        self.as_owner(&script::DISOWN, queue, owner).await
    }

    async fn owner(&self, queue: &QueueName) -> Result<Option<QueueOwner>> {
        let (_, mut reply) = self.link.run(&script::OWNER, queue, |_| ()).await?;
        reply.json()
    }

    async fn drop_queue(&self, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        let dropped = match self.as_owner(&script::DROP_QUEUE, queue, owner).await {
            // Perhaps one that was dropped and is still listed.
            Err(BrokerError::UnknownQueue { .. }) => false,
            Ok(false) => return Ok(false),
            outcome => outcome?,
        };
        self.unlist(queue).await?;
        Ok(dropped)
    }

    async fn queues(&self) -> Result<Vec<QueueName>> {
        let members = self.link.raw("queues", redis::cmd("SMEMBERS").arg(keys::QUEUES)).await?;
        let names = Vec::<String>::from_redis_value(members).map_err(|error| store("queues", &error))?;
        let mut queues: Vec<_> = names.into_iter().filter_map(|name| QueueName::new(name).ok()).collect();
        queues.sort();
        Ok(queues)
    }

    async fn enqueue(&self, queue: &QueueName, batch: &[NewTask], request: RequestId) -> Result<Vec<Enqueued>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen = std::collections::HashSet::with_capacity(batch.len());
        if let Some(twice) = batch.iter().find(|task| !seen.insert(&task.id)) {
            return Err(BrokerError::DuplicateId(twice.id.clone()));
        }
        let call = wire::Call::new(batch, request)?;
        self.coalescer.enqueue(queue, call).await
    }

    async fn register(&self, queue: &QueueName, worker: &WorkerInfo) -> Result<()> {
        let text = serde_json::to_string(worker).map_err(|error| store("register", &error))?;
        let put = |command: &mut Cmd| {
            command.arg(worker.id.to_string()).arg(text);
        };
        self.link.run(&script::REGISTER, queue, put).await.map(|_| ())
    }

    async fn exchange(&self, queue: &QueueName, exchange: &Exchange) -> Result<Exchanged> {
        let mut order = Vec::new();
        let put = |command: &mut Cmd| order = wire::put_exchange(command, exchange);
        let (word, mut reply) = self.link.run(&script::EXCHANGE, queue, put).await?;
        wire::exchanged(&word, &mut reply, exchange, &order)
    }

    async fn exchange_after_wait(&self, queue: &QueueName, exchange: &Exchange, until: Duration) -> Result<Exchanged> {
        let mut order = Vec::new();
        let put = |command: &mut Cmd| order = wire::put_exchange(command, exchange);
        let (_, command, _) = self.link.spell(&script::EXCHANGE, queue, put);
        if let Some(value) = self.waiters.and_then(queue, command, until).await
            && let Ok((word, mut reply)) = Reply::open(script::EXCHANGE.name, queue, value)
            && let Ok(done @ Exchanged::Done { .. }) = wire::exchanged(&word, &mut reply, exchange, &order)
        {
            return Ok(done);
        }
        // Whatever kept it from its answer: under its number, it is not carried out twice.
        self.exchange(queue, exchange).await
    }

    async fn wait(&self, queue: &QueueName, until: Duration) -> Result<()> {
        let (_, mut reply) = self.link.run(&script::NEXT_DUE, queue, |_| ()).await?;
        let until = reply.maybe()?.map_or(until, |due_ms| until.min(Duration::from_millis(due_ms)));
        self.waiters.wait(queue, until).await;
        Ok(())
    }

    async fn heartbeat(
        &self,
        queue: &QueueName,
        worker: &WorkerId,
        progress: &[(TaskId, Progress)],
    ) -> Result<Heartbeat> {
        let steps = progress
            .iter()
            .map(|(task, step)| Ok((task, serde_json::to_string(step).map_err(|error| store("heartbeat", &error))?)))
            .collect::<Result<Vec<_>>>()?;
        let put = |command: &mut Cmd| {
            command.arg(worker.to_string());
            for (task, step) in steps {
                command.arg(task.as_str()).arg(step);
            }
        };
        let (word, mut reply) = self.link.run(&script::HEARTBEAT, queue, put).await?;
        if word == "RETIRED" {
            return Ok(Heartbeat::Retired);
        }
        let mut cancelled = Vec::new();
        while !reply.is_empty() {
            // One that is no id was never handed out.
            cancelled.extend(wire::id_of(&reply.bytes()?));
        }
        Ok(Heartbeat::Renewed { cancelled })
    }

    async fn retire(&self, queue: &QueueName, worker: &WorkerId) -> Result<()> {
        let put = |command: &mut Cmd| {
            command.arg(worker.to_string());
        };
        self.link.run(&script::RETIRE, queue, put).await.map(|_| ())
    }

    async fn maintain(&self, queue: &QueueName) -> Result<Maintained> {
        let put = |command: &mut Cmd| {
            command.arg(MAINTAIN_MAX);
        };
        let (_, mut reply) = self.link.run(&script::MAINTAIN, queue, put).await?;
        let mut done = Maintained { promoted: reply.parse()?, forgotten: reply.parse()?, ..Maintained::default() };
        done.renewed = reply.parse::<u8>()? == 1;
        done.more = reply.parse::<u8>()? == 1;
        while !reply.is_empty() {
            let (task, worker, state) = (reply.bytes()?, reply.parse(), reply.parse()?);
            if let (Ok(task), Ok(worker)) = (wire::id_of(&task), worker) {
                done.lost.push(Lost { task, worker, state });
            }
        }
        Ok(done)
    }

    async fn get(&self, queue: &QueueName, task: &TaskId) -> Result<Option<TaskView>> {
        let (word, mut reply) = self.on_task(&script::GET, queue, task).await?;
        if word == "UNKNOWN" { Ok(None) } else { wire::whole(&mut reply, task.clone()).map(Some) }
    }

    async fn list(&self, queue: &QueueName, query: &ListQuery) -> Result<Page> {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let mut from: u64 = match &query.cursor {
            Some(cursor) => {
                let place = cursor.parse::<u32>().map_err(|_| BrokerError::BadCursor(cursor.clone()))?;
                place.into()
            }
            None => 0,
        };
        let mut tasks: Vec<TaskView> = Vec::new();
        let mut looked_at = 0;
        loop {
            let step = if query.task_type.is_some() { PAGE_MAX } else { limit };
            let (next, page) = self.page(queue, query.state, from, step).await?;
            looked_at += step;
            let wanted = |task: &TaskView| query.task_type.as_ref().is_none_or(|wanted| *wanted == task.task_type);
            for (place, task) in page.into_iter().enumerate() {
                if wanted(&task) {
                    tasks.push(task);
                    if tasks.len() == limit && query.task_type.is_some() {
                        return Ok(Page { tasks, cursor: Some((from + place as u64 + 1).to_string()) });
                    }
                }
            }
            match next {
                Some(next) if query.task_type.is_some() && looked_at < FILTER_REACH => from = next,
                next => return Ok(Page { tasks, cursor: next.map(|next| next.to_string()) }),
            }
        }
    }

    async fn stats(&self, queue: &QueueName) -> Result<QueueStats> {
        let (_, mut reply) = self.link.run(&script::STATS, queue, |_| ()).await?;
        let mut stats = QueueStats {
            pending: reply.parse()?,
            delayed: reply.parse()?,
            active: reply.parse()?,
            retrying: reply.parse()?,
            succeeded: reply.parse()?,
            dead: reply.parse()?,
            cancelled: reply.parse()?,
            paused: reply.parse::<u8>()? == 1,
            oldest_pending_ms: reply.maybe()?,
            next_due_ms: reply.maybe()?,
            workers: reply.parse()?,
            counters: Counters::default(),
        };
        while !reply.is_empty() {
            let (name, value) = (reply.bytes()?, reply.bytes()?);
            let value = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok());
            // One that is unknown or no number is not ours to count.
            if let (Ok(name), Some(value)) = (std::str::from_utf8(&name), value) {
                count(&mut stats.counters, name, value);
            }
        }
        Ok(stats)
    }

    async fn workers(&self, queue: &QueueName) -> Result<Vec<WorkerView>> {
        let (_, mut reply) = self.link.run(&script::WORKERS, queue, |_| ()).await?;
        let mut workers = Vec::new();
        while !reply.is_empty() {
            let (id, text) = (reply.bytes()?, reply.bytes()?);
            let (lease_left_ms, active, running_ms) = (reply.parse(), reply.parse()?, reply.parse()?);
            let read = std::str::from_utf8(&text).ok().and_then(|text| text.split_once(' '));
            let read = read.and_then(|(at, info)| Some((at.parse().ok()?, serde_json::from_str(info).ok()?)));
            if let (Some((registered_at_ms, info)), Ok(lease_left_ms)) = (read, lease_left_ms) {
                workers.push(WorkerView { info, registered_at_ms, lease_left_ms, active, running_ms });
            } else {
                tracing::warn!(worker = %String::from_utf8_lossy(&id), "a worker that cannot be read is left out");
            }
        }
        workers.sort_by_key(|worker| (worker.registered_at_ms, worker.info.id));
        Ok(workers)
    }

    async fn cancel(&self, queue: &QueueName, task: &TaskId) -> Result<Cancelled> {
        let (word, mut reply) = self.on_task(&script::CANCEL, queue, task).await?;
        match word.as_str() {
            "NOW" => Ok(Cancelled::Now),
            "ASKED" => Ok(Cancelled::Asked),
            "ENDED" => Ok(Cancelled::Ended(reply.parse()?)),
            "UNKNOWN" => Ok(Cancelled::Unknown),
            other => Err(reply.wrong(&other)),
        }
    }

    async fn retry(&self, queue: &QueueName, task: &TaskId) -> Result<Requeued> {
        let (word, mut reply) = self.on_task(&script::RETRY, queue, task).await?;
        match word.as_str() {
            "PENDING" => Ok(Requeued::Pending),
            "REFUSED" => Ok(Requeued::Refused(reply.parse()?)),
            "UNKNOWN" => Ok(Requeued::Unknown),
            other => Err(reply.wrong(&other)),
        }
    }

    async fn delete(&self, queue: &QueueName, task: &TaskId) -> Result<Deleted> {
        let (word, reply) = self.on_task(&script::DELETE, queue, task).await?;
        match word.as_str() {
            "FORGOTTEN" => Ok(Deleted::Forgotten),
            "ACTIVE" => Ok(Deleted::Active),
            "UNKNOWN" => Ok(Deleted::Unknown),
            other => Err(reply.wrong(&other)),
        }
    }

    async fn pause(&self, queue: &QueueName, paused: bool) -> Result<bool> {
        let put = |command: &mut Cmd| {
            command.arg(u8::from(paused));
        };
        let (_, mut reply) = self.link.run(&script::PAUSE, queue, put).await?;
        Ok(reply.parse::<u8>()? == 1)
    }

    async fn purge(&self, queue: &QueueName, state: State) -> Result<u64> {
        if state == State::Active {
            return Err(store("purge", &"active tasks are not purged; cancel them"));
        }
        // As many steps as there were tasks when it began: what comes in meanwhile cannot keep it going.
        let at_first = self.stats(queue).await?.count(state);
        let mut purged = 0;
        while purged < at_first {
            let put = |command: &mut Cmd| {
                command.arg(state.as_str()).arg(PURGE_STEP);
            };
            let (_, mut reply) = self.link.run(&script::PURGE, queue, put).await?;
            let step: u64 = reply.parse()?;
            purged += step;
            if step < PURGE_STEP as u64 {
                break;
            }
        }
        Ok(purged)
    }

    async fn subscribe(&self, queue: &QueueName) -> Result<Subscription> {
        self.settings(queue).await?;
        self.subscriber.subscribe(queue).await
    }

    async fn close(&self) {
        self.coalescer.close();
        self.subscriber.close();
        self.waiters.close();
    }
}

impl RedisBroker {
    async fn write_settings(&self, queue: &QueueName, settings: &QueueSettings, how: &str) -> Result<bool> {
        const OPERATION: &str = "configure";
        let text = json(OPERATION, settings)?;
        self.enlist(OPERATION, queue).await?;
        let put = |command: &mut Cmd| {
            command.arg(how).arg(text).arg(settings.max_tasks).arg(settings.lease_ms).arg(settings.loss_limit);
            let retention = settings.retention;
            for keep in [retention.succeeded, retention.dead, retention.cancelled] {
                command.arg(keep.count).arg(keep.age_s);
            }
        };
        let created = self.link.eval(&script::CONFIGURE, queue, put).await?;
        let created = bool::from_redis_value(created).map_err(|error| store(OPERATION, &error))?;
        if created {
            // Someone who dropped its predecessor may have struck it off meanwhile.
            self.enlist(OPERATION, queue).await?;
        }
        Ok(created)
    }

    /// Puts a queue into the set of queues. That set has a slot of its own in Redis Cluster, so no script writes both.
    async fn enlist(&self, operation: &'static str, queue: &QueueName) -> Result<()> {
        self.link.raw(operation, redis::cmd("SADD").arg(keys::QUEUES).arg(queue.as_str())).await.map(|_| ())
    }

    /// Strikes a dropped queue off the set of queues. One that someone creates at this moment is put back.
    async fn unlist(&self, queue: &QueueName) -> Result<()> {
        const OPERATION: &str = "drop_queue";
        self.link.raw(OPERATION, redis::cmd("SREM").arg(keys::QUEUES).arg(queue.as_str())).await?;
        match self.settings(queue).await {
            Err(BrokerError::UnknownQueue { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => self.enlist(OPERATION, queue).await,
        }
    }

    /// Runs a script that does something if `owner` owns the queue. Whether it did.
    async fn as_owner(&self, script: &'static Script, queue: &QueueName, owner: &QueueOwner) -> Result<bool> {
        let owner = json(script.name, owner)?;
        let put = |command: &mut Cmd| {
            command.arg(owner);
        };
        let (_, mut reply) = self.link.run(script, queue, put).await?;
        Ok(reply.parse::<u8>()? == 1)
    }

    async fn on_task(&self, script: &'static Script, queue: &QueueName, task: &TaskId) -> Result<(String, Reply)> {
        let put = |command: &mut Cmd| {
            command.arg(task.as_str());
        };
        self.link.run(script, queue, put).await
    }

    /// A page of a list, and where the next begins.
    async fn page(
        &self,
        queue: &QueueName,
        state: State,
        from: u64,
        most: usize,
    ) -> Result<(Option<u64>, Vec<TaskView>)> {
        let put = |command: &mut Cmd| {
            command.arg(state.as_str()).arg(from).arg(most);
        };
        let (_, mut reply) = self.link.run(&script::LIST, queue, put).await?;
        let next = reply.maybe()?;
        let mut tasks = Vec::new();
        while !reply.is_empty() {
            tasks.extend(wire::listed(&mut reply, state)?);
        }
        Ok((next, tasks))
    }
}

fn store(operation: &'static str, reason: &dyn std::fmt::Display) -> BrokerError {
    BrokerError::Store { operation, reason: reason.to_string() }
}

fn json(operation: &'static str, value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| store(operation, &error))
}

fn count(counters: &mut Counters, name: &str, value: u64) {
    let counter = match name {
        "enqueued" => &mut counters.enqueued,
        "started" => &mut counters.started,
        "succeeded" => &mut counters.succeeded,
        "failed" => &mut counters.failed,
        "timed_out" => &mut counters.timed_out,
        "retried" => &mut counters.retried,
        "dead" => &mut counters.dead,
        "cancelled" => &mut counters.cancelled,
        "lost" => &mut counters.lost,
        "released" => &mut counters.released,
        "refused" => &mut counters.refused,
        "requeued" => &mut counters.requeued,
        "deleted" => &mut counters.deleted,
        "ran_ms" => &mut counters.ran_ms,
        _ => return,
    };
    *counter = value;
}
