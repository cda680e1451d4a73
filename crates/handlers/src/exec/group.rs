//! A process group: a command and all that it started. It ends as a whole, also when nobody waits for it any more.

use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tidemill_executor::HandlerError;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// How long killed processes may take to be gone. One that the kernel holds for longer is not ours to wait for.
const DYING: Duration = Duration::from_secs(2);
/// How often it is looked whether they are gone, beginning with this and doubling: as a rule the first look finds it so.
const LOOK_FIRST: Duration = Duration::from_millis(1);
/// The longest pause between two looks.
const LOOK_LAST: Duration = Duration::from_millis(100);

/// Where the groups are buried whose handlers were dropped. Each burial takes [`DYING`] at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Yard(Arc<Mutex<JoinSet<()>>>);

impl Yard {
    /// Sees to it that the processes of a killed group are waited for, and leave no zombies.
    fn take(&self, child: Option<Child>, id: Pid) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut burials = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while burials.try_join_next().is_some() {}
        burials.spawn_on(
            async move {
                if let Some(mut child) = child
                    && let Ok(Err(error)) = tokio::time::timeout(DYING, child.wait()).await
                {
                    tracing::debug!(%error, "a killed command cannot be waited for");
                }
                reap(id).await;
            },
            &runtime,
        );
    }
}

/// A running command with its group. Dropped, it is killed.
pub(super) struct Group {
    /// The command, until it has been waited for.
    child: Option<Child>,
    id: Pid,
    buried: bool,
    yard: Yard,
}

impl Group {
    /// The group that `child` leads.
    pub(super) fn of(child: Child, yard: &Yard) -> Result<Self, HandlerError> {
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id.ok_or_else(|| HandlerError::transient("the command has no process id"))?;
        Ok(Self { child: Some(child), id, buried: false, yard: yard.clone() })
    }

    /// Waits for the command, not for those that it started.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await,
            None => Err(io::Error::other("the command has ended already")),
        }
    }

    /// Tells all of the group to end.
    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    /// Ends all of the group.
    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    fn send(&self, signal: Signal) {
        match kill_process_group(self.id, signal) {
            // Nobody is left.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(%error, ?signal, "a process group cannot be signalled"),
        }
    }

    /// Waits for those of a killed group that became our children: as the first process of a container, or as a
    /// subreaper, the worker inherits what a command leaves behind.
    pub(super) async fn bury(mut self) {
        self.child = None;
        reap(self.id).await;
        self.buried = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the command was waited for, its id may become another's; its group was killed before.
        if self.child.is_some() {
            self.kill();
        }
        if !self.buried {
            self.yard.take(self.child.take(), self.id);
        }
    }
}

async fn reap(group: Pid) {
    let (deadline, mut pause) = (Instant::now() + DYING, LOOK_FIRST);
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) if Instant::now() < deadline => {
                sleep(pause).await;
                pause = (pause * 2).min(LOOK_LAST);
            }
            // None of them is a child of ours, or one would not die.
            Ok(None) | Err(_) => return,
        }
    }
}
