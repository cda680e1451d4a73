//! The tutorial of the laptop works as it stands.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidemill_tests::tutorial::{Step, compare, run, steps};
use tidemill_tests::{program, until};

/// The port that the page speaks of; the test takes a free one instead.
const PORT: &str = "8080";
/// How long the program may take to say where it is, and to end.
const READY: Duration = Duration::from_secs(30);

/// The terminal in which the server runs.
struct Terminal {
    server: Option<Child>,
}

impl Terminal {
    fn start(&mut self, step: &Step, folder: &Path, environment: &[(String, OsString)]) {
        let said = folder.join(format!("terminal-{}.txt", step.line));
        let log = File::create(&said).unwrap();
        // What runs in the background ignores the keys of a terminal, and so would its children.
        let child = Command::new("env")
            .args(["--default-signal=QUIT", "bash", "-c", &format!("exec {}", step.commands)])
            .current_dir(folder)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
        let text = || std::fs::read_to_string(&said).unwrap_or_default();
        until("the server says where it is", READY, || text().contains("tidemill is at"));
        compare(step, &text()).unwrap();
    }

    /// What the keys Ctrl and \ do.
    fn quit(&mut self) {
        let mut server = self.server.take().expect("the server runs");
        assert!(Command::new("kill").args(["-QUIT", &server.id().to_string()]).status().unwrap().success());
        until("the server has ended", READY, || server.try_wait().unwrap().is_some_and(|status| !status.success()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().and_then(|()| server.wait()).unwrap();
        }
    }
}

#[test]
fn the_tutorial_of_the_laptop_works_as_it_stands() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let port = program::free_port().unwrap().to_string();
    let page = std::fs::read_to_string(root.join("docs/src/tutorial/laptop.md")).unwrap();
    let page = page.replace(&format!(":{PORT}"), &format!(":{port}"));
    let makefile = std::fs::read_to_string(root.join("Makefile")).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let programs = program::binary().parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(programs).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let environment = [
        ("PATH".to_owned(), path.unwrap()),
        ("TIDEMILL_APP__PORT".to_owned(), port.clone().into()),
        ("TIDEMILL_SERVER".to_owned(), format!("http://127.0.0.1:{port}").into()),
    ];
    let mut terminal = Terminal { server: None };
    for step in steps(&page).unwrap() {
        match step.name.as_str() {
            "" => compare(&step, &run(&step.commands, folder.path(), &environment).unwrap()).unwrap(),
            // Other stages of the gate compile it by the same line.
            "build" => assert!(makefile.contains(step.commands.lines().next().unwrap_or("none")), "{step:?}"),
            "server" => terminal.start(&step, folder.path(), &environment),
            "quit" => terminal.quit(),
            other => panic!("line {}: {other} is no step of this tutorial", step.line),
        }
    }
}
