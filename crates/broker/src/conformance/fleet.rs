//! Servers that belong together: a Cluster, or a primary and its replica with Sentinels. Formed over the wire, as an
//! administrator would.

use std::time::{Duration, Instant};

use super::server::{RedisServer, free_port};
use crate::redis::SLOTS;

/// How long a fleet may take to agree, on a busy machine too.
const AGREE_DEADLINE: Duration = Duration::from_secs(30);
/// How often it is asked whether it has.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// How long a node of a Cluster may be silent before the others think that it is gone.
const NODE_TIMEOUT_MS: &str = "1000";
/// The same of a primary that Sentinels watch.
const DOWN_AFTER_MS: u32 = 700;
/// What the Sentinels call their primary.
const PRIMARY: &str = "mill";
/// How many Sentinels there are, and how many of them must think that the primary is gone.
const SENTINELS: (usize, usize) = (3, 2);

/// A Cluster whose slots are shared evenly among its primaries.
pub struct Cluster {
    /// The primaries, in the order of their slots.
    pub primaries: Vec<RedisServer>,
    /// A replica of each of the first primaries.
    pub replicas: Vec<RedisServer>,
}

impl Cluster {
    /// Forms a Cluster of Redis with a replica for each of the first `replicas` primaries.
    pub async fn start(primaries: usize, replicas: usize) -> Self {
        let start = |args: &[&str]| Some(RedisServer::start_with(args));
        Self::form(primaries, replicas, start).await.expect("Redis was started")
    }

    /// Forms a Cluster of Valkey; `None` where there is none and that is known.
    pub async fn start_valkey(primaries: usize) -> Option<Self> {
        Self::form(primaries, 0, RedisServer::start_valkey_with).await
    }

    async fn form(primaries: usize, replicas: usize, start: impl Fn(&[&str]) -> Option<RedisServer>) -> Option<Self> {
        let node = || {
            let bus = free_port().to_string();
            let args = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", NODE_TIMEOUT_MS];
            let more = ["--cluster-replica-validity-factor", "0", "--enable-debug-command", "yes"];
            Some((start(&[&args[..], &more[..]].concat())?, bus))
        };
        let mut all = Vec::new();
        for _ in 0..primaries + replicas {
            all.push(node()?);
        }
        for (number, (server, _)) in all.iter().enumerate() {
            let () = server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]).await;
            if number < primaries {
                let bound = |number: usize| number * usize::from(SLOTS) / primaries;
                let (first, last) = (bound(number).to_string(), (bound(number + 1) - 1).to_string());
                let () = server.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            }
        }
        for (server, bus) in &all[1..] {
            let () = all[0].0.ask(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string(), bus]).await;
        }
        let mut primaries_and_replicas: Vec<_> = all.into_iter().map(|(server, _)| server).collect();
        let replicas = primaries_and_replicas.split_off(primaries);
        let cluster = Self { primaries: primaries_and_replicas, replicas };
        cluster.agreed().await;
        for (replica, primary) in cluster.replicas.iter().zip(&cluster.primaries) {
            let id: String = primary.ask(&["CLUSTER", "MYID"]).await;
            eventually(async || replica.try_ask::<()>(&["CLUSTER", "REPLICATE", &id]).await.is_ok()).await;
            replicates(replica).await;
        }
        if !cluster.replicas.is_empty() {
            // The others must know whose the replica is before they let it take over.
            let count = cluster.replicas.len();
            for server in &cluster.primaries {
                eventually(async || {
                    let nodes: String = server.ask(&["CLUSTER", "NODES"]).await;
                    nodes.lines().filter(|line| line.contains("slave ")).count() == count
                })
                .await;
            }
        }
        Some(cluster)
    }

    /// `redis+cluster://…` with all of its nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// Which of the primaries got this slot at the start.
    pub fn home(&self, slot: u16) -> usize {
        let slot = usize::from(slot);
        (0..self.primaries.len()).rfind(|n| n * usize::from(SLOTS) / self.primaries.len() <= slot).unwrap_or(0)
    }

    /// The slot of a key, as the servers see it.
    pub async fn slot(&self, key: &str) -> u16 {
        self.primaries[0].ask(&["CLUSTER", "KEYSLOT", key]).await
    }

    /// Begins to move a slot: from now on, some of its keys may be here and some there.
    pub async fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to) = (&self.primaries[from], &self.primaries[to]);
        let (source, target): (String, String) =
            (from.ask(&["CLUSTER", "MYID"]).await, to.ask(&["CLUSTER", "MYID"]).await);
        let () = to.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &source]).await;
        let () = from.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &target]).await;
    }

    /// Moves the keys of a slot that are there, `pause` after each. How many there were.
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize, pause: Duration) -> usize {
        let (from, to) = (&self.primaries[from], &self.primaries[to]);
        let mut moved = 0;
        loop {
            let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "1"]).await;
            let Some(key) = keys.first() else { return moved };
            let port = to.port().to_string();
            let () = from.ask(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
            moved += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Settles a slot where it has been moved to.
    pub async fn end_move(&self, slot: u16, from: usize, to: usize) {
        let target: String = self.primaries[to].ask(&["CLUSTER", "MYID"]).await;
        for server in [&self.primaries[to], &self.primaries[from]] {
            let () = server.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &target]).await;
        }
    }

    fn nodes(&self) -> impl Iterator<Item = &RedisServer> {
        self.primaries.iter().chain(&self.replicas)
    }

    /// Waits until all nodes know all others, and that all slots are served.
    async fn agreed(&self) {
        let all = format!("cluster_known_nodes:{}\r\n", self.nodes().count());
        for node in self.nodes() {
            eventually(async || {
                let info: String = node.ask(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains(&all)
            })
            .await;
        }
    }
}

