//! Looks on as tokens are streamed: when the first came, how many there were, and when the last came.

use std::time::Instant;

use super::payload::event_text;

/// A line longer than this carries no token.
const MAX_LINE: usize = 64 << 10;

/// A stream of events (server-sent events of the OpenAI protocol).
#[derive(Debug, Default)]
pub struct Stream {
    /// The begin of a line whose end has not come.
    line: Vec<u8>,
    first: Option<Instant>,
    last: Option<Instant>,
    events: u64,
    /// As many as the server says.
    said: Option<u64>,
}

/// What was streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// When the first token came.
    pub first: Instant,
    /// When the last did.
    pub last: Instant,
    /// How many there were; where the server does not say, events that carried some.
    pub tokens: u64,
}

impl Stream {
    /// A part of the body passes.
    pub fn data(&mut self, chunk: &[u8], now: Instant) {
        let mut lines = chunk.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = lines.next() {
            let is_last = lines.peek().is_none();
            if !is_last && self.line.is_empty() {
                self.line(part, now);
                continue;
            }
            if self.line.len() + part.len() <= MAX_LINE {
                self.line.extend_from_slice(part);
            } else {
                // What is left of it begins with nothing that is an event.
                self.line = b"-".to_vec();
            }
            if !is_last {
                let line = std::mem::take(&mut self.line);
                self.line(&line, now);
            }
        }
    }

    fn line(&mut self, line: &[u8], now: Instant) {
        let Some(event) = line.strip_prefix(b"data:") else {
            return;
        };
        let (carries, said) = event_text(event.trim_ascii());
        self.said = said.or(self.said);
        if carries {
            self.events += 1;
            self.first.get_or_insert(now);
            self.last = Some(now);
        }
    }

    /// What was streamed so far; absent where not one token was.
    pub fn streamed(&self) -> Option<Streamed> {
        Some(Streamed {
            first: self.first?,
            last: self.last?,
            tokens: self.said.unwrap_or(self.events).max(self.events),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const EVENTS: &str = concat!(
        ": a comment\n\n",
        "data: {\"choices\": [{\"delta\": {\"role\": \"assistant\"}}]}\r\n\r\n",
        "data: {\"choices\": [{\"delta\": {\"content\": \"Hi\"}}]}\n\n",
        "data: {\"choices\": [{\"delta\": {\"content\": \" there\"}}]}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn events_are_found_however_the_body_is_cut() {
        let start = Instant::now();
        for size in [1, 7, 50, 1000] {
            let mut stream = Stream::default();
            for (step, chunk) in EVENTS.as_bytes().chunks(size).enumerate() {
                let now = start + Duration::from_millis(u64::try_from(step).expect("small"));
                stream.data(chunk, now);
            }
            let streamed = stream.streamed().expect("tokens");
            assert_eq!(streamed.tokens, 2, "{size}");
            let end = EVENTS.find("Hi\"}}]}").expect("there") + "Hi\"}}]}".len();
            let expected = start + Duration::from_millis(u64::try_from(end / size).expect("small"));
            assert_eq!(streamed.first, expected, "{size}");
        }
    }

    #[test]
    fn the_servers_own_count_holds_where_it_says_one() {
        let mut stream = Stream::default();
        let usage = "data: {\"choices\": [], \"usage\": {\"completion_tokens\": 9}}\n\n";
        stream.data(EVENTS.as_bytes(), Instant::now());
        stream.data(usage.as_bytes(), Instant::now());
        assert_eq!(stream.streamed().expect("tokens").tokens, 9);
        assert_eq!(Stream::default().streamed(), None);
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut stream = Stream::default();
        for _ in 0..100 {
            stream.data(&[b'x'; 10_000], Instant::now());
            assert!(stream.line.len() <= MAX_LINE);
        }
        stream.data(b"\n", Instant::now());
        stream.data(EVENTS.as_bytes(), Instant::now());
        assert_eq!(stream.streamed().expect("tokens").tokens, 2);
    }
}
