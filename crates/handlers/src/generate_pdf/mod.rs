//! `generate_pdf`: makes a PDF with Typst, from a template and data.
//!
//! ```text
//!   payload ──► template (a name, the payload's own, or the built-in one) ─┐
//!           ──► data, files (by object URL) ──────────────────────────────┴─► job ──► process ──► render ──► world
//! ```
//!
//! Typst is a programming language, and a template may come with the task: it can loop for ever and ask for any amount of
//! memory. So it runs in a process of its own with limits, and sees nothing but what the job holds.

mod process;
mod render;
mod world;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidemill_executor::{Context, Handler, HandlerError, HandlerResult, OrFail, Output, RESULT_MAX_BYTES, async_trait};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::objects::{ObjectError, ObjectOptions, Objects};
use crate::templates::{self, TemplateError};
use crate::{BuiltIn, HandlerOptions};
pub use process::render_pdf;
use render::Job;

/// Time for a document unless told otherwise: hundreds of pages.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Memory for a document unless told otherwise: hundreds of pages, or a few large images.
const MAX_MEMORY_BYTES: u64 = 512 << 20;
/// Most files of a document: a logo, a signature, a few parts.
const FILES_MAX: usize = 32;
/// Largest document that a result may hold, in bytes: three quarters of what results may have, since base64 takes four
/// characters for three bytes, less what stands around it.
const INLINE_MAX: usize = RESULT_MAX_BYTES / 4 * 3 - 1024;

/// How it is described and added.
pub(crate) const TYPE: BuiltIn = BuiltIn {
    name: "generate_pdf",
    summary: "Makes a PDF with Typst, from a template and data.",
    doc: "Without a template, `title` and `body` become a plain document; both are text and never markup. `template` names a \
          file of the worker's folder `generate_pdf.templates`, `template_text` is Typst markup itself. Templates read \
          `json(\"data.json\")` (or `sys.inputs`) and the `files`, and nothing else: no disk, no network, no packages. Today is \
          the day on which the task came, so that a repetition makes the same bytes. The PDF is kept at `target` or, where \
          there is none, in the result as `pdf_base64` (190 KiB at most). \
          Permanent errors: what Typst says of the template, with line and column, more time or memory than \
          `generate_pdf.timeout_ms` and `generate_pdf.max_memory_bytes`, a URL outside of `objects.allow`. A store that is away \
          is tried again.",
    example: r#"{"title": "Report", "body": "All is well.\n\nSo it was last week."}"#,
    payload: || schema_for!(Payload),
    add: |registry, options| Ok(registry.add("generate_pdf", GeneratePdf::from(options)?).map(drop)?),
};

/// What a task of this type says.
#[derive(Debug, Deserialize, JsonSchema)]
struct Payload {
    /// The title of the built-in document.
    title: Option<String>,
    /// The text of the built-in document: an empty line ends a paragraph.
    body: Option<String>,
    /// The name of a template of the worker's folder `generate_pdf.templates`: `invoice` is the file `invoice.typ`.
    template: Option<String>,
    /// A template itself, in Typst markup, in place of `template`.
    template_text: Option<String>,
    /// What the template reads as `json("data.json")` and, member by member, as `sys.inputs`.
    #[serde(default)]
    data: serde_json::Map<String, serde_json::Value>,
    /// Files that the template reads, such as `image("logo.png")`: names, and the URLs of objects.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// The URL where the PDF is kept. Without it, the result of the task holds the PDF.
    target: Option<String>,
}

/// How PDFs are made.
#[derive(Debug, Clone)]
pub struct PdfOptions {
    /// The folder of templates.
    pub templates: PathBuf,
    /// The processor time that a document may take; by the clock, ten times as much.
    pub timeout: Duration,
    /// The memory that a document may take, in bytes.
    pub max_memory_bytes: u64,
    /// The command of a program that calls [`render_pdf`] with the two numbers that are put after it, and does nothing else. `None` renders within this process: then
    /// memory has no bound, a template that loops holds its thread until the process ends, and 65,000 different paths in
    /// templates are the most of a process's life. Only for templates of one's own.
    pub renderer: Option<Vec<OsString>>,
}

impl Default for PdfOptions {
    fn default() -> Self {
        Self {
            templates: PathBuf::from("./templates"),
            timeout: TIMEOUT,
            max_memory_bytes: MAX_MEMORY_BYTES,
            renderer: None,
        }
    }
}

/// Makes the PDF that the payload describes.
#[derive(Debug)]
pub struct GeneratePdf {
    objects: Objects,
    options: PdfOptions,
    max_bytes: u64,
    room: Arc<Semaphore>,
}

