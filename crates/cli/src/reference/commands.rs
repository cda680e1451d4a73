//! The page of commands, from what `--help` prints.

use std::fmt::Write as _;

use clap::{Command, CommandFactory};

use crate::args::Cli;

/// How wide the help is printed.
const WIDTH: usize = 100;

pub(super) fn text() -> String {
    let mut text = "# Commands\n\nWhat `--help` prints of each.\n".to_owned();
    let mut cli = Cli::command();
    cli.build();
    one(&cli, "tidemill", &mut text);
    text
}

fn one(command: &Command, name: &str, text: &mut String) {
    let help =
        command.clone().term_width(WIDTH).mut_args(|arg| arg.hide_env_values(true)).render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    // Writing to a String cannot fail.
    write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim()).ok();
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help" && !inner.is_hide_set()) {
        one(inner, &format!("{name} {}", inner.get_name()), text);
    }
}
