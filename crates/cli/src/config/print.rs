//! Shows the configuration: what is in force and where each value came from, or what can be set at all.

use std::io::{self, Write};

use super::Config;
use super::handlers;
use super::table::{Kind, SETTINGS, variable};
use super::value::Value;
use crate::output::{Format, Table, structured};

/// Prints what is in force, with secrets masked.
pub fn in_force(config: &Config, format: Format, out: &mut impl Write) -> io::Result<()> {
    if let Format::Json | Format::Yaml = format {
        let entries: Vec<serde_json::Value> = config
            .entries()
            .map(|(setting, value, origin)| {
                let shown = match value {
                    Value::Number(number) => (*number).into(),
                    Value::List(texts) if !setting.secret => texts.clone().into(),
                    Value::Handlers(given) => handlers::shown(given),
                    other => serde_json::Value::from(setting.shown(other)),
                };
                serde_json::json!({ "key": setting.key, "value": shown, "from": origin.to_string() })
            })
            .collect();
        return structured(&entries.into(), format, out);
    }
    let mut table = Table::new(["KEY", "VALUE", "FROM"]);
    for (setting, value, origin) in config.entries() {
        let shown = setting.shown(value);
        let shown = if shown.is_empty() { "-".to_owned() } else { shown };
        table.row([setting.key.to_owned(), shown, origin.to_string()]);
    }
    table.print(out)
}

/// Prints every setting with its default, its variable and what it does.
pub fn keys(format: Format, out: &mut impl Write) -> io::Result<()> {
    if let Format::Json | Format::Yaml = format {
        let keys: Vec<serde_json::Value> = SETTINGS
            .iter()
            .map(|setting| {
                serde_json::json!({
                    "key": setting.key,
                    "values": values(setting.kind),
                    "default": setting.default,
                    "env": variable(setting.key),
                    "secret": setting.secret,
                    "doc": setting.doc,
                })
            })
            .collect();
        return structured(&keys.into(), format, out);
    }
    for setting in SETTINGS {
        writeln!(out, "{}  ({})", setting.key, values(setting.kind))?;
        writeln!(out, "    {}", setting.doc)?;
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        writeln!(out, "    default {default}, env {}", variable(setting.key))?;
    }
    Ok(())
}

/// What values a setting takes, in words.
pub fn values(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Given => "text".to_owned(),
        Kind::Number { min, max } => format!("{min} to {max}"),
        Kind::Word(words) => words.join(" | "),
        Kind::List => "list of texts".to_owned(),
        Kind::Arguments => "program and its arguments".to_owned(),
        Kind::Handlers => "types of one's own".to_owned(),
        Kind::Queue => "name".to_owned(),
        Kind::Level => "level".to_owned(),
        Kind::Part => "0 to 1".to_owned(),
    }
}
