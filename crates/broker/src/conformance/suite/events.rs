//! Events: gapless, in order, `Next` before `Start`, and one `Done` for each task that ended.

use tidemill_core::{Event, NewTask, Outcome, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, failed, id, named, request, settlement, task};

fn scheduled(ids: &[&str]) -> Event {
    Event::Scheduled(ids.iter().map(|text| named(text)).collect())
}

fn next(text: &str) -> Event {
    Event::Next(named(text))
}

fn start(text: &str) -> Event {
    Event::Start(named(text))
}

fn done(text: &str, state: State) -> Event {
    Event::Done(named(text), state)
}

pub async fn a_tasks_life_is_told_in_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut watch = scene.watch().await;
    scene.add(&["x"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(Some(1_000))).await;
    scene.advance(1_001).await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, SUCCEEDED).await;
    let expected = [scheduled(&["x"]), next("x"), start("x"), next("x"), start("x"), done("x", State::Succeeded)];
    assert_eq!(watch.events().await, expected);
}

pub async fn next_comes_always_before_start(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut watch = scene.watch().await;
    scene.add(&["a", "b", "c"]).await;
    scene.add(&["d"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    let finished = claims.iter().map(|claim| settlement(claim, SUCCEEDED)).collect();
    worker.exchange(finished, 2).await;
    let expected = [
        scheduled(&["a", "b", "c"]),
        next("a"),
        scheduled(&["d"]),
        start("a"),
        next("b"),
        start("b"),
        next("c"),
        done("a", State::Succeeded),
        done("b", State::Succeeded),
        start("c"),
        next("d"),
        start("d"),
    ];
    assert_eq!(watch.events().await, expected);
}

pub async fn done_comes_once_for_every_end(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d", "e"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(5).await;
    let mut watch = scene.watch().await;
    let outcomes = [SUCCEEDED, failed(None), Outcome::Cancelled, failed(Some(60_000)), Outcome::Released];
    let finished = claims.iter().zip(outcomes).map(|(claim, outcome)| settlement(claim, outcome)).collect();
    worker.exchange(finished, 0).await;
    worker.settle(&claims[0], SUCCEEDED).await;
    scene.broker.delete(&scene.queue, &id("b")).await.unwrap();
    let expected = [done("a", State::Succeeded), done("b", State::Dead), done("c", State::Cancelled), next("e")];
    assert_eq!(
        watch.events().await,
        expected,
        "none for a retry, a release, a late settlement, a deletion of the ended"
    );
}

pub async fn controls_are_told(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d"]).await;
    let mut watch = scene.watch().await;
    let (broker, queue) = (&scene.broker, &scene.queue);
    broker.cancel(queue, &id("a")).await.unwrap();
    broker.cancel(queue, &id("d")).await.unwrap();
    broker.delete(queue, &id("b")).await.unwrap();
    assert_eq!(
        watch.events().await,
        [done("a", State::Cancelled), next("b"), done("d", State::Cancelled), done("b", State::Cancelled), next("c")]
    );
    broker.retry(queue, &id("a")).await.unwrap();
    broker.pause(queue, true).await.unwrap();
    broker.purge(queue, State::Cancelled).await.unwrap();
    broker.purge(queue, State::Pending).await.unwrap();
    let events = watch.events().await;
    assert_eq!(events[0], scheduled(&["a"]));
    assert_eq!(events.len(), 3, "{events:?}");
    for text in ["a", "c"] {
        assert!(events.contains(&done(text, State::Cancelled)), "{events:?}");
    }
    let later = NewTask { start: Start::AfterMs(60_000), ..task("later") };
    scene.enqueue(&[later]).await.unwrap();
    broker.retry(queue, &id("later")).await.unwrap();
    assert_eq!(watch.events().await, [scheduled(&["later"]), next("later")]);
}

pub async fn a_loss_is_told_as_the_next_task_and_an_end_as_done(backend: &dyn Backend) {
    let settings = tidemill_core::QueueSettings { loss_limit: 2, ..Default::default() };
    let scene = Scene::with(backend, settings).await;
    let mut watch = scene.watch().await;
    scene.add(&["x", "y"]).await;
    scene.worker().await.claim_one().await;
    scene.lose_the_silent().await;
    scene.worker().await.claim_one().await;
    scene.lose_the_silent().await;
    let expected = [
        scheduled(&["x", "y"]),
        next("x"),
        start("x"),
        next("y"),
        next("x"),
        start("x"),
        next("y"),
        done("x", State::Dead),
    ];
    assert_eq!(watch.events().await, expected);
}

pub async fn a_repeated_request_or_exchange_tells_nothing(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (batch, request) = ([task("a"), task("b")], request());
    scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.exchange(vec![settlement(&claim, SUCCEEDED)], 1).await;
    let mut watch = scene.watch().await;
    worker.repeat().await;
    scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    scene.enqueue(&[task("b")]).await.unwrap_err();
    assert_eq!(watch.events().await, []);
}

pub async fn promoted_tasks_are_told_when_they_become_the_head(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut watch = scene.watch().await;
    let after = |text: &str, ms| NewTask { start: Start::AfterMs(ms), ..task(text) };
    scene.enqueue(&[after("x", 1_000), after("y", 2_000)]).await.unwrap();
    assert_eq!(watch.events().await, [scheduled(&["x", "y"])], "nothing is next yet");
    scene.advance(1_001).await;
    scene.maintain().await;
    scene.advance(1_001).await;
    scene.maintain().await;
    assert_eq!(watch.events().await, [next("x")]);
}

pub async fn events_of_all_processes_come_in_one_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let elsewhere = scene.elsewhere();
    let (mut here, mut there) = (scene.watch().await, elsewhere.watch().await);
    scene.add(&["a"]).await;
    elsewhere.add(&["b"]).await;
    let mut worker = elsewhere.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, SUCCEEDED).await;
    let expected =
        [scheduled(&["a"]), next("a"), scheduled(&["b"]), start("a"), next("b"), done("a", State::Succeeded)];
    assert_eq!(here.events().await, expected);
    assert_eq!(there.events().await[..6], expected);
}

pub async fn durations_are_told(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut subscription = scene.broker.subscribe(&scene.queue).await.unwrap();
    scene.enqueue(&[NewTask::sleep(id("nap \"é\""), 86_400_000)]).await.unwrap();
    let delivery = tokio::time::timeout(crate::conformance::scene::DEADLINE, subscription.next()).await.unwrap();
    let Some(crate::Delivery::Batch(batch)) = delivery else { panic!("expected events, got {delivery:?}") };
    let nap = tidemill_core::TaskRef { id: id("nap \"é\""), duration_ms: 86_400_000 };
    assert_eq!(batch.events, [Event::Scheduled(vec![nap.clone()]), Event::Next(nap)]);
}
