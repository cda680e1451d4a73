//! The nearest right word for a wrong one, for errors that help.

/// Least likeness (Jaro-Winkler, 0–1) at which a word is offered; below it a guess would confuse.
const ENOUGH_ALIKE: f64 = 0.75;

/// The candidates most like `word`, best first, at most `most` of them, none that is unlike.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let mut ranked: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= ENOUGH_ALIKE)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.into_iter().take(most).map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first_and_strangers_not_at_all() {
        let keys = ["workers_limit", "host", "port"];
        assert_eq!(nearest("worker_limit", keys, 3), ["workers_limit"]);
        assert_eq!(nearest("prot", keys, 1), ["port"]);
        assert!(nearest("zebra", keys, 3).is_empty());
    }
}
