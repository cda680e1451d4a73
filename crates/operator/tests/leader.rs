//! The election's shell over a mocked API server, in paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tidemill_operator::leader::{Elector, LEASE, LeaderOptions, Leadership, RENEWAL, RETRY};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower_test::mock::{self, SendResponse};

/// The path of the Lease's collection.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/mill/leases";
/// The path of the Lease.
const LEASE_PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/mill/leases/boss";
/// What a test waits for at most, in the paused time.
const PATIENCE: Duration = Duration::from_mins(5);
/// What a request and the rounding of timers may add to a time.
const SLACK: Duration = Duration::from_millis(20);

/// What the API server does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Answers,
    Fails,
    Silent,
    /// Does what is asked and never answers.
    LosesAnswers,
    /// Does what is asked and answers writes after so long.
    SlowWrites(Duration),
}

struct Stored {
    mode: Mode,
    lease: Option<Value>,
    version: u64,
    written: Vec<Instant>,
    unanswered: Vec<SendResponse<Response<Body>>>,
}

/// An API server with one Lease, and optimistic concurrency.
#[derive(Clone)]
struct ApiServer(Arc<Mutex<Stored>>);

impl ApiServer {
    fn start() -> (Self, Client) {
        let stored =
            Stored { mode: Mode::Answers, lease: None, version: 0, written: Vec::new(), unanswered: Vec::new() };
        let server = Self(Arc::new(Mutex::new(stored)));
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let serving = server.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = handle.next_request().await {
                serving.answer(request, send).await;
            }
        });
        (server, Client::new(service, "mill"))
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    fn set(&self, mode: Mode) {
        self.stored().mode = mode;
    }

    /// Writes as someone else, unconditionally.
    fn write(&self, change: &Value) {
        let mut stored = self.stored();
        let mut lease = stored.lease.take().unwrap_or_else(|| json!({ "metadata": { "name": "boss", "uid": "u" } }));
        merge(&mut lease, change);
        stored.store(lease);
    }

    fn delete(&self) {
        self.stored().lease = None;
    }

    fn lease(&self) -> Value {
        self.stored().lease.clone().unwrap_or_default()
    }

    fn holder(&self) -> Option<String> {
        self.lease()["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    fn last_written(&self) -> Instant {
        *self.stored().written.last().unwrap()
    }

    async fn answer(&self, request: Request<Body>, send: SendResponse<Response<Body>>) {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut stored = self.stored();
        match stored.mode {
            Mode::Fails => send.send_response(status(503, "the store is away")),
            Mode::Silent => stored.unanswered.push(send),
            Mode::LosesAnswers => {
                stored.serve(&head.method, head.uri.path(), &body);
                stored.unanswered.push(send);
            }
            Mode::SlowWrites(by) if head.method != Method::GET => {
                let answer = stored.serve(&head.method, head.uri.path(), &body);
                tokio::spawn(async move {
                    sleep(by).await;
                    send.send_response(answer);
                });
            }
            Mode::Answers | Mode::SlowWrites(_) => {
                send.send_response(stored.serve(&head.method, head.uri.path(), &body));
            }
        }
    }
}

impl Stored {
    fn serve(&mut self, method: &Method, path: &str, body: &Value) -> Response<Body> {
        match (method.as_str(), path, self.lease.clone()) {
            ("GET", LEASE_PATH, Some(lease)) => object(200, &lease),
            ("GET" | "PATCH", LEASE_PATH, None) => status(404, "not found"),
            ("POST", LEASES, Some(_)) => status(409, "it exists"),
            ("POST", LEASES, None) => {
                let mut lease = body.clone();
                lease["metadata"]["uid"] = json!("u");
                self.store(lease);
                object(201, &self.lease.clone().unwrap())
            }
            ("PATCH", LEASE_PATH, Some(mut lease)) => {
                if body["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"] {
                    return status(409, "the object has been modified");
                }
                merge(&mut lease, body);
                self.store(lease);
                object(200, &self.lease.clone().unwrap())
            }
            other => panic!("an unexpected request: {other:?}"),
        }
    }

    fn store(&mut self, mut lease: Value) {
        self.version += 1;
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.lease = Some(lease);
        self.written.push(Instant::now());
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

fn object(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(serde_json::to_vec(body).unwrap())).unwrap()
}

fn status(code: u16, message: &str) -> Response<Body> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "ServiceUnavailable",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason, "code": code,
    });
    object(code, &body)
}

fn elector(client: &Client, identity: &str) -> Elector {
    let options =
        LeaderOptions { namespace: "mill".to_owned(), name: "boss".to_owned(), identity: identity.to_owned() };
    Elector::new(client.clone(), options)
}

async fn lead(elector: &Elector) -> Leadership {
    timeout(PATIENCE, elector.acquire(&CancellationToken::new())).await.unwrap().unwrap()
}

/// Another operator's record, whose clock says anything.
fn held_by_other(renewed: &str) -> Value {
    let spec = json!({
        "holderIdentity": "other", "leaseDurationSeconds": 10, "leaseTransitions": 4, "renewTime": renewed,
    });
    json!({ "spec": spec })
}

