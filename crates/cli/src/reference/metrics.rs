//! The page of metrics, from the names that are declared.

use tidemill_telemetry::metrics::names::ALL;

use super::markdown::{code, prose, table};

const HEAD: &str = "\
# Metrics

`GET /metrics` gives these as Prometheus text where `Accept` asks for it (Prometheus does), or with `?format=prometheus`.
Names are as a scraper sees them; a histogram has `_bucket`, `_sum` and `_count` behind its name. A scrape costs the same however
many tasks there are.

";

pub(super) fn text() -> String {
    let rows = ALL.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| code(label)).collect();
        [
            code(&metric.series()),
            metric.kind.as_str().to_owned(),
            labels.join(", "),
            metric.shown.as_str().to_owned(),
            format!("{}.", prose(metric.help)),
        ]
    });
    format!("{HEAD}{}", table(["name", "kind", "labels", "shown by", "meaning"], rows))
}
