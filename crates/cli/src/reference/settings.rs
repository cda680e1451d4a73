//! The page of settings, from their one table.

use std::fmt::Write as _;

use super::markdown::{code, prose, table};
use crate::config::print::values;
use crate::config::table::{SETTINGS, Setting};

const HEAD: &str = "\
# Settings

Defaults, then a YAML file (`--config`), then the environment, then flags: each later layer wins. A key is its place in the file:
`app.port` is `port` below `app:`, `TIDEMILL_APP__PORT` in the environment, and `--set app.port=9090`. What is unknown
or wrong is refused with its place and the nearest right key. `tidemill config --print` shows what is in force and where each value came from.
";

pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    let mut rest = SETTINGS;
    while let Some(first) = rest.first() {
        let section = section(first);
        let count = rest.iter().take_while(|setting| self::section(setting) == section).count();
        let (these, others) = rest.split_at(count);
        let rows = these.iter().map(|setting| {
            let default = if setting.default.is_empty() { "none".to_owned() } else { code(setting.default) };
            let secret = if setting.secret { " Never shown." } else { "" };
            let meaning = format!("{}.{secret}", prose(setting.doc));
            [code(setting.key), prose(&values(setting.kind)), default, meaning]
        });
        // Writing to a String cannot fail.
        write!(text, "\n## {section}\n\n{}", table(["key", "values", "default", "meaning"], rows)).ok();
        rest = others;
    }
    text
}

fn section(setting: &Setting) -> &'static str {
    setting.key.split('.').next().unwrap_or(setting.key)
}
