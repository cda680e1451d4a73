//! The program as people meet it: what it says, how it ends, and what its commands do to a server that it runs itself.

mod server;

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use server::{Running, Standalone, tidemill, told, until};

#[test]
fn help_teaches_by_example_and_a_lone_name_is_a_call_for_help() {
    let alone = told(&mut tidemill());
    assert_eq!(alone.code, 2);
    assert!(alone.err.contains("EXAMPLES:"), "{}", alone.err);
    let help = told(tidemill().args(["schedule", "--help"]));
    assert_eq!(help.code, 0);
    assert!(help.out.contains("tidemill schedule task123=1000 task456=2500"), "{}", help.out);
}

#[test]
fn a_wrong_configuration_is_told_with_file_line_and_the_right_key_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "app:\n  prot: 8080\n").unwrap();
    for command in ["standalone", "api", "worker", "config"] {
        let end = told(tidemill().arg(command).arg("--config").arg(&file));
        assert_eq!(end.code, 2, "{command}: {}", end.err);
        let expected =
            format!("tidemill: {}:2:3: there is no setting app.prot; did you mean app.port?\n", file.display());
        assert_eq!(end.err, expected, "{command}");
    }
    let end = told(tidemill().args(["config"]).env("TIDEMILL_APP__PROT", "1"));
    assert_eq!(end.code, 2);
    assert!(end.err.contains("did you mean TIDEMILL_APP__PORT?"), "{}", end.err);
    let end = told(tidemill().args(["standalone", "--port", "eighty"]));
    assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
    let end = told(tidemill().args(["standalone", "--config", "/does/not/exist.yaml"]));
    assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
}

#[test]
fn config_print_says_where_each_value_came_from_and_hides_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.yaml");
    std::fs::write(&file, "broker:\n  url: redis://user:hunter2@host\nauth:\n  tokens: [hunter2]\n").unwrap();
    let mut command = tidemill();
    command.args(["config", "--print", "--port", "81", "--config"]).arg(&file).env("TIDEMILL_LOG__LEVEL", "debug");
    let end = told(&mut command);
    assert_eq!(end.code, 0, "{}", end.err);
    let lines: Vec<Vec<&str>> = end.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let of = |key: &str| lines.iter().find(|line| line[0] == key).unwrap()[1..].join(" ");
    assert_eq!(of("app.port"), "81 --port");
    assert_eq!(of("log.level"), "debug env TIDEMILL_LOG__LEVEL");
    assert_eq!(of("broker.url"), format!("redis://user:***@host {}:2", file.display()));
    assert_eq!(of("app.host"), "0.0.0.0 default");
    assert!(!end.out.contains("hunter2"));

    let json = told(command.args(["-o", "json"]));
    let entries: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(entries.as_array().unwrap().iter().any(|entry| entry["key"] == "app.port" && entry["value"] == 81));
    assert!(!json.out.contains("hunter2"));
}

#[test]
fn a_taken_port_and_an_unusable_data_folder_are_one_sentence_and_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut command = tidemill();
    command.current_dir(folder.path()).args([
        "standalone",
        "--host",
        "127.0.0.1",
        "--log-level",
        "off",
        "--port",
        &port,
    ]);
    let end = told(&mut command);
    assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
    assert!(end.err.contains(&port) && end.err.contains("taken"), "{}", end.err);

    let obstacle = folder.path().join("file");
    std::fs::write(&obstacle, "not a folder").unwrap();
    let mut command = tidemill();
    command.current_dir(folder.path()).args(["standalone", "--port", "0", "--log-level", "off", "--data-dir"]);
    let end = told(command.arg(obstacle.join("data")));
    assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
}

#[test]
fn an_api_or_a_worker_without_a_store_to_share_is_refused_with_what_would_do() {
    let folder = tempfile::tempdir().unwrap();
    for role in ["api", "worker"] {
        let end = told(tidemill().current_dir(folder.path()).args([role, "--host", "127.0.0.1", "--port", "0"]));
        assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
        assert!(end.err.contains("--broker-url redis://") && end.err.contains("standalone"), "{}", end.err);
    }
    assert!(!folder.path().join("tidemill-data").exists());
}

#[test]
fn a_second_process_on_the_same_data_folder_is_refused_with_code_2() {
    let first = Standalone::start(&[]);
    let mut second = tidemill();
    second.current_dir(first.folder()).args(["standalone", "--host", "127.0.0.1", "--port", "0", "--log-level", "off"]);
    let end = told(&mut second);
    assert_eq!((end.code, end.err.lines().count()), (2, 1), "{}", end.err);
}

