//! The lives in whose course the operator is killed, and how each has to go.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::end::{records, text};
use super::rollouts::{NAME, RollOut};
use super::stage::{Outcome, Stage};
use super::{deletions, drifts, trainings};

/// How many times as many points of the shortest roll-out are tried, where not all are.
const OF_SHORTEST: usize = 4;

/// One life of objects, from when they are made until nothing more is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Version 2 replaces version 1.
    RollOut(RollOut),
    /// A TrainingJob checks its data, fails once, and makes a version, which is judged.
    Training,
    /// A version that was trained elsewhere is digested, judged and approved.
    Registration,
    /// One object of each kind is deleted while it is at work: where the operator is killed, before it is started again.
    Deletion,
    /// A version that is not kept goes, and its files with it.
    Retention,
    /// A version drifts, and what is trained for that replaces it.
    Drift,
}

/// What is not as it is to be: of what, what it is, and what it is to be.
pub type Found = (String, Vec<String>, Vec<String>);

impl Life {
    /// All of them, the shortest roll-out first.
    pub fn all() -> Vec<Self> {
        let own = [
            Self::Training,
            Self::Registration,
            Self::Deletion,
            Self::Retention,
            Self::Drift,
        ];
        RollOut::ALL
            .map(Self::RollOut)
            .into_iter()
            .chain(own)
            .collect()
    }

    /// A word for names of namespaces.
    pub fn word(self) -> &'static str {
        match self {
            Self::RollOut(rollout) => rollout.word(),
            Self::Training => "training",
            Self::Registration => "registration",
            Self::Deletion => "deletion",
            Self::Retention => "retention",
            Self::Drift => "drift",
        }
    }

    /// The life that a namespace was made for.
    pub fn of_namespace(namespace: &str) -> Option<Self> {
        let (word, _) = namespace.rsplit_once('-')?;
        Self::all().into_iter().find(|life| life.word() == word)
    }

    /// Whether the first attempt of a training fails.
    pub fn fails_at_first(self) -> bool {
        self == Self::Training
    }

    /// Whether the work of a pod comes to an end. What is deleted is at work until then, but for what the rest needs.
    pub fn ends(self, pod: &Pod) -> bool {
        let is_needed = |job: &String| job == "churn-1-validation" || job.ends_with("-check");
        let job = pod.labels().get("batch.kubernetes.io/job-name");
        self != Self::Deletion || job.is_some_and(is_needed)
    }

    /// Whether what was seen on the way is the same wherever the operator is killed. What is deleted early never came far.
    pub fn has_one_way(self) -> bool {
        match self {
            Self::RollOut(_)
            | Self::Training
            | Self::Registration
            | Self::Retention
            | Self::Drift => true,
            Self::Deletion => false,
        }
    }

    /// Whether every decision is in what some operator said. A version that somebody deletes before its line is written,
    /// while no operator runs, takes the record with it.
    pub fn is_told(self) -> bool {
        self != Self::Deletion
    }

    /// How many points of it are tried, where it is to be so many of each: one that waits for the clock takes longer than all
    /// others.
    pub fn some(self, some: usize) -> usize {
        match self {
            Self::RollOut(RollOut::Replicas) => some * OF_SHORTEST,
            Self::RollOut(_) | Self::Training | Self::Registration | Self::Deletion => some,
            Self::Retention | Self::Drift => some.div_ceil(2),
        }
    }

    /// The objects that it begins with.
    pub fn objects(self, namespace: &str) -> Value {
        let items = match self {
            Self::RollOut(rollout) => return rollout.objects(namespace),
            Self::Training => vec![trainings::training(namespace)],
            Self::Registration => vec![trainings::foreign(namespace)],
            Self::Deletion => deletions::one_of_each(namespace),
            Self::Retention => deletions::too_many(namespace),
            Self::Drift => drifts::objects(namespace),
        };
        json!({"apiVersion": "v1", "kind": "List", "items": items})
    }

    /// Does what people do in its course, and waits until it is over.
    pub async fn follow(self, stage: &Stage, namespace: &str) -> Result<()> {
        let client = &stage.client;
        match self {
            Self::RollOut(_) => stage.roll_out(namespace).await,
            Self::Training => trainings::good(client, namespace, "churn-1").await,
            Self::Registration => {
                let rita = stage.bed.client_as("rita").await?;
                trainings::approve(&rita, namespace, "rita").await
            }
            Self::Deletion => deletions::follow(client, namespace).await,
            Self::Retention => deletions::retired(client, namespace).await,
            Self::Drift => drifts::follow(client, namespace).await,
        }
    }

    /// What happens while no operator runs.
    pub async fn while_down(self, client: &Client, namespace: &str) -> Result<()> {
        match self {
            Self::Deletion => deletions::delete_all(client, namespace).await,
            Self::RollOut(_)
            | Self::Training
            | Self::Registration
            | Self::Retention
            | Self::Drift => Ok(()),
        }
    }

    /// How it went where nobody was killed, and how it is to go.
    pub fn found(self, outcome: &Outcome) -> Vec<Found> {
        let records_of = |version: &str| records(&outcome.end, version);
        let all: Vec<(&str, Vec<String>, &[&str])> = match self {
            Self::RollOut(rollout) => return of_roll_out(rollout, outcome),
            Self::Training => vec![
                (
                    "things",
                    things(outcome),
                    &[
                        "Job churn-1-validation: made",
                        "Job fit-1: made",
                        "Job fit-2: made",
                        "Job fit-check: made",
                        "ModelVersion churn-1: made",
                        "TrainingJob fit: made",
                    ],
                ),
                (
                    "attempts",
                    attempts(outcome),
                    &["TrainerFailed", "Succeeded"],
                ),
                ("records", records_of("churn-1"), &["Created", "Validated"]),
            ],
            Self::Registration => vec![
                (
                    "things",
                    things(outcome),
                    &[
                        "Job churn-1-digest: made",
                        "Job churn-1-validation: made",
                        "ModelVersion churn-1: made",
                    ],
                ),
                (
                    "records",
                    records_of("churn-1"),
                    &["Created", "Validated", "Approved"],
                ),
            ],
            Self::Deletion => vec![("what is left", left(outcome), &[])],
            Self::Retention => vec![
                (
                    "things",
                    things(outcome),
                    &[
                        "Job churn-1-retention: made, gone",
                        "ModelVersion churn-1: made, gone",
                        "ModelVersion churn-2: made",
                        "ModelVersion churn-3: made",
                    ],
                ),
                (
                    "records",
                    outcome.recorded("churn-1"),
                    &["Created", "Retired"],
                ),
            ],
            Self::Drift => vec![
                (
                    "things",
                    things(outcome),
                    &[
                        "DriftMonitor watch: made",
                        "Job churn-1-validation: made",
                        "Job churn-2-validation: made",
                        "Job churn-v1-r1-1: made",
                        "ModelVersion churn-1: made",
                        "ModelVersion churn-2: made",
                        "TrainingJob churn-v1-r1: made",
                    ],
                ),
                (
                    "records",
                    records_of("churn-2"),
                    &["Created", "Validated", "CanaryStarted", "Promoted"],
                ),
                (
                    "reference",
                    outcome.way("reference"),
                    &["churn-1", "churn-2"],
                ),
            ],
        };
        all.into_iter()
            .map(|(what, found, expected)| (what.to_owned(), found, owned(expected)))
            .collect()
    }
}

