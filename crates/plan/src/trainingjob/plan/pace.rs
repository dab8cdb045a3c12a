//! How fast attempts follow on each other.
//!
//! The first repetition comes at once. What then ends quickly again and again is repeated ever more slowly, as a Job's
//! pods are: after 10 s, 20 s, 40 s, and at most 5 min.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use windlass_api::Attempt;

use super::size::{GROWN, NO_ROOM};

/// The pause before the second repetition.
const FIRST: SignedDuration = SignedDuration::from_secs(10);
/// The longest pause.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// An attempt that ran so long has got somewhere: the one after it comes at once.
const LONG: SignedDuration = SignedDuration::from_mins(10);

/// How long the next attempt has still to wait; nothing where it may start.
pub(super) fn pause_left(attempts: &[Attempt], now: Timestamp) -> Option<Duration> {
    let newest = attempts.last()?.ended?;
    let quick = attempts
        .iter()
        .rev()
        .take_while(|attempt| is_quick(attempt))
        .count();
    let doublings = u32::try_from(quick).ok()?.checked_sub(2)?;
    let pause = (0..doublings.min(10))
        .fold(FIRST, |pause, _| pause * 2)
        .min(LONGEST);
    let left = (newest + pause).duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

/// Whether an attempt ended soon, and not because a person wished it or for its size.
fn is_quick(attempt: &Attempt) -> bool {
    let (Some(started), Some(ended)) = (attempt.started, attempt.ended) else {
        return false;
    };
    !matches!(attempt.reason.as_str(), "Suspended" | NO_ROOM | GROWN)
        && ended.duration_since(started) < LONG
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    fn attempts(lengths: &[(i64, &str)]) -> Vec<Attempt> {
        let all = lengths.iter();
        all.map(|(seconds, reason)| Attempt {
            started: Some(at(1000 - seconds)),
            ended: Some(at(1000)),
            reason: (*reason).to_owned(),
            ..Attempt::default()
        })
        .collect()
    }

    #[test]
    fn what_fails_quickly_again_and_again_is_repeated_ever_more_slowly() {
        let quick = (5, "TrainerFailed");
        let rows = [
            (vec![], 0),
            (vec![quick], 0),
            (vec![quick; 2], 10),
            (vec![quick; 3], 20),
            (vec![quick; 4], 40),
            (vec![quick; 10], 300),
            (vec![quick, (600, "TrainerFailed"), quick], 0),
            (vec![quick, quick, (3, "Suspended")], 0),
            (vec![quick, (7, "Disrupted"), quick], 20),
        ];
        for (lengths, expected) in rows {
            let left = pause_left(&attempts(&lengths), at(1000));
            assert_eq!(
                left.map_or(0, |left| left.as_secs()),
                expected,
                "{lengths:?}"
            );
        }
        let three = attempts(&[quick; 3]);
        assert_eq!(pause_left(&three, at(1019)), Some(Duration::from_secs(1)));
        assert_eq!(pause_left(&three, at(1020)), None);
    }
}
