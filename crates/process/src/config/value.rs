//! A value of a setting: checked, shown, and hidden where it is a secret.

use tidemill_core::QueueName;
use tidemill_core::suggest::nearest;
use tidemill_telemetry::Logs;

use super::handlers::{self, Handlers};
use super::table::{Kind, Setting};

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text, word or name.
    Text(String),
    /// A whole number.
    Number(u64),
    /// Several texts.
    List(Vec<String>),
    /// Types of one's own.
    Handlers(Handlers),
}

/// What a secret is shown as.
pub(super) const MASK: &str = "***";
/// What comes before the password of Sentinels.
const SENTINEL_PASSWORD: &str = "sentinel_password=";

impl Setting {
    /// Checks a text from the environment, a flag, or a scalar of the file. The error is the rest of a sentence that
    /// begins with the name of the setting.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let shown = if self.secret { MASK.to_owned() } else { format!("{:?}", mask_url(text)) };
        match self.kind {
            Kind::Given if text.trim().is_empty() => Err("must not be empty".to_owned()),
            Kind::Text | Kind::Given => Ok(Value::Text(text.to_owned())),
            Kind::List => Ok(Value::List(
                text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            )),
            Kind::Arguments if text.is_empty() => Ok(Value::List(Vec::new())),
            Kind::Arguments => serde_json::from_str(text)
                .map(Value::List)
                .map_err(|_| format!("must be a list: [\"python3\", \"/app/handler.py\"], not {shown}")),
            Kind::Handlers => handlers::parse(text).map(Value::Handlers),
            Kind::Number { min, max } => match text.trim().parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(Value::Number(number)),
                _ => Err(format!("must be a whole number from {min} to {max}, not {shown}")),
            },
            Kind::Word(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Kind::Word(words) => {
                let nearest = nearest(text, words.iter().copied(), 1);
                let hint = nearest.first().map(|word| format!("; did you mean {word}?")).unwrap_or_default();
                Err(format!("must be one of {}, not {shown}{hint}", words.join(", ")))
            }
            Kind::Queue => match QueueName::new(text) {
                Ok(name) => Ok(Value::Text(name.into())),
                Err(error) => Err(format!("is not a name of a queue: {error}")),
            },
            Kind::Part => match text.trim().parse::<f64>() {
                Ok(part) if (0.0..=1.0).contains(&part) => Ok(Value::Text(text.trim().to_owned())),
                _ => Err(format!("must be a number from 0 to 1, not {shown}")),
            },
            Kind::Level => match Logs::check_level(text) {
                Ok(()) => Ok(Value::Text(text.to_owned())),
                Err(error) => Err(format!("must be error, warn, info, debug, trace or off, or TARGET=LEVEL: {error}")),
            },
        }
    }

    /// A value as it may be shown: secrets and passwords masked.
    pub fn shown(&self, value: &Value) -> String {
        match value {
            Value::Number(number) => number.to_string(),
            Value::Text(text) if self.secret && !text.is_empty() => MASK.to_owned(),
            Value::Text(text) => mask_url(text),
            Value::List(texts) if self.secret && !texts.is_empty() => format!("{MASK} ({})", texts.len()),
            Value::List(texts) if self.kind == Kind::Arguments && !texts.is_empty() => {
                serde_json::json!(texts).to_string()
            }
            Value::List(texts) => texts.join(","),
            Value::Handlers(handlers) if handlers.is_empty() => String::new(),
            Value::Handlers(handlers) => handlers::shown(handlers).to_string(),
        }
    }
}

impl Value {
    /// The value as JSON, for the typed settings.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Number(number) => (*number).into(),
            Self::List(texts) => texts.clone().into(),
            Self::Handlers(handlers) => serde_json::json!(handlers),
        }
    }
}

/// Masks the password of `scheme://user:password@host` and the values of query parameters that sound like secrets.
pub fn mask_url(text: &str) -> String {
    if let Some((before, password)) = text.split_once(SENTINEL_PASSWORD) {
        // It may hold an `@` that nobody escaped, but no `&`.
        let after = password.split_once('&').map(|(_, after)| format!("&{after}")).unwrap_or_default();
        return format!(
            "{}{SENTINEL_PASSWORD}{MASK}{}",
            mask_url(before),
            mask_query(&format!("?{after}")).replacen('?', "", 1)
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    // A password may itself hold a slash that nobody escaped: look for the last `@` of the whole, to be safe.
    let masked = match rest.rfind('@') {
        Some(at) => match rest[..at].split_once(':') {
            Some((user, _)) => format!("{user}:{MASK}{}", &rest[at..]),
            None => rest.to_owned(),
        },
        None => rest[..authority_end].to_owned() + &rest[authority_end..],
    };
    format!("{scheme}://{}", mask_query(&masked))
}

fn mask_query(text: &str) -> String {
    const SECRET: [&str; 4] = ["password", "pass", "token", "secret"];
    let Some((path, query)) = text.split_once('?') else { return text.to_owned() };
    let parameters: Vec<String> = query
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if SECRET.contains(&name.to_lowercase().as_str()) => format!("{name}={MASK}"),
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{path}?{}", parameters.join("&"))
}

#[cfg(test)]
mod tests {
    use super::super::table::{SETTINGS, find};
    use super::*;

    fn parse(key: &str, text: &str) -> Result<Value, String> {
        SETTINGS[find(key).unwrap()].parse(text)
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let table = [
            ("redis://user:secret@host:6379/0", "redis://user:***@host:6379/0"),
            ("redis://:secret@host", "redis://:***@host"),
            ("redis://:se/cr@et@host", "redis://:***@host"),
            ("redis://host:6379", "redis://host:6379"),
            ("smtp://user@host", "smtp://user@host"),
            ("unix:///run/redis.sock?user=a&password=secret", "unix:///run/redis.sock?user=a&password=***"),
            ("sqlite:./tidemill-data", "sqlite:./tidemill-data"),
            (
                "redis+sentinel://u:secret@one,two/prime?sentinel_username=s&sentinel_password=se@cret",
                "redis+sentinel://u:***@one,two/prime?sentinel_username=s&sentinel_password=***",
            ),
            (
                "redis+sentinel://one/prime?sentinel_password=a&token=b",
                "redis+sentinel://one/prime?sentinel_password=***&token=***",
            ),
        ];
        for (url, expected) in table {
            assert_eq!(mask_url(url), expected);
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_would_be_right() {
        let table = [
            ("app.port", "eighty", "must be a whole number from 0 to 65535, not \"eighty\""),
            ("app.port", "70000", "must be a whole number from 0 to 65535, not \"70000\""),
            ("executor_service.workers_limit", "0", "must be a whole number from 1 to 10000, not \"0\""),
            ("form", "htm", "must be one of rest, ws, html, html_ws, not \"htm\"; did you mean html?"),
            ("app.host", " ", "must not be empty"),
        ];
        for (key, text, expected) in table {
            assert_eq!(parse(key, text).unwrap_err(), expected, "{key}");
        }
        assert!(parse("queue.name", "a b").unwrap_err().starts_with("is not a name of a queue: queue name \"a b\""));
        assert!(parse("log.level", "tidemill=loud").is_err());
    }

    #[test]
    fn every_default_is_a_value_of_its_setting() {
        for setting in SETTINGS {
            assert!(setting.parse(setting.default).is_ok(), "{}", setting.key);
        }
    }
}
