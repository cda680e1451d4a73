//! Objects: what tasks read and write by URL, in folders (`file:///…`), in stores that speak S3 (`s3://bucket/key`) and on
//! web servers (`https://…`, read by GET and written by PUT).
//!
//! ```text
//!   URL of a payload ──► url (one form, or refused) ──► allow (below a prefix of objects.allow, or refused)
//!                                                          ├─► file   folder by folder, no symbolic link followed
//!                                                          ├─► s3     the object_store crate
//!                                                          └─► web    redirects only within objects.allow
//! ```
//!
//! Tasks come from whoever may enqueue; the prefixes come from whoever runs the worker. Nothing outside of them is read or
//! written, and nothing is read beyond `objects.max_bytes`.

mod allow;
mod file;
mod s3;
mod url;
mod web;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidemill_executor::{Context, HandlerError};
use tidemill_tls::TlsError;
use tokio::time::timeout;

pub use self::url::UrlError;
use self::url::{ObjectUrl, Scheme, shown};
use allow::Allow;
use s3::Bucket;
use web::Web;

/// What one object may have, in bytes, unless told otherwise: documents and photographs, not films.
pub const MAX_BYTES: u64 = 32 << 20;
/// Time for one object, reading or writing, however long the attempt may take: 32 MiB at 110 kB/s.
const DEADLINE: Duration = Duration::from_mins(5);

/// Which objects tasks may use, and how.
#[derive(Debug, Clone)]
pub struct ObjectOptions {
    /// URL prefixes below which tasks may read and write: `file:///var/lib/tidemill/`, `s3://bucket/thumbnails/`,
    /// `https://example.org/uploads/`. None means that tasks use no objects.
    pub allow: Vec<String>,
    /// The most that an object may have, in bytes.
    pub max_bytes: u64,
    /// How S3 is reached.
    pub s3: S3Options,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self { allow: Vec::new(), max_bytes: MAX_BYTES, s3: S3Options::default() }
    }
}

/// How S3 is reached; what is not said here is as `AWS_…` of the environment says.
#[derive(Clone, Default)]
pub struct S3Options {
    /// The server, for others than Amazon's: `http://minio:9000`.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The id of the access key.
    pub access_key_id: Option<String>,
    /// The access key itself.
    pub secret_access_key: Option<String>,
}

impl fmt::Debug for S3Options {
    /// Leaves out the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret_access_key.as_ref().map(|_| "…");
        f.debug_struct("S3Options")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key_id)
            .field("secret_access_key", &secret)
            .finish()
    }
}

/// Options with which no object can be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// A prefix is not one.
    #[error("objects.allow: {prefix:?} {reason}")]
    Prefix {
        /// What was given.
        prefix: String,
        /// What is wrong with it.
        reason: UrlError,
    },
    /// The store of a bucket cannot be set up.
    #[error("the bucket {bucket} of objects.allow cannot be used: {reason}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// Why.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// HTTP cannot be set up.
    #[error("HTTP cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

/// The objects that tasks may use. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Objects(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    allow: Allow,
    max_bytes: u64,
    buckets: BTreeMap<String, Bucket>,
    web: Option<Web>,
}

impl Objects {
    /// Checks `options`; connects to nothing.
    pub fn new(options: &ObjectOptions) -> Result<Self, ObjectError> {
        let allow = Allow::new(&options.allow)?;
        let mut buckets = BTreeMap::new();
        for bucket in allow.buckets() {
            buckets.insert(bucket.to_owned(), Bucket::new(bucket, &options.s3)?);
        }
        let web = if allow.has_web() { Some(Web::new(&allow)?) } else { None };
        Ok(Self(Arc::new(Inner { allow, max_bytes: options.max_bytes, buckets, web })))
    }

    /// Whether a task may use `url`, which its payload names as `member`; what is wrong is permanent.
    pub fn check(&self, member: &str, url: &str) -> Result<(), HandlerError> {
        self.find(member, url).map(drop)
    }

