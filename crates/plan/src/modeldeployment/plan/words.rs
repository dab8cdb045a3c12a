//! What is said of a stage that goes on, and how often it is written.

use jiff::{SignedDuration, Timestamp, Unit};
use windlass_api::CanaryStatus;

use super::Reconcile;
use crate::modeldeployment::evidence::{has_stood, is_due};
use crate::modeldeployment::stages::Stage;

/// How long what is said of a stage stands, where it says another thing than before.
const SAID: SignedDuration = SignedDuration::from_secs(30);

impl Reconcile<'_> {
    /// Whether what is said of a stage that goes on is worth writing. What is awaited of others is said at once; what the
    /// counts say is when the stage's hold has passed, and then the more seldom the longer it goes on: they move all the time.
    pub(super) fn is_news(&self, canary: &CanaryStatus, said: &str, awaits: &str) -> bool {
        let before = canary.analysis.as_deref().unwrap_or_default();
        if !awaits.is_empty() && !before.ends_with(awaits) {
            return true;
        }
        let after = held(said.to_owned(), awaits);
        if before == after || !self.may_say(canary) {
            return false;
        }
        // What labels said last is written anyway, and what is waited for hangs on it.
        let read = |canary: &CanaryStatus| canary.labelled.as_ref().map(|seen| seen.looks);
        if self.before.canary.as_ref().map(read) != Some(read(canary)) {
            return true;
        }
        let is_first = (self.stage(canary).zip(canary.step_started))
            .is_some_and(|(stage, started)| before == lasts(stage, started));
        let (recorded, began) = (canary.recorded, began(canary));
        let is_other = without_numbers(before) != without_numbers(&after);
        is_first
            || is_due(recorded, began, self.now)
            || (is_other && has_stood(SAID, recorded, began, self.now))
    }

    /// Whether what is said of the canary is known: its pods have been asked in this stage, or there is nothing to ask, or
    /// they have not answered for long, so that nothing else will be known.
    fn may_say(&self, canary: &CanaryStatus) -> bool {
        self.observed.traffic.contains_key(&canary.version)
            || !self.is_analysed()
            || self.now.duration_since(began(canary)) >= SAID
    }
}

/// What is said of a stage that has begun.
pub(super) fn lasts(stage: &Stage, started: Timestamp) -> String {
    let end = started + stage.hold;
    let end = end.round(Unit::Second).unwrap_or(end);
    format!("the step lasts until {end} at least")
}

/// Since when the stage goes on, or its pods are awaited.
pub(super) fn began(canary: &CanaryStatus) -> Timestamp {
    canary.step_started.unwrap_or(canary.since)
}

/// What is said of a stage that goes on.
pub(super) fn held(said: String, awaits: &str) -> String {
    if awaits.is_empty() {
        said
    } else {
        format!("{said}; {awaits}")
    }
}

/// What is said, whatever was counted.
fn without_numbers(said: &str) -> String {
    let is_counted = |letter: &char| letter.is_ascii_digit() || *letter == '.';
    said.chars().filter(|letter| !is_counted(letter)).collect()
}
