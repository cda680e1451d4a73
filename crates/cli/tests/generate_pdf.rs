//! `generate_pdf` with its renderer in a process of its own, which is this program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's helpers may fail loudly

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidemill_core::{TaskId, TaskType};
use tidemill_executor::{Context, Handler, HandlerError};
use tidemill_handlers::objects::ObjectOptions;
use tidemill_handlers::{GeneratePdf, PdfOptions};
use tokio::time::{sleep, timeout};

/// Longest that a template may take which is stopped after two seconds of processor time, on a busy machine.
const ENDED_WITHIN: Duration = Duration::from_mins(1);

/// Typst ends `while` loops by itself; of these it knows nothing.
const ENDLESS: &str = "#for a in range(100000) { for b in range(100000) { if a + b == -1 [never] } }";

struct Press {
    home: tempfile::TempDir,
    handler: GeneratePdf,
}

impl Press {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let objects =
            ObjectOptions { allow: vec![format!("file://{}", home.path().display())], ..ObjectOptions::default() };
        let options = PdfOptions {
            templates: home.path().join("templates"),
            timeout: Duration::from_secs(2),
            max_memory_bytes: 256 << 20,
            renderer: Some(vec![env!("CARGO_BIN_EXE_tidemill").into(), "__render-pdf".into()]),
        };
        Self { handler: GeneratePdf::new(&objects, options).unwrap(), home }
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}/{name}", self.home.path().display())
    }

    async fn print(&self, payload: &Value) -> Result<Value, HandlerError> {
        let (task, task_type) = (TaskId::new("a").unwrap(), TaskType::new("generate_pdf").unwrap());
        let cx = Context::detached(task, task_type, payload.to_string()).0;
        let output = self.handler.run(cx).await?;
        Ok(serde_json::from_slice(output.as_json().unwrap()).unwrap())
    }

    /// The text of the PDF that `payload` makes, as poppler reads it.
    async fn text(&self, mut payload: Value) -> String {
        payload["target"] = self.url("out.pdf").into();
        let done = self.print(&payload).await.unwrap();
        let file = self.home.path().join("out.pdf");
        assert_eq!(done["bytes"], std::fs::metadata(&file).unwrap().len());
        read_back(&file)
    }

    async fn refusal(&self, template: &str) -> String {
        let error = self.print(&json!({"template_text": template})).await.unwrap_err();
        assert!(error.is_permanent(), "{error}");
        error.message().to_owned()
    }
}

