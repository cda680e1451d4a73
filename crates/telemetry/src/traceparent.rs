//! The W3C `traceparent`: which trace something belongs to, and whether that trace is recorded.

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// A `traceparent`, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent<'a>(&'a str);

impl<'a> Traceparent<'a> {
    /// Reads `00-TRACE-PARENT-FLAGS`: lower-case hexadecimal digits, 2, 32, 16 and 2 of them. The ids of zeros alone and the
    /// version ff mean nothing.
    pub fn parse(text: &'a str) -> Option<Self> {
        let lengths = [2, 32, 16, 2];
        let mut parts = text.split('-');
        let whole = lengths.iter().all(|length| {
            parts.next().is_some_and(|part| {
                part.len() == *length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            })
        });
        let found = Self(text);
        let zeros = |id: &str| id.bytes().all(|byte| byte == b'0');
        let good = whole && text.len() == LENGTH && !text.starts_with("ff");
        (good && !zeros(found.trace_id()) && !zeros(found.span_id())).then_some(found)
    }

    /// The id of the trace, 32 digits.
    pub fn trace_id(self) -> &'a str {
        &self.0[3..35]
    }

    /// The id of the span that is the parent, 16 digits.
    pub fn span_id(self) -> &'a str {
        &self.0[36..52]
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(self) -> bool {
        u8::from_str_radix(&self.0[53..], 16).is_ok_and(|flags| flags & 1 == 1)
    }

    /// The text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// The id of the trace that a `traceparent` names.
pub fn trace_id(traceparent: Option<&str>) -> Option<&str> {
    Some(Traceparent::parse(traceparent?)?.trace_id())
}

/// The same, where that trace is recorded.
pub fn sampled_id(traceparent: Option<&str>) -> Option<&str> {
    let found = Traceparent::parse(traceparent?)?;
    found.is_sampled().then(|| found.trace_id())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_taken_apart() {
        let found = Traceparent::parse(GOOD).unwrap();
        assert_eq!(found.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(found.span_id(), "b7ad6b7169203331");
        assert!(found.is_sampled());
        assert_eq!(sampled_id(Some(&GOOD.replace("-01", "-00"))), None);
        assert_eq!(trace_id(Some(&GOOD.replace("-01", "-00"))), Some(found.trace_id()));
    }

    #[test]
    fn what_is_no_traceparent_is_nothing() {
        for wrong in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319é-b7ad6b7169203331-01",
        ] {
            assert_eq!(Traceparent::parse(wrong), None, "{wrong}");
        }
    }
}
