//! W3C trace context (Trace Context, level 1): passed on as it came, made where none came.
//!
//! Absent on purpose: spans of the proxy's own. It is a participant that passes the context through.

use http::header::{HeaderMap, HeaderName, HeaderValue};

const PARENT: HeaderName = HeaderName::from_static("traceparent");
const STATE: HeaderName = HeaderName::from_static("tracestate");

/// The trace that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Its number.
    pub id: u128,
    /// Whether whoever began it records it.
    pub is_sampled: bool,
}

impl Trace {
    /// The trace that the headers name. Where they name none, or what is none, a new one, of which nothing is recorded.
    pub fn pass_on(headers: &mut HeaderMap) -> Self {
        let named = headers
            .get(PARENT)
            .and_then(|value| parse(value.as_bytes()));
        named.unwrap_or_else(|| {
            headers.remove(STATE);
            // Numbers of zero are none.
            let (trace, parent) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
            let text = format!("00-{trace:032x}-{parent:016x}-00");
            let value = HeaderValue::try_from(text).expect("digits and dashes are a value");
            headers.insert(PARENT, value);
            Self {
                id: trace,
                is_sampled: false,
            }
        })
    }
}

/// `VERSION-TRACE-PARENT-FLAGS`; a later version may have more after it.
fn parse(value: &[u8]) -> Option<Trace> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let version = hex(parts.next()?, 2)?;
    let id = hex(parts.next()?, 32)?;
    let parent = hex(parts.next()?, 16)?;
    let flags = hex(parts.next()?, 2)?;
    let is_whole = version != 0 || parts.next().is_none();
    (version != 0xff && id != 0 && parent != 0 && is_whole).then_some(Trace {
        id,
        is_sampled: flags & 1 == 1,
    })
}

/// A number of so many lower-case digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_hex)
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(parent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, HeaderValue::try_from(parent).expect("a value"));
        headers.insert(STATE, HeaderValue::from_static("vendor=1"));
        headers
    }

    #[test]
    fn a_context_is_passed_on_as_it_came() {
        for (parent, is_sampled) in [
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                true,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
                false,
            ),
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more",
                true,
            ),
        ] {
            let mut headers = headers(parent);
            let trace = Trace::pass_on(&mut headers);
            assert_eq!(trace.is_sampled, is_sampled, "{parent}");
            assert_eq!(format!("{:032x}", trace.id), &parent[3..35]);
            assert_eq!(headers[PARENT], parent);
            assert_eq!(headers[STATE], "vendor=1");
        }
    }

    #[test]
    fn what_is_no_context_is_made_anew_and_its_state_is_dropped() {
        for parent in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            let mut headers = headers(parent);
            let trace = Trace::pass_on(&mut headers);
            assert!(!trace.is_sampled);
            let made = headers[PARENT].as_bytes();
            assert_eq!(parse(made), Some(trace), "{parent}");
            assert_ne!(made, parent.as_bytes());
            assert!(!headers.contains_key(STATE), "{parent}");
        }
    }
}
