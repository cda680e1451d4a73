//! Tutorials as they stand in the documentation: their commands, run one after another, and what they say they print.
//!
//! A fenced block `sh` is run as it stands; `sh,NAME` is one that its test treats by itself, such as a server that stays
//! in a terminal of its own. A `text` or `json` block is what the block before it prints, leaving out what differs from
//! run to run: each of its lines must be found, word by word and in order, in one line of the output.
//! `<!-- do NAME -->` stands for what a reader does without a command.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// How long one block may take, in seconds: the longest waits for a lease to end, or for pods.
const BLOCK_SECONDS: &str = "240";
/// The file by which the variables of one block reach the next.
const VARIABLES: &str = ".tutorial-variables";

/// A part of a tutorial that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What its test calls it; empty for commands that are run as they stand.
    pub name: String,
    /// The commands.
    pub commands: String,
    /// The lines that they should print.
    pub prints: Vec<String>,
    /// Where it stands.
    pub line: usize,
}

/// The steps of a tutorial in Markdown.
pub fn steps(markdown: &str) -> anyhow::Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = markdown.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if let Some(name) = line.trim().strip_prefix("<!-- do ").and_then(|rest| rest.strip_suffix(" -->")) {
            let (name, line) = (name.to_owned(), index + 1);
            steps.push(Step { name, commands: String::new(), prints: Vec::new(), line });
        }
        let Some(language) = line.strip_prefix("```") else { continue };
        let mut block = Vec::new();
        loop {
            let (_, line) = lines.next().with_context(|| format!("line {}: the block has no end", index + 1))?;
            if line == "```" {
                break;
            }
            block.push(line.to_owned());
        }
        let (language, name) = language.split_once(',').unwrap_or((language, ""));
        match (language, steps.last_mut()) {
            ("sh", _) => steps.push(Step {
                name: name.to_owned(),
                commands: block.join("\n"),
                prints: Vec::new(),
                line: index + 1,
            }),
            ("text" | "json", Some(step)) => step.prints.extend(block),
            _ => bail!("line {}: a block of {language:?} belongs to no command", index + 1),
        }
    }
    Ok(steps)
}

/// Runs commands in `folder` with what they and earlier ones export. What they said, both streams together.
pub fn run(commands: &str, folder: &Path, environment: &[(String, OsString)]) -> anyhow::Result<String> {
    let script = format!(
        "set -euo pipefail\nif [ -e {VARIABLES} ]; then . ./{VARIABLES}; fi\nset -a\nexec 2>&1\n{commands}\nset +a\n\
         export -p >{VARIABLES}\n"
    );
    let output = Command::new("timeout")
        .args(["--kill-after=5", BLOCK_SECONDS, "bash", "-c", &script])
        .current_dir(folder)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} of\n{commands}\nwhich said\n{said}", output.status);
    Ok(said)
}

/// Checks that a step printed what it should.
pub fn compare(step: &Step, said: &str) -> anyhow::Result<()> {
    for wanted in step.prints.iter().filter(|line| !line.trim().is_empty()) {
        let found = said.lines().any(|line| has_words(line, wanted));
        ensure!(found, "line {}: {:?} should have printed {wanted:?}; it said\n{said}", step.line, step.commands);
    }
    Ok(())
}

fn has_words(line: &str, wanted: &str) -> bool {
    let mut rest = line;
    wanted.split_whitespace().all(|word| match rest.split_once(word) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_what_they_print_are_told_apart() {
        let page = "# A\n```sh\necho a  b\n```\n```text\na b\n```\n<!-- do quit -->\n```sh,server\nserve\n```\n";
        let steps = steps(page).unwrap();
        let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["", "quit", "server"]);
        assert!(compare(&steps[0], "x\na  b\n").is_ok());
        assert!(compare(&steps[0], "b a\n").is_err());
    }

    #[test]
    fn variables_reach_the_next_block_and_a_failure_is_told() {
        let folder = tempfile::tempdir().unwrap();
        run("WORD='two words'", folder.path(), &[]).unwrap();
        assert_eq!(run("echo \"$WORD\"; echo no >&2", folder.path(), &[]).unwrap(), "two words\nno\n");
        assert!(run("false\necho never", folder.path(), &[]).is_err());
    }
}
