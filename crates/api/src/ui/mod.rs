//! The web page: its template and its static files, embedded in the program, replaced by folders where those exist.

mod assets;
mod page;

pub(crate) use assets::serve as serve_static;
pub(crate) use page::{Page, index};

use axum::http::{HeaderMap, HeaderValue, header};

/// What the page may load and do: itself alone. Styles in the document are the page's own.
const CONTENT_SECURITY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; \
                                object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The headers that keep a page safe.
fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
