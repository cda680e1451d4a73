//! A paused queue grants no claims and does everything else.

use tidemill_core::{NewTask, Start, State};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, claimed, settlement, task};
use crate::{Exchanged, Settled};

pub async fn a_paused_queue_grants_no_claims_and_takes_everything_else(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["running", "a"]).await;
    let mut worker = scene.worker().await;
    let claim = worker.claim_one().await;
    scene.broker.pause(&scene.queue, true).await.unwrap();
    let later = NewTask { start: Start::AfterMs(1_000), ..task("later") };
    scene.enqueue(&[task("b"), later]).await.unwrap();
    scene.advance(1_001).await;
    match worker.exchange(vec![settlement(&claim, SUCCEEDED)], 10).await {
        Exchanged::Done { settled, claims, pending, paused, .. } => {
            assert_eq!(settled, [Settled::Now(State::Succeeded)], "what runs goes on");
            assert_eq!((claims.len(), pending, paused), (0, 3, true));
        }
        Exchanged::Retired => panic!("the worker is registered"),
    }
    assert_eq!(scene.pending().await, ["a", "b", "later"]);
}

pub async fn pausing_says_whether_it_changed_anything(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    for (paused, changed) in [(false, false), (true, true), (true, false), (false, true), (false, false)] {
        assert_eq!(scene.broker.pause(&scene.queue, paused).await.unwrap(), changed);
        assert_eq!(scene.elsewhere().broker.stats(&scene.queue).await.unwrap().paused, paused);
    }
}

pub async fn a_resumed_queue_grants_claims(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.broker.pause(&scene.queue, true).await.unwrap();
    scene.add(&["a", "b"]).await;
    let mut worker = scene.worker().await;
    assert!(worker.claim(10).await.is_empty());
    scene.broker.pause(&scene.queue, false).await.unwrap();
    assert_eq!(claimed(&worker.claim(10).await), ["a", "b"]);
}
