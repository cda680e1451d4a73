//! Makes faults happen, and heals them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill::{Broker, QueueName};
use tidemill_tests::RedisServer;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::cast::{self, Member};
use super::plan::{Kind, Step};
use super::{admin, clocks};
use crate::history::{Record, Writer};
use crate::proxy::Mode;

/// How long something is tried again that needs a store which other faults may hold up.
const INSIST: Duration = Duration::from_secs(20);
/// Pause between tries.
const TRY_EVERY: Duration = Duration::from_millis(100);
/// How long the first line of a program may take.
const FIRST_LINE: Duration = Duration::from_secs(5);

/// What faults are done to.
pub struct Scene {
    /// All processes but the store, by name.
    pub members: HashMap<&'static str, Mutex<Member>>,
    /// The store.
    pub redis: Arc<RedisServer>,
    /// The store past all proxies.
    pub broker: Arc<dyn Broker>,
    /// The queues.
    pub queues: Vec<QueueName>,
    /// The conductor's history.
    pub history: Writer,
    /// Whether clocks can be moved.
    pub clocks: bool,
}

impl Scene {
    /// Does `step` and heals it. Whether it could be done.
    pub async fn befall(&self, number: usize, step: &Step) -> anyhow::Result<bool> {
        if step.kind == Kind::ClockOff && !self.clocks {
            return Ok(false);
        }
        let mut target = step.target.to_owned();
        if let Some(member) = self.members.get(step.target) {
            target = member.lock().await.process();
        }
        let (kind, text) = (step.kind.to_string(), step.to_string());
        self.history.note(&Record::Fault { number, kind, target, text });
        let done = self.act(step).await?;
        self.history.note(&Record::Healed { number });
        Ok(done)
    }

    async fn act(&self, step: &Step) -> anyhow::Result<bool> {
        let lasting = Duration::from_millis(step.ms);
        match step.kind {
            Kind::RedisKill => self.kill_redis(lasting).await?,
            Kind::RedisFreeze => self.freeze_redis(lasting).await?,
            Kind::StoreFull => self.fill(lasting).await?,
            Kind::Pause => self.pause(lasting).await?,
            Kind::Delay | Kind::Cut | Kind::HalfClose | Kind::DropReplies | Kind::Stall => {
                return self.disturb(step, lasting).await;
            }
            Kind::WorkerFreeze => {
                let Some(member) = self.members.get(step.target) else { return Ok(false) };
                let stopped = member.lock().await.signal("STOP");
                sleep(lasting).await;
                return Ok(member.lock().await.signal("CONT") && stopped);
            }
            Kind::WorkerKill | Kind::ApiKill | Kind::ProducerKill | Kind::WorkerTerm | Kind::ClockOff => {
                return self.replace(step, lasting).await;
            }
        }
        Ok(true)
    }

    /// Ends a process and starts it again.
    async fn replace(&self, step: &Step, lasting: Duration) -> anyhow::Result<bool> {
        let Some(member) = self.members.get(step.target) else { return Ok(false) };
        let mut member = member.lock().await;
        let was_up = member.is_up();
        if step.kind == Kind::WorkerTerm {
            member.terminate().await?;
        } else {
            member.kill().await?;
        }
        sleep(lasting).await;
        let skew_ms = match (step.kind, step.extra) {
            (Kind::ClockOff, 0) => clocks::OFF_MS,
            (Kind::ClockOff, _) => -clocks::OFF_MS,
            _ => 0,
        };
        member.start(skew_ms)?;
        if skew_ms != 0 {
            let until = Instant::now() + FIRST_LINE;
            while member.clock_is_off(skew_ms).is_none() && Instant::now() < until {
                sleep(TRY_EVERY).await;
            }
            if member.clock_is_off(skew_ms) == Some(false) {
                // A program that is linked statically; its times are right.
                self.history.note(&Record::Spawned { process: member.process(), skew_ms: 0 });
                return Ok(false);
            }
        }
        Ok(was_up)
    }

    async fn disturb(&self, step: &Step, lasting: Duration) -> anyhow::Result<bool> {
        let Some(member) = self.members.get(step.target) else { return Ok(false) };
        let mode = match step.kind {
            Kind::Cut => {
                member.lock().await.proxy.cut();
                return Ok(true);
            }
            Kind::HalfClose => {
                member.lock().await.proxy.half_close(step.extra == 1);
                return Ok(true);
            }
            Kind::Delay => Mode::Delay(Duration::from_millis(step.extra)),
            Kind::DropReplies => Mode::Mute,
            _ => Mode::Stall,
        };
        member.lock().await.proxy.set(mode);
        sleep(lasting).await;
        member.lock().await.proxy.set(Mode::Pass);
        Ok(true)
    }

    async fn kill_redis(&self, lasting: Duration) -> anyhow::Result<()> {
        let redis = Arc::clone(&self.redis);
        tokio::task::spawn_blocking(move || redis.kill()).await?;
        sleep(lasting).await;
        let redis = Arc::clone(&self.redis);
        Ok(tokio::task::spawn_blocking(move || redis.restart()).await?)
    }

    async fn freeze_redis(&self, lasting: Duration) -> anyhow::Result<()> {
        let port = self.redis.port();
        let id = tokio::task::spawn_blocking(move || admin::process_id(port)).await??;
        anyhow::ensure!(cast::signal(id, "STOP"), "Redis could not be stopped");
        sleep(lasting).await;
        anyhow::ensure!(cast::signal(id, "CONT"), "Redis could not be continued");
        Ok(())
    }

    async fn fill(&self, lasting: Duration) -> anyhow::Result<()> {
        self.tell_redis("CONFIG SET maxmemory 1").await?;
        self.history.note(&Record::StoreFull { full: true });
        sleep(lasting).await;
        self.history.note(&Record::StoreFull { full: false });
        self.tell_redis("CONFIG SET maxmemory 0").await
    }

    async fn tell_redis(&self, command: &'static str) -> anyhow::Result<()> {
        let port = self.redis.port();
        let until = Instant::now() + INSIST;
        loop {
            match tokio::task::spawn_blocking(move || admin::ask(port, command)).await? {
                Err(error) if Instant::now() >= until => return Err(error),
                Err(_) => sleep(TRY_EVERY).await,
                Ok(_) => return Ok(()),
            }
        }
    }

    async fn pause(&self, lasting: Duration) -> anyhow::Result<()> {
        self.set_paused(true).await?;
        sleep(lasting).await;
        self.set_paused(false).await
    }

    async fn set_paused(&self, paused: bool) -> anyhow::Result<()> {
        for queue in &self.queues {
            let until = Instant::now() + INSIST;
            while let Err(error) = self.broker.pause(queue, paused).await {
                anyhow::ensure!(Instant::now() < until, error);
                sleep(TRY_EVERY).await;
            }
        }
        Ok(())
    }

    /// Takes every fault back: nothing is paused, full, late or down.
    pub async fn heal(&self) -> anyhow::Result<()> {
        for member in self.members.values() {
            let mut member = member.lock().await;
            member.proxy.set(Mode::Pass);
            if !member.is_up() {
                member.start(0)?;
            }
            member.signal("CONT");
        }
        self.tell_redis("CONFIG SET maxmemory 0").await?;
        self.set_paused(false).await
    }
}