#[test]
fn a_server_that_is_away_is_code_3_and_a_hint() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = format!("http://{away}");
    for command in [&["tasks"][..], &["queues"], &["schedule", "a=1"], &["enqueue", "sleep"]] {
        let end = told(tidemill().args(command).args(["--server", &server]));
        assert_eq!(end.code, 3, "{command:?}: {}", end.err);
        assert!(end.err.contains("tidemill standalone") && end.err.contains(&server), "{}", end.err);
    }
    assert_eq!(told(tidemill().args(["healthcheck", "--server", &server])).code, 1);
}

#[test]
fn the_client_schedules_enqueues_lists_and_controls() {
    let server = Standalone::start(&[]);
    let says = |arguments: &[&str]| {
        let end = told(server.client().args(arguments));
        assert_eq!(end.code, 0, "{arguments:?}: {}", end.err);
        end.out
    };
    assert_eq!(says(&["healthcheck", "--server", server.url()]), "ready\n");
    says(&["queues", "pause"]);
    assert_eq!(says(&["schedule", "b=1", "a=2"]), "task b scheduled: 1 ms\ntask a scheduled: 2 ms\n");
    assert_eq!(says(&["tasks", "--state", "pending", "-o", "name"]), "b\na\n");
    let table = says(&["tasks"]);
    assert!(table.starts_with("ID   TYPE    STATE     ATTEMPTS   AGE\nb    sleep   pending   0/1        "), "{table}");

    let again = told(server.client().args(["schedule", "a=2"]));
    assert_eq!(again.code, 1);
    assert!(again.err.contains("\"a\""), "{}", again.err);
    let wrong = told(server.client().args(["schedule", "c=99999999999"]));
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("at /c"), "{}", wrong.err);
    assert_eq!(told(server.client().args(["tasks", "get", "nothing"])).code, 1);

    assert_eq!(says(&["tasks", "cancel", "a"]), "task a cancelled\n");
    assert_eq!(says(&["tasks", "delete", "a"]), "task a deleted\n");
    assert_eq!(says(&["enqueue", "no_such_type", "--id", "odd/id 1", "--retries", "0", "-o", "name"]), "odd/id 1\n");
    says(&["queues", "resume"]);
    until("it is dead", || says(&["tasks", "--state", "dead", "-o", "name"]) == "odd/id 1\n");
    assert!(says(&["tasks", "get", "odd/id 1"]).contains("unsupported task"));
    assert_eq!(says(&["tasks", "retry", "odd/id 1"]), "task odd/id 1 runs again\n");

    let mut piped =
        server.client().args(["schedule", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(b"{\"piped\": 1}").unwrap();
    assert!(piped.wait().unwrap().success());
    let queue: serde_json::Value = serde_json::from_str(&says(&["queues", "get", "-o", "json"])).unwrap();
    assert_eq!(queue["name"], "default");
    assert!(says(&["queues", "workers", "-o", "wide"]).contains("send_email"));
}

#[test]
fn whoever_waits_for_a_task_learns_how_it_ended() {
    let server = Standalone::start(&[]);
    let wait = |arguments: &[&str]| told(server.client().arg("enqueue").args(arguments));
    let done = wait(&["sleep", "--payload", r#"{"duration_ms": 10}"#, "--id", "done/1", "--wait", "30s"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let dead = wait(&["no_such_type", "--id", "dead", "--wait", "30s"]);
    assert_eq!(dead.code, 1);
    assert!(dead.err.contains("task dead is dead: ") && dead.err.contains("unsupported task"), "{}", dead.err);
    let late = wait(&["sleep", "--payload", r#"{"duration_ms": 60000}"#, "--id", "late", "--wait", "100ms"]);
    assert_eq!(late.code, 1);
    assert!(late.err.contains("task late is still ") && late.err.contains("after 0.1 s"), "{}", late.err);
}

#[test]
fn images_and_documents_are_made_where_the_settings_allow_and_nowhere_else() {
    let objects = tempfile::tempdir().unwrap();
    let folder = format!("file://{}", objects.path().display());
    let server = Standalone::start(&["--set", &format!("objects.allow={folder}")]);
    let make = |task_type: &str, payload: &serde_json::Value| {
        told(server.client().args(["enqueue", task_type, "--wait", "30s", "--payload", &payload.to_string()]))
    };
    let pdf = serde_json::json!({"title": "Report", "body": "All is well.", "target": format!("{folder}/report.pdf")});
    let end = make("generate_pdf", &pdf);
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(std::fs::read(objects.path().join("report.pdf")).unwrap().starts_with(b"%PDF-"));

    let pixel = "R0lGODdhAQABAPAAAP8AAAAAACwAAAAAAQABAAACAkQBADs=";
    let image = serde_json::json!({"source_base64": pixel, "new_x": 8, "target": format!("{folder}/pixel.gif")});
    let end = make("resize_image", &image);
    assert_eq!(end.code, 0, "{}", end.err);
    assert!(std::fs::read(objects.path().join("pixel.gif")).unwrap().starts_with(b"GIF89a\x08\0\x08\0"));

    let end = make("resize_image", &serde_json::json!({"source": "file:///etc/passwd", "new_x": 8}));
    assert_eq!(end.code, 1);
    assert!(end.err.contains("file:///etc/passwd may not be used"), "{}", end.err);
    let end = told(tidemill().args(["standalone", "--set", "objects.allow=/srv"]));
    assert_eq!(end.code, 2);
    assert!(end.err.contains("objects.allow: \"/srv\" is no URL of an object"), "{}", end.err);
}

#[test]
fn the_operator_says_what_it_lacks_and_prints_its_definition() {
    let lacks = told(tidemill().args(["operator", "--log-level", "off"]).env_remove("KUBECONFIG"));
    assert_eq!(lacks.code, 2);
    assert!(lacks.err.contains("operator.worker_image"), "{}", lacks.err);
    let definition = told(tidemill().args(["operator", "crd"]));
    assert_eq!(definition.code, 0, "{}", definition.err);
    assert!(definition.out.contains("name: taskqueues.tidemill.dev"));
}

#[test]
fn a_term_signal_drains_says_what_was_released_and_ends_with_0() {
    let server = Standalone::start(&["--set", "app.executor_shutdown_timeout_ms=200"]);
    assert_eq!(told(server.client().args(["schedule", "long=60000"])).code, 0);
    until("it is active", || told(server.client().args(["tasks", "--state", "active", "-o", "name"])).out == "long\n");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    let last: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["released"], 1, "{log}");
}

#[test]
fn a_term_signal_that_comes_while_the_settings_are_read_is_not_lost() {
    const SIGTERM: u32 = 15;
    let folder = tempfile::tempdir().unwrap();
    // Whoever reads this waits until somebody writes it.
    let settings = folder.path().join("settings.yaml");
    assert_eq!(told(Command::new("mkfifo").arg(&settings)).code, 0);
    for role in [&["standalone"][..], &["worker", "--broker-url", "redis://127.0.0.1:1"]] {
        let mut command = tidemill();
        command.args(role).args(["--host", "127.0.0.1", "--port", "0", "--config"]).arg(&settings);
        let mut running = Running(command.current_dir(folder.path()).stderr(Stdio::null()).spawn().unwrap());
        let status = format!("/proc/{}/status", running.0.id());
        until("it listens for signals before it has read its settings", || {
            let status = std::fs::read_to_string(&status).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
            u64::from_str_radix(caught, 16).unwrap() & (1 << (SIGTERM - 1)) != 0
        });
        running.signal();
        std::fs::write(&settings, "queue:\n  name: late\n").unwrap();
        assert_eq!(running.ended(), Some(0), "{role:?}");
    }
}

#[test]
fn a_full_log_disk_never_stops_the_queue() {
    let server = Standalone::start(&["--log-file", "/dev/full"]);
    let tasks: Vec<String> = (0..200).map(|number| format!("t{number}=0")).collect();
    assert_eq!(told(server.client().arg("schedule").args(&tasks)).code, 0);
    until("all have succeeded", || {
        let succeeded = told(server.client().args(["tasks", "--state", "succeeded", "--all", "-o", "name"]));
        succeeded.out.lines().count() >= 200
    });
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("the log file /dev/full cannot be written").count(), 1, "{log}");
}

#[test]
fn a_redis_that_is_away_at_the_start_leaves_the_process_running_and_not_ready() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Standalone::start(&["--broker-url", &format!("redis://{away}")]);
    let end = told(server.client().args(["healthcheck", "--server", server.url()]));
    assert_eq!(end.code, 1, "{}", end.err);
    assert!(end.err.contains("not ready (503)"), "{}", end.err);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn settings_of_a_queue_that_are_set_anew_reach_a_queue_that_is_there_already() {
    let server = Standalone::start(&["--set", "queue.settings.loss_limit=7"]);
    let folder = server.folder().join("tidemill-data");
    let retries = |server: &Standalone| {
        let end = told(server.client().args(["queues", "get", "-o", "json"]));
        let queue: serde_json::Value = serde_json::from_str(&end.out).unwrap();
        (queue["settings"]["retries"].clone(), queue["settings"]["loss_limit"].clone())
    };
    let wait_for = |server: &Standalone, expected: (u64, u64)| {
        let expected = (expected.0.into(), expected.1.into());
        until(&format!("its settings are {expected:?}"), || retries(server) == expected);
    };
    wait_for(&server, (0, 7));
    let kept = server.stop_keeping().1;
    let folder_flag = folder.display().to_string();
    let server = Standalone::start(&["--data-dir", &folder_flag, "--set", "queue.settings.retries=3"]);
    wait_for(&server, (3, 7));
    drop((server, kept));
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Standalone::start(&[]);
    assert_eq!(told(server.client().args(["schedule", "long=60000"])).code, 0);
    until("it is active", || told(server.client().args(["tasks", "--state", "active", "-o", "name"])).out == "long\n");
    let begun = Instant::now();
    server.signal();
    server.waits_for("stopping");
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(begun.elapsed() < Duration::from_secs(4), "the drain alone would take five seconds");
}

#[test]
fn openapi_and_completions_are_printed() {
    let document: serde_json::Value = serde_json::from_str(&told(tidemill().arg("openapi")).out).unwrap();
    assert!(document["paths"]["/schedule"].is_object());
    assert!(told(tidemill().args(["completions", "bash"])).out.contains("_tidemill"));
}

/// `tidemill` without the rights by which root looks into any process.
fn plain_tidemill() -> Command {
    let program = tidemill();
    let root = told(Command::new("id").arg("-u")).out.trim() == "0";
    if !root {
        return program;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(program.get_program()).stdin(Stdio::null());
    for (name, _) in program.get_envs() {
        command.env_remove(name);
    }
    command
}

#[test]
fn a_command_reads_nothing_of_the_workers_environment_and_documents_are_still_made() {
    let mut program = plain_tidemill();
    program.env("TIDEMILL_AUTH__TOKENS", "hunter2").env("SECRET", "hunter2");
    let handlers = r#"handlers={"look": {"command": ["sh", "-c", "cat /proc/$PPID/environ"]}}"#;
    let server = Standalone::start_with(program, &["--set", handlers]);
    let send = |arguments: &[&str]| {
        let mut client = server.client();
        client.env("TIDEMILL_TOKEN", "hunter2").args(arguments);
        told(&mut client)
    };
    let looked = send(&["enqueue", "look", "--id", "a", "--wait", "30s"]);
    assert!(looked.err.contains("Permission denied"), "{}", looked.err);
    let shown = send(&["tasks", "get", "a", "-o", "json"]);
    assert!(!shown.out.contains("hunter2"), "{}", shown.out);
    let made = send(&["enqueue", "generate_pdf", "--payload", r#"{"body": "All is well."}"#, "--wait", "30s"]);
    assert_eq!(made.code, 0, "{}", made.err);
}

#[test]
fn a_type_of_ones_own_is_served_by_the_command_that_the_configuration_names() {
    let handlers =
        r#"handlers={"count": {"command": ["wc", "-c"]}, "refuse": {"command": ["sh", "-c", "echo no >&2; exit 3"]}}"#;
    let server = Standalone::start(&["--set", handlers]);
    let sent =
        told(server.client().args(["enqueue", "count", "--payload", r#"{"a": 1}"#, "--id", "a", "--wait", "30s"]));
    assert_eq!(sent.code, 0, "{}", sent.err);
    let shown = told(server.client().args(["tasks", "get", "a", "-o", "json"]));
    let task: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(task["result"], 7, "{}", shown.out);
    let refused = told(server.client().args(["enqueue", "refuse", "--id", "b", "--wait", "30s"]));
    assert!(refused.err.contains("sh failed with exit code 3: no"), "{}", refused.err);
    let none = told(server.client().args(["enqueue", "exec", "--id", "c", "--wait", "30s"]));
    assert!(none.err.contains("unsupported task"), "exec has no command here: {}", none.err);

    let elsewhere = tempfile::tempdir().unwrap();
    let missing = told(tidemill().current_dir(elsewhere.path()).args([
        "standalone",
        "--set",
        r#"handlers={"a": {"command": ["no-such-program"]}}"#,
    ]));
    assert_eq!(missing.code, 2);
    assert!(
        missing.err.contains("the handler of a cannot be used: command: there is no program no-such-program in PATH"),
        "{}",
        missing.err
    );
    let builtin = told(tidemill().current_dir(elsewhere.path()).args([
        "worker",
        "--set",
        r#"handlers={"sleep": {"command": ["sleep"]}}"#,
    ]));
    assert_eq!(builtin.code, 2);
    assert!(builtin.err.contains("handlers.sleep: sleep is a built-in type; choose another name"), "{}", builtin.err);
}
