//! Which server keeps a queue: known once, asked for again when a server says or shows that it is another now.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use redis::Client;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::dial::Dialer;
use super::node::Node;
use super::place::{Form, Place};
use super::refusal::classify;
use super::slots::{self, Said};
use super::{cluster, sentinel};
use crate::error::{BrokerError, Result};

/// How long it may take to learn where the servers are.
const ASK_DEADLINE: Duration = Duration::from_millis(1_200);
/// How long what was learnt counts as new: one answer serves all who ask meanwhile.
const ASK_PAUSE: Duration = Duration::from_millis(50);
/// The same where nothing could be learnt, which may have taken long.
const ASK_PAUSE_FAILED: Duration = Duration::from_millis(500);
/// Most nodes that are remembered though no slot is known to be theirs.
const GUESTS_MAX: usize = 16;
/// Most nodes that are asked at once.
const ASKED_MAX: usize = 16;

/// The servers of a place.
pub(super) struct Topology {
    dialer: Dialer,
    form: Known,
    view: RwLock<View>,
    /// Until when nobody need ask again.
    rest: Mutex<Option<Instant>>,
    changes: watch::Sender<u64>,
    /// Listens to the Sentinels, where there are any.
    listener: OnceLock<JoinHandle<()>>,
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.close();
    }
}

enum Known {
    Single(Arc<Node>),
    Sentinel { sentinels: Vec<Client>, name: String },
    Cluster { seeds: Vec<(String, u16)> },
}

/// What is known of the servers.
#[derive(Default)]
struct View {
    /// Whether there is a reason to think that it is no longer so.
    is_stale: bool,
    /// First and last slot of each range, and its primary; sorted.
    ranges: Vec<(u16, u16, Arc<Node>)>,
    /// Single slots of which a server said since that they are elsewhere.
    moved: HashMap<u16, Arc<Node>>,
    /// Nodes that were spoken of lately and may have no slots (yet), the latest first.
    guests: Vec<Arc<Node>>,
    /// Where replicas are, who can tell more when the primaries can't.
    replicas: Vec<(String, u16)>,
}

impl View {
    fn owner(&self, slot: u16) -> Option<&Arc<Node>> {
        if let Some(node) = self.moved.get(&slot) {
            return Some(node);
        }
        let behind = self.ranges.partition_point(|(first, _, _)| *first <= slot);
        let (_, last, node) = self.ranges.get(behind.checked_sub(1)?)?;
        (slot <= *last).then_some(node)
    }

    fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.ranges.iter().map(|(_, _, node)| node).chain(self.moved.values()).chain(&self.guests)
    }

    /// What there is to tell apart: who has what, by name.
    fn outline(&self) -> Vec<(u16, u16, &str)> {
        self.ranges.iter().map(|(first, last, node)| (*first, *last, node.name.as_str())).collect()
    }
}

impl Topology {
    pub(super) fn new(place: Place, dialer: Dialer) -> Result<Arc<Self>> {
        const OPERATION: &str = "open";
        let client = dialer.first().map_err(|error| classify(OPERATION, &error))?;
        let form = match place.form {
            Form::Single => {
                let name = place.info.addr().to_string();
                Known::Single(Arc::new(Node::new(name, String::new(), client)))
            }
            Form::Sentinel { sentinels, name } => {
                let sentinels: redis::RedisResult<_> = sentinels.iter().map(|info| dialer.sentinel(info)).collect();
                Known::Sentinel { sentinels: sentinels.map_err(|error| classify(OPERATION, &error))?, name }
            }
            Form::Cluster { seeds } => Known::Cluster { seeds },
        };
        let view = View { is_stale: true, ..View::default() };
        let (changes, _) = watch::channel(0);
        let watched = match &form {
            Known::Sentinel { sentinels, .. } => Some(sentinels.clone()),
            _ => None,
        };
        let topology =
            Self { dialer, form, view: RwLock::new(view), rest: Mutex::default(), changes, listener: OnceLock::new() };
        let topology = Arc::new(topology);
        if let Some(sentinels) = watched {
            let weak = Arc::downgrade(&topology);
            let listener = tokio::spawn(sentinel::listen(sentinels, async move || {
                if let Some(topology) = weak.upgrade() {
                    topology.doubt();
                    if let Err(error) = topology.locate(0).await {
                        tracing::debug!(%error, "a Sentinel spoke of another primary, which none of them names");
                    }
                }
            }));
            topology.listener.get_or_init(|| listener);
        }
        Ok(topology)
    }

    /// Ends what it does by itself.
    pub(super) fn close(&self) {
        if let Some(listener) = self.listener.get() {
            listener.abort();
        }
    }

    /// Whether another server has taken over from this one, which may live on and answer, in vain: its writes since are lost
    /// as soon as it follows the other. (A Cluster's slot takes with it what was written.)
    pub(super) fn has_left(&self, node: &Node) -> bool {
        matches!(self.form, Known::Sentinel { .. }) && self.known(0).is_some_and(|known| known.name != node.name)
    }

