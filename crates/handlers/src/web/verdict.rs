//! How an answer is judged that is no success.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use tidemill_executor::HandlerError;
use url::Url;

use super::Body;

/// Longest wait that a server may ask for: beyond an hour it is the task's own backoff that should decide, and a server
/// should not be able to park a task for a year.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// How much of a body an error quotes, in bytes.
const EXCERPT: usize = 300;

/// The error of an answer that is no success: worth another attempt where the status speaks of the moment (408, 425, 429
/// and 5xx), and permanent else. `asked` is what was asked, for the message.
pub(crate) fn failure(asked: &str, status: StatusCode, headers: &HeaderMap, body: &Body) -> HandlerError {
    let excerpt = body.excerpt(EXCERPT);
    let colon = if excerpt.is_empty() { "" } else { ": " };
    let message = format!("{asked} answered {status}{colon}{excerpt}");
    if !passes(status) {
        return HandlerError::permanent(message);
    }
    let error = HandlerError::transient(message);
    match retry_after(headers, SystemTime::now()) {
        Some(wait) => error.retry_after(wait),
        None => error,
    }
}

/// Whether another attempt may find another status.
fn passes(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// The wait that `Retry-After` asks for, in seconds or until a date: counted from the server's own date where it says it,
/// so that our clocks need not agree.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let until = date(text)?;
        let from = headers.get(DATE).and_then(|value| date(value.to_str().ok()?));
        let from = from.or_else(|| Timestamp::try_from(now).ok())?;
        Duration::try_from(until.duration_since(from)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

/// A URL as it may be shown: without its query, which may hold secrets.
pub(crate) fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let headers = headers
            .iter()
            .map(|&(name, value)| (name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn retry_after_is_taken_in_seconds_and_as_a_date_and_has_a_bound() {
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(7));
        assert_eq!(wait(&[("retry-after", "99999999999")]), Some(3_600));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")]), Some(60));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0), "in the past");
        assert_eq!(wait(&[("retry-after", "Sat, 06 Nov 2094 08:50:37 GMT")]), Some(3_600));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        // A server whose clock is years ahead.
        let dates = [("date", "Tue, 01 Jan 2030 00:00:00 GMT"), ("retry-after", "Tue, 01 Jan 2030 00:00:30 GMT")];
        assert_eq!(wait(&dates), Some(30));
    }

    #[test]
    fn what_may_pass_is_transient_and_the_rest_is_permanent() {
        let body = Body { bytes: b"a\n  b".to_vec(), whole: true, says_json: false };
        let judged = |status: u16| failure("POST x", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), &body);
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(!judged(status).is_permanent(), "{status}");
        }
        for status in [204, 301, 400, 401, 403, 404, 409, 410, 422, 451] {
            assert!(judged(status).is_permanent(), "{status}");
        }
        assert_eq!(judged(404).message(), "POST x answered 404 Not Found: a b");
    }

    #[test]
    fn no_query_is_shown() {
        let url = Url::parse("https://a.org/b?token=secret#c").unwrap();
        assert_eq!(without_query(&url), "https://a.org/b");
    }
}
