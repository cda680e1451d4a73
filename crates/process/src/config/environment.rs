//! The environment: `TIDEMILL_APP__PORT=8081`. An unknown name of ours is refused like an unknown key in a file.

use tidemill_core::suggest::nearest;

use super::table::{PREFIX, SETTINGS, variable};
use super::value::Value;

/// Variables of ours that are no settings: those of the client, and what the tests pass on.
const OTHERS: [&str; 4] = ["TIDEMILL_CONFIG", "TIDEMILL_SERVER", "TIDEMILL_TOKEN", "TIDEMILL_BIN"];
/// What the names of variables begin with that steer the tests.
const TEST_PREFIXES: [&str; 5] =
    ["TIDEMILL_TEST_", "TIDEMILL_MODEL_", "TIDEMILL_SKIP_", "TIDEMILL_CLUSTER", "TIDEMILL_E2E"];

/// A setting found in the environment.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Which setting: its place in the table.
    pub setting: usize,
    /// Its value.
    pub value: Value,
    /// The variable.
    pub name: String,
}

/// Reads the settings among `variables`. The errors are whole sentences; all faults are told at once.
pub fn read(variables: impl Iterator<Item = (String, String)>) -> Result<Vec<Found>, Vec<String>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for (name, text) in variables.filter(|(name, text)| name.starts_with(PREFIX) && !is_other(name, text)) {
        match SETTINGS.iter().position(|setting| variable(setting.key) == name) {
            Some(setting) => match SETTINGS[setting].parse(&text) {
                Ok(value) => found.push(Found { setting, value, name }),
                Err(reason) => faults.push(format!("{name} in the environment {reason}")),
            },
            None => faults.push(unknown(&name)),
        }
    }
    faults.sort();
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn unknown(name: &str) -> String {
    let names: Vec<String> = SETTINGS.iter().map(|setting| variable(setting.key)).collect();
    // All names begin alike, which would make all of them look near.
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let bares: Vec<String> = names.iter().map(|name| bare(name)).collect();
    match nearest(&bare(name), bares.iter().map(String::as_str), 1).first() {
        Some(near) => format!("{name} in the environment is no setting; did you mean {PREFIX}{near}?"),
        None => format!("{name} in the environment is no setting; `tidemill config --keys` lists all"),
    }
}

fn is_other(name: &str, text: &str) -> bool {
    OTHERS.contains(&name) || TEST_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || is_service_link(name, text)
}

/// Whether Kubernetes put it there, for a Service whose name begins with `tidemill`: `TIDEMILL_SERVICE_HOST`,
/// `TIDEMILL_API_PORT_8080_TCP_ADDR`. What ends with `_PORT` holds a URL there; a number is a setting spelt wrong.
fn is_service_link(name: &str, text: &str) -> bool {
    if name.contains("__") {
        return false;
    }
    let after = |part: &str| name.split_once(part).map(|(_, rest)| rest);
    if after("_SERVICE_HOST") == Some("") || name.contains("_SERVICE_PORT") {
        return true;
    }
    after("_PORT").is_some_and(|rest| {
        (rest.is_empty() && text.contains("://"))
            || rest.strip_prefix('_').is_some_and(|rest| {
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| rest.starts_with(protocol))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<Found>, Vec<String>> {
        read(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_variable_of_a_setting_is_its_value_and_others_are_left_alone() {
        let found = of(&[("TIDEMILL_APP__PORT", "81"), ("PATH", "/bin"), ("TIDEMILL_SERVER", "http://a")]).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), &found[0].value), ("TIDEMILL_APP__PORT", &Value::Number(81)));
        let found = of(&[("TIDEMILL_AUTH__TOKENS", "a, b")]).unwrap();
        assert_eq!(found[0].value, Value::List(vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn an_unknown_or_wrong_variable_is_refused_with_the_nearest() {
        let table = [
            (
                "TIDEMILL_APP__PROT",
                "1",
                "TIDEMILL_APP__PROT in the environment is no setting; did you mean TIDEMILL_APP__PORT?",
            ),
            (
                "TIDEMILL_APP_PORTS",
                "1",
                "TIDEMILL_APP_PORTS in the environment is no setting; did you mean TIDEMILL_APP__PORT?",
            ),
            (
                "TIDEMILL_APP_PORT",
                "9090",
                "TIDEMILL_APP_PORT in the environment is no setting; did you mean TIDEMILL_APP__PORT?",
            ),
            (
                "TIDEMILL_APP__PORT",
                "x",
                "TIDEMILL_APP__PORT in the environment must be a whole number from 0 to 65535, not \"x\"",
            ),
        ];
        for (name, value, expected) in table {
            assert_eq!(of(&[(name, value)]).unwrap_err(), [expected]);
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_named_tidemill_is_no_fault() {
        for name in [
            "TIDEMILL_SERVICE_HOST",
            "TIDEMILL_SERVICE_PORT",
            "TIDEMILL_SERVICE_PORT_HTTP",
            "TIDEMILL_PORT",
            "TIDEMILL_PORT_8080_TCP",
            "TIDEMILL_API_PORT_8080_TCP_ADDR",
        ] {
            assert_eq!(of(&[(name, "tcp://10.0.0.1:80")]).unwrap(), [], "{name}");
        }
    }
}