fn read_back(file: &Path) -> String {
    let fetched = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/poppler/bin/pdftotext"));
    let program = if fetched.exists() { fetched } else { "pdftotext".into() };
    let output = Command::new(program).arg("-layout").arg(file).arg("-").output();
    let output = output.expect("pdftotext runs: scripts/setup poppler fetches it");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn title_and_body_become_a_document_and_are_never_read_as_markup() {
    let press = Press::new();
    let body = "It grinds.\nLine two: #read(\"/etc/passwd\") *not bold* $x$ // kept\n\nGrüße, Привет, λόγος.";
    let text = press.text(json!({"title": "#import \"a\": = The tide", "body": body})).await;
    for part in [
        "#import \"a\": = The tide",
        "It grinds.",
        "#read(\"/etc/passwd\") *not bold* $x$ // kept",
        "Grüße, Привет, λόγος.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let inline = press.print(&json!({"body": "hello"})).await.unwrap();
    assert!(inline["pdf_base64"].as_str().unwrap().starts_with("JVBERi0"), "it is %PDF-");
}

#[tokio::test]
async fn a_template_by_name_prints_its_data_and_files_and_a_repetition_gives_the_same_bytes() {
    let press = Press::new();
    std::fs::create_dir(press.home.path().join("templates")).unwrap();
    let template = "#let data = json(\"data.json\")\n= Invoice for #data.name\n\
        #for item in data.items [- #item.what: #item.price €\n]\n#read(\"note.txt\") #datetime.today().display()";
    std::fs::write(press.home.path().join("templates/invoice.typ"), template).unwrap();
    std::fs::write(press.home.path().join("note.txt"), "Paid in full.").unwrap();
    let data = json!({"name": "Ada", "items": [{"what": "Flour", "price": 12}, {"what": "Bran", "price": 3}]});
    let payload = json!({"template": "invoice", "data": data, "files": {"note.txt": press.url("note.txt")}});
    let text = press.text(payload.clone()).await;
    for part in ["Invoice for Ada", "Flour: 12 €", "Bran: 3 €", "Paid in full. 1970-01-01"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let first = std::fs::read(press.home.path().join("out.pdf")).unwrap();
    press.text(payload).await;
    assert_eq!(first, std::fs::read(press.home.path().join("out.pdf")).unwrap());
}

#[tokio::test]
async fn a_template_that_never_ends_is_ended() {
    let press = Press::new();
    let before = Instant::now();
    let told = press.refusal("#let f() = { let n = 0; while n < 1 { n = n * 1 }; n }\n#f()").await;
    assert!(told.contains("infinite") || told.contains("processor time"), "{told}");
    let told = press.refusal(ENDLESS).await;
    assert_eq!(told, "the template takes more than 2 s of processor time (generate_pdf.timeout_ms)");
    assert!(before.elapsed() < ENDED_WITHIN, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_template_that_takes_all_memory_is_refused_and_the_worker_lives() {
    let press = Press::new();
    let told = press.refusal("#let s = \"0123456789abcdef\" * 1000000\n#let t = s * 1000\n#t.len()").await;
    assert_eq!(told, "the template takes more than 256 MiB of memory (generate_pdf.max_memory_bytes)");
    let told =
        press.refusal("#let a = range(1000000)\n#let b = range(400).map(_ => a.map(x => x + 1))\n#b.len()").await;
    assert!(told.contains("of memory") || told.contains("processor time"), "{told}");
    assert!(press.print(&json!({"body": "still here"})).await.is_ok());
}

#[tokio::test]
async fn a_template_reads_no_file_no_package_and_no_environment() {
    let press = Press::new();
    std::fs::write(press.home.path().join("secret.txt"), "secret").unwrap();
    for template in [
        "#read(\"/etc/passwd\")",
        "#read(\"../secret.txt\")",
        "#read(\"secret.txt\")",
        "#include \"/proc/self/environ\"",
        "#import \"@preview/cetz:0.4.2\": canvas",
        "#import \"@local/a:1.0.0\"",
        "#image(\"/etc/logo.png\")",
        "#plugin(\"/bin/true\")",
    ] {
        let told = press.refusal(template).await;
        assert!(told.starts_with("template_text, line 1, column "), "{template}: {told}");
        assert!(!told.contains("root:") && !told.contains("secret\n"), "{template}: {told}");
    }
    for name in ["../secret", "/etc/passwd", "a/b", ".."] {
        let error = press.print(&json!({"template": name})).await.unwrap_err();
        assert!(error.is_permanent() && error.message().contains("is not a plain name"), "{error}");
    }
    let outside = json!({"body": "x", "target": "file:///tmp/elsewhere.pdf"});
    assert!(press.print(&outside).await.unwrap_err().message().starts_with("payload.target: "));
}

/// Whether a process runs whose command begins with `program`.
fn runs(program: &Path) -> bool {
    let commands = std::fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let mut commands = commands.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands.any(|command| command.starts_with(program.as_os_str().as_bytes()))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waited = timeout(ENDED_WITHIN, async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_document_that_is_cancelled_leaves_no_process_behind() {
    let mut press = Press::new();
    let program = press.home.path().join("renderer");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tidemill"), &program).unwrap();
    let renderer = Some(vec![program.clone().into(), "__render-pdf".into()]);
    let options = PdfOptions { timeout: ENDED_WITHIN, renderer, ..PdfOptions::default() };
    press.handler = GeneratePdf::new(&ObjectOptions::default(), options).unwrap();
    let payload = json!({"template_text": ENDLESS}).to_string();
    let task_type = TaskType::new("generate_pdf").unwrap();
    let (cx, stop) = Context::detached(TaskId::new("a").unwrap(), task_type, payload);
    let printing = tokio::spawn(async move { press.handler.run(cx).await.map_err(|error| (error, press)) });
    until("the renderer runs", || runs(&program)).await;
    stop.cancel();
    let (error, _press) = printing.await.unwrap().unwrap_err();
    assert_eq!(error, HandlerError::transient("told to end before the document was made"));
    until("the renderer is gone", || !runs(&program)).await;
}

#[tokio::test]
async fn a_fault_in_a_template_is_told_with_line_and_column() {
    let press = Press::new();
    let told = press.refusal("Hello\n\n#let x = unknown").await;
    assert_eq!(told, "template_text, line 3, column 10: unknown variable: unknown");
    let error = press.print(&json!({})).await.unwrap_err();
    assert!(error.is_permanent() && error.message().starts_with("payload: says nothing to print"), "{error}");
}
