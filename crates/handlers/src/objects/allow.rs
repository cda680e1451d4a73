//! Which prefixes tasks may use.

use std::path::PathBuf;

use super::ObjectError;
use super::file::Place;
use super::url::{ObjectUrl, Scheme, UrlError, shown};

/// The prefixes of `objects.allow`.
#[derive(Debug, Clone)]
pub(super) struct Allow(Vec<ObjectUrl>);

impl Allow {
    pub(super) fn new(prefixes: &[String]) -> Result<Self, ObjectError> {
        let parse = |prefix: &String| {
            let parsed =
                ObjectUrl::parse(prefix).and_then(|url| if url.has_query() { Err(UrlError::Query) } else { Ok(url) });
            parsed.map_err(|reason| ObjectError::Prefix { prefix: shown(prefix), reason })
        };
        prefixes.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn covers(&self, url: &ObjectUrl) -> bool {
        self.0.iter().any(|prefix| prefix.covers(url))
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|prefix| prefix.scheme() == Scheme::S3).map(ObjectUrl::place)
    }

    pub(super) fn has_web(&self) -> bool {
        self.0.iter().any(|prefix| prefix.web().is_some())
    }

    /// Where a file is: the folder that the operator named, and the way from there. Of several prefixes the shortest.
    pub(super) fn place(&self, url: &ObjectUrl) -> Place {
        let covering = self.0.iter().filter(|prefix| prefix.covers(url)).map(|prefix| prefix.parts().len());
        let given = covering.min().unwrap_or_default().min(url.parts().len().saturating_sub(1));
        let (root, way) = url.parts().split_at(given);
        let root = std::iter::once("/").chain(root.iter().map(String::as_str)).collect::<PathBuf>();
        Place { root, way: way.to_vec() }
    }

    /// Why a URL that no prefix covers is refused: the rest of a sentence that begins with it.
    pub(super) fn refusal(&self) -> String {
        if self.0.is_empty() {
            return "may not be used: the worker's setting objects.allow is empty; it takes prefixes such as \
                    file:///var/lib/tidemill/"
                .to_owned();
        }
        "may not be used: it is below no prefix of the worker's setting objects.allow".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(prefixes: &[&str]) -> Result<Allow, ObjectError> {
        Allow::new(&prefixes.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn a_file_is_found_from_the_folder_that_the_operator_named() {
        let allow = allow(&["file:///srv/a", "file:///srv/one.png"]).unwrap();
        for (url, root, way) in
            [("file:///srv/a/b/c.png", "/srv/a", vec!["b", "c.png"]), ("file:///srv/one.png", "/srv", vec!["one.png"])]
        {
            let place = allow.place(&ObjectUrl::parse(url).unwrap());
            assert_eq!((place.root.to_str().unwrap(), place.way), (root, way.into_iter().map(str::to_owned).collect()));
        }
    }

    #[test]
    fn a_prefix_that_is_none_is_refused_in_words() {
        let error = allow(&["/srv/a"]).unwrap_err().to_string();
        assert!(error.starts_with("objects.allow: \"/srv/a\" is no URL of an object"), "{error}");
        assert!(allow(&["https://example.org/?a"]).is_err());
    }
}