/// A primary, its replica, and Sentinels that watch them.
pub struct Watched {
    /// The primary at the start, and the replica at the start.
    pub servers: [RedisServer; 2],
    /// The Sentinels.
    pub sentinels: Vec<RedisServer>,
}

impl Watched {
    /// Starts all of them. Both servers have these arguments besides.
    pub async fn start(args: &[&str]) -> Self {
        let args = [args, &["--enable-debug-command", "yes"]].concat();
        let primary = RedisServer::start_with(&args);
        let of = format!("127.0.0.1 {}", primary.port());
        let replica = RedisServer::start_with(&[&args[..], &["--replicaof", &of]].concat());
        replicates(&replica).await;
        let config = format!(
            "sentinel monitor {PRIMARY} {of} {}\nsentinel down-after-milliseconds {PRIMARY} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {PRIMARY} 5000\n",
            SENTINELS.1
        );
        let sentinels: Vec<_> =
            (0..SENTINELS.0).map(|_| RedisServer::start_configured(&config, &["--sentinel"])).collect();
        for sentinel in &sentinels {
            eventually(async || {
                let about: std::collections::HashMap<String, String> =
                    sentinel.ask(&["SENTINEL", "MASTER", PRIMARY]).await;
                let is = |name: &str, value: usize| about.get(name) == Some(&value.to_string());
                is("num-slaves", 1) && is("num-other-sentinels", SENTINELS.0 - 1)
            })
            .await;
        }
        Self { servers: [primary, replica], sentinels }
    }

    /// `redis+sentinel://…` with all of its Sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+sentinel://{}/{PRIMARY}", hosts.join(","))
    }

    /// Makes the replica take over in good order.
    pub async fn fail_over(&self) {
        eventually(async || self.sentinels[0].try_ask::<()>(&["SENTINEL", "FAILOVER", PRIMARY]).await.is_ok()).await;
        self.has_failed_over().await;
    }

    /// Waits until all Sentinels say that the replica is the primary now.
    pub async fn has_failed_over(&self) {
        is_primary(&self.servers[1]).await;
        let expected = self.servers[1].port().to_string();
        for sentinel in &self.sentinels {
            eventually(async || {
                let found: Vec<String> = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]).await;
                found[1] == expected
            })
            .await;
        }
    }

    /// Starts the primary of the start again, as the replica of the other. Without persistence it comes back empty: before the
    /// Sentinels have agreed on the other, clients would still be sent there.
    pub async fn rejoin(&self) {
        self.has_failed_over().await;
        self.servers[0].restart();
        let () = self.servers[0].ask(&["REPLICAOF", "127.0.0.1", &self.servers[1].port().to_string()]).await;
        replicates(&self.servers[0]).await;
    }
}

/// Waits until a server takes writes.
pub async fn is_primary(server: &RedisServer) {
    // Sentinels cut the connections of a server whose role they change.
    let role = async || server.try_ask::<String>(&["INFO", "replication"]).await;
    eventually(async || role().await.is_ok_and(|info| info.contains("role:master\r\n"))).await;
}

/// Waits until a replica has caught up with its primary.
pub async fn replicates(server: &RedisServer) {
    eventually(async || {
        let info: String = server.ask(&["INFO", "replication"]).await;
        info.contains("role:slave") && info.contains("master_link_status:up")
    })
    .await;
}

/// Kills a primary whose replica lacks its last writes, and waits until the replica has taken over: it has all that the primary
/// had acknowledged when this was called, and while it was deaf, the primary has acknowledged more.
pub async fn crash(primary: &RedisServer, replica: &RedisServer) {
    let so_far = offset(primary).await;
    eventually(async || offset(replica).await >= so_far).await;
    let deaf = replica.ask::<()>(&["DEBUG", "SLEEP", "1"]);
    let killed = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        // What is in flight would be heard later; what is written after this, by nobody.
        let _: u64 = primary.ask(&["CLIENT", "KILL", "TYPE", "replica"]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        primary.kill();
    };
    tokio::join!(deaf, killed);
    is_primary(replica).await;
}

/// How far the stream of writes has come, in bytes: what a primary has sent, what a replica has carried out.
async fn offset(server: &RedisServer) -> u64 {
    let info: String = server.ask(&["INFO", "replication"]).await;
    let offset = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
    offset.and_then(|bytes| bytes.parse().ok()).expect("every server says how far its stream has come")
}

/// Waits for a condition, and panics where it does not come about.
pub async fn eventually(condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < AGREE_DEADLINE, "the servers do not agree");
        tokio::time::sleep(ASK_EVERY).await;
    }
}
