//! How many workers an attempt has: all that are asked for, or, where `minReplicas` allows it, as many as find room.
//!
//! ```text
//!   waits too long, fewer fit ──> NoRoom ──┐
//!   taken away by the cluster ─> Disrupted ┼─> the next attempt has as many as fit
//!   fewer run than asked for, more fit, a checkpoint is fresh ──> Grown ──┘
//! ```
//!
//! Room is a hint ([`crate::room`]), so a larger attempt may find that it has none: it is then followed by a smaller
//! one, and the next try to grow comes later, each time twice as late.
//!
//! Absent on purpose: growing in a queue of Kueue's. What a queue has left is Kueue's to know, and a gang that gives its
//! place back to ask for a larger one may get none.

use std::borrow::Cow;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::{Attempt, TrainingJob, TrainingJobStatus, agent, labels};

use super::Reconcile;
use crate::room::Room;
use crate::trainingjob::gang::Backend;
use crate::trainingjob::observed::Rooms;
use crate::{Plan, template};

/// How an attempt ends that found no room for all of its workers.
pub(super) const NO_ROOM: &str = "NoRoom";
/// How an attempt ends that makes way for a larger one.
pub(super) const GROWN: &str = "Grown";
/// How long an attempt may wait for room, where the job does not say.
const SHRINK_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How old a checkpoint may be for an attempt to be ended for a larger one: what came after it is done again.
const FRESH: SignedDuration = SignedDuration::from_mins(2);
/// The longest pause between tries to grow.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(2);
/// How often it is looked whether there is room to grow, or to be smaller.
const LOOK: Duration = Duration::from_secs(15);

/// The job as an attempt of so many workers has it.
pub(super) fn sized(job: &TrainingJob, workers: i32) -> Cow<'_, TrainingJob> {
    if job.spec.workers.replicas == workers {
        return Cow::Borrowed(job);
    }
    let mut sized = job.clone();
    sized.spec.workers.replicas = workers;
    Cow::Owned(sized)
}

/// What is to be done about an attempt's size.
pub(super) enum Resize {
    /// It ends, for one of another size.
    Now(Box<Plan<TrainingJobStatus>>),
    /// It is to be looked at again after this.
    Later(Duration),
}

/// How many workers the next attempt has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// So many.
    Workers(i32),
    /// It is not known yet how many find room.
    NotKnown,
}

