//! A client of a Tidemill server: enqueue, look, wait, cancel, over HTTP.
//!
//! ```no_run
//! use std::time::Duration;
//! use tidemill::client::{Client, Task};
//!
//! # async fn run() -> Result<(), tidemill::client::ClientError> {
//! let client = Client::new("http://127.0.0.1:8080")?.token("a bearer token").queue("pictures".parse()?);
//! let ticket = client.enqueue(Task::new("resize", &serde_json::json!({"new_x": 64}))?.retries(3)).await?;
//! let size: (u32, u32) = client.result(&ticket, Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```

mod error;
mod http;
mod task;
mod wait;

pub use error::ClientError;
pub use task::{AttemptInfo, Task, TaskInfo, Ticket};

use reqwest::header::HeaderValue;
use reqwest::{Method, Url};
use serde::Deserialize;
use tidemill_core::{QueueName, TaskId};
use uuid::Uuid;

/// A Tidemill server. Cheap to clone; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
    queue: Option<QueueName>,
}

impl Client {
    /// The server at `url`, such as `http://127.0.0.1:8080`. Nothing is connected yet. For `https`, the authorities are
    /// those of the file that `SSL_CERT_FILE` names, else the public ones.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let base = http::base(url)?;
        Ok(Self { http: http::client()?, base, token: None, queue: None })
    }

    /// Says who is asking, where the server wants to know.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        // What no header can hold no server has as a token: it refuses, and that is told.
        self.token = HeaderValue::try_from(format!("Bearer {token}")).ok().map(|mut value| {
            value.set_sensitive(true);
            value
        });
        self
    }

    /// Enqueues in this queue instead of the server's default one.
    #[must_use]
    pub fn queue(mut self, queue: QueueName) -> Self {
        self.queue = Some(queue);
        self
    }

    /// Puts a task into the queue.
    pub async fn enqueue(&self, task: Task) -> Result<Ticket, ClientError> {
        self.enqueue_all(vec![task]).await?.pop().ok_or(ClientError::NoTidemill)
    }

    /// Puts tasks into the queue, all or none of them, in order; at most 10,000.
    ///
    /// Where no answer comes or the store is away, the request is sent again, a few times, under the same key: the store
    /// recognises it while a task of it waits or runs, and after its end while it is kept (retention). Where ended tasks are
    /// not kept at all, one that ended before the repetition came is enqueued again.
    pub async fn enqueue_all(&self, mut tasks: Vec<Task>) -> Result<Vec<Ticket>, ClientError> {
        #[derive(Deserialize)]
        struct Batch {
            tasks: Vec<Ticket>,
        }
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let all_ours = tasks.iter().all(|task| task.id.is_none());
        for task in &mut tasks {
            task.id.get_or_insert_with(|| TaskId::from_uuid(Uuid::now_v7()));
        }
        let mut url = self.url(&["enqueue"])?;
        if let Some(queue) = &self.queue {
            url.query_pairs_mut().append_pair("queue", queue.as_str());
        }
        let key = Uuid::new_v4().to_string();
        let sent = http::repeated(|| self.send_as(Some(&key), Method::POST, url.clone(), Some(&tasks))).await;
        match sent.outcome {
            Ok(answer) => Ok(answer.read::<Batch>()?.tasks),
            // What an earlier sending did, whose answer was lost.
            Err(ClientError::Refused(problem)) if problem.status == 409 && all_ours && sent.times > 1 => {
                let queue = match &self.queue {
                    Some(queue) => queue.clone(),
                    None => self.default_queue().await?,
                };
                let ids = tasks.into_iter().filter_map(|task| task.id);
                Ok(ids.map(|id| Ticket { queue: queue.clone(), id }).collect())
            }
            Err(error) => Err(error),
        }
    }

    /// What the server knows of the task; `None` when it has none of that id (any more).
    pub async fn get(&self, ticket: &Ticket) -> Result<Option<TaskInfo>, ClientError> {
        match self.send(Method::GET, self.task_url(ticket, &[])?, None::<&()>).await {
            Ok(answer) => answer.read().map(Some),
            Err(ClientError::Refused(problem)) if problem.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Cancels the task: at once where it waits; where it runs, its handler is told.
    pub async fn cancel(&self, ticket: &Ticket) -> Result<(), ClientError> {
        self.send(Method::POST, self.task_url(ticket, &["cancel"])?, None::<&()>).await.map(drop)
    }

    /// Runs a dead or cancelled task again, or a delayed or retrying one now.
    pub async fn retry(&self, ticket: &Ticket) -> Result<(), ClientError> {
        self.send(Method::POST, self.task_url(ticket, &["retry"])?, None::<&()>).await.map(drop)
    }

    async fn default_queue(&self) -> Result<QueueName, ClientError> {
        #[derive(Deserialize)]
        struct Info {
            default_queue: QueueName,
        }
        let url = self.url(&["api", "v1", "info"])?;
        Ok(self.send(Method::GET, url, None::<&()>).await?.read::<Info>()?.default_queue)
    }

    fn task_url(&self, ticket: &Ticket, rest: &[&str]) -> Result<Url, ClientError> {
        let path = ["api", "v1", "queues", ticket.queue.as_str(), "tasks", ticket.id.as_str()];
        self.url(&[&path[..], rest].concat())
    }

    fn url(&self, segments: &[&str]) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        url.path_segments_mut().map_err(|()| http::no_address(self.base.as_str()))?.pop_if_empty().extend(segments);
        Ok(url)
    }
}
