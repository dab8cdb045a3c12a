//! How long a request may take: the proxy's own limit, or the client's where that is shorter.
//!
//! A gRPC client says it in `grpc-timeout`. Over plain HTTP there is no standard: `x-request-timeout-ms` is read, and what
//! Envoy tells the servers behind it, `x-envoy-expected-rq-timeout-ms`. What the client said is passed on less what was
//! spent, so that a server does not work on an answer that nobody waits for.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

const GRPC: HeaderName = HeaderName::from_static("grpc-timeout");
const PLAIN: [HeaderName; 2] = [
    HeaderName::from_static("x-request-timeout-ms"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
];

/// When a request's answer has to have begun.
#[derive(Clone, Debug, Default)]
pub struct Deadline {
    /// Absent where nobody set one.
    pub at: Option<Instant>,
    /// The fields in which the client said how long it waits.
    said: Vec<HeaderName>,
}

impl Deadline {
    /// The deadline of a request that came `now`.
    pub fn new(headers: &HeaderMap, limit: Option<Duration>, now: Instant) -> Self {
        let mut deadline = Self {
            at: limit.map(|limit| now + limit),
            said: Vec::new(),
        };
        for name in PLAIN.into_iter().chain([GRPC]) {
            let value = headers.get(&name).and_then(|value| value.to_str().ok());
            let said = value.and_then(|text| {
                if name == GRPC {
                    grpc_timeout(text)
                } else {
                    text.trim().parse().ok().map(Duration::from_millis)
                }
            });
            if let Some(at) = said.and_then(|said| now.checked_add(said)) {
                deadline.at = Some(deadline.at.map_or(at, |earlier| earlier.min(at)));
                deadline.said.push(name);
            }
        }
        deadline
    }

    /// Tells the server how much is left, in the client's own fields.
    pub fn pass_on(&self, headers: &mut HeaderMap, now: Instant) {
        let Some(at) = self.at else { return };
        let left = at.saturating_duration_since(now).as_millis();
        for name in &self.said {
            let text = if *name != GRPC {
                left.to_string()
            } else if left < 100_000_000 {
                format!("{left}m")
            } else {
                format!("{}S", (left / 1000).min(99_999_999))
            };
            let value = HeaderValue::try_from(text).expect("digits and a letter are a value");
            headers.insert(name.clone(), value);
        }
    }
}

/// At most eight digits and a unit, as gRPC over HTTP/2 has them.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number =
        (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = is_number.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_hours(count)),
        "M" => Some(Duration::from_mins(count)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_shorter_of_the_limit_and_what_the_client_says_holds() {
        let now = Instant::now();
        let [own, envoy] = PLAIN;
        for (limit, said, expected) in [
            (None, vec![], None),
            (Some(5000), vec![], Some(5000)),
            (Some(5000), vec![(own.clone(), "1500")], Some(1500)),
            (Some(1000), vec![(own.clone(), "1500")], Some(1000)),
            (
                None,
                vec![(own.clone(), "1500"), (envoy.clone(), "700")],
                Some(700),
            ),
            (None, vec![(GRPC, "2S")], Some(2000)),
            (Some(5000), vec![(GRPC, "1M")], Some(5000)),
            (None, vec![(own, "soon")], None),
        ] {
            let limit = limit.map(Duration::from_millis);
            let deadline = Deadline::new(&headers(&said), limit, now);
            let expected = expected.map(|expected| now + Duration::from_millis(expected));
            assert_eq!(deadline.at, expected, "{limit:?} {said:?}");
        }
    }

    #[test]
    fn what_is_passed_on_is_less_what_was_spent() {
        let now = Instant::now();
        let [own, envoy] = PLAIN;
        let mut all = headers(&[(own.clone(), "1500"), (GRPC, "2S")]);
        let deadline = Deadline::new(&all, None, now);
        deadline.pass_on(&mut all, now + Duration::from_millis(400));
        assert_eq!(all[&own], "1100");
        assert_eq!(all[GRPC], "1100m");
        assert!(!all.contains_key(envoy));
        deadline.pass_on(&mut all, now + Duration::from_secs(4));
        assert_eq!(all[&own], "0");
    }

    #[test]
    fn a_timeout_of_grpc_has_at_most_eight_digits_and_a_unit() {
        assert_eq!(grpc_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout("3u"), Some(Duration::from_micros(3)));
        for text in ["", "m", "100", "123456789S", "-1S", "1 S", "1s", "5ü"] {
            assert_eq!(grpc_timeout(text), None, "{text}");
        }
        let now = Instant::now();
        let mut long = headers(&[(GRPC, "99999H")]);
        Deadline::new(&long, None, now).pass_on(&mut long, now);
        assert_eq!(long[GRPC], "99999999S");
    }
}
