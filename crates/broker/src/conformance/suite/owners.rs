//! Who owns a queue.

use tidemill_core::owner::OWNER_PART_MAX;
use tidemill_core::{QueueOwner, QueueSettings, State};

use crate::conformance::Backend;
use crate::conformance::scene::{Scene, owner};
use crate::{BrokerError, Ownership};

pub async fn the_first_to_ask_owns_a_queue(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), None);
    let first = owner("mail", "u1");
    assert_eq!(scene.broker.own(&scene.queue, &first, None).await.unwrap(), Ownership::Ours);
    assert_eq!(scene.elsewhere().broker.owner(&scene.queue).await.unwrap(), Some(first));
}

pub async fn a_second_is_told_whose_the_queue_is(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let first = owner("mail", "u1");
    scene.broker.own(&scene.queue, &first, None).await.unwrap();
    let others = [
        QueueOwner { cluster: "west".to_owned(), ..first.clone() },
        QueueOwner { namespace: "other".to_owned(), ..first.clone() },
        QueueOwner { name: "fax".to_owned(), ..first.clone() },
    ];
    for other in others {
        let told = scene.elsewhere().broker.own(&scene.queue, &other, None).await.unwrap();
        assert_eq!(told, Ownership::Theirs(first.clone()), "to {other}");
    }
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(first));
}

pub async fn an_owner_stays_the_owner_and_another_uid_replaces_its_own(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    for uid in ["u1", "u1", "u2"] {
        let asks = owner("mail", uid);
        assert_eq!(scene.broker.own(&scene.queue, &asks, None).await.unwrap(), Ownership::Ours);
        assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(asks));
    }
}

pub async fn an_owner_is_replaced_by_whoever_names_all_of_it(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let (gone, next) = (owner("mail", "u2"), owner("fax", "u3"));
    scene.broker.own(&scene.queue, &gone, None).await.unwrap();
    for wrong in [owner("mail", "u1"), owner("fax", "u2"), next.clone()] {
        let told = scene.broker.own(&scene.queue, &next, Some(&wrong)).await.unwrap();
        assert_eq!(told, Ownership::Theirs(gone.clone()), "instead of {wrong:?}");
    }
    assert_eq!(scene.broker.own(&scene.queue, &next, Some(&gone)).await.unwrap(), Ownership::Ours);
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(next));
}

pub async fn of_many_that_ask_at_once_one_owns_the_queue(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let elsewhere = scene.elsewhere();
    let asks = (0..16).map(|n| {
        let broker = if n % 2 == 0 { scene.broker.clone() } else { elsewhere.broker.clone() };
        let queue = scene.queue.clone();
        async move {
            let asks = owner(&format!("owner{n}"), "u");
            let told = broker.own(&queue, &asks, None).await.unwrap();
            (asks, told)
        }
    });
    let told = futures::future::join_all(asks).await;
    let kept = scene.broker.owner(&scene.queue).await.unwrap().expect("someone owns it");
    for (asks, told) in told {
        let expected = if asks == kept { Ownership::Ours } else { Ownership::Theirs(kept.clone()) };
        assert_eq!(told, expected, "to {asks}");
    }
}

pub async fn a_queue_is_given_up_by_its_owner_alone(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let theirs = owner("mail", "u1");
    assert!(!scene.broker.disown(&scene.queue, &theirs).await.unwrap(), "nobody owns it");
    scene.broker.own(&scene.queue, &theirs, None).await.unwrap();
    for other in [owner("fax", "u1"), owner("mail", "u2")] {
        assert!(!scene.broker.disown(&scene.queue, &other).await.unwrap(), "{other:?}");
    }
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(theirs.clone()));
    assert!(scene.broker.disown(&scene.queue, &theirs).await.unwrap());
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), None);
    assert_eq!(scene.broker.own(&scene.queue, &owner("fax", "u9"), None).await.unwrap(), Ownership::Ours);
}

pub async fn settings_and_purges_leave_the_owner(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    scene.add(&["a", "b"]).await;
    let theirs = owner("mail", "u1");
    scene.broker.own(&scene.queue, &theirs, None).await.unwrap();
    scene.broker.configure(&scene.queue, &QueueSettings { retries: 4, ..QueueSettings::default() }).await.unwrap();
    assert!(!scene.broker.ensure_queue(&scene.queue, &QueueSettings::default()).await.unwrap());
    assert_eq!(scene.broker.purge(&scene.queue, State::Pending).await.unwrap(), 2);
    scene.broker.pause(&scene.queue, true).await.unwrap();
    scene.maintain().await;
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(theirs));
    assert_eq!(scene.broker.settings(&scene.queue).await.unwrap().retries, 4);
}

pub async fn an_owner_is_kept_as_it_is_however_odd_and_refused_where_it_is_too_long(backend: &dyn Backend) {
    let scene = Scene::new(backend).await;
    let odd = QueueOwner {
        cluster: "ä\"\\\n\u{1f}🌊".to_owned(),
        namespace: String::new(),
        name: "n".repeat(OWNER_PART_MAX),
        uid: "{}".to_owned(),
    };
    assert_eq!(scene.broker.own(&scene.queue, &odd, None).await.unwrap(), Ownership::Ours);
    assert_eq!(scene.broker.owner(&scene.queue).await.unwrap(), Some(odd.clone()));
    assert_eq!(
        scene.broker.own(&scene.queue, &owner("mail", "u1"), None).await.unwrap(),
        Ownership::Theirs(odd.clone())
    );
    let long = QueueOwner { name: "n".repeat(OWNER_PART_MAX + 1), ..owner("", "u1") };
    let refused = scene.broker.own(&scene.queue, &long, Some(&odd)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::BadOwner(_)), "{refused}");
    assert!(scene.broker.disown(&scene.queue, &odd).await.unwrap());
}
