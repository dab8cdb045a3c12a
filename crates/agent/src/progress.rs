//! How far a command has come, for whoever waits for it at a terminal.
//!
//! Absent on purpose: anything where standard error is no terminal, as in a pod: a log is no place for a bar.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it is drawn, at most.
const PER_SECOND: u8 = 8;
/// How often it is drawn though nothing is told of: a clock that stands still looks like a program that does.
const AT_LEAST: Duration = Duration::from_millis(500);

/// A bar on standard error, or nothing. It can be shared between threads; [`Progress::advance`] is a count that is added up,
/// and seldom more.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Work that has begun: how much there is of it, where that is known, and what it is counted in, such as `rows`.
    pub fn new(total: Option<u64>, what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let progress = Self::on(ProgressDrawTarget::stderr_with_hz(PER_SECOND), total, what);
        progress.bar.enable_steady_tick(AT_LEAST);
        progress
    }

    fn on(target: ProgressDrawTarget, total: Option<u64>, what: &str) -> Self {
        let template = match total {
            Some(_) => {
                "{wide_bar} {percent:>3} %  {human_pos} of {human_len} {msg}  {per_sec}  {eta} left"
            }
            None => "{spinner} {human_pos} {msg}  {per_sec}  {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("a constant");
        let bar = ProgressBar::with_draw_target(total, target)
            .with_style(style)
            .with_message(what.to_owned());
        Self { bar }
    }

    /// So much more is done.
    pub fn advance(&self, more: u64) {
        self.bar.inc(more);
    }

    /// All is done: the bar goes, and leaves room for what was found.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use indicatif::TermLike;

    use super::*;

    /// A terminal of one line that keeps what it was told, and marks where that was wiped.
    #[derive(Clone, Debug, Default)]
    struct Line(Arc<Mutex<String>>);

    const WIPED: char = '#';

    impl Line {
        fn told(&self) -> String {
            self.0.lock().expect("whole").clone()
        }

        fn tell(&self, text: &str) {
            self.0.lock().expect("whole").push_str(text);
        }
    }

    impl TermLike for Line {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.tell(text);
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.tell(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.tell(&WIPED.to_string());
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn(total: Option<u64>, more: u64) -> (String, Line) {
        let line = Line::default();
        let target = ProgressDrawTarget::term_like(Box::new(line.clone()));
        let progress = Progress::on(target, total, "rows");
        progress.advance(more);
        progress.bar.tick();
        let drawn = line.told();
        progress.finish();
        (drawn, line)
    }

    #[test]
    fn it_says_how_much_of_how_much_is_done_and_goes_when_all_is() {
        let (drawn, line) = drawn(Some(3_000_000), 1_500_000);
        let expected = "50 %  1,500,000 of 3,000,000 rows";
        assert!(drawn.contains(expected), "{drawn}");
        let told = line.told();
        let left = told.rsplit(WIPED).next().unwrap_or_default();
        assert!(told.contains(WIPED) && left.trim().is_empty(), "{told}");
    }

    #[test]
    fn without_a_total_it_says_how_much_is_done() {
        let (drawn, _) = drawn(None, 1_500_000);
        assert!(drawn.contains(" 1,500,000 rows"), "{drawn}");
    }

    /// A call a batch of rows is nothing beside reading it.
    #[test]
    fn it_costs_next_to_nothing() {
        let progress = Progress::new(Some(u64::MAX), "rows");
        let start = Instant::now();
        for _ in 0..1_000_000 {
            progress.advance(8192);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}