fn owned(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

fn of_roll_out(rollout: RollOut, outcome: &Outcome) -> Vec<Found> {
    let mut all = vec![
        (
            "steps".to_owned(),
            outcome.way("steps"),
            owned(rollout.steps()),
        ),
        (
            "route".to_owned(),
            outcome.way("route"),
            owned(rollout.routes()),
        ),
        (
            "pods".to_owned(),
            outcome.way("ready pods"),
            owned(&["too few", "enough"]),
        ),
    ];
    for (number, expected) in (1..).zip(rollout.records()) {
        let version = format!("{NAME}-{number}");
        let found = records(&outcome.end, &version);
        all.push((format!("records of {version}"), found, owned(expected)));
    }
    all
}

/// Jobs and objects of ours that there ever were, and what became of each.
fn things(outcome: &Outcome) -> Vec<String> {
    let kinds = ["Job ", "ModelVersion ", "TrainingJob ", "DriftMonitor "];
    let ways: BTreeMap<_, _> = outcome
        .ways
        .iter()
        .filter(|(what, _)| kinds.iter().any(|kind| what.starts_with(kind)))
        .collect();
    let all = ways.into_iter();
    all.map(|(what, way)| format!("{what}: {}", way.join(", ")))
        .collect()
}

/// Objects and pods that are there in the end.
fn left(outcome: &Outcome) -> Vec<String> {
    let is_left = |value: &Value| value.as_object().is_some_and(|fields| !fields.is_empty());
    let all = outcome.end.iter().filter(|(_, value)| is_left(value));
    all.map(|(what, _)| what.clone()).collect()
}

/// How the attempts of the training ended.
fn attempts(outcome: &Outcome) -> Vec<String> {
    let training = outcome
        .end
        .get(&format!("TrainingJob {}", trainings::TRAINING));
    let attempts = training.and_then(|one| one.pointer("/status/attempts")?.as_array());
    let reasons = attempts.into_iter().flatten();
    reasons
        .map(|attempt| text(&attempt["reason"]).to_owned())
        .collect()
}
