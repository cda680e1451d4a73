//! `exec` and commands of types of one's own, as a worker runs them: real processes, and what becomes of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::{CommandOptions, Exec};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

fn shell(script: &str) -> CommandOptions {
    CommandOptions { command: ["sh", "-c", script].map(str::to_owned).to_vec(), ..CommandOptions::default() }
}

fn cx(payload: &str) -> (Context, CancellationToken) {
    Context::detached(TaskId::new("a;b").unwrap(), TaskType::new("resize").unwrap(), payload.to_owned())
}

async fn run(options: &CommandOptions, payload: &str) -> Result<Option<Value>, HandlerError> {
    let handler = Exec::new(options).unwrap();
    let output = timeout(LIMIT, handler.run(cx(payload).0)).await.expect("a command ends")?;
    Ok(output.as_json().map(|json| serde_json::from_slice(json).unwrap()))
}

async fn failure(script: &str) -> HandlerError {
    run(&shell(script), "{}").await.unwrap_err()
}

/// Waits for a file that a script writes, and reads the process id in it.
async fn pid(file: &Path) -> u32 {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(pid) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return pid;
        }
        assert!(Instant::now() < deadline, "{} was not written", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a process is gone: not even a zombie is left.
async fn is_gone(pid: u32) {
    let (deadline, status) = (Instant::now() + LIMIT, format!("/proc/{pid}/status"));
    while let Ok(text) = fs::read_to_string(&status) {
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As the first process of a container does, this one inherits what its children leave behind.
fn inherit() {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
}

#[tokio::test]
async fn the_payload_goes_in_and_the_output_is_the_result() {
    let payload = r#"{"n": 1.10, "s": "é"}"#;
    assert_eq!(run(&shell("cat"), payload).await.unwrap(), Some(json!({"n": 1.1, "s": "é"})));
    assert_eq!(run(&shell("echo plain; echo text"), payload).await.unwrap(), Some(json!("plain\ntext")));
    assert_eq!(run(&shell("true"), payload).await.unwrap(), None);
    // More than a pipe holds, both ways, to a command that reads none of it at first.
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(200_000));
    let echoed = run(&shell("head -c 150000 /dev/zero >&2; cat"), &large).await.unwrap();
    assert_eq!(echoed.unwrap()["text"].as_str().unwrap().len(), 200_000);
    assert_eq!(run(&shell("exec <&-; echo 1"), &large).await.unwrap(), Some(json!(1)), "it need not read");
}

#[tokio::test]
async fn the_exit_code_tells_what_may_pass_from_what_will_not() {
    let again = failure("echo busy >&2; exit 75").await;
    assert!(!again.is_permanent());
    assert_eq!(again.message(), "sh asks for another attempt (exit code 75): busy");
    for code in [1, 2, 74, 76, 255] {
        let error = failure(&format!("echo 'no such picture' >&2; exit {code}")).await;
        assert!(error.is_permanent());
        assert_eq!(error.message(), format!("sh failed with exit code {code}: no such picture"));
    }
    let killed = failure("kill -9 $$").await;
    assert!(!killed.is_permanent() && killed.message() == "sh was killed by signal 9", "{killed}");
    let long = failure("yes trouble | head -c 100000 >&2; echo the end >&2; exit 1").await;
    assert!(long.message().ends_with("the end") && long.message().len() < 2_200, "its end is what counts");
}

#[tokio::test]
async fn an_output_beyond_a_result_is_refused_for_good_and_does_not_block_the_command() {
    let error = failure("head -c 5000000 /dev/zero; echo done >&2").await;
    assert!(error.is_permanent());
    assert_eq!(error.message(), "sh wrote 5000000 bytes to its standard output; a result has at most 262144");
}

#[tokio::test]
async fn nothing_of_a_payload_becomes_a_command_an_argument_or_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display();
    let evil = json!({
        "a": format!("; touch {here}/1"), "b": format!("$(touch {here}/2)"), "c": format!("`touch {here}/3`"),
        "d": format!("\n touch {here}/4\n"), "-e": "--help", "PATH": "/nowhere", "f": "' \" \\ \0 | & > < * ? ~ $HOME ${IFS}",
        "command": ["touch", format!("{here}/5")], "env": {"LD_PRELOAD": "/x"}, "$schema": "-rf",
    });
    let script = "printf '%s\\n' \"$#\" \"$0\" >&2; env >&2; cat; exit 0";
    let options = CommandOptions { command: [shell(script).command, vec!["zero".to_owned()]].concat(), ..shell("") };
    assert_eq!(run(&options, &evil.to_string()).await.unwrap(), Some(evil.clone()), "it comes on stdin as it is");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let options = CommandOptions { command: [shell("tr '\\0' '\\n' </proc/$$/cmdline").command].concat(), ..shell("") };
    let words = run(&options, &evil.to_string()).await.unwrap().unwrap();
    assert_eq!(words, "sh\n-c\ntr '\\0' '\\n' </proc/$$/cmdline");
}

#[tokio::test]
async fn the_environment_is_what_the_configuration_says_and_what_the_task_is() {
    let folder = tempfile::tempdir().unwrap();
    let options = CommandOptions {
        command: vec!["env".to_owned()],
        env: [("MODE".to_owned(), "a b=c\nd".to_owned())].into(),
        pass_env: vec!["CARGO_MANIFEST_DIR".to_owned(), "NOT_THERE".to_owned()],
        directory: Some(folder.path().to_owned()),
        ..CommandOptions::default()
    };
    let text = run(&options, "{}").await.unwrap().unwrap();
    let text = text.as_str().unwrap();
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .filter(|name| *name != "HOME")
        .collect();
    names.sort_unstable();
    let expected = [
        "CARGO_MANIFEST_DIR",
        "MODE",
        "PATH",
        "TIDEMILL_ATTEMPT",
        "TIDEMILL_QUEUE",
        "TIDEMILL_TASK_ID",
        "TIDEMILL_TASK_TYPE",
    ];
    assert_eq!(names, expected);
    for line in ["TIDEMILL_TASK_ID=a;b", "TIDEMILL_TASK_TYPE=resize", "TIDEMILL_QUEUE=default", "TIDEMILL_ATTEMPT=1"] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    let options = CommandOptions { directory: Some(folder.path().to_owned()), ..shell("pwd -P") };
    let expected = folder.path().canonicalize().unwrap();
    assert_eq!(run(&options, "{}").await.unwrap(), Some(json!(expected.display().to_string())));
}

#[test]
fn a_command_that_cannot_run_is_refused_at_the_start() {
    let words = |words: &[&str]| CommandOptions {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        ..CommandOptions::default()
    };
    let env = |name: &str| CommandOptions { env: [(name.to_owned(), "x".to_owned())].into(), ..words(&["true"]) };
    let pass = |name: &str| CommandOptions { pass_env: vec![name.to_owned()], ..words(&["true"]) };
    let elsewhere = CommandOptions { directory: Some("/no/such/folder".into()), ..words(&["true"]) };
    let cases = [
        (words(&[]), "command: is empty"),
        (words(&[""]), "command: is empty"),
        (words(&["no-such-program"]), "command: there is no program no-such-program in PATH ("),
        (words(&["/no/such/program"]), "command: there is no program /no/such/program in the file system"),
        (words(&["/etc/passwd"]), "command: there is no program /etc/passwd"),
        (words(&["true", "a\0b"]), "command: holds a NUL"),
        (env("A=B"), "env: \"A=B\" is not a name of a variable"),
        (env("TIDEMILL_TASK_ID"), "env: \"TIDEMILL_TASK_ID\" is the worker's own"),
        (pass("TIDEMILL_BROKER__PASSWORD"), "pass_env: \"TIDEMILL_BROKER__PASSWORD\" is the worker's own"),
        (elsewhere, "directory: there is no folder /no/such/folder"),
    ];
    for (options, sentence) in cases {
        let said = Exec::new(&options).unwrap_err().to_string();
        assert!(said.starts_with(sentence), "{said}");
    }
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it_whatever_it_holds_open_or_ignores() {
    inherit();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // The grandchild ignores SIGTERM and holds stdout and stderr open.
    let script =
        format!("(trap '' TERM; echo $$ >/dev/null; sh -c 'echo $PPID' >{}; sleep 300; :) & echo 7", file.display());
    let script = script.replace("echo 7", &format!("while [ ! -s {} ]; do sleep 0.01; done; echo 7", file.display()));
    let began = Instant::now();
    assert_eq!(run(&shell(&script), "{}").await.unwrap(), Some(json!(7)));
    assert!(began.elapsed() < Duration::from_secs(10), "nobody waits for it");
    is_gone(pid(&file).await).await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_told_to_end_and_then_killed() {
    inherit();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let polite =
        format!("echo $$ >{}; trap 'echo tidied >&2; exit 9' TERM; while :; do sleep 0.01; done", file.display());
    let options = CommandOptions { timeout: Some(Duration::from_secs(2)), ..shell(&polite) };
    let error = run(&options, "{}").await.unwrap_err();
    assert!(!error.is_permanent(), "{error}");
    assert!(error.message().starts_with("sh took longer than its 2000 ms: "), "{error}");
    assert!(error.message().ends_with("tidied"), "{error}");
    is_gone(pid(&file).await).await;

    let stubborn = format!("trap '' TERM; echo $$ >{}; sleep 300; sleep 300", file.display());
    fs::remove_file(&file).unwrap();
    let options = CommandOptions { timeout: Some(Duration::from_secs(2)), ..shell(&stubborn) };
    let error = run(&options, "{}").await.unwrap_err();
    assert!(!error.is_permanent() && error.message() == "sh took longer than its 2000 ms", "{error}");
    is_gone(pid(&file).await).await;
}

#[tokio::test]
async fn a_cancelled_attempt_ends_its_command() {
    inherit();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let handler = Exec::new(&shell(&format!("echo $$ >{}; sleep 300; :", file.display()))).unwrap();
    let (cx, stop) = cx("{}");
    let running = tokio::spawn(async move { handler.run(cx).await });
    let pid = pid(&file).await;
    stop.cancel();
    let error = timeout(LIMIT, running).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.message(), "sh was told to end, and did");
    is_gone(pid).await;
}

/// An executor drops an attempt that does not end in time.
#[tokio::test]
async fn a_dropped_attempt_leaves_no_process_and_no_zombie() {
    inherit();
    let folder = tempfile::tempdir().unwrap();
    let [leader, grandchild] = ["leader", "grandchild"].map(|name| folder.path().join(name));
    let script = format!(
        "trap '' TERM; echo $$ >{}; (sh -c 'echo $PPID' >{}; sleep 300; :) & wait",
        leader.display(),
        grandchild.display()
    );
    let handler = Exec::new(&shell(&script)).unwrap();
    let mut running = Box::pin(handler.run(cx("{}").0));
    let pids = tokio::select! {
        done = &mut running => panic!("{done:?}"),
        pids = async { [pid(&leader).await, pid(&grandchild).await] } => pids,
    };
    drop(running);
    for pid in pids {
        is_gone(pid).await;
    }
}
