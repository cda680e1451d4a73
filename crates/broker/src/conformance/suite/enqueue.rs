//! Taking tasks in: whole batches, ids, repeated requests, bounds.

use tidemill_core::{Backoff, NewTask, Priority, QueueSettings, Start, State, TaskId, TaskType};

use crate::conformance::Backend;
use crate::conformance::scene::{SUCCEEDED, Scene, claimed, failed, id, request, settlement, task, words};
use crate::{BrokerError, Enqueued};

pub async fn a_batch_is_taken_in_order(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let delayed = NewTask { start: Start::AfterMs(1_000), ..task("later") };
    let answer = scene.enqueue(&[task("b"), delayed, task("a")]).await.unwrap();
    let (pending, delayed) = (Enqueued::Created(State::Pending), Enqueued::Created(State::Delayed));
    assert_eq!(answer, [pending, delayed, pending]);
    scene.add(&["c"]).await;
    assert_eq!(scene.pending().await, ["b", "a", "c"]);
    assert_eq!(scene.list(State::Delayed).await, ["later"]);
}

pub async fn a_task_is_kept_as_it_was_handed_in(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let whole = NewTask {
        priority: Priority::new(-7).unwrap(),
        retries: Some(3),
        backoff: Some(Backoff { initial_ms: 5, max_ms: 50 }),
        timeout_ms: Some(9_000),
        duration_ms: 1_234,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..NewTask::new(id("x"), TaskType::new("mail:v2").unwrap(), r#"{"to":"ä@b","n":[1,null]}"#)
    };
    scene.enqueue(std::slice::from_ref(&whole)).await.unwrap();
    let view = scene.task("x").await.unwrap();
    assert_eq!(view.id, whole.id);
    assert_eq!(view.task_type, whole.task_type);
    assert_eq!(view.state, State::Pending);
    assert_eq!(view.priority, whole.priority);
    assert_eq!(view.payload, whole.payload);
    assert_eq!(view.duration_ms, 1_234);
    assert_eq!((view.retries, view.timeout_ms), (Some(3), Some(9_000)));
    assert_eq!((view.failures, view.losses), (0, 0));
    assert!(view.attempts.is_empty() && view.result.is_none());
    assert_eq!((view.due_at_ms, view.started_at_ms, view.ended_at_ms), (None, None, None));

    let claim = scene.worker().await.claim_one().await;
    assert_eq!(claim.record.backoff, whole.backoff);
    assert_eq!(claim.record.traceparent, whole.traceparent);
    assert_eq!(claim.record.payload, whole.payload);
    assert_eq!(claim.record.enqueued_at_ms, view.enqueued_at_ms);
}

pub async fn taken_ids_refuse_the_whole_batch_and_are_all_named(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["active", "pending"]).await;
    scene.worker().await.claim_one().await;
    let delayed = NewTask { start: Start::AfterMs(1_000), ..task("delayed") };
    scene.enqueue(&[delayed]).await.unwrap();
    let batch = ["new", "pending", "delayed", "fresh", "active"].map(task);
    match scene.enqueue(&batch).await {
        Err(BrokerError::TaskExists { queue, ids }) => {
            assert_eq!(queue, scene.queue);
            assert_eq!(words(&ids), ["pending", "delayed", "active"]);
        }
        other => panic!("expected the taken ids, got {other:?}"),
    }
    assert_eq!(scene.task("new").await, None);
    assert_eq!(scene.pending().await, ["pending"]);
    assert_eq!(scene.counters().await.enqueued, 3);
}

pub async fn an_id_twice_in_a_batch_refuses_the_batch(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    match scene.enqueue(&[task("a"), task("b"), task("a")]).await {
        Err(BrokerError::DuplicateId(twice)) => assert_eq!(twice, id("a")),
        other => panic!("expected a duplicate id, got {other:?}"),
    }
    assert_eq!(scene.pending().await, Vec::<String>::new());
}

pub async fn an_id_is_free_again_once_its_task_has_ended(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut worker = scene.worker().await;
    for outcome in [SUCCEEDED, failed(None)] {
        scene.add(&["x"]).await;
        let claim = worker.claim_one().await;
        worker.settle(&claim, outcome).await;
    }
    scene.add(&["x"]).await;
    scene.broker.cancel(&scene.queue, &id("x")).await.unwrap();
    scene.add(&["x"]).await;
    assert_eq!(scene.pending().await, ["x"]);
    for ended in [State::Succeeded, State::Dead, State::Cancelled] {
        assert_eq!(scene.list(ended).await, Vec::<String>::new(), "{ended}");
    }
}

pub async fn a_new_task_of_an_old_id_has_none_of_its_past(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let mut worker = scene.worker().await;
    scene.add(&["x"]).await;
    let claim = worker.claim_one().await;
    worker.settle(&claim, failed(None)).await;
    assert_eq!(scene.task("x").await.unwrap().attempts.len(), 1);
    scene.add(&["x"]).await;
    let view = scene.task("x").await.unwrap();
    assert!(view.attempts.is_empty(), "{view:?}");
    assert_eq!((view.failures, view.ended_at_ms), (0, None));
    let claim = worker.claim_one().await;
    assert_eq!(claim.attempt, 1);
    worker.settle(&claim, crate::conformance::suite::settling::with_result("1")).await;
    scene.add(&["x"]).await;
    assert_eq!(scene.task("x").await.unwrap().result, None);
}

pub async fn a_repeated_request_counts_as_created(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (batch, request) = ([task("a"), task("b")], request());
    let first = scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    let again = scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(scene.pending().await, ["a", "b"]);
    assert_eq!(scene.counters().await.enqueued, 2);
}

