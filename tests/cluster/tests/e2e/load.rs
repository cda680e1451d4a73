//! A pod that sends tasks second by second, whatever becomes of the API server meanwhile.

use std::time::Duration;

use crate::kubectl::kubectl;
use crate::tools::{CLIENT, api, token};
use crate::wait::{ensure, until};

/// How long the last request may take.
const ENDING: Duration = Duration::from_secs(30);

/// One second of it.
#[derive(Debug)]
pub(crate) struct Second {
    /// When, in Unix seconds by the pod's clock.
    pub(crate) at: u64,
    /// The status of the request that sent tasks.
    pub(crate) status: u16,
    /// Tasks of the queue that had succeeded by then, as far as the API said.
    pub(crate) succeeded: Option<u64>,
}

/// A load that goes on until it is stopped.
pub(crate) struct Load {
    tasks: u64,
}

impl Load {
    /// Sends `tasks` tasks that take so long to `queue`, each second.
    pub(crate) fn start(queue: &str, tasks: usize, milliseconds: u64) -> Self {
        let task = format!(r#"{{"type":"sleep","payload":{{"duration_ms":{milliseconds}}}}}"#);
        let batch = vec![task; tasks].join(",");
        let (api, token) = (api(), token());
        // A failed request is never repeated: how many tasks there are must be known.
        let script = format!(
            r#"rm -f /tmp/load /tmp/stop /tmp/stopped
(
  while [ ! -e /tmp/stop ]; do
    status=$(curl -s -m 20 -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '[{batch}]' 'http://{api}/enqueue?queue={queue}')
    succeeded=$(curl -s -m 5 -H 'Authorization: Bearer {token}' 'http://{api}/api/v1/queues/{queue}' | grep -o '"counters":.*' | grep -o '"succeeded":[0-9]*' | grep -o '[0-9]*')
    echo "$(date +%s) $status $succeeded" >>/tmp/load
    sleep 1
  done
  touch /tmp/stopped
) </dev/null >/dev/null 2>&1 &"#
        );
        kubectl(&["exec", CLIENT, "--", "sh", "-c", &script]).done();
        let tasks = u64::try_from(tasks).unwrap();
        until(ENDING, "the load has begun", || ensure(!seconds().is_empty(), || "no request yet".to_owned()));
        Self { tasks }
    }

    /// Ends it. How many tasks were sent, and what was seen meanwhile. Fails if a request was refused.
    pub(crate) fn stop(self) -> (u64, Vec<Second>) {
        kubectl(&["exec", CLIENT, "--", "touch", "/tmp/stop"]).done();
        until(ENDING, "the load has ended", || kubectl(&["exec", CLIENT, "--", "ls", "/tmp/stopped"]).result());
        let seconds = seconds();
        assert!(seconds.iter().all(|second| second.status == 202), "a request was refused: {seconds:?}");
        (self.tasks * u64::try_from(seconds.len()).unwrap(), seconds)
    }
}

fn seconds() -> Vec<Second> {
    let said = kubectl(&["exec", CLIENT, "--", "cat", "/tmp/load"]);
    let lines = said.out.lines().map(|line| {
        let mut words = line.split(' ');
        Some(Second {
            at: words.next()?.parse().ok()?,
            status: words.next()?.parse().ok()?,
            succeeded: words.next()?.parse().ok(),
        })
    });
    lines.map(|second| second.expect("a line of the load can be read")).collect()
}