    /// Whether slots have several homes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.form, Known::Cluster { .. })
    }

    /// Tells when slots have got other homes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The server that keeps what is in `slot`.
    pub(super) async fn locate(&self, slot: u16) -> Result<Arc<Node>> {
        if let Known::Single(node) = &self.form {
            return Ok(Arc::clone(node));
        }
        let known = self.known(slot);
        if let (Some(node), false) = (&known, self.view().is_stale) {
            return Ok(Arc::clone(node));
        }
        match (self.ask_again().await, known) {
            // Whoever could tell is away as well: perhaps it is still where it was.
            (Err(error), Some(node)) if error.is_unavailable() => Ok(node),
            (outcome, _) => {
                outcome?;
                self.known(slot).ok_or_else(|| BrokerError::Unavailable {
                    operation: "find the server",
                    reason: format!("slot {slot} of the Cluster is with no node that serves"),
                })
            }
        }
    }

    /// The server that kept what is in `slot` when that was last learnt.
    pub(super) fn known(&self, slot: u16) -> Option<Arc<Node>> {
        match &self.form {
            Known::Single(node) => Some(Arc::clone(node)),
            _ => self.view().owner(slot).cloned(),
        }
    }

    /// All servers that take writes.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Node>>> {
        let mut all = vec![self.locate(0).await?];
        for (_, _, node) in &self.view().ranges {
            if !all.iter().any(|known| known.name == node.name) {
                all.push(Arc::clone(node));
            }
        }
        Ok(all)
    }

    /// A server has shown that what is known is no longer so: it is asked for with the next call.
    pub(super) fn doubt(&self) {
        self.edit().is_stale = true;
    }

    /// The server at the one address that there is has shown that another should serve there: whoever is connected, with
    /// whatever, should connect again.
    pub(super) fn announce_change(&self) {
        self.changes.send_modify(|change| *change += 1);
    }

    /// `answered` said that `slot` is at `address` now.
    pub(super) fn moved(&self, slot: u16, address: &str, answered: &Node) -> Result<Arc<Node>> {
        let node = self.node(address, answered)?;
        let mut view = self.edit();
        let is_new = view.owner(slot).is_none_or(|known| known.name != node.name);
        view.moved.insert(slot, Arc::clone(&node));
        view.is_stale = true;
        drop(view);
        if is_new {
            self.announce_change();
        }
        Ok(node)
    }

    /// The node at `address`, of which `answered` spoke.
    pub(super) fn node(&self, address: &str, answered: &Node) -> Result<Arc<Node>> {
        if matches!(self.form, Known::Single(_)) {
            return Err(BrokerError::Unfit(
                "the server at broker.url is part of a Cluster: begin broker.url with redis+cluster:// (or \
                 rediss+cluster://), so that its other nodes are used too"
                    .to_owned(),
            ));
        }
        let (host, port) = slots::address(address, &answered.host).ok_or_else(|| BrokerError::Store {
            operation: "follow the Cluster",
            reason: format!("a redirection to {address:?}"),
        })?;
        self.named(&host, port)
    }

    /// The node at this address: the one that is known, so that its connections are used.
    fn named(&self, host: &str, port: u16) -> Result<Arc<Node>> {
        let name = format!("{host}:{port}");
        if let Some(node) = self.view().nodes().find(|node| node.name == name) {
            return Ok(Arc::clone(node));
        }
        let client = self.dialer.to(host, port).map_err(|error| classify("connect", &error))?;
        let node = Arc::new(Node::new(name, host.to_owned(), client));
        let guests = &mut self.edit().guests;
        guests.truncate(GUESTS_MAX - 1);
        guests.insert(0, Arc::clone(&node));
        Ok(node)
    }

    /// Learns where the servers are, unless someone has just done that.
    async fn ask_again(&self) -> Result<()> {
        let mut rest = self.rest.lock().await;
        if rest.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let answer = timeout(ASK_DEADLINE, self.ask()).await.unwrap_or_else(|_| {
            let reason = "no answer in time".to_owned();
            Err(BrokerError::Unavailable { operation: "find the server", reason })
        });
        *rest = Some(Instant::now() + if answer.is_ok() { ASK_PAUSE } else { ASK_PAUSE_FAILED });
        self.believe(answer?)
    }

    async fn ask(&self) -> Result<Said> {
        let everything =
            |at| Said { is_well: true, epoch: 0, ranges: vec![(0, slots::SLOTS - 1, at)], replicas: Vec::new() };
        match &self.form {
            Known::Single(_) => Ok(everything(Default::default())),
            Known::Sentinel { sentinels, name } => sentinel::ask(sentinels, name).await.map(everything),
            Known::Cluster { seeds } => {
                let mut nodes: Vec<(String, Client)> = Vec::new();
                let mut names: Vec<String> = Vec::new();
                for node in self.view().nodes() {
                    if !names.contains(&node.name) {
                        names.push(node.name.clone());
                        nodes.push((node.host.clone(), node.client.clone()));
                    }
                }
                let replicas = self.view().replicas.clone();
                for (host, port) in seeds.iter().chain(&replicas) {
                    let name = format!("{host}:{port}");
                    if !names.contains(&name) {
                        names.push(name);
                        let client = self.dialer.to(host, *port).map_err(|error| classify("connect", &error))?;
                        nodes.push((host.clone(), client));
                    }
                }
                nodes.truncate(ASKED_MAX);
                cluster::ask(&nodes).await
            }
        }
    }

    fn believe(&self, said: Said) -> Result<()> {
        let mut ranges = Vec::with_capacity(said.ranges.len());
        let mut made: HashMap<(String, u16), Arc<Node>> = HashMap::new();
        for (first, last, at) in said.ranges {
            let node = match made.get(&at) {
                Some(node) => Arc::clone(node),
                None => self.named(&at.0, at.1)?,
            };
            made.insert(at, Arc::clone(&node));
            ranges.push((first, last, node));
        }
        let mut view = self.edit();
        let guests = std::mem::take(&mut view.guests);
        let new = View { is_stale: false, ranges, moved: HashMap::new(), guests, replicas: said.replicas };
        let is_other = view.outline() != new.outline() || !view.moved.is_empty();
        *view = new;
        drop(view);
        if is_other {
            self.announce_change();
        }
        Ok(())
    }

    fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Topology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topology").field("servers", &self.view().outline()).finish_non_exhaustive()
    }
}
