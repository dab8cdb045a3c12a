//! What is done about an attempt that failed: the user's rules first, then what is known of its cause.

use windlass_api::agent::FailureReason;
use windlass_api::{FailureAction, TrainingJobSpec};

use super::failure::{Failed, is_final};
use crate::pods;

/// What is done about an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The job fails.
    Fail,
    /// The attempt is repeated and counts.
    Restart,
    /// The attempt is repeated and does not count.
    Ignore,
}

/// The action, and the rule that says so: `spec.failureRules[0] (exit code 3 of container trainer)`.
pub(super) fn action(spec: &TrainingJobSpec, failed: &Failed<'_>) -> (Action, Option<String>) {
    let trainer = spec
        .workers
        .template
        .0
        .pointer("/spec/containers/0/name")
        .and_then(|name| name.as_str())
        .unwrap_or_default();
    let ended = exit_codes(failed, trainer);
    let fitting = spec
        .failure_rules
        .iter()
        .enumerate()
        .find_map(|(at, rule)| {
            let container = rule.container.as_deref().unwrap_or(trainer);
            let (_, code) = ended
                .iter()
                .find(|(name, code)| name == container && rule.exit_codes.contains(code))?;
            let why =
                format!("spec.failureRules[{at}] (exit code {code} of container {container})");
            Some((rule.action, why))
        });
    match fitting {
        Some((FailureAction::Fail, why)) => (Action::Fail, Some(why)),
        Some((FailureAction::Restart, why)) => (Action::Restart, Some(why)),
        Some((FailureAction::Ignore, why)) => (Action::Ignore, Some(why)),
        None if is_final(failed.report.reason) => (Action::Fail, None),
        None => (Action::Restart, None),
    }
}

/// How the failed worker's containers ended. The agent passes the trainer's own code on; what the agent itself could not
/// do has a code too, which says nothing of the trainer.
fn exit_codes(failed: &Failed<'_>, trainer: &str) -> Vec<(String, i32)> {
    pods::exit_codes(failed.pod)
        .filter_map(|(name, code)| {
            if name != trainer {
                return Some((name.to_owned(), code));
            }
            let code = match failed.report.reason {
                FailureReason::TrainerFailed => failed.report.exit_code.unwrap_or(code),
                _ => return None,
            };
            Some((name.to_owned(), code))
        })
        .collect()
}
