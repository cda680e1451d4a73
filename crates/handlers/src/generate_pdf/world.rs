//! What a template can see: itself, its data, its files and the bundled fonts. No disk, no network, no packages, and a
//! clock that stands still.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use typst::diag::{FileError, FileResult, PackageError};
use typst::foundations::{Bytes, Datetime, Dict, Duration};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};

use super::render::Job;

/// The file that holds the data.
const DATA: &str = "data.json";

/// Parsed once a process: 16 MB of fonts.
static FONTS: LazyLock<Fonts> = LazyLock::new(|| {
    let fonts: Vec<Font> = typst_assets::fonts().flat_map(|data| Font::iter(Bytes::new(data))).collect();
    Fonts { book: LazyHash::new(FontBook::from_fonts(&fonts)), fonts }
});

struct Fonts {
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
}

/// The world of one document.
pub(super) struct Desk {
    library: LazyHash<Library>,
    main: Source,
    files: BTreeMap<String, Bytes>,
    now: jiff::Timestamp,
}

impl Desk {
    /// The error says what is wrong with the job.
    pub(super) fn lay(job: &Job) -> Result<Self, String> {
        let path = VirtualPath::new("main.typ").map_err(|error| error.to_string())?;
        let main = Source::new(FileId::unique(RootedPath::new(VirtualRoot::Project, path)), job.template.clone());
        let inputs: Dict = serde_json::from_str(job.data.get()).map_err(|error| format!("payload.data: {error}"))?;
        let mut files: BTreeMap<String, Bytes> =
            job.files.iter().map(|(name, bytes)| (name.clone(), Bytes::new(bytes.clone()))).collect();
        files.insert(DATA.to_owned(), Bytes::from_string(job.data.get().to_owned()));
        let now = i64::try_from(job.at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let library = Library::builder().with_inputs(inputs).build();
        Ok(Self { library: LazyHash::new(library), main, files, now: now.unwrap_or_default() })
    }

    /// The moment that stands still, in UTC.
    pub(super) fn now(&self) -> Option<Datetime> {
        let at = jiff::tz::Offset::UTC.to_datetime(self.now);
        let part = |part: i8| u8::try_from(part).ok();
        Datetime::from_ymd_hms(
            at.year().into(),
            part(at.month())?,
            part(at.day())?,
            part(at.hour())?,
            part(at.minute())?,
            part(at.second())?,
        )
    }
}

impl World for Desk {
    fn library(&self) -> &LazyHash<Library> {
        &self.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &FONTS.book
    }

    fn main(&self) -> FileId {
        self.main.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.main.id() {
            return Ok(self.main.clone());
        }
        let text = self.file(id)?.into_string().map_err(|_| FileError::InvalidUtf8)?;
        Ok(Source::new(id, text))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        if matches!(id.root(), VirtualRoot::Package(_)) {
            let why = "a template has no packages, only its data and its files";
            return Err(FileError::Package(PackageError::Other(Some(why.into()))));
        }
        let name = id.vpath().get_without_slash();
        self.files.get(name).cloned().ok_or_else(|| {
            let has = self.files.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            FileError::Other(Some(format!("there is no file {name}: a template sees its data and its files, {has}").into()))
        })
    }

    fn font(&self, index: usize) -> Option<Font> {
        FONTS.fonts.get(index).cloned()
    }

    fn today(&self, offset: Option<Duration>) -> Option<Datetime> {
        let seconds = offset.map_or(0.0, |offset| offset.seconds());
        let at = self.now.checked_add(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()?;
        let day = jiff::tz::Offset::UTC.to_datetime(at);
        Datetime::from_ymd(day.year().into(), u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?)
    }
}
