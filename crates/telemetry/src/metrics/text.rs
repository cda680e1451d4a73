//! The text forms of a scrape.

/// The two text forms that scrapers ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// `text/plain; version=0.0.4`, which every Prometheus reads.
    Plain,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// The media type of this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What stands between a sample and its exemplar. No label holds it: those are names, patterns of routes and fixed words.
const EXEMPLAR: &str = " # {";

/// `OpenMetrics` as the older text form: there a counter's head carries the `_total` of its samples, and units, exemplars and
/// the end mark are unknown.
pub(super) fn plain(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    let mut write = |line: &[&str]| {
        for part in line {
            text.push_str(part);
        }
        text.push('\n');
    };
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                write(&["# HELP ", name, suffix, " ", words]);
            }
            write(&["# TYPE ", name, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            write(&[line.split_once(EXEMPLAR).map_or(line, |(sample, _)| sample)]);
        }
    }
    text
}