impl GeneratePdf {
    /// Checks the options; starts nothing.
    pub fn new(objects: &ObjectOptions, options: PdfOptions) -> Result<Self, ObjectError> {
        // Rendering takes a whole processor: more at a time would take more memory and no less time.
        let room = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            objects: Objects::new(objects)?,
            options,
            max_bytes: objects.max_bytes,
            room: Arc::new(Semaphore::new(room)),
        })
    }

    fn from(options: &HandlerOptions) -> Result<Self, ObjectError> {
        Self::new(&options.objects, options.generate_pdf.clone())
    }

    async fn job(&self, cx: &Context, payload: &mut Payload) -> Result<Job, HandlerError> {
        let (template, name) = match (payload.template.take(), payload.template_text.take()) {
            (Some(_), Some(_)) => {
                return Err(HandlerError::permanent("payload: has both template and template_text; give one"));
            }
            (Some(name), None) => {
                let folder = self.options.templates.clone();
                let wanted = name.clone();
                let text = cx.blocking(move || templates::read(&folder, &wanted, "typ")).await?;
                (text.map_err(TemplateError::about_payload)?, name)
            }
            (None, Some(text)) => (text, "template_text".to_owned()),
            (None, None) if payload.title.is_none() && payload.body.is_none() => {
                return Err(HandlerError::permanent(
                    "payload: says nothing to print: give title and body, or template or template_text with data",
                ));
            }
            (None, None) => (include_str!("default.typ").to_owned(), "the built-in template".to_owned()),
        };
        for (member, text) in [("title", payload.title.take()), ("body", payload.body.take())] {
            if let Some(text) = text {
                payload.data.entry(member).or_insert_with(|| text.into());
            }
        }
        let data: Box<RawValue> = to_raw_value(&payload.data).or_permanent()?;
        let files = self.files(cx, &payload.files).await?;
        Ok(Job { template, name, data, files, at_ms: cx.enqueued_at_ms() })
    }

    async fn files(
        &self,
        cx: &Context,
        wanted: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, HandlerError> {
        if wanted.len() > FILES_MAX {
            let why = format!("payload.files: has {} files; at most {FILES_MAX} are allowed", wanted.len());
            return Err(HandlerError::permanent(why));
        }
        let (mut files, mut total) = (BTreeMap::new(), 0);
        for (name, url) in wanted {
            if let Err(error) = templates::plain_name(name) {
                return Err(HandlerError::permanent(format!("payload.files: {error}")));
            }
            let bytes = self.objects.read(cx, &format!("files.{name}"), url).await?;
            total += bytes.len() as u64;
            if total > self.max_bytes {
                let why = format!("payload.files: have more than {} bytes together (objects.max_bytes)", self.max_bytes);
                return Err(HandlerError::permanent(why));
            }
            files.insert(name.clone(), bytes.into());
        }
        Ok(files)
    }

    async fn render(&self, cx: &Context, job: Job) -> Result<Vec<u8>, HandlerError> {
        let room = Arc::clone(&self.room).acquire_owned().await?;
        if let Some(command) = &self.options.renderer {
            let made = process::render_apart(command, job, &self.options, self.max_bytes, cx).await;
            drop(room);
            return made;
        }
        let rendering = cx.blocking(move || {
            let made = render::render(&job);
            drop(room);
            made
        });
        match timeout(self.options.timeout.min(cx.time_left()), rendering).await {
            Ok(made) => made?.map_err(HandlerError::permanent),
            Err(_) => Err(HandlerError::transient("the document was not made in time, and its thread goes on")),
        }
    }
}

#[async_trait]
impl Handler for GeneratePdf {
    async fn run(&self, cx: Context) -> HandlerResult {
        let mut payload: Payload = cx.payload()?;
        if let Some(target) = &payload.target {
            self.objects.check("target", target)?;
        }
        let job = self.job(&cx, &mut payload).await?;
        cx.progress(25, "the template and its files are here");
        let pdf = self.render(&cx, job).await?;
        cx.progress(75, "the document is made");
        let mut done = Done { bytes: pdf.len(), target: payload.target, pdf_base64: None };
        match &done.target {
            Some(target) => self.objects.write(&cx, "target", target, pdf.into(), "application/pdf").await?,
            None if pdf.len() > INLINE_MAX => {
                return Err(HandlerError::permanent(format!(
                    "the document has {} bytes, and a result holds {INLINE_MAX}: give a target (a URL)",
                    pdf.len()
                )));
            }
            None => done.pdf_base64 = Some(STANDARD.encode(&pdf)),
        }
        Output::json(&done)
    }
}

#[derive(Serialize)]
struct Done {
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pdf_base64: Option<String>,
}
