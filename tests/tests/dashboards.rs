//! What can be said of dashboards, alerts and runbook without running anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code fails by panicking

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tidemill_telemetry::metrics::names::{ALL, Kind};
use tidemill_tests::prometheus::repository;
use tidemill_tests::queries::{self, Query};

const DASHBOARDS: [&str; 3] = ["fleet", "queue", "operator"];
/// The columns of Grafana's grid.
const COLUMNS: u64 = 24;

fn dashboard(name: &str) -> Value {
    let path = repository().join(format!("charts/tidemill/dashboards/{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn all_queries() -> Vec<Query> {
    let of_dashboards = DASHBOARDS.iter().flat_map(|name| queries::of_dashboard(name).unwrap());
    of_dashboards.chain(queries::of_alerts().unwrap()).collect()
}

/// The words of a text that may be names of series.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("tidemill_"))
}

#[test]
fn every_panel_has_a_title_an_explanation_a_unit_and_the_data_source_of_choice() {
    for name in DASHBOARDS {
        let board = dashboard(name);
        for panel in panels(&board).iter().filter(|panel| panel["type"] != "row") {
            let title = format!("{name}: {}", panel["title"]);
            for text in ["/title", "/description", "/fieldConfig/defaults/unit"] {
                assert!(
                    panel.pointer(text).and_then(Value::as_str).is_some_and(|text| !text.is_empty()),
                    "{title}: {text}"
                );
            }
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title} asks nothing");
            for asked in targets.iter().chain([panel]) {
                assert_eq!(asked["datasource"]["uid"], "${datasource}", "{title}");
            }
        }
    }
}

#[test]
fn panels_have_ids_of_their_own_and_lie_on_the_grid_side_by_side() {
    for name in DASHBOARDS {
        let board = dashboard(name);
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&board) {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {} twice", panel["id"]);
            let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(at("x") + at("w") <= COLUMNS, "{name}: {} is too wide", panel["title"]);
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{name}: {} lies on another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn dashboards_lead_to_each_other() {
    let uids: BTreeSet<_> = DASHBOARDS.iter().map(|name| dashboard(name)["uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(uids.len(), DASHBOARDS.len());
    for name in DASHBOARDS {
        for link in dashboard(name)["links"].as_array().unwrap() {
            let uid = link["url"].as_str().unwrap().strip_prefix("/d/").unwrap();
            assert!(uids.contains(uid), "{name} leads to {uid}");
        }
    }
}

#[test]
fn queries_name_no_series_that_is_not_declared() {
    let mut known = BTreeSet::new();
    for metric in ALL {
        let series = metric.series();
        if metric.kind == Kind::Histogram {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{series}_{part}")));
        } else {
            known.insert(series.into_owned());
        }
    }
    for query in all_queries() {
        for word in words(&query.expr) {
            assert!(known.contains(word), "{}: {word}", query.place);
        }
    }
}

#[test]
fn queries_use_no_variable_that_their_dashboard_lacks() {
    for name in DASHBOARDS {
        let board = dashboard(name);
        let variables: Vec<_> =
            board["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        for query in queries::of_dashboard(name).unwrap() {
            for used in query.expr.split('$').skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let built_in = used == "__rate_interval" || used == "__range";
                assert!(built_in || variables.contains(&used.as_str()), "{}: ${used}", query.place);
            }
        }
    }
}

#[test]
fn every_alert_has_its_section_in_the_runbook_and_every_section_its_alert() {
    let runbook = fs::read_to_string(repository().join("docs/src/runbook.md")).unwrap();
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts = queries::of_alerts().unwrap();
    let alerts: Vec<&str> = alerts.iter().map(|query| query.place.strip_prefix("alert ").unwrap()).collect();
    assert_eq!(sections, alerts, "in this order");
    let parts: Vec<&str> = runbook.split("\n## ").skip(1).collect();
    for (alert, part) in alerts.iter().zip(parts) {
        for says in ["**It means**", "**Look at**", "**Do**"] {
            assert!(part.contains(says), "{alert} lacks {says}");
        }
    }
}

#[test]
fn links_within_the_runbook_lead_to_a_section() {
    let runbook = fs::read_to_string(repository().join("docs/src/runbook.md")).unwrap();
    let anchors: Vec<String> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect();
    for link in runbook.split("(#").skip(1) {
        let anchor = link.split(')').next().unwrap();
        assert!(anchors.iter().any(|known| known == anchor), "#{anchor}");
    }
}
