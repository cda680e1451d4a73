//! URLs of objects, in the one form in which they are compared.
//!
//! What two readers could understand differently is refused rather than mended: `..` and `.`, also written with `%2e`,
//! empty parts, backslashes, `%2f`, control characters, percent signs that are encoded again, users and passwords.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

/// Longest URL: what servers take, signatures in the query included.
const URL_MAX: usize = 8 << 10;
/// Names of buckets, in bytes, by the rules of S3.
const BUCKET_LENGTH: std::ops::RangeInclusive<usize> = 3..=63;

/// How objects are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    File,
    S3,
    Http,
    Https,
}

/// What is wrong with a URL: the rest of a sentence that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is too long.
    #[error("is longer than {URL_MAX} bytes")]
    Long,
    /// It has another scheme, or none.
    #[error("is no URL of an object: these begin with file:///, s3://, https:// or http://")]
    Scheme,
    /// It has a character that readers understand differently.
    #[error("has the character {0:?}; write it in percent-encoding, and folders with /")]
    Character(char),
    /// It has a user or a password.
    #[error("holds a user or a password, which do not belong into a URL of an object")]
    User,
    /// It has a fragment.
    #[error("has a fragment (#…), which no object has; write a # of a name as %23")]
    Fragment,
    /// It has a query where none belongs.
    #[error("has a query (?…), which only http:// and https:// have; write a ? of a name as %3F")]
    Query,
    /// Its host is none.
    #[error("has no host that can be used: {0}")]
    Host(String),
    /// A file with a host.
    #[error("names a host; a file is written file:///folder/name")]
    FileHost,
    /// Its bucket is none.
    #[error("has no bucket: names of buckets have 3 to 63 lower-case letters, digits, dots and hyphens")]
    Bucket,
    /// A part of its path is not a plain name.
    #[error("has the part {0:?} in its path, which is not a plain name")]
    Part(String),
    /// It names a folder.
    #[error("names a folder, not an object")]
    Folder,
}

/// A URL of an object, or of a prefix of objects.
#[derive(Debug, Clone)]
pub(super) struct ObjectUrl {
    scheme: Scheme,
    /// Host and port, or bucket, or nothing.
    place: String,
    parts: Vec<String>,
    folder: bool,
    web: Option<Url>,
    shown: String,
}

impl ObjectUrl {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_MAX {
            return Err(UrlError::Long);
        }
        if let Some(odd) = text.chars().find(|c| c.is_control() || c.is_whitespace() || *c == '\\') {
            return Err(UrlError::Character(odd));
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "file" => Scheme::File,
            "s3" => Scheme::S3,
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (before_query, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = before_query.split_at(before_query.find('/').unwrap_or(before_query.len()));
        if authority.contains('@') {
            return Err(UrlError::User);
        }
        let is_web = matches!(scheme, Scheme::Http | Scheme::Https);
        if query.is_some() && !is_web {
            return Err(UrlError::Query);
        }
        let web =
            if is_web { Some(Url::parse(text).map_err(|error| UrlError::Host(error.to_string()))?) } else { None };
        let place = place(scheme, authority, web.as_ref())?;
        let (parts, folder) = parts(path)?;
        let shown = text.split_once('?').map_or_else(|| text.to_owned(), |(path, _)| path.to_owned());
        Ok(Self { scheme, place, parts, folder, web, shown })
    }

    /// The same, where it names an object and not a folder.
    pub(super) fn of_one_object(self) -> Result<Self, UrlError> {
        let is_web = self.web.is_some();
        if !is_web && (self.folder || self.parts.is_empty()) { Err(UrlError::Folder) } else { Ok(self) }
    }

    /// Whether `other` is this or below this.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.place == other.place && other.parts.starts_with(&self.parts)
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.parts
    }

    pub(super) fn has_query(&self) -> bool {
        self.web.as_ref().is_some_and(|url| url.query().is_some())
    }

    pub(super) fn web(&self) -> Option<&Url> {
        self.web.as_ref()
    }
}

/// Without the query, which may hold a signature.
impl fmt::Display for ObjectUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// A text that may be a URL, as it may be shown: without what may be a password or a signature.
pub(super) fn shown(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |at| at + 3));
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

fn place(scheme: Scheme, authority: &str, web: Option<&Url>) -> Result<String, UrlError> {
    match (scheme, web) {
        (Scheme::File, _) if authority.is_empty() => Ok(String::new()),
        (Scheme::File, _) => Err(UrlError::FileHost),
        (Scheme::S3, _) => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
            if BUCKET_LENGTH.contains(&authority.len()) && authority.bytes().all(plain) {
                Ok(authority.to_owned())
            } else {
                Err(UrlError::Bucket)
            }
        }
        (_, Some(url)) if !authority.is_empty() => {
            let host = url.host_str().unwrap_or_default().trim_end_matches('.');
            if host.is_empty() {
                return Err(UrlError::Host("it is empty".to_owned()));
            }
            Ok(format!("{host}:{}", url.port_or_known_default().unwrap_or_default()))
        }
        _ => Err(UrlError::Host("it is empty".to_owned())),
    }
}