pub async fn a_repeated_request_counts_as_created_when_some_of_it_ran_meanwhile(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (batch, request) = (["a", "b", "c"].map(task), request());
    scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    worker.settle(&claims[0], SUCCEEDED).await;
    assert_eq!(scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap().len(), 3);
    assert_eq!(scene.state("a").await, Some(State::Succeeded));
    assert_eq!(scene.state("b").await, Some(State::Active));
    assert_eq!(scene.pending().await, ["c"]);
    assert_eq!(scene.counters().await.enqueued, 3);
}

pub async fn a_repeated_request_counts_as_created_when_all_of_it_ended(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (batch, request) = (["a", "b"].map(task), request());
    scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    let mut worker = scene.worker().await;
    let claims = worker.claim(2).await;
    worker.settle(&claims[0], SUCCEEDED).await;
    worker.settle(&claims[1], failed(None)).await;
    assert_eq!(scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap().len(), 2);
    assert_eq!(scene.pending().await, Vec::<String>::new());
    assert_eq!(scene.state("b").await, Some(State::Dead));
}

pub async fn a_request_whose_reply_was_lost_is_known_from_another_process_too(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (batch, request) = (["a", "b"].map(task), request());
    scene.broker.enqueue(&scene.queue, &batch, request).await.unwrap();
    let elsewhere = scene.elsewhere();
    assert_eq!(elsewhere.broker.enqueue(&scene.queue, &batch, request).await.unwrap().len(), 2);
    assert!(matches!(elsewhere.enqueue(&batch).await, Err(BrokerError::TaskExists { .. })), "another request");
    assert_eq!(scene.pending().await, ["a", "b"]);
}

pub async fn a_full_queue_refuses_one_task_too_many_and_takes_none_of_the_batch(backend: &dyn Backend) {
    let scene = Scene::with(backend, QueueSettings { max_tasks: 3, ..QueueSettings::default() }).await;
    scene.add(&["a", "b"]).await;
    match scene.enqueue(&[task("c"), task("d")]).await {
        Err(BrokerError::QueueFull { queue, max }) => assert_eq!((queue, max), (scene.queue.clone(), 3)),
        other => panic!("expected a full queue, got {other:?}"),
    }
    assert_eq!(scene.pending().await, ["a", "b"]);
    let later = NewTask { start: Start::AfterMs(1_000), ..task("c") };
    scene.enqueue(&[later]).await.unwrap();
    scene.worker().await.claim_one().await;
    assert!(matches!(scene.enqueue(&[task("d")]).await, Err(BrokerError::QueueFull { .. })), "active and delayed live");
}

pub async fn ended_tasks_do_not_fill_a_queue(backend: &dyn Backend) {
    let scene = Scene::with(backend, QueueSettings { max_tasks: 1, ..QueueSettings::default() }).await;
    let mut worker = scene.worker().await;
    for text in ["a", "b", "c"] {
        scene.add(&[text]).await;
        let claim = worker.claim_one().await;
        worker.settle(&claim, SUCCEEDED).await;
    }
    assert_eq!(scene.list(State::Succeeded).await.len(), 3);
}

pub async fn ten_thousand_tasks_are_one_batch(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let batch: Vec<_> = (0..10_000).map(|n| task(&format!("t{n:05}"))).collect();
    let ids: Vec<TaskId> = batch.iter().map(|task| task.id.clone()).collect();
    assert_eq!(scene.enqueue(&batch).await.unwrap().len(), 10_000);
    assert_eq!(scene.pending().await, words(&ids));
    let mut worker = scene.worker().await;
    let claims = worker.claim(10_000).await;
    assert_eq!(claimed(&claims), words(&ids));
    let finished = claims.iter().map(|claim| settlement(claim, SUCCEEDED)).collect();
    worker.exchange(finished, 0).await;
    let stats = scene.broker.stats(&scene.queue).await.unwrap();
    assert_eq!((stats.pending, stats.active, stats.counters.succeeded), (0, 0, 10_000));
}

pub async fn ids_with_odd_characters_are_ids(backend: &dyn Backend) {
    let long = "é".repeat(128);
    let odd = [
        "日本 ☂",
        "a b",
        "it's",
        "\"quoted\"",
        "a:b:c",
        "{a}",
        "{}",
        "a\\b",
        "%s%n",
        "*",
        "[a-z]?",
        "0",
        "-1",
        "null",
        "..",
        "a/b",
        "'; DROP TABLE tasks; --",
        " ",
        "🦀",
        &long,
    ];
    let scene = Scene::new(backend).await;
    scene.add(&odd).await;
    assert_eq!(scene.pending().await, odd);
    let mut worker = scene.worker().await;
    let claims = worker.claim(odd.len()).await;
    assert_eq!(claimed(&claims), odd);
    for (text, claim) in odd.iter().zip(&claims) {
        assert_eq!(scene.state(text).await, Some(State::Active), "{text}");
        worker.settle(claim, failed(Some(1_000))).await;
        assert_eq!(scene.task(text).await.unwrap().attempts.len(), 1, "{text}");
        scene.broker.cancel(&scene.queue, &id(text)).await.unwrap();
    }
    let mut cancelled = scene.list(State::Cancelled).await;
    cancelled.sort();
    let mut expected = odd.map(str::to_owned);
    expected.sort();
    assert_eq!(cancelled, expected);
}

pub async fn queues_know_nothing_of_each_other(backend: &dyn Backend) {
    let (one, other) = (Scene::new(backend).await, Scene::new(backend).await);
    one.add(&["x", "y"]).await;
    other.add(&["x"]).await;
    let claim = other.worker().await.claim_one().await;
    assert_eq!(claim.task, id("x"));
    assert_eq!(one.pending().await, ["x", "y"]);
    assert_eq!(other.pending().await, Vec::<String>::new());
    assert_eq!(one.counters().await.started, 0);
}
