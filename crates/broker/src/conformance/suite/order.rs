//! First in, first out within a priority; a higher priority goes first. Also across everything that returns a task.

use tidemill_core::{NewTask, Outcome, Priority, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{Scene, claimed, failed, id, settlement, task};

fn of_priority(text: &str, priority: i64) -> NewTask {
    NewTask { priority: Priority::new(priority).unwrap(), ..task(text) }
}

pub async fn the_first_in_is_the_first_out(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    for text in ["c", "a", "b"] {
        scene.add(&[text]).await;
    }
    scene.add(&["e", "d"]).await;
    let (mut one, mut two) = (scene.worker().await, scene.worker().await);
    assert_eq!(claimed(&one.claim(2).await), ["c", "a"]);
    assert_eq!(claimed(&two.claim(2).await), ["b", "e"]);
    assert_eq!(claimed(&one.claim(2).await), ["d"]);
}

pub async fn a_higher_priority_goes_first(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch = [
        of_priority("low1", -100),
        of_priority("normal1", 0),
        of_priority("high1", 100),
        of_priority("one", 1),
        of_priority("low2", -100),
        of_priority("minus", -1),
        of_priority("high2", 100),
        of_priority("normal2", 0),
    ];
    scene.enqueue(&batch).await.unwrap();
    let expected = ["high1", "high2", "one", "normal1", "normal2", "minus", "low1", "low2"];
    assert_eq!(scene.pending().await, expected);
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(3).await), expected[..3]);
    scene.enqueue(&[of_priority("late", 2)]).await.unwrap();
    assert_eq!(claimed(&worker.claim(10).await), ["late", "normal1", "normal2", "minus", "low1", "low2"]);
}

pub async fn a_released_task_goes_to_the_head_of_its_priority(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_priority("high", 5), task("a"), task("b"), task("c")]).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    assert_eq!(claimed(&claims), ["high", "a"]);
    worker.settle(&claims[1], Outcome::Released).await;
    assert_eq!(scene.pending().await, ["a", "b", "c"]);
    scene.enqueue(&[of_priority("higher", 5)]).await.unwrap();
    worker.settle(&claims[0], Outcome::Released).await;
    assert_eq!(scene.pending().await, ["high", "higher", "a", "b", "c"]);
    assert_eq!(scene.counters().await.released, 2);
}

pub async fn several_released_tasks_keep_their_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d", "e"]).await;
    let mut worker = scene.worker().await;
    let claims = worker.claim(3).await;
    let finished = claims.iter().map(|claim| settlement(claim, Outcome::Released)).collect();
    worker.exchange(finished, 0).await;
    assert_eq!(scene.pending().await, ["a", "b", "c", "d", "e"]);
}

pub async fn a_retried_task_comes_back_at_the_tail(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(Some(1_000))).await;
    scene.add(&["c"]).await;
    scene.advance(1_001).await;
    assert_eq!(claimed(&worker.claim(10).await), ["b", "c", "a"]);
}

pub async fn a_promoted_task_goes_behind_those_that_wait(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let later = NewTask { start: Start::AfterMs(1_000), ..task("later") };
    scene.enqueue(&[later, task("a")]).await.unwrap();
    scene.advance(1_001).await;
    scene.add(&["b"]).await;
    scene.maintain().await;
    scene.add(&["c"]).await;
    assert_eq!(scene.pending().await, ["a", "b", "later", "c"]);
}

pub async fn a_task_requeued_by_hand_goes_to_the_tail(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    scene.broker.cancel(&scene.queue, &id("a")).await.unwrap();
    scene.broker.retry(&scene.queue, &id("a")).await.unwrap();
    assert_eq!(scene.pending().await, ["b", "c", "a"]);
}

pub async fn a_cancelled_id_enqueued_anew_goes_to_the_tail_and_is_listed_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "a"]).await;
    for _ in 0..3 {
        scene.broker.cancel(&scene.queue, &id("x")).await.unwrap();
        scene.add(&["x"]).await;
        assert_eq!(scene.pending().await, ["a", "x"]);
    }
    scene.add(&["b"]).await;
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().pending, 3);
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(10).await), ["a", "x", "b"]);
    assert_eq!(scene.list(State::Cancelled).await, Vec::<String>::new());
}

pub async fn a_deleted_id_enqueued_anew_goes_to_the_tail_and_is_listed_once(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["x", "a"]).await;
    for _ in 0..3 {
        scene.broker.delete(&scene.queue, &id("x")).await.unwrap();
        scene.add(&["x"]).await;
        assert_eq!(scene.pending().await, ["a", "x"]);
    }
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(1).await), ["a"]);
    assert_eq!(claimed(&worker.claim(10).await), ["x"]);
    assert_eq!(claimed(&worker.claim(10).await), Vec::<String>::new());
}

pub async fn an_id_that_changes_its_priority_by_a_new_life_stands_where_it_now_belongs(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_priority("x", 5), task("a")]).await.unwrap();
    scene.broker.cancel(&scene.queue, &id("x")).await.unwrap();
    scene.enqueue(&[of_priority("x", -5)]).await.unwrap();
    scene.add(&["b"]).await;
    assert_eq!(scene.pending().await, ["a", "b", "x"]);
    let mut worker = scene.worker().await;
    assert_eq!(claimed(&worker.claim(1).await), ["a"]);
    assert_eq!(claimed(&worker.claim(10).await), ["b", "x"]);
}

pub async fn a_lost_task_goes_to_the_head_of_its_priority(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_priority("high", 5), of_priority("higher", 5), task("a"), task("b")]).await.unwrap();
    scene.worker().await.claim_one().await;
    scene.lose_the_silent().await;
    assert_eq!(scene.pending().await, ["high", "higher", "a", "b"]);
}