fn parts(path: &str) -> Result<(Vec<String>, bool), UrlError> {
    let mut parts = Vec::new();
    let Some(path) = path.strip_prefix('/') else { return Ok((parts, true)) };
    let mut raw = path.split('/').peekable();
    while let Some(part) = raw.next() {
        if part.is_empty() && raw.peek().is_none() {
            return Ok((parts, true));
        }
        parts.push(plain(part).ok_or_else(|| UrlError::Part(part.to_owned()))?);
    }
    Ok((parts, false))
}

/// The name that a part of a path stands for, unless some reader takes it for more than a name.
fn plain(part: &str) -> Option<String> {
    let name = percent_decode_str(part).decode_utf8().ok()?.into_owned();
    let odd = |c: char| c.is_control() || c == '/' || c == '\\';
    let twice = percent_decode_str(&name).count() != name.len();
    let bare = name.split(';').next().unwrap_or_default(); // some servers drop what follows
    let plain = !matches!(bare, "" | "." | "..") && !name.contains(odd) && !twice;
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(prefix: &str, url: &str) -> bool {
        ObjectUrl::parse(prefix).unwrap().covers(&ObjectUrl::parse(url).unwrap())
    }

    #[test]
    fn a_prefix_covers_what_is_below_it_and_nothing_beside_it() {
        for (prefix, url, expected) in [
            ("file:///data", "file:///data/a.png", true),
            ("file:///data/", "file:///data/deep/a.png", true),
            ("file:///data", "file:///data2/a.png", false),
            ("file:///data/a.png", "file:///data/a.png", true),
            ("file:///data", "FILE:///data/%61.png", true),
            ("s3://bucket/in", "s3://bucket/in/a", true),
            ("s3://bucket/in", "s3://other/in/a", false),
            ("https://example.org/in/", "https://EXAMPLE.org:443/in/a?sig=1", true),
            ("https://example.org/in/", "https://example.org:444/in/a", false),
            ("https://example.org/in/", "http://example.org/in/a", false),
            ("https://example.org", "https://example.org.evil.test/a", false),
            ("http://127.0.0.1:80", "http://0x7f.1/a", true),
            ("https://example.org", "https://example.org./a", true),
        ] {
            assert_eq!(covers(prefix, url), expected, "{prefix} {url}");
        }
    }

    #[test]
    fn what_readers_understand_differently_is_refused() {
        for url in [
            "file:///data/../etc/passwd",
            "file:///data/%2e%2e/etc/passwd",
            "file:///data/.%2E/etc/passwd",
            "file:///data/./a",
            "file:///data//etc/passwd",
            "file:///data/..%2fetc/passwd",
            "file:///data/%5c..%5cetc",
            "file:///data/\\..\\etc",
            "file:///data/a%00.png",
            "file:///data/%252e%252e/etc/passwd",
            "file:///data/..;/etc/passwd",
            "file:///data/%ff",
            "file:///data/a?b",
            "file:///data/a#b",
            "file://host/data/a",
            "file://localhost/data/a",
            "/data/a",
            "data/a",
            "ftp://example.org/a",
            "s3://Bucket/a",
            "s3://user@bucket/a",
            "s3:///a",
            "https://good.example@evil.test/a",
            "https:///a",
            "https://exa mple.org/a",
            "https://example.org/in/../secret",
            "https://example.org/in/%2e%2e/secret",
            "https://example.org/a\n",
        ] {
            assert!(ObjectUrl::parse(url).is_err(), "{url}");
        }
        assert!(ObjectUrl::parse(&format!("file:///{}", "a".repeat(URL_MAX))).is_err());
    }

    #[test]
    fn a_text_is_shown_without_password_query_and_fragment() {
        for (text, expected) in [
            ("https://ada:hunter2@example.org/a?X-Signature=hunter2#hunter2", "https://example.org/a"),
            ("https://hunter2@b@example.org:1/a@b", "https://example.org:1/a@b"),
            ("s3://key:hunter2@bucket", "s3://bucket"),
            ("ftp://example.org/a#hunter2?b", "ftp://example.org/a"),
            ("ada:hunter2@example.org/a", "example.org/a"),
            ("/srv/a", "/srv/a"),
            ("", ""),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_folder_is_no_object_and_a_signature_is_not_shown() {
        for url in ["file:///data/", "file:///", "s3://bucket", "s3://bucket/a/"] {
            assert_eq!(ObjectUrl::parse(url).unwrap().of_one_object().unwrap_err(), UrlError::Folder, "{url}");
        }
        let signed = ObjectUrl::parse("https://example.org/a?X-Signature=secret").unwrap();
        assert_eq!(signed.to_string(), "https://example.org/a");
    }
}