#[tokio::test(start_paused = true)]
async fn a_free_lease_is_taken_at_once_and_renewed_every_two_seconds() {
    let (server, client) = ApiServer::start();
    let elector = elector(&client, "pod-1");
    let began = Instant::now();
    let leadership = lead(&elector).await;
    assert!(began.elapsed() < SLACK);
    let lease = server.lease();
    assert_eq!(lease["spec"]["holderIdentity"], elector.identity());
    assert!(elector.identity().starts_with("pod-1_"));
    assert_eq!((&lease["spec"]["leaseDurationSeconds"], &lease["spec"]["leaseTransitions"]), (&json!(10), &json!(0)));
    assert!(lease["spec"]["acquireTime"].is_string() && lease["spec"]["renewTime"].is_string());

    sleep(Duration::from_mins(1)).await;
    assert!(leadership.is_leader() && !leadership.lost().is_cancelled());
    let written = server.stored().written.clone();
    assert!((30..=40).contains(&written.len()), "{} writes in a minute", written.len());
    assert!(written.windows(2).all(|two| two[1] - two[0] <= RETRY + SLACK));
    assert_eq!(server.lease()["spec"]["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn while_another_renews_it_waits_whatever_the_times_in_the_record_say() {
    let (server, client) = ApiServer::start();
    let waits = elector(&client, "pod-1");
    let stop = CancellationToken::new();
    let campaign = waits.acquire(&stop);
    tokio::pin!(campaign);
    for renewal in 0..30_u32 {
        let renewed = if renewal % 2 == 0 { "1999-01-01T00:00:00.000000Z" } else { "2199-01-01T00:00:00.000000Z" };
        server.write(&held_by_other(renewed));
        assert!(timeout(Duration::from_secs(3), campaign.as_mut()).await.is_err(), "took what another holds");
        assert!(!waits.view().leads());
        assert_eq!(waits.view().holder().as_deref(), Some("other"));
    }
    let leadership = timeout(PATIENCE, campaign).await.unwrap().unwrap();
    let took = server.last_written() - server.stored().written[29];
    assert!(took >= LEASE && took <= LEASE + RETRY + SLACK, "after {took:?}");
    assert!(leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some(waits.identity()));
    assert_eq!(server.lease()["spec"]["leaseTransitions"], 5);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_steps_down_by_its_deadline_and_not_before() {
    for mode in [Mode::Fails, Mode::Silent, Mode::LosesAnswers] {
        let (server, client) = ApiServer::start();
        let elector = elector(&client, "pod-1");
        let leadership = lead(&elector).await;
        sleep(Duration::from_secs(5)).await;
        let confirmed = server.last_written();
        server.set(mode);
        let lost = leadership.lost();
        timeout(PATIENCE, lost.cancelled()).await.unwrap();
        let led = confirmed.elapsed();
        assert!(led <= RENEWAL + SLACK && led + SLACK >= RENEWAL, "{mode:?}: {led:?}");
        assert!(!leadership.is_leader() && !elector.view().leads());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_shorter_than_the_term_costs_no_leadership() {
    for mode in [Mode::Fails, Mode::Silent, Mode::LosesAnswers] {
        let (server, client) = ApiServer::start();
        let elector = elector(&client, "pod-1");
        let leadership = lead(&elector).await;
        for _ in 0..5 {
            server.set(mode);
            sleep(Duration::from_secs(2)).await;
            server.set(Mode::Answers);
            sleep(Duration::from_secs(7)).await;
        }
        assert!(leadership.is_leader() && !leadership.lost().is_cancelled(), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_lost_leadership_may_win_it_again() {
    let (server, client) = ApiServer::start();
    let elector = elector(&client, "pod-1");
    let leadership = lead(&elector).await;
    server.set(Mode::Silent);
    timeout(PATIENCE, leadership.lost().cancelled()).await.unwrap();
    server.set(Mode::Answers);
    drop(leadership);
    let leadership = lead(&elector).await;
    assert!(leadership.is_leader() && !leadership.lost().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn what_is_released_is_taken_over_with_the_next_look() {
    let (server, client) = ApiServer::start();
    let (first, second) = (elector(&client, "pod-1"), elector(&client, "pod-2"));
    let leadership = lead(&first).await;
    let stop = CancellationToken::new();
    let campaign = second.acquire(&stop);
    tokio::pin!(campaign);
    assert!(timeout(Duration::from_secs(21), campaign.as_mut()).await.is_err());

    let lost = leadership.lost();
    let began = Instant::now();
    leadership.release().await;
    assert!(began.elapsed() < SLACK && lost.is_cancelled() && !first.view().leads());
    assert_eq!(server.holder(), None);
    let leadership = timeout(PATIENCE, campaign).await.unwrap().unwrap();
    assert!(began.elapsed() <= RETRY + SLACK, "{:?}", began.elapsed());
    assert!(leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some(second.identity()));
    assert_eq!(server.lease()["spec"]["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_meets_no_answer_ends_all_the_same() {
    let (server, client) = ApiServer::start();
    let elector = elector(&client, "pod-1");
    let leadership = lead(&elector).await;
    server.set(Mode::Silent);
    sleep(Duration::from_millis(2_500)).await;
    let began = Instant::now();
    leadership.release().await;
    assert!(began.elapsed() <= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!elector.view().leads());
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_vanishes_is_followed_within_thirteen_seconds() {
    let (_server, client) = ApiServer::start();
    let (first, second) = (elector(&client, "pod-1"), elector(&client, "pod-2"));
    let leadership = lead(&first).await;
    let stop = CancellationToken::new();
    let campaign = second.acquire(&stop);
    tokio::pin!(campaign);
    assert!(timeout(Duration::from_secs(33), campaign.as_mut()).await.is_err());
    drop(leadership);
    let vanished = Instant::now();
    let leadership = timeout(PATIENCE, campaign).await.unwrap().unwrap();
    let after = vanished.elapsed();
    assert!(after + RETRY >= LEASE && after <= Duration::from_secs(13), "{after:?}");
    assert!(leadership.is_leader());
}

#[tokio::test(start_paused = true)]
async fn what_others_write_beside_is_kept_and_costs_no_leadership() {
    let (server, client) = ApiServer::start();
    let elector = elector(&client, "pod-1");
    let leadership = lead(&elector).await;
    for _ in 0..20 {
        server.write(&json!({ "metadata": { "annotations": { "note": "kept" } } }));
        sleep(Duration::from_millis(1_700)).await;
    }
    assert!(leadership.is_leader() && !leadership.lost().is_cancelled());
    assert_eq!(server.lease()["metadata"]["annotations"]["note"], "kept");
}

#[tokio::test(start_paused = true)]
async fn a_lease_deleted_under_its_leader_is_made_anew_by_it() {
    let (server, client) = ApiServer::start();
    let (first, second) = (elector(&client, "pod-1"), elector(&client, "pod-2"));
    let leadership = lead(&first).await;
    let stop = CancellationToken::new();
    let campaign = second.acquire(&stop);
    tokio::pin!(campaign);
    assert!(timeout(Duration::from_secs(5), campaign.as_mut()).await.is_err());
    server.delete();
    assert!(timeout(Duration::from_secs(30), campaign.as_mut()).await.is_err());
    assert!(leadership.is_leader());
    assert_eq!(server.holder().as_deref(), Some(first.identity()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_steps_down_when_it_sees_another_in_the_record() {
    let (server, client) = ApiServer::start();
    let elector = elector(&client, "pod-1");
    let leadership = lead(&elector).await;
    server.write(&held_by_other("2026-01-01T00:00:00.000000Z"));
    let began = Instant::now();
    timeout(PATIENCE, leadership.lost().cancelled()).await.unwrap();
    assert!(began.elapsed() <= RETRY + Duration::from_millis(200), "{:?}", began.elapsed());
    leadership.release().await;
    assert_eq!(server.holder().as_deref(), Some("other"), "another's record was released");
}

#[tokio::test(start_paused = true)]
async fn stopped_while_it_waits_it_leaves_the_record_alone() {
    let (server, client) = ApiServer::start();
    server.write(&held_by_other("2026-01-01T00:00:00.000000Z"));
    let elector = elector(&client, "pod-1");
    let stop = CancellationToken::new();
    let stopped = async {
        sleep(Duration::from_secs(3)).await;
        stop.cancel();
    };
    let (won, ()) = tokio::join!(elector.acquire(&stop), stopped);
    assert!(won.is_none());
    assert_eq!(server.stored().written.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn stopped_in_the_moment_of_winning_it_gives_the_lease_back() {
    for slow in [Duration::from_secs(1), Duration::from_secs(20)] {
        let (server, client) = ApiServer::start();
        server.set(Mode::SlowWrites(slow));
        let elector = elector(&client, "pod-1");
        let stop = CancellationToken::new();
        let stopped = async {
            sleep(Duration::from_millis(500)).await;
            assert_eq!(server.holder().as_deref(), Some(elector.identity()));
            server.set(Mode::Answers);
            stop.cancel();
        };
        let (won, ()) = tokio::join!(elector.acquire(&stop), stopped);
        assert!(won.is_none());
        assert_eq!(server.holder(), None, "{slow:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_of_the_api_server_is_shown() {
    let (server, client) = ApiServer::start();
    server.set(Mode::Fails);
    server.write(&held_by_other("2026-01-01T00:00:00.000000Z"));
    let elector = elector(&client, "pod-1");
    let (view, stop) = (elector.view(), CancellationToken::new());
    let watched = async {
        assert!(timeout(Duration::from_secs(20), view.answered()).await.is_err());
        assert_eq!(view.holder(), None);
        server.set(Mode::Answers);
        assert!(timeout(RETRY + SLACK, view.answered()).await.unwrap());
        assert_eq!(view.holder().as_deref(), Some("other"));
        stop.cancel();
    };
    let (won, ()) = tokio::join!(elector.acquire(&stop), watched);
    assert!(won.is_none());
}
