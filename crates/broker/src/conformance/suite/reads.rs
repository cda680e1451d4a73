//! Reads: lists in order and in pages, views, workers.

use tidemill_core::{NewTask, Priority, Start, State, TaskType};

use crate::ListQuery;
use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, WORK, failed, id, info, settlement, task, words};

pub async fn a_list_comes_in_pages_without_gap_or_overlap(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch: Vec<_> =
        (0..60).map(|n| NewTask { priority: Priority::new(n % 3 - 1).unwrap(), ..task(&format!("t{n:02}")) }).collect();
    scene.enqueue(&batch).await.unwrap();
    let later: Vec<_> =
        (0..25).map(|n| NewTask { start: Start::AfterMs(60_000 + n % 4), ..task(&format!("later{n}")) }).collect();
    scene.enqueue(&later).await.unwrap();
    for n in [3, 4, 5, 59] {
        scene.broker.cancel(&scene.queue, &id(&format!("t{n:02}"))).await.unwrap();
    }
    let mut worker = scene.worker().await;
    let claims = worker.claim(30).await;
    worker.exchange(claims[..15].iter().map(|claim| settlement(claim, SUCCEEDED)).collect(), 0).await;
    for state in [State::Pending, State::Delayed, State::Active, State::Succeeded, State::Cancelled, State::Dead] {
        let whole = scene.list(state).await;
        for limit in [1, 4, 7] {
            let mut query = ListQuery { state, task_type: None, cursor: None, limit };
            let mut paged = Vec::new();
            loop {
                let page = scene.broker.list(&scene.queue, &query).await.unwrap();
                assert!(page.tasks.len() <= limit, "{state}: {} of {limit}", page.tasks.len());
                paged.extend(words(page.tasks.iter().map(|view| &view.id)));
                assert!(paged.len() <= whole.len(), "{state}: more in pages of {limit} than in one");
                let Some(cursor) = page.cursor else { break };
                query.cursor = Some(cursor);
            }
            assert_eq!(paged, whole, "{state} in pages of {limit}");
        }
    }
    assert_eq!(scene.pending().await.len(), 26);
}

pub async fn a_list_of_one_type_has_no_others(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch: Vec<_> = (0..50)
        .map(|n| {
            let task_type = if n % 10 == 0 { "rare" } else { "usual" };
            NewTask::new(id(&format!("t{n:02}")), TaskType::new(task_type).unwrap(), "{}")
        })
        .collect();
    scene.enqueue(&batch).await.unwrap();
    let rare = Some(TaskType::new("rare").unwrap());
    for limit in [1, 3, 100] {
        let mut query = ListQuery { state: State::Pending, task_type: rare.clone(), cursor: None, limit };
        let mut found = Vec::new();
        for _ in 0..1_000 {
            let page = scene.broker.list(&scene.queue, &query).await.unwrap();
            assert!(page.tasks.len() <= limit);
            found.extend(words(page.tasks.iter().map(|view| &view.id)));
            query.cursor = page.cursor;
            if query.cursor.is_none() {
                break;
            }
        }
        assert_eq!(query.cursor, None, "the list ends");
        assert_eq!(found, ["t00", "t10", "t20", "t30", "t40"], "in pages of {limit}");
    }
}

pub async fn each_state_is_listed_in_its_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d", "e", "f"]).await;
    let (mut one, mut two) = (scene.worker().await, scene.worker().await);
    let first = two.claim_one().await;
    scene.advance(5).await;
    let second = one.claim_one().await;
    scene.advance(5).await;
    let third = two.claim_one().await;
    assert_eq!(scene.list(State::Active).await, ["a", "b", "c"], "by time of claim");
    two.settle(&third, failed(Some(9_000))).await;
    one.settle(&second, failed(Some(3_000))).await;
    two.settle(&first, failed(Some(6_000))).await;
    assert_eq!(scene.list(State::Retrying).await, ["b", "a", "c"], "by due time");
    for text in ["e", "d", "f"] {
        scene.advance(5).await;
        scene.broker.cancel(&scene.queue, &id(text)).await.unwrap();
    }
    assert_eq!(scene.list(State::Cancelled).await, ["f", "d", "e"], "the newest first");
}

pub async fn workers_are_listed_with_what_they_hold(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c"]).await;
    let mut busy = scene.worker_of(&[WORK, "mail:v2"]).await;
    let idle = scene.worker_of(&[]).await;
    busy.claim(2).await;
    let mut workers = scene.elsewhere().broker.workers(&scene.queue).await.unwrap();
    assert_eq!(workers.len(), 2);
    workers.sort_by_key(|worker| worker.active);
    assert_eq!((workers[0].info.clone(), workers[0].active), (info(idle.id, &[]), 0));
    assert_eq!((workers[1].info.clone(), workers[1].active), (info(busy.id, &[WORK, "mail:v2"]), 2));
    assert!(workers.iter().all(|worker| (1..=10_000).contains(&worker.lease_left_ms)), "{workers:?}");
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().workers, 2);
    idle.retire().await;
    assert_eq!(scene.broker.stats(&scene.queue).await.unwrap().workers, 1);
}

pub async fn workers_are_listed_with_the_ages_of_what_they_hold(backend: &dyn Backend) {
    /// Far more than the clock of a store runs on by itself meanwhile.
    const APART_MS: u64 = 100_000;
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b", "c", "d"]).await;
    let (mut busy, mut other) = (scene.worker().await, scene.worker().await);
    let first = busy.claim(2).await;
    scene.advance(APART_MS).await;
    busy.claim(1).await;
    other.claim(1).await;
    scene.advance(APART_MS).await;
    let running = async |worker| {
        let workers = scene.elsewhere().broker.workers(&scene.queue).await.unwrap();
        workers.into_iter().find(|view| view.info.id == worker).map(|view| view.running_ms).unwrap()
    };
    // In units of what they are apart: two of the first for two units, one of the second for one.
    let units = async |worker| running(worker).await / APART_MS;
    assert_eq!((units(busy.id).await, units(other.id).await), (5, 1));
    busy.settle(&first[0], SUCCEEDED).await;
    assert_eq!(units(busy.id).await, 3);
    let idle = scene.worker().await;
    assert_eq!(running(idle.id).await, 0);
}

pub async fn an_unknown_task_is_none(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    assert_eq!(scene.task("never seen").await, None);
    for state in State::ALL {
        assert_eq!(scene.list(state).await, Vec::<String>::new());
    }
}

pub async fn a_view_says_where_a_task_stands(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let later = NewTask { start: Start::AfterMs(60_000), ..task("delayed") };
    scene.enqueue(&[task("active"), task("succeeded"), task("retrying"), task("pending"), later]).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(3).await;
    worker.settle(&claims[1], SUCCEEDED).await;
    worker.settle(&claims[2], failed(Some(60_000))).await;
    for state in [State::Active, State::Succeeded, State::Retrying, State::Pending, State::Delayed] {
        let view = scene.task(state.as_str()).await.unwrap();
        assert_eq!(view.state, state);
        assert_eq!(view.due_at_ms.is_some(), matches!(state, State::Delayed | State::Retrying), "{state}");
        assert_eq!(view.started_at_ms.is_some(), state == State::Active, "{state}");
        assert_eq!(view.worker, (state == State::Active).then_some(worker.id), "{state}");
        assert_eq!(view.ended_at_ms.is_some(), state == State::Succeeded, "{state}");
        let mut listed = scene.views(state).await.remove(0);
        listed.attempts.clone_from(&view.attempts);
        listed.result.clone_from(&view.result);
        assert_eq!(listed, view, "a list shows the same, less attempts and results");
    }
}
