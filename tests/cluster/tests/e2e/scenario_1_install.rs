//! Installing, and a first TaskQueue.

use std::time::Instant;

use crate::kubectl::{kubectl, wait_for};
use crate::{queue, release};

/// The TaskQueue that the first page of the documentation applies.
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/samples/taskqueue.yaml");

pub(crate) fn run() {
    release::needed();
    let began = Instant::now();
    kubectl(&["apply", "--filename", SAMPLE]).done();
    wait_for("condition=Ready", &["taskqueue/emails"], queue::READY_WITHIN).done();
    println!("the sample TaskQueue was ready after {:.1} s", began.elapsed().as_secs_f32());

    for shape in ["--output=name", "--output=wide"] {
        let table = kubectl(&["get", "tq", shape]).done();
        assert!(table.contains("emails"), "{table}");
    }
    let table = kubectl(&["get", "tq"]).done();
    println!("$ kubectl get tq\n{table}");
    let words = |line: usize| table.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(words(0), ["NAME", "READY", "REPLICAS", "PENDING", "ACTIVE", "OLDEST", "AGE"]);
    // Nothing waits, so there is no oldest.
    assert_eq!(words(1)[..5], ["emails", "True", "0", "0", "0"]);
    kubectl(&["delete", "taskqueue/emails", "--timeout=30s"]).done();
}
