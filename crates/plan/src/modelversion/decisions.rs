//! The chain of records of what happened to a version.
//!
//! ```text
//!   made ─> judged ─> reviewed ─> … retired    (this controller's own)
//!   canary, promoted, rolled back, …  (taken over from the histories of the ModelDeployments, which write them with the
//!                                      very status that makes them so: a crash loses none)
//! ```

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::{
    Action, Approval, AuditLine, Decision, KEPT_DECISIONS, ModelVersion, ModelVersionStatus,
    ReviewDecision, RolloutEvent, condition, find_condition,
};

use super::observed::Observed;
use super::plan::retirement::{is_decided, last_reason};
use crate::digest;

/// The actor of what nobody asked for in person.
const WINDLASS: &str = "windlass";
/// Bytes of a reason.
const MOST: usize = 1024;

/// Whether a person's word, where one is asked for, lets a version serve.
pub fn is_approved(version: &ModelVersion) -> bool {
    match (&version.spec.review, version.spec.approval) {
        (Some(review), _) => review.decision == ReviewDecision::Approved,
        (None, Approval::Automatic) => true,
        (None, Approval::Manual | Approval::FourEyes) => false,
    }
}

/// What is not in a record yet.
struct New {
    action: Action,
    time: Timestamp,
    actor: String,
    deployment: Option<String>,
    reason: String,
    evidence: Option<String>,
}

/// Adds to a status what happened since the status before it.
pub(super) fn record(
    observed: &Observed,
    before: &ModelVersionStatus,
    status: &mut ModelVersionStatus,
    now: Timestamp,
) {
    let version = &*observed.version;
    let digest = version.digest_with(Some(&*status)).map(str::to_owned);
    if digest.is_none() && !is_decided(status) {
        // What it is a record of is not known yet. What happens meanwhile is recorded then.
        return;
    }
    let mut all = own(version, digest.as_ref(), before, status, now);
    // What happened before it was made happened to another one of its name.
    let made = version.metadata.creation_timestamp.as_ref();
    let mut happened: Vec<(&str, &RolloutEvent)> = Vec::new();
    for deployment in &observed.deployments {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        let events = deployment.status.iter().flat_map(|status| &status.history);
        happened.extend(
            events
                .filter(|event| event.version == version.name_any())
                .filter(|event| made.is_none_or(|made| event.time >= made.0))
                .filter(|event| !is_known(before, name, event))
                .map(|event| (name, event)),
        );
    }
    // What happened at one time in one place stays in its order.
    happened.sort_by(|(one, a), (two, b)| (a.time, one).cmp(&(b.time, two)));
    all.extend(happened.into_iter().map(|(deployment, event)| New {
        action: event.action,
        time: event.time,
        actor: WINDLASS.to_owned(),
        deployment: Some(deployment.to_owned()),
        reason: event.reason.clone(),
        evidence: event.evidence.clone(),
    }));
    // The last of all, after which it goes.
    if is_decided(status) && !is_decided(before) {
        all.push(New {
            action: Action::Retired,
            time: now,
            actor: WINDLASS.to_owned(),
            deployment: None,
            reason: last_reason(observed),
            evidence: digest,
        });
    }
    for new in all {
        append(version, &mut status.decisions, new);
    }
    let surplus = status.decisions.len().saturating_sub(KEPT_DECISIONS);
    status.decisions.drain(..surplus);
}

/// What is decided here: that it was made, judged and reviewed.
fn own(
    version: &ModelVersion,
    digest: Option<&String>,
    before: &ModelVersionStatus,
    status: &ModelVersionStatus,
    now: Timestamp,
) -> Vec<New> {
    let mut all = Vec::new();
    let spec = &version.spec;
    let is_first = before.decisions.is_empty();
    let mut add = |action, actor: &str, reason: &str, evidence| {
        all.push(New {
            action,
            time: now,
            actor: actor.to_owned(),
            deployment: None,
            reason: reason.to_owned(),
            evidence,
        });
    };
    if is_first {
        let from = match &spec.trained_by {
            None => "it was registered".to_owned(),
            Some(by) => match &by.monitor {
                None => format!("the TrainingJob {} made it", by.name),
                Some(monitor) => format!(
                    "the TrainingJob {} made it, which the DriftMonitor {monitor} asked for",
                    by.name
                ),
            },
        };
        let author = spec.author.as_deref().unwrap_or(WINDLASS);
        add(Action::Created, author, &from, digest.cloned());
    }
    if let Some(found) = &status.validation
        && (is_first || before.validation.is_none())
    {
        let reason = format!("{:?}: {}", found.verdict, found.message);
        let report = found.report.as_ref().map(|report| report.digest.clone());
        let evidence = report.unwrap_or_else(|| digest::of(found));
        add(Action::Validated, WINDLASS, &reason, Some(evidence));
    }
    // The condition may be older than the record: while a Job settles, what is said stays.
    let is_review = |one: &Decision| matches!(one.action, Action::Approved | Action::Denied);
    let was_reviewed = before.decisions.iter().any(is_review)
        || find_condition(&before.conditions, condition::APPROVED)
            .is_some_and(|said| said.reason == REVIEWED);
    if let Some(review) = &spec.review
        && (is_first || !was_reviewed)
    {
        let action = match review.decision {
            ReviewDecision::Approved => Action::Approved,
            ReviewDecision::Denied => Action::Denied,
        };
        // What it was that was approved.
        let judged = status.validation.as_ref().map(digest::of);
        let evidence = judged.or_else(|| digest.cloned());
        add(action, &review.by, &review.reason, evidence);
    }
    all
}

/// The reason of the condition `Approved` once a person has spoken.
pub(super) const REVIEWED: &str = "Reviewed";

/// Whether a record of an event is there, or was before it was too old to be kept.
fn is_known(before: &ModelVersionStatus, deployment: &str, event: &RolloutEvent) -> bool {
    let decisions = &before.decisions;
    let is_cut = decisions.first().is_some_and(|first| first.sequence > 1);
    let is_older = decisions
        .first()
        .is_some_and(|first| event.time < first.time);
    (is_cut && is_older)
        || decisions.iter().any(|decision| {
            decision.deployment.as_deref() == Some(deployment)
                && decision.action == event.action
                && decision.time == event.time
        })
}

fn append(version: &ModelVersion, chain: &mut Vec<Decision>, new: New) {
    let last = chain.last();
    let mut line = AuditLine {
        namespace: version.namespace().unwrap_or_default(),
        name: version.name_any(),
        uid: version.uid().unwrap_or_default(),
        decision: Decision {
            sequence: last.map_or(1, |last| last.sequence + 1),
            action: new.action,
            time: new.time,
            actor: new.actor,
            deployment: new.deployment,
            reason: new.reason[..new.reason.floor_char_boundary(MOST)].to_owned(),
            evidence: new.evidence,
            previous: last.map(|last| last.digest.clone()),
            digest: String::new(),
        },
    };
    line.decision.digest = line.digest();
    chain.push(line.decision);
}
