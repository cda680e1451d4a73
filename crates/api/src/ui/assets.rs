//! Static files: from the public folder where it has them, else from the program.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;
use tidemill_core::Problem;
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::error::{Answer, Refusal};
use crate::state::App;

/// Bytes of a file's hash in its tag: enough that no two versions share one.
const TAG_BYTES: usize = 12;

#[derive(RustEmbed)]
#[folder = "ui/public/"]
struct Public;

/// The file that `path` (below the static endpoint, still encoded) names.
pub(crate) async fn serve(app: &App, path: &str, mut request: Request) -> Answer<Response> {
    let none = || Problem::new(404, "not-found", "There is no such file", format!("no static file {path}"));
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = "static files can only be read";
        return Err(Refusal::from(Problem::new(405, "method-not-allowed", "Not this method", detail))
            .with(header::ALLOW, "GET,HEAD"));
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let folder = &app.options.public_folder;
    if folder.is_dir() {
        *request.uri_mut() = Uri::try_from(format!("/{path}")).map_err(|_| none())?;
        let served = ServeDir::new(folder).append_index_html_on_directories(false).oneshot(request).await;
        let Ok(response) = served;
        if response.status() != StatusCode::NOT_FOUND {
            return Ok(finished(response.map(Body::new)));
        }
    }
    let file = Public::get(path).ok_or_else(none)?;
    let etag = etag(&file.metadata.sha256_hash());
    if known.is_some_and(|known| known.to_str().is_ok_and(|known| known.contains(&etag))) {
        return Ok(finished(tagged(StatusCode::NOT_MODIFIED.into_response(), &etag)));
    }
    let mut response = file.data.into_owned().into_response();
    if let Ok(kind) = HeaderValue::from_str(content_type(file.metadata.mimetype()).as_str()) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(finished(tagged(response, &etag)))
}

fn finished(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    super::secure(headers);
    response
}

fn tagged(mut response: Response, etag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// A weak tag: the same file is sent compressed or not.
fn etag(hash: &[u8; 32]) -> String {
    let number = hash.iter().take(TAG_BYTES).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("W/\"{number:024x}\"")
}

fn content_type(kind: &str) -> String {
    if kind.starts_with("text/") && !kind.contains("charset") {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}
