//! What the trainer of the first worker says of itself, as the status has it.

use jiff::SignedDuration;
use windlass_api::{Attempt, Decimal, Progress, agent};

use super::Reconcile;
use super::record::resumed_from;

/// How long what was written down stays: a little less than the minute after which a worker is asked again.
const RENEWED: SignedDuration = SignedDuration::from_secs(50);
/// Metrics that the status holds.
const KEPT_METRICS: usize = 20;
/// Characters that the name of one may have.
const NAME: usize = 63;

impl Reconcile<'_> {
    /// The attempts, with what the one that runs went on from: a pod that is taken away leaves no word of it.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let mut attempts = self.before.attempts.clone();
        let said = self.observed.progress.as_ref();
        if let Some((said, resumed)) = said.and_then(|said| Some((said, said.resumed.as_ref()?)))
            && let Some(attempt) = attempts.iter_mut().find(|attempt| {
                i64::from(attempt.number) == i64::from(said.attempt) && attempt.ended.is_none()
            })
            && attempt.resumed_from.is_none()
        {
            attempt.resumed_from = resumed_from(resumed);
        }
        attempts
    }

    /// How far the training is: as it was just said, or as it was written down less than a minute ago.
    pub(super) fn progress(&self) -> Option<Progress> {
        let before = &self.before.progress;
        let said = self.observed.progress.as_ref();
        let of_attempt = |said: &&agent::Progress| {
            Some(i64::from(said.attempt)) == self.before.attempt.map(i64::from)
        };
        let Some(said) = said.filter(of_attempt) else {
            return before.clone();
        };
        let now = Progress {
            observed: self.now,
            ..as_status(said)
        };
        match before {
            _ if now
                == (Progress {
                    observed: self.now,
                    ..Progress::default()
                }) =>
            {
                before.clone()
            }
            Some(before)
                if *before
                    == (Progress {
                        observed: before.observed,
                        ..now.clone()
                    }) =>
            {
                Some(before.clone())
            }
            Some(before) if before.observed + RENEWED > self.now => Some(before.clone()),
            Some(_) | None => Some(now),
        }
    }
}

fn as_status(said: &agent::Progress) -> Progress {
    let metrics = said.metrics.iter();
    let (checkpoint, checkpoint_time) = said.checkpoint.clone().unzip();
    Progress {
        step: said.step,
        steps: said.steps,
        epoch: said.epoch,
        epochs: said.epochs,
        seconds_left: said.seconds_left,
        metrics: metrics
            .filter(|(name, _)| name.chars().count() <= NAME)
            .filter_map(|(name, value)| Some((name.clone(), Decimal::from_f64(*value)?)))
            .take(KEPT_METRICS)
            .collect(),
        checkpoint,
        checkpoint_time,
        ..Progress::default()
    }
}
