//! What the trainer of the first worker says of itself, as the status has it.

use jiff::SignedDuration;
use windlass_api::{Decimal, Progress, TrainingJobStatus, agent};

use super::Reconcile;
use super::record::resumed_from;

/// How long what was written down stays: a little less than the minute after which a worker is asked again.
const RENEWED: SignedDuration = SignedDuration::from_secs(50);
/// Metrics that the status holds.
const KEPT_METRICS: usize = 20;
/// Characters that the name of one may have.
const NAME: usize = 63;

impl Reconcile<'_> {
    /// Writes down what the first worker of the attempt that runs says of itself.
    pub(super) fn note_what_was_said(&self, status: &mut TrainingJobStatus) {
        let said = self.observed.progress.as_ref();
        let Some(said) =
            said.filter(|said| Some(i64::from(said.attempt)) == self.before.attempt.map(i64::from))
        else {
            return;
        };
        self.note_resumed(status, said);
        let progress = as_status(said);
        let as_of = |observed| Progress {
            observed,
            ..progress.clone()
        };
        let is_news = status.progress.as_ref().is_none_or(|before| {
            before.observed + RENEWED <= self.now && *before != as_of(before.observed)
        });
        if is_news && progress != Progress::default() {
            status.progress = Some(as_of(self.now));
        }
    }

    /// What the attempt went on from: a pod that is taken away leaves no word of it.
    fn note_resumed(&self, status: &mut TrainingJobStatus, said: &agent::Progress) {
        let mut attempts = status.attempts.iter_mut();
        let running = attempts.find(|one| Some(one.number) == self.before.attempt);
        if let (Some(running), Some(resumed)) = (running, &said.resumed)
            && running.ended.is_none()
            && running.resumed_from.is_none()
        {
            running.resumed_from = resumed_from(resumed);
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
