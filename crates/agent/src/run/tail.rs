//! The trainer's output: passed on as it comes, its end kept for the report.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::report::MAX_LOG_TAIL_BYTES;

/// How many lines of the trainer's output are kept.
const TAIL_LINES: usize = 20;

/// Passes on what is read as it comes, and keeps its end.
pub(super) async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    tail: Arc<Mutex<Tail>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut line = Vec::new();
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        // Nobody reading the log is no reason to end a training.
        let _ = to.write_all(&buffer[..read]).await;
        let _ = to.flush().await;
        let mut tail = tail.lock().expect("no thread panics with it");
        for byte in &buffer[..read] {
            // A progress bar returns to the start of its line.
            if matches!(byte, b'\n' | b'\r') {
                tail.push(&line);
                line.clear();
            } else if line.len() < MAX_LOG_TAIL_BYTES {
                line.push(*byte);
            }
        }
    }
    tail.lock().expect("no thread panics with it").push(&line);
}

/// The last lines of one stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    fn push(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines
            .push_back(String::from_utf8_lossy(line).into_owned());
    }

    /// The last lines, at most so many of them and so many bytes.
    fn text(&self, lines: usize, bytes: usize) -> String {
        let skipped = self.lines.len().saturating_sub(lines);
        let text = self
            .lines
            .iter()
            .skip(skipped)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join("\n");
        let from = text.len().saturating_sub(bytes);
        text[text.ceil_char_boundary(from)..].to_owned()
    }
}

/// The end of both streams as a report holds it. Which of them came last cannot be told, and an error is on the
/// second as a rule: so that comes last, and has most of the room.
pub(super) fn log_tail(out: &Tail, err: &Tail) -> String {
    let room = if out.lines.is_empty() {
        MAX_LOG_TAIL_BYTES
    } else {
        MAX_LOG_TAIL_BYTES * 2 / 3
    };
    let err = err.text(
        if out.lines.is_empty() {
            TAIL_LINES
        } else {
            TAIL_LINES / 2
        },
        room,
    );
    if err.is_empty() {
        return out.text(TAIL_LINES, MAX_LOG_TAIL_BYTES);
    }
    let out = out.text(
        TAIL_LINES.saturating_sub(err.lines().count()),
        // Nothing, where the error fills it all.
        MAX_LOG_TAIL_BYTES.saturating_sub(err.len() + 1),
    );
    if out.is_empty() {
        err
    } else {
        format!("{out}\n{err}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_lines_are_kept_and_everything_is_passed_on() {
        let text = (0..100)
            .map(|number| format!("line {number}\n"))
            .collect::<Vec<_>>()
            .concat();
        let tail = Arc::new(Mutex::new(Tail::default()));
        let mut passed = Vec::new();
        pass_on(
            format!("{text}no end").as_bytes(),
            &mut passed,
            Arc::clone(&tail),
        )
        .await;
        assert_eq!(passed.len(), text.len() + 6);
        let kept = tail
            .lock()
            .expect("alone")
            .text(TAIL_LINES, MAX_LOG_TAIL_BYTES);
        assert!(kept.starts_with("line 81\n"), "{kept}");
        assert!(kept.ends_with("line 99\nno end"), "{kept}");
    }

    #[tokio::test]
    async fn a_long_line_is_cut_and_not_kept_whole() {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let long = "é".repeat(1_000_000);
        pass_on(long.as_bytes(), tokio::io::sink(), Arc::clone(&tail)).await;
        assert!(
            tail.lock()
                .expect("alone")
                .text(TAIL_LINES, MAX_LOG_TAIL_BYTES)
                .len()
                <= MAX_LOG_TAIL_BYTES
        );
    }

    #[test]
    fn an_error_that_fills_all_the_room_is_all_there_is() {
        let mut err = Tail::default();
        for _ in 0..TAIL_LINES {
            err.push("x".repeat(200).as_bytes());
        }
        let text = log_tail(&Tail::default(), &err);
        assert_eq!(text.len(), MAX_LOG_TAIL_BYTES);
    }

    #[test]
    fn an_error_is_not_pushed_out_by_what_else_was_printed() {
        let (mut out, mut err) = (Tail::default(), Tail::default());
        err.push(b"ValueError: no");
        for number in 0..100 {
            out.push(format!("{number} {}", "x".repeat(200)).as_bytes());
        }
        let text = log_tail(&out, &err);
        assert!(text.ends_with("x\nValueError: no"), "{text}");
        assert!(text.len() <= MAX_LOG_TAIL_BYTES);
        assert_eq!(log_tail(&Tail::default(), &err), "ValueError: no");
        assert!(log_tail(&out, &Tail::default()).starts_with('x'));
    }
}
