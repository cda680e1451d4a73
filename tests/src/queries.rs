//! Every query that the dashboards and the alerts ask Prometheus, as it would be sent, and whether it finds anything.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use crate::prometheus::{Prometheus, alerts_file, repository};

/// What Grafana makes of `$__rate_interval` and `$__range` here: all that a test has scraped.
const WHOLE_RUN: &str = "5m";
/// How often they are asked: as often as there is something new.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// What a metric's name begins with that only an operator shows.
const OF_OPERATORS: [&str; 2] = ["tidemill_operator_", "tidemill_taskqueue_"];

/// A query and who asks it.
#[derive(Debug, Clone)]
pub struct Query {
    /// Where it stands: `fleet: Tasks by state (A)`.
    pub place: String,
    /// As it is written there.
    pub expr: String,
}

impl Query {
    /// Whether only a run with an operator can answer it.
    pub fn needs_operator(&self) -> bool {
        OF_OPERATORS.iter().any(|prefix| self.expr.contains(prefix))
    }
}

/// The queries of a dashboard of the chart: its panels', its variables' and its annotations'.
pub fn of_dashboard(name: &str) -> anyhow::Result<Vec<Query>> {
    let path = repository().join(format!("charts/tidemill/dashboards/{name}.json"));
    let board: Value = serde_json::from_slice(&fs::read(&path).with_context(|| path.display().to_string())?)?;
    let mut queries = Vec::new();
    let mut add = |place: String, expr: &Value| {
        let expr = expr.as_str().with_context(|| format!("{place} has no query"))?.to_owned();
        queries.push(Query { place, expr });
        anyhow::Ok(())
    };
    for panel in list(&board["panels"]) {
        for target in list(&panel["targets"]) {
            add(format!("{name}: {} ({})", text(&panel["title"]), text(&target["refId"])), &target["expr"])?;
        }
    }
    for annotation in list(&board["annotations"]["list"]).iter().filter(|one| one["expr"].is_string()) {
        add(format!("{name}: annotation {}", text(&annotation["name"])), &annotation["expr"])?;
    }
    for variable in list(&board["templating"]["list"]).iter().filter(|one| one["type"] == "query") {
        let place = format!("{name}: variable {}", text(&variable["name"]));
        let asked = text(&variable["definition"]);
        let inner = asked.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
        let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).with_context(|| place.clone())?;
        add(place, &Value::from(format!(r#"count by ({label}) ({series}) and on ({label}) ({{{label}!=""}})"#)))?;
    }
    Ok(queries)
}

/// The queries of all alerts, such that they find something whether or not there is a reason to tell of it: a comparison
/// answers 0 or 1 instead of leaving out, and what is left out otherwise must be there to be compared with.
pub fn of_alerts() -> anyhow::Result<Vec<Query>> {
    #[derive(Deserialize)]
    struct File {
        groups: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Rule>,
    }
    #[derive(Deserialize)]
    struct Rule {
        alert: String,
        expr: String,
    }
    let file: File = serde_yaml_ng::from_slice(&fs::read(alerts_file())?)?;
    let rules = file.groups.into_iter().flat_map(|group| group.rules);
    Ok(rules
        .map(|Rule { alert, expr }| {
            let mut expr = expr.replace('\n', " ").replace(" unless ", " and ");
            for comparison in ["==", ">=", ">"] {
                expr = expr.replace(&format!(" {comparison} "), &format!(" {comparison} bool "));
            }
            Query { place: format!("alert {alert}"), expr }
        })
        .collect())
}

/// What a dashboard's variables are set to.
#[derive(Debug, Clone)]
pub struct Variables<'a>(pub BTreeMap<&'a str, &'a str>);

impl Variables<'_> {
    fn fill(&self, expr: &str) -> String {
        let mut expr = expr.replace("$__rate_interval", WHOLE_RUN).replace("$__range", WHOLE_RUN);
        for (name, value) in &self.0 {
            expr = expr.replace(&format!("${name}"), value);
        }
        expr
    }
}

/// Waits until every query has found something that is a number, at most for `deadline`.
///
/// # Panics
/// When one finds nothing by then, with all of these.
#[allow(clippy::panic)] // a test fails by panicking
pub fn until_answered(prometheus: &Prometheus, queries: &[Query], variables: &Variables<'_>, deadline: Duration) {
    let began = Instant::now();
    loop {
        let unanswered: Vec<String> =
            queries.iter().filter_map(|query| unanswered(prometheus, query, variables)).collect();
        if unanswered.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < deadline,
            "of {} queries, these find nothing within {deadline:?}:\n{}",
            queries.len(),
            unanswered.join("\n")
        );
        std::thread::sleep(ASK_EVERY);
    }
}

/// Where the query stands, how it was sent and what came of it, unless it found a number.
fn unanswered(prometheus: &Prometheus, query: &Query, variables: &Variables<'_>) -> Option<String> {
    let expr = variables.fill(&query.expr);
    match prometheus.ask(&expr) {
        Ok(found) if found.iter().any(|(_, value)| !value.is_nan()) => None,
        Ok(found) => Some(format!("{}: {} series without a number: {expr}", query.place, found.len())),
        Err(error) => Some(format!("{}: {error}: {expr}", query.place)),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
