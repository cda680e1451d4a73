//! What `/metrics` says, taken apart.

use std::collections::BTreeMap;

use crate::Program;

/// The samples of one scrape.
#[derive(Debug)]
pub struct Scrape {
    /// As it came.
    pub text: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Scrapes a program in the plain text form, or in that of `OpenMetrics`.
    pub fn of(program: &Program, open_metrics: bool) -> anyhow::Result<Self> {
        let form = if open_metrics { "application/openmetrics-text; version=1.0.0" } else { "text/plain" };
        let answer = program.get_with("/metrics", &[("accept", form)])?;
        anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text);
        let text = answer.text;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let samples = lines.map(sample).collect::<anyhow::Result<_>>()?;
        Ok(Self { text, samples })
    }

    /// The sum of all samples of this name with these labels; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |sample: &&Sample| {
            let has = |(name, value): &(&str, &str)| sample.labels.get(*name).is_some_and(|found| found == value);
            sample.name == name && labels.iter().all(has)
        };
        self.samples.iter().filter(fits).map(|sample| sample.value).sum()
    }

    /// The same of a count.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // counts are whole and small
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.sum(name, labels).round() as u64
    }
}

/// `name{label="value",…} 1.5 # {exemplar}`
fn sample(line: &str) -> anyhow::Result<Sample> {
    let wrong = || anyhow::anyhow!("{line:?} is no sample");
    let line = line.split_once(" # {").map_or(line, |(sample, _)| sample);
    let (series, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').ok_or_else(wrong)?),
        None => (series, ""),
    };
    let labels = labels.split("\",").filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once("=\"").ok_or_else(wrong)?;
        Ok((name.to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Ok(Sample { name: name.to_owned(), labels: labels.collect::<anyhow::Result<_>>()?, value: value.parse()? })
}
