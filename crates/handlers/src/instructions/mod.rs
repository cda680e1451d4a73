//! What CONTRIBUTING.md says of a new task type, followed: the very file, by the very line.

use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Output, Registry};

use crate::{BuiltIn, HandlerOptions};

types! {
    shout,
}

const FILE: &str = include_str!("shout.rs");
const PAGE: &str = include_str!("../../../../CONTRIBUTING.md");

#[test]
fn the_page_shows_the_file_and_the_line() {
    let section = PAGE.split("\n## ").find(|section| section.starts_with("A new task type")).unwrap();
    let blocks: Vec<&str> = section.split("```rust\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(blocks, [FILE, "types! {\n    shout,\n"]);
}

#[tokio::test]
async fn the_type_is_described_and_served() {
    let mut registry = Registry::new();
    for built_in in TYPES {
        (built_in.add)(&mut registry, &HandlerOptions::default()).unwrap();
    }
    assert!((TYPES[0].payload)().to_value()["properties"]["text"].is_object());
    let name = TaskType::new(TYPES[0].name).unwrap();
    let shout = registry.get(&name).unwrap();
    let (cx, _stop) = Context::detached(TaskId::new("a").unwrap(), name.clone(), TYPES[0].example);
    assert_eq!(shout.run(cx).await, Output::json(&"HELLO"));
    let (cx, _stop) = Context::detached(TaskId::new("b").unwrap(), name, r#"{"text": "…"}"#);
    assert!(shout.run(cx).await.unwrap_err().is_permanent());
}
