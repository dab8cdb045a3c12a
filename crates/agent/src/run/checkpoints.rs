//! Checkpoints of a run: which arguments make them, what the trainer's end does to them.

use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport};

use super::Arguments;
use super::interruption::{Grace, Interruption};
use super::work::Work;
use crate::address::Address;
use crate::checkpoint::{Keeper, LastWord, Plan, Restored};
use crate::report::{OrFail, failure};

/// The share of the grace period that a trainer has when its last checkpoint is still to be uploaded, per cent.
const TRAINERS_SHARE: u32 = 60;

/// Where the arguments put checkpoints.
pub(super) fn address(arguments: &Arguments) -> Result<Option<Address>, FailureReport> {
    let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
    let Some(uri) = &arguments.checkpoint else {
        return Ok(None);
    };
    if uri.starts_with("https://") || uri.starts_with("http://") {
        return invalid(format!(
            "--checkpoint {uri}: checkpoints cannot be written there; accepted are pvc://claim/path, s3://bucket/key and a path"
        ));
    }
    if arguments.checkpoint_every.is_zero() {
        return invalid("--checkpoint-every is more than 0s, such as 10m".to_owned());
    }
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    if address.is_single_file() {
        return invalid(format!(
            "--checkpoint {uri} is a file; checkpoints need a folder of their own"
        ));
    }
    Ok(Some(address))
}

/// The time that a trainer has after a signal: less than all where the last checkpoint is to be uploaded after it.
pub(super) fn grace(arguments: &Arguments) -> Grace {
    let period = arguments.grace_period;
    let for_trainer = if arguments.checkpoint.is_some() && arguments.rank == 0 {
        period * TRAINERS_SHARE / 100
    } else {
        period
    };
    Grace {
        period,
        for_trainer,
    }
}

/// Begins to keep checkpoints; only the worker of rank 0 does.
pub(super) fn keeper(
    arguments: &Arguments,
    root: Option<Address>,
    work: &Work,
    restored: Restored,
    interruption: &Interruption,
) -> Option<Keeper> {
    let plan = Plan {
        root: root.filter(|_| arguments.rank == 0)?,
        attempt: arguments.attempt,
        folder: work.checkpoints(),
        every: arguments.checkpoint_every,
        keep: arguments.checkpoint_keep as usize,
        has_other_workers: arguments.world_size > 1,
    };
    Some(Keeper::start(plan, restored, interruption.told()))
}

/// Sees to the last checkpoint after the trainer's end, and says in its failure what is kept.
pub(super) async fn after_the_trainer(
    ended: Result<(), FailureReport>,
    keeper: Option<Keeper>,
    interruption: &mut Interruption,
) -> Result<(), FailureReport> {
    let Some(mut keeper) = keeper else {
        return ended;
    };
    let mut report = match ended {
        Err(report) if has_run(&report) => report,
        ended => {
            keeper.abandon().await;
            return ended;
        }
    };
    let finished = tokio::select! {
        outcome = keeper.finish() => outcome,
        () = interruption.is_over() => {
            Err("the grace period was over before its upload was".to_owned())
        }
    };
    let mut word = match keeper.last_word() {
        LastWord::Kept(place) => format!("the last whole checkpoint is {place}"),
        LastWord::Earlier(place) => {
            format!("no newer checkpoint than {place} is kept, which it went on from")
        }
        LastWord::Nothing => "no checkpoint is kept".to_owned(),
    };
    if let Err(problem) = &finished {
        word = format!("{word}; a newer one is not: {problem}");
    }
    info!("{word}");
    report.message = format!("{}. {}", report.message, capital(&word));
    if let Ok(finished) = finished {
        tokio::select! {
            () = finished.prune() => {}
            () = interruption.is_over() => {}
        }
    }
    Err(report)
}

/// Whether the trainer ran, and may have left something.
fn has_run(report: &FailureReport) -> bool {
    matches!(
        report.reason,
        FailureReason::TrainerFailed | FailureReason::Interrupted
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
