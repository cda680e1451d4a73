//! Incarnations: how they register and stay.

use rusqlite::params;
use tidemill_core::{Progress, TaskId, WorkerId, WorkerInfo};

use super::fault::{Fault, Outcome};
use super::rows::int;
use super::session::Session;
use crate::contract::Heartbeat;

impl Session<'_> {
    /// Registers an incarnation, or renews the lease of one that is registered.
    pub(super) fn register(&mut self, info: &WorkerInfo) -> Outcome<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO workers (queue, id, info, registered_at, lease_until) VALUES (?1, ?2, ?3, ?4, ?5) \
                 ON CONFLICT (queue, id) DO UPDATE SET lease_until = excluded.lease_until WHERE lost = 0",
            )?
            .execute(params![
                self.queue.pk,
                info.id.to_string(),
                serde_json::to_string(info)?,
                int(self.now_ms),
                self.lease_until()
            ])?;
        Ok(())
    }

    pub(super) fn heartbeat(&mut self, id: &WorkerId, progress: &[(TaskId, Progress)]) -> Outcome<Heartbeat> {
        let Some(worker) = self.worker(id)?.filter(|worker| !worker.lost) else {
            return Ok(Heartbeat::Retired);
        };
        self.connection
            .prepare_cached("UPDATE workers SET lease_until = ?2 WHERE pk = ?1")?
            .execute(params![worker.pk, self.lease_until()])?;
        for (task, progress) in progress {
            self.connection
                .prepare_cached("UPDATE tasks SET progress = ?4 WHERE queue = ?1 AND id = ?2 AND worker = ?3")?
                .execute(params![self.queue.pk, task.as_str(), worker.pk, serde_json::to_string(progress)?])?;
        }
        let mut statement =
            self.connection.prepare_cached("SELECT id FROM tasks WHERE worker = ?1 AND cancel = 1 ORDER BY seq")?;
        let mut cancelled = Vec::new();
        for id in statement.query_map([worker.pk], |row| row.get::<_, String>(0))? {
            cancelled.push(TaskId::new(id?).map_err(Fault::damaged)?);
        }
        Ok(Heartbeat::Renewed { cancelled })
    }

    fn lease_until(&self) -> i64 {
        int(self.now_ms + u64::from(self.queue.settings.lease_ms))
    }
}
