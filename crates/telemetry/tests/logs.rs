//! What a program sees that logs: its lines in a file, and no trouble from a file that cannot be written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidemill_core::{QueueName, TaskId};
use tidemill_telemetry::subject::{Fields, Subject, about, about_blocking};
use tidemill_telemetry::task_log::{TaskEvent, TaskLine};
use tidemill_telemetry::{LogFormat, LogOptions, Logs};

fn options(file: PathBuf) -> LogOptions {
    LogOptions {
        level: "info".to_owned(),
        format: LogFormat::Json,
        color: false,
        file: Some(file),
        file_max_bytes: 1 << 20,
        files: 2,
    }
}

/// What a running handler's lines are about.
struct Attempt;

impl Subject for Attempt {
    fn fields(&self) -> Fields<'_> {
        let trace_id = Some("0af7651916cd43dd8448eb211c80319c");
        Fields { queue: "mails", task: "m1", task_type: "mail", attempt: 2, trace_id }
    }
}

/// One test, since a process has one log.
#[test]
fn a_log_file_whose_folder_cannot_be_made_never_stops_the_program_and_names_the_task_of_each_line_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let obstacle = folder.path().join("folder");
    std::fs::write(&obstacle, "a file where a folder should be").unwrap();
    let path = obstacle.join("logs.txt");

    let logs = Logs::start(&options(path.clone()), None).unwrap();
    let queue = QueueName::default_queue();
    let task = TaskId::new("task123").unwrap();
    let begun = Instant::now();
    TaskLine { attempt: Some(1), ..TaskLine::new(&queue, &task) }.log(TaskEvent::Started);
    assert!(begun.elapsed() < Duration::from_millis(500));

    std::fs::remove_file(&obstacle).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains("started")) {
        assert!(Instant::now() < deadline, "the log file never came");
        std::thread::sleep(Duration::from_millis(10));
    }

    TaskLine::new(&queue, &task).log(TaskEvent::Succeeded);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(about(Arc::new(Attempt), async { tracing::warn!(left = 3, "of the handler") }));
    about_blocking(Arc::new(Attempt), || tracing::info!(task = "its own", "of what it calls"));
    logs.level().set("warn", None).unwrap();
    tracing::info!("unheard");
    assert_eq!(logs.dropped(), 0);
    drop(logs);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[0]["event"], "started");
    assert_eq!(lines[0]["queue"], "default");
    assert_eq!(lines[0]["task"], "task123");
    assert_eq!(lines[0]["attempt"], 1);
    assert_eq!(lines[0]["target"], "tidemill::task");
    assert_eq!(lines[1]["event"], "succeeded");
    assert_eq!((&lines[2]["message"], &lines[2]["left"]), (&"of the handler".into(), &3.into()));
    for line in &lines[2..4] {
        assert_eq!((&line["queue"], &line["type"], &line["attempt"]), (&"mails".into(), &"mail".into(), &2.into()));
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    }
    assert_eq!((&lines[2]["task"], &lines[3]["task"]), (&"m1".into(), &"its own".into()));
    assert_eq!(lines[4]["message"], "the log level was changed");
}
