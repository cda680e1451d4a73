//! From a template and its data to the bytes of a PDF.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use typst::diag::SourceDiagnostic;
use typst::foundations::Smart;
use typst::{World, WorldExt};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, Timestamp};

use super::world::Desk;

/// Most errors that are told of one template: the first ones show what is wrong.
const ERRORS_MAX: usize = 5;

/// A document to make. The same job gives the same bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    /// Typst markup.
    pub(super) template: String,
    /// What the template is called in errors.
    pub(super) name: String,
    /// A JSON object.
    pub(super) data: Box<RawValue>,
    /// Files beside it.
    #[serde(with = "base64_files")]
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// What time it is in the document, in milliseconds since the Unix epoch.
    pub(super) at_ms: u64,
}

/// The document. The error is permanent, and says what is wrong and where.
pub(super) fn render(job: &Job) -> Result<Vec<u8>, String> {
    let desk = Desk::lay(job)?;
    let document = typst::compile::<PagedDocument>(&desk).output.map_err(|errors| tell(&desk, &job.name, &errors))?;
    let options = PdfOptions {
        creator: Smart::Custom(Some("Tidemill".to_owned())),
        timestamp: desk.now().map(Timestamp::new_utc),
        ..PdfOptions::default()
    };
    typst_pdf::pdf(&document, &options).map_err(|errors| tell(&desk, &job.name, &errors))
}

fn tell(desk: &Desk, name: &str, errors: &[SourceDiagnostic]) -> String {
    let told: Vec<String> = errors.iter().take(ERRORS_MAX).map(|error| sentence(desk, name, error)).collect();
    let more = errors.len().saturating_sub(ERRORS_MAX);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", told.join("; "))
}

fn sentence(desk: &Desk, name: &str, error: &SourceDiagnostic) -> String {
    let place = error.span.id().and_then(|id| {
        let file = if id == desk.main() { name.to_owned() } else { id.vpath().get_without_slash().to_owned() };
        let source = desk.source(id).ok()?;
        let (line, column) = source.lines().byte_to_line_column(desk.range(error.span)?.start)?;
        Some(format!("{file}, line {}, column {}: ", line + 1, column + 1))
    });
    let hints: Vec<&str> = error.hints.iter().map(|hint| hint.v.as_str()).collect();
    let hints = if hints.is_empty() { String::new() } else { format!(" ({})", hints.join("; ")) };
    format!("{}{}{hints}", place.unwrap_or_else(|| format!("{name}: ")), error.message)
}

/// Files travel to the renderer within JSON.
mod base64_files {
    use std::collections::BTreeMap;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(files: &BTreeMap<String, Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        let texts: BTreeMap<&String, String> = files.iter().map(|(name, bytes)| (name, STANDARD.encode(bytes))).collect();
        texts.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
        let texts = BTreeMap::<String, String>::deserialize(deserializer)?;
        let decode = |(name, text): (String, String)| Ok((name, STANDARD.decode(text).map_err(D::Error::custom)?));
        texts.into_iter().map(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(template: &str) -> Job {
        let data = RawValue::from_string(r#"{"name": "Ada", "n": 3, "list": [1, 2]}"#.to_owned()).unwrap();
        let files = BTreeMap::from([("part.typ".to_owned(), b"#let twice(x) = 2 * x".to_vec())]);
        Job { template: template.to_owned(), name: "template".to_owned(), data, files, at_ms: 1_790_000_000_000 }
    }

    fn refusal(template: &str) -> String {
        render(&job(template)).unwrap_err()
    }

    #[test]
    fn a_template_uses_its_data_its_files_and_a_clock_that_stands_still() {
        let template = "#import \"part.typ\": twice\n#let data = json(\"data.json\")\n\
            #assert(data.name == \"Ada\" and sys.inputs.n == 3 and twice(4) == 8)\n\
            #assert(datetime.today().display() == \"2026-09-21\")\nHello #data.name";
        let pdf = render(&job(template)).unwrap();
        assert!(pdf.starts_with(b"%PDF-1."));
        assert_eq!(pdf, render(&job(template)).unwrap(), "the same job gives the same bytes");
    }

    #[test]
    fn an_error_says_line_and_column() {
        assert_eq!(refusal("Hello\n#let x = 1 + \"a\""), "template, line 2, column 10: cannot add integer and string");
        assert!(refusal("#(").starts_with("template, line 1, column 2: unclosed delimiter"), "{}", refusal("#("));
    }

    #[test]
    fn no_file_no_package_and_nothing_above_is_seen() {
        for (template, words) in [
            ("#read(\"/etc/passwd\")", "there is no file etc/passwd"),
            ("#read(\"/proc/self/environ\")", "there is no file proc/self/environ"),
            ("#include \"/etc/hostname\"", "there is no file etc/hostname"),
            ("#image(\"/etc/logo.png\")", "there is no file etc/logo.png"),
            ("#import \"@preview/cetz:0.4.2\"", "a template has no packages"),
            ("#import \"@local/x:1.0.0\"", "a template has no packages"),
        ] {
            let refusal = refusal(template);
            assert!(refusal.contains(words), "{template}: {refusal}");
        }
        for template in ["#read(\"../etc/passwd\")", "#read(\"../../etc/passwd\")", "#read(\"a/../../b\")"] {
            let refusal = refusal(template);
            assert!(refusal.contains("line 1") && !refusal.contains("root:"), "{template}: {refusal}");
        }
    }
}
