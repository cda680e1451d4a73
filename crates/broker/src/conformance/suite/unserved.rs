//! A task whose type its worker lacks goes to one that has it, or is dead where there is none.

use tidemill_core::{FailureKind, NewTask, Outcome, State, TaskType};

use crate::Settled;
use crate::conformance::Backend;
use crate::conformance::scene::{Scene, claimed, id};
use crate::contract::SET_ASIDE_MS;

fn of_type(text: &str, task_type: &str) -> NewTask {
    NewTask::new(id(text), TaskType::new(task_type).unwrap(), "{}")
}

pub async fn a_task_that_no_live_worker_serves_is_dead(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_type("x", "fax")]).await.unwrap();
    let (mut one, _two) = (scene.worker_of(&["work"]).await, scene.worker_of(&["mail", "fa", "faxes"]).await);
    let claim = one.claim_one().await;
    assert_eq!(one.settle(&claim, Outcome::Unserved).await, Settled::Now(State::Dead));
    let view = scene.task("x").await.unwrap();
    assert_eq!(view.state, State::Dead);
    let attempt = &view.attempts[0];
    assert_eq!((attempt.kind, attempt.message.as_str()), (FailureKind::Unsupported, "unsupported task"));
    let counters = scene.counters().await;
    assert_eq!((counters.failed, counters.dead, counters.released, counters.retried), (1, 1, 0, 0));
}

pub async fn a_task_that_another_worker_serves_is_set_aside_and_then_goes_first(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_type("x", "fax"), of_type("a", "work")]).await.unwrap();
    let (mut one, mut fax) = (scene.worker_of(&["work"]).await, scene.worker_of(&["mail", "fax"]).await);
    let claim = one.claim_one().await;
    assert_eq!(one.settle(&claim, Outcome::Unserved).await, Settled::Now(State::Delayed));
    assert_eq!(scene.pending().await, ["a"]);
    let view = scene.task("x").await.unwrap();
    assert_eq!((view.state, view.failures, view.attempts.len()), (State::Delayed, 0, 0));
    scene.advance(SET_ASIDE_MS + 1).await;
    let claims = fax.claim(1).await;
    assert_eq!(claimed(&claims), ["x"], "back at the head");
    assert_eq!(claims[0].attempt, 1);
    let counters = scene.counters().await;
    assert_eq!((counters.failed, counters.dead, counters.released), (0, 0, 1));
}

pub async fn a_worker_that_says_it_serves_the_type_does_not_count_itself(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_type("x", "fax")]).await.unwrap();
    let mut worker = scene.worker_of(&["fax"]).await;
    let claim = worker.claim_one().await;
    assert_eq!(worker.settle(&claim, Outcome::Unserved).await, Settled::Now(State::Dead));
}

pub async fn a_worker_whose_lease_ran_out_serves_nothing(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.enqueue(&[of_type("x", "fax")]).await.unwrap();
    let _silent = scene.worker_of(&["fax"]).await;
    scene.advance(10_500).await;
    let mut worker = scene.worker_of(&["work"]).await;
    let claim = worker.claim_one().await;
    assert_eq!(worker.settle(&claim, Outcome::Unserved).await, Settled::Now(State::Dead));
}
