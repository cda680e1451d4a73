//! The body of an answer, as far as a result holds it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tidemill_executor::HandlerError;

use super::failed;

/// A body that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    /// What was read of it.
    pub(crate) bytes: Vec<u8>,
    /// Whether that is all.
    pub(crate) whole: bool,
    /// Whether the answer says that it is JSON.
    pub(crate) says_json: bool,
}

/// Reads the body of `response`, `limit` bytes at most. What comes after that is not read.
pub(crate) async fn read(mut response: Response, limit: usize) -> Result<Body, HandlerError> {
    let mut body = Body::before(&response);
    body.read(&mut response, limit).await?;
    Ok(body)
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

impl Body {
    /// That of `response`, of which nothing was read yet.
    pub(crate) fn before(response: &Response) -> Self {
        let says_json = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(is_json);
        Self { bytes: Vec::new(), whole: false, says_json }
    }

    /// Reads it, `limit` bytes at most. What has come is kept, also where the rest fails or this is dropped.
    pub(crate) async fn read(&mut self, response: &mut Response, limit: usize) -> Result<(), HandlerError> {
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let room = limit.saturating_sub(self.bytes.len());
            self.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Ok(());
            }
        }
        self.whole = true;
        Ok(())
    }

    /// What it holds: the JSON value that it says it is, else its text, else (with `true`) its bytes in base64.
    pub(crate) fn value(&self) -> (Value, bool) {
        let json = (self.says_json && self.whole).then(|| serde_json::from_slice(&self.bytes).ok()).flatten();
        if let Some(value) = json {
            return (value, false);
        }
        match str::from_utf8(&self.bytes) {
            Ok(text) => (text.into(), false),
            // Cut within a character.
            Err(error) if !self.whole && error.error_len().is_none() => {
                (String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]).into(), false)
            }
            Err(_) => (STANDARD.encode(&self.bytes).into(), true),
        }
    }

    /// The first `limit` bytes of it.
    pub(crate) fn cut(mut self, limit: usize) -> Self {
        self.whole &= self.bytes.len() <= limit;
        self.bytes.truncate(limit);
        self
    }

    /// Its beginning as text, for an error.
    pub(crate) fn excerpt(&self, limit: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(limit)]);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8], says_json: bool) -> Body {
        Body { bytes: bytes.to_vec(), whole: true, says_json }
    }

    #[test]
    fn a_body_is_json_where_it_says_so_and_is_and_else_text_or_base64() {
        assert_eq!(body(b"{\"a\":1}", true).value(), (serde_json::json!({"a": 1}), false));
        assert_eq!(body(b"{\"a\":1}", false).value(), ("{\"a\":1}".into(), false));
        assert_eq!(body(b"{\"a\":", true).value(), ("{\"a\":".into(), false));
        assert_eq!(body(b"\xff\x00", false).value(), ("/wA=".into(), true));
        assert_eq!(body("aé".as_bytes(), true).cut(2).value(), ("a".into(), false));
        assert!(!body(b"[1]", true).cut(1).whole);
    }

    #[test]
    fn only_json_is_json() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["text/plain", "text/json5", "application/jsonp", ""] {
            assert!(!is_json(no), "{no}");
        }
    }
}