impl Reconcile<'_> {
    /// The fewest workers that an attempt may have; nothing for a gang that is always whole.
    fn fewest(&self) -> Option<i32> {
        let workers = &self.job.spec.workers;
        workers.min_replicas.filter(|min| *min < workers.replicas)
    }

    /// How many workers the current attempt has.
    pub(super) fn workers(&self) -> i32 {
        let of_attempt = self.current().and_then(|attempt| attempt.workers);
        of_attempt.unwrap_or(self.job.spec.workers.replicas)
    }

    /// How many workers the next attempt has.
    pub(super) fn next_size(&self, backend: &Backend) -> Size {
        let all = self.job.spec.workers.replicas;
        let (Some(fewest), Some(last)) = (self.fewest(), self.before.attempts.last()) else {
            return Size::Workers(all);
        };
        let before = last.workers.unwrap_or(all).clamp(fewest, all);
        let smaller = || Size::Workers(fewest.max(before / 2));
        if last.reason == "Suspended" {
            return Size::Workers(all);
        }
        if let Backend::Kueue { .. } = backend {
            return if last.reason == NO_ROOM {
                smaller()
            } else {
                Size::Workers(before)
            };
        }
        let is_cramped =
            before < all || matches!(last.reason.as_str(), "Disrupted" | NO_ROOM | GROWN);
        if !is_cramped {
            return Size::Workers(all);
        }
        match &self.observed.room {
            Rooms::Known(room) => Size::Workers(self.fitting(room).clamp(fewest, all)),
            Rooms::Asked => Size::NotKnown,
            Rooms::Unknown if last.reason == NO_ROOM => smaller(),
            Rooms::Unknown => Size::Workers(before),
        }
    }

    /// How many workers the nodes could take, those that this job holds given back.
    fn fitting(&self, room: &Room) -> i32 {
        let template = template::parse("spec.workers.template", &self.job.spec.workers.template);
        let Some(pod) = template.ok().and_then(|template| template.spec) else {
            return 0;
        };
        // The cache's pods do not say what they ask for: each is as the template has it.
        let own = self.pods.iter().copied();
        let own = own.filter(|pod| pod.labels().contains_key(labels::ATTEMPT));
        let fits = room.without(own, &pod).fits(&pod);
        i32::try_from(fits).unwrap_or(i32::MAX)
    }

    /// Ends an attempt that has waited long enough for all of its workers, where fewer can run.
    pub(super) fn shrink(&self, backend: &Backend) -> Option<Resize> {
        let (fewest, now) = (self.fewest()?, self.workers());
        if now <= fewest {
            return None;
        }
        let patience = self.job.spec.workers.shrink_after.as_ref();
        let patience = patience
            .and_then(|patience| SignedDuration::try_from(patience.value().ok()?).ok())
            .unwrap_or(SHRINK_AFTER);
        if let Some(left) = self.left(self.current()?.started? + patience) {
            return Some(Resize::Later(left));
        }
        let smaller = match (&self.observed.room, backend) {
            (_, Backend::Kueue { .. }) | (Rooms::Unknown, _) => fewest.max(now / 2),
            (Rooms::Known(room), _) => self.fitting(room).min(now),
            (Rooms::Asked, _) => return Some(Resize::Later(LOOK)),
        };
        // Where the nodes seem to have room for all, what the scheduler waits for is not room.
        if smaller < fewest || smaller == now {
            return Some(Resize::Later(LOOK));
        }
        let number = self.before.attempt.unwrap_or(1);
        let waited = patience.as_secs();
        let message = format!(
            "the {now} workers of attempt {number} found no room for {waited} s (spec.workers.shrinkAfter); one with {smaller} follows"
        );
        Some(self.resized(NO_ROOM, message))
    }

    /// Ends an attempt of fewer workers than are asked for, where more find room and little is lost.
    pub(super) fn grow(&self, backend: &Backend) -> Option<Resize> {
        let (all, now) = (self.job.spec.workers.replicas, self.workers());
        self.fewest()?;
        self.job.spec.checkpoint.as_ref()?;
        if now >= all || matches!(backend, Backend::Kueue { .. }) {
            return None;
        }
        if let Some(left) =
            self.left(self.current()?.started? + growth_pause(&self.before.attempts))
        {
            return Some(Resize::Later(left));
        }
        let number = self.before.attempt.unwrap_or(1);
        let progress = self.observed.progress.as_ref();
        let checkpoint = progress.and_then(|progress| newest_checkpoint(progress, number));
        let (Some((name, _)), Rooms::Known(room)) = (
            checkpoint.filter(|(_, time)| *time + FRESH >= self.now),
            &self.observed.room,
        ) else {
            return Some(Resize::Later(LOOK));
        };
        let larger = self.fitting(room).min(all);
        if larger <= now {
            return Some(Resize::Later(LOOK));
        }
        let message = format!(
            "there is room for {larger} workers: attempt {number}, with {now}, makes way for one that goes on from its newest checkpoint ({name} or newer)"
        );
        Some(self.resized(GROWN, message))
    }

    /// The attempt ends for one of another size.
    fn resized(&self, reason: &str, message: String) -> Resize {
        Resize::Now(Box::new(self.makes_way(
            self.end_attempts(),
            reason,
            message,
        )))
    }
}

impl Resize {
    /// This, or the plan with an eye on the attempt's size.
    pub(super) fn or(
        this: Option<Self>,
        mut plan: Plan<TrainingJobStatus>,
    ) -> Plan<TrainingJobStatus> {
        match this {
            None => plan,
            Some(Self::Now(resized)) => *resized,
            Some(Self::Later(after)) => {
                plan.look_again(Some(after));
                plan
            }
        }
    }
}

fn newest_checkpoint(progress: &agent::Progress, attempt: i32) -> Option<&(String, Timestamp)> {
    let of_attempt = i64::from(progress.attempt) == i64::from(attempt);
    progress.checkpoint.as_ref().filter(|_| of_attempt)
}

/// How long an attempt runs at least before it makes way for a larger one: longer after each one that found no room.
fn growth_pause(attempts: &[Attempt]) -> SignedDuration {
    const FIRST: SignedDuration = SignedDuration::from_secs(30);
    let vain = attempts
        .iter()
        .filter(|attempt| attempt.reason == NO_ROOM)
        .count()
        .saturating_sub(1);
    (0..vain.min(20)).fold(FIRST, |pause, _| (pause * 2).min(LONGEST_PAUSE))
}
