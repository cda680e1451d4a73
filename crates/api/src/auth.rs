//! Bearer tokens: several, kept as hashes, read again when their file changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tidemill_core::Problem;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::error::Refusal;
use crate::state::App;

/// How often the file is read again.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// Largest file of tokens, in bytes: some hundred tokens, each tried for each request.
const FILE_MAX: u64 = 64 << 10;
/// Begins a token that is given as its hash.
const HASH_PREFIX: &str = "sha256:";
/// The subprotocol of `/ws`, offered by browsers beside their token, since they cannot set headers there.
pub(crate) const WS_PROTOCOL: &str = "tidemill";
/// Begins the subprotocol that carries a token, in base64url.
const WS_TOKEN_PREFIX: &str = "bearer.";

type Hash = [u8; 32];

/// Tokens that cannot be used. The token itself is never shown.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("the file of tokens {path} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be one of tokens.
    #[error("the file of tokens {0} has more than 65536 bytes")]
    TooLarge(PathBuf),
    /// No token, which would lock everybody out.
    #[error("the file of tokens {0} holds no token; write one a line")]
    None(PathBuf),
    /// A hash that is none.
    #[error("token {0} begins with sha256: but is not followed by 64 hexadecimal digits")]
    BadHash(usize),
}

/// The tokens in force.
pub(crate) struct Tokens {
    file: Option<PathBuf>,
    fixed: Vec<Hash>,
    from_file: RwLock<Arc<Vec<Hash>>>,
}

impl Tokens {
    /// Reads what the options name.
    pub(crate) async fn load(file: Option<PathBuf>, fixed: &[String]) -> Result<Self, TokenError> {
        let fixed = hashes(fixed.iter().map(String::as_str))?;
        let from_file = match &file {
            Some(path) => read(path).await?,
            None => Vec::new(),
        };
        Ok(Self { file, fixed, from_file: RwLock::new(Arc::new(from_file)) })
    }

    /// Whether a token is asked for at all.
    pub(crate) fn required(&self) -> bool {
        self.file.is_some() || !self.fixed.is_empty()
    }

    /// Reads the file again and again until `stop`. One that cannot be used leaves the old tokens in force.
    pub(crate) async fn keep_fresh(&self, stop: CancellationToken) {
        let Some(path) = &self.file else { return };
        while stop.run_until_cancelled(tokio::time::sleep(RELOAD_EVERY)).await.is_some() {
            match read(path).await {
                Ok(tokens) => {
                    let mut current = self.from_file.write().unwrap_or_else(PoisonError::into_inner);
                    if **current != tokens {
                        tracing::info!(file = %path.display(), tokens = tokens.len(), "bearer tokens were read anew");
                        *current = Arc::new(tokens);
                    }
                }
                Err(error) => tracing::warn!(%error, "the bearer tokens stay as they were"),
            }
        }
    }

    /// Whether the request carries one of the tokens. Takes as long whichever it is.
    fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(token) = presented(headers) else { return false };
        let hash = hash(token.as_bytes());
        let from_file = self.from_file.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = |known: &[Hash]| known.iter().fold(Choice::from(0), |found, one| found | one.ct_eq(&hash));
        bool::from(found(&self.fixed) | found(&from_file))
    }
}

/// Lets through who carries a token, where one is asked for.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if !app.tokens.required() || app.tokens.admit(request.headers()) {
        return next.run(request).await;
    }
    let problem = Problem::new(
        401,
        "unauthorized",
        "A bearer token is needed",
        "send one of this installation's tokens as `Authorization: Bearer <token>`",
    );
    Refusal::from(problem).with(header::WWW_AUTHENTICATE, "Bearer realm=\"tidemill\"").into_response()
}

fn presented(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned());
    }
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(WS_TOKEN_PREFIX))
        .and_then(|encoded| URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

async fn read(path: &Path) -> Result<Vec<Hash>, TokenError> {
    let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut text = String::new();
    let length = file.take(FILE_MAX + 1).read_to_string(&mut text).await.map_err(unreadable)?;
    if length as u64 > FILE_MAX {
        return Err(TokenError::TooLarge(path.to_owned()));
    }
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let tokens = hashes(lines.filter(|line| !line.is_empty()))?;
    if tokens.is_empty() { Err(TokenError::None(path.to_owned())) } else { Ok(tokens) }
}

fn hashes<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, TokenError> {
    tokens
        .enumerate()
        .map(|(index, token)| match token.strip_prefix(HASH_PREFIX) {
            Some(hex) => from_hex(hex).ok_or(TokenError::BadHash(index + 1)),
            None => Ok(hash(token.as_bytes())),
        })
        .collect()
}

fn hash(token: &[u8]) -> Hash {
    Sha256::digest(token).into()
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != hash.len() * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearing(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_token_is_known_by_itself_by_its_hash_and_in_a_subprotocol() {
        let hashed = "sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b".to_owned();
        let tokens = Tokens::load(None, &["plain".to_owned(), hashed]).await.unwrap();
        for good in ["Bearer plain", "bearer secret"] {
            assert!(tokens.admit(&bearing(header::AUTHORIZATION, good)), "{good}");
        }
        assert!(tokens.admit(&bearing(header::SEC_WEBSOCKET_PROTOCOL, "tidemill, bearer.cGxhaW4")));
        for bad in ["Bearer other", "Bearer ", "Basic plain", "plain"] {
            assert!(!tokens.admit(&bearing(header::AUTHORIZATION, bad)), "{bad}");
        }
        assert!(!tokens.admit(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_refused_rather_than_opening_the_door() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        assert!(matches!(Tokens::load(Some(path.clone()), &[]).await, Err(TokenError::Unreadable { .. })));
        std::fs::write(&path, "# nothing yet\n\n").unwrap();
        assert!(matches!(Tokens::load(Some(path.clone()), &[]).await, Err(TokenError::None(_))));
        std::fs::write(&path, "one # of the deployment\n").unwrap();
        let tokens = Tokens::load(Some(path), &[]).await.unwrap();
        assert!(tokens.admit(&bearing(header::AUTHORIZATION, "Bearer one")));
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_refused_without_being_shown() {
        let error = Tokens::load(None, &["sha256:secret".to_owned()]).await.err().unwrap().to_string();
        assert!(error.starts_with("token 1 begins with sha256:") && !error.contains("secret"), "{error}");
    }
}
