//! The page of the TaskQueue, from its definition.

use serde_json::Value;

use super::markdown::{prose, table};
use super::schema::{HEADS, rows};

const HEAD: &str = "\
# TaskQueue

`apiVersion: tidemill.dev/v1alpha1`, `kind: TaskQueue`, short name `tq`. `kubectl explain taskqueue.spec` says the same of a cluster.
What is nonsense is refused by the API server in a sentence; what it cannot judge becomes a condition. In the tables, * marks
what must be there.
";

/// Members below these are Kubernetes' own, which `kubectl explain` tells of.
const KUBERNETES: [&str; 4] = [".resources.", ".env[]", ".envFrom[]", ".conditions[]"];

pub(super) fn text() -> anyhow::Result<String> {
    let definition: Value = serde_yaml_ng::from_str(&tidemill_operator::crd::manifest()?)?;
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let part = |name: &str| {
        let part = &schema["properties"][name];
        let words = part["description"].as_str().map(prose).unwrap_or_default();
        let own =
            rows(part, schema).into_iter().filter(|[member, ..]| !KUBERNETES.iter().any(|of| member.contains(of)));
        format!("\n## {name}\n\n{words}\n\n{}", table(HEADS, own))
    };
    let columns = definition["spec"]["versions"][0]["additionalPrinterColumns"].as_array().into_iter().flatten();
    let columns = columns.map(|column| {
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        let wide = if column["priority"].as_i64().unwrap_or(0) > 0 { "`-o wide`" } else { "" };
        [text("name").to_uppercase(), wide.to_owned(), prose(text("description"))]
    });
    let columns = table(["column", "shown with", "meaning"], columns);
    Ok(format!("{HEAD}{}{}\n## kubectl get tq\n\n{columns}", part("spec"), part("status")))
}