    /// The object at `url`, which the payload names as `member`.
    pub async fn read(&self, cx: &Context, member: &str, url: &str) -> Result<Bytes, HandlerError> {
        let url = self.find(member, url)?;
        let reading = async {
            match url.scheme() {
                Scheme::File => {
                    let (place, max) = (self.0.allow.place(&url), self.0.max_bytes);
                    cx.blocking(move || file::read(&place, max)).await?
                }
                Scheme::S3 => self.bucket(&url)?.read(&url, self.0.max_bytes).await,
                Scheme::Http | Scheme::Https => self.web()?.read(&url, self.0.max_bytes).await,
            }
        };
        bounded(cx, reading).await.map_err(|error| error.about(member, &url))
    }

    /// Keeps `bytes` at `url`, which the payload names as `member`, in place of what was there. A reader never sees half.
    pub async fn write(
        &self,
        cx: &Context,
        member: &str,
        url: &str,
        bytes: Bytes,
        content_type: &'static str,
    ) -> Result<(), HandlerError> {
        let url = self.find(member, url)?;
        let writing = async {
            check_size(bytes.len() as u64, self.0.max_bytes)?;
            match url.scheme() {
                Scheme::File => {
                    let place = self.0.allow.place(&url);
                    cx.blocking(move || file::write(&place, &bytes)).await?
                }
                Scheme::S3 => self.bucket(&url)?.write(&url, bytes, content_type).await,
                Scheme::Http | Scheme::Https => self.web()?.write(&url, bytes, content_type).await,
            }
        };
        bounded(cx, writing).await.map_err(|error| error.about(member, &url))
    }

    fn find(&self, member: &str, text: &str) -> Result<ObjectUrl, HandlerError> {
        let url = ObjectUrl::parse(text)
            .and_then(ObjectUrl::of_one_object)
            .map_err(|reason| HandlerError::permanent(format!("payload.{member}: {:?} {reason}", shown(text))))?;
        if self.0.allow.covers(&url) {
            return Ok(url);
        }
        Err(HandlerError::permanent(format!("payload.{member}: {url} {}", self.0.allow.refusal())))
    }

    fn bucket(&self, url: &ObjectUrl) -> Result<&Bucket, Trouble> {
        self.0.buckets.get(url.place()).ok_or_else(|| Trouble::for_good("its bucket is not one of objects.allow"))
    }

    fn web(&self) -> Result<&Web, Trouble> {
        self.0.web.as_ref().ok_or_else(|| Trouble::for_good("objects.allow names no web server"))
    }
}

async fn bounded<T>(cx: &Context, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let deadline = DEADLINE.min(cx.time_left());
    match timeout(deadline, work).await {
        Ok(done) => done,
        Err(_) => Err(Trouble::for_now(format!("took more than {} s", deadline.as_secs()))),
    }
}

fn check_size(bytes: u64, max: u64) -> Result<(), Trouble> {
    if bytes > max {
        return Err(Trouble::for_good(format!("has {bytes} bytes; at most {max} are allowed (objects.max_bytes)")));
    }
    Ok(())
}

/// What went wrong with an object: the rest of a sentence that begins with its URL.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    permanent: bool,
    words: String,
    retry_after: Option<Duration>,
}

impl Trouble {
    fn for_good(words: impl Into<String>) -> Self {
        Self { permanent: true, words: words.into(), retry_after: None }
    }

    fn for_now(words: impl Into<String>) -> Self {
        Self { permanent: false, words: words.into(), retry_after: None }
    }

    fn about(self, member: &str, url: &ObjectUrl) -> HandlerError {
        let words = format!("payload.{member}: {url} {}", self.words);
        match (self.permanent, self.retry_after) {
            (true, _) => HandlerError::permanent(words),
            (false, None) => HandlerError::transient(words),
            (false, Some(wait)) => HandlerError::transient(words).retry_after(wait),
        }
    }
}

impl From<HandlerError> for Trouble {
    fn from(error: HandlerError) -> Self {
        Self { permanent: error.is_permanent(), words: error.message().to_owned(), retry_after: error.wait() }
    }
}
