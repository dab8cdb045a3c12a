//! What is shown of an object beside the cluster, and the Job that shows it.
//!
//! ```text
//!   what is shown is other than what is so ──> a Job shows it ──ended well──> Published
//!                             ^                    │ failed
//!                             └─ ten minutes later ┘
//! ```
//!
//! One Job at a time, so that an older state never overwrites a newer one. Nothing else waits for it: a server that does
//! not answer delays what it shows, and no more.
//!
//! The Job runs in the object's namespace and alone mounts the Secret. What it shows it is handed with its pod, so that it
//! needs no rights in the cluster.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvFromSource, ObjectFieldSelector, Pod,
    PodSpec, SecretEnvSource, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;
use windlass_api::agent::{PublishReport, Report, paths};
use windlass_api::{Mlflow, TrackingStatus, condition, find_condition};

use crate::agent_job::{Terms, agent_job};
use crate::conditions::{Conditions, Truth};
use crate::pods::{self, Agent, flag};
use crate::work::{Work, work};
use crate::{Child, Note, Problem, Step, digest, jobs};

/// What a Job that shows something is for, as its label says.
pub const ROLE: &str = "publication";

/// The alias of the version that serves, and of the one that is tried.
pub(crate) const ALIASES: [&str; 2] = ["champion", "challenger"];
/// Annotation of a pod: the object that it shows, as JSON.
const RECORD: &str = "windlass.dev/record";
const RECORD_FILE: &str = "record.json";
/// Bytes of the record; a pod's annotations may have 256 KiB together.
const MAX_RECORD: usize = 250_000;
/// Seconds that it may take.
const MAX_SECONDS: i64 = 10 * 60;
/// How often it is tried again at once where the server does not answer.
const RETRIES: i32 = 2;
/// Seconds after which a Job that has ended goes. Where it failed, the next one follows then.
const KEPT_SECONDS: i32 = 10 * 60;
/// The reason of the condition while a Job is at work.
const PUBLISHING: &str = "Publishing";
/// Characters that the name of a Job may have.
const MAX_NAME: usize = 63;

/// What is to be shown, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Publication {
    /// Where.
    pub mlflow: Mlflow,
    /// The object as it is to be shown.
    pub record: Value,
    /// The aliases that name it.
    pub aliases: Vec<&'static str>,
    /// What it is.
    #[serde(skip)]
    pub of: Of,
}

/// What is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// A version, and the run that made it.
    Version,
    /// The run of a training that made none.
    Training,
}

/// What is so with what is shown.
pub(crate) enum Shown {
    /// It is shown as it is.
    Yes(TrackingStatus),
    /// It will be, and what is shown until then is as it was.
    Soon(String),
    /// It cannot be, for now.
    No(Problem),
}

/// What is known of an object's publications.
pub(crate) struct Known<'a> {
    /// What was shown before.
    pub before: Option<&'a TrackingStatus>,
    /// Its Jobs that show it.
    pub jobs: &'a [Arc<Job>],
    /// Their pods.
    pub pods: &'a [Arc<Pod>],
    /// The agent that shows it.
    pub agent_image: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// What comes of it.
pub(crate) struct Told {
    /// How it stands.
    pub shown: Shown,
    /// The Job to be made.
    pub step: Option<Step>,
    /// When to look again, where nothing else tells.
    pub again: Option<Duration>,
}

impl From<Shown> for Told {
    fn from(shown: Shown) -> Self {
        Self {
            shown,
            step: None,
            again: None,
        }
    }
}

impl Publication {
    /// By which it is told from what was shown before.
    fn digest(&self) -> String {
        digest::of(self)
    }

    /// The name of its Job.
    pub fn job_name(&self, owner: &impl Resource<DynamicType = ()>) -> String {
        let mut name = format!("{}-p{}", owner.name_any(), digest::short(self));
        name.truncate(MAX_NAME);
        name
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["publish".to_owned()];
        flag(&mut arguments, "tracking-uri", &*self.mlflow.uri);
        let record = match self.of {
            Of::Version => "version",
            Of::Training => "training-job",
        };
        flag(
            &mut arguments,
            record,
            format!("{}/{RECORD_FILE}", paths::RECORD),
        );
        if let Some(experiment) = &self.mlflow.experiment {
            flag(&mut arguments, "experiment", &**experiment);
        }
        if self.of == Of::Training {
            return arguments;
        }
        if let Some(model) = &self.mlflow.registered_model {
            flag(&mut arguments, "registered-model", &**model);
        }
        for alias in ALIASES {
            let name = if self.aliases.contains(&alias) {
                "alias"
            } else {
                "unalias"
            };
            flag(&mut arguments, name, alias);
        }
        arguments
    }

    /// How it stands with it, and what is to be done. A Job gets these labels.
    pub fn told(
        &self,
        owner: &impl Resource<DynamicType = ()>,
        labels: Vec<(&'static str, String)>,
        known: &Known<'_>,
    ) -> Told {
        let digest = self.digest();
        if let Some(shown) = known.before.filter(|of| of.digest == digest) {
            return Shown::Yes(shown.clone()).into();
        }
        let name = self.job_name(owner);
        if let Some(job) = known.jobs.iter().find(|job| job.name_any() == name) {
            return outcome(job, digest, known);
        }
        if let Some(other) = known.jobs.iter().find(|job| !jobs::has_ended(job)) {
            return Shown::Soon(format!("Job {} has to end first", other.name_any())).into();
        }
        match self.job(owner, labels, known.agent_image) {
            Ok(job) => Told {
                shown: Shown::Soon(format!("Job {name} shows it")),
                step: Some(Step::Apply(Child::Job(Box::new(job)))),
                again: None,
            },
            Err(problem) => Shown::No(problem).into(),
        }
    }

    /// The Job that shows it.
    ///
    /// # Errors
    /// Where it is more than a pod can be handed.
    fn job(
        &self,
        owner: &impl Resource<DynamicType = ()>,
        labels: Vec<(&'static str, String)>,
        agent_image: &str,
    ) -> Result<Job, Problem> {
        let record = self.record.to_string();
        if record.len() > MAX_RECORD {
            let message = format!(
                "the record has {} bytes, and a pod can be handed {MAX_RECORD}: spec.parameters and spec.inputs are most of it",
                record.len()
            );
            return Err(Problem::new("RecordTooLarge", message));
        }
        let mut spec = PodSpec::default();
        let agent = Agent {
            image: agent_image,
            storage: None,
        };
        let mut container = pods::agent_container(&mut spec, pods::AGENT, agent, self.arguments());
        container.env_from = self.mlflow.secret_name.clone().map(|name| {
            let secret = SecretEnvSource {
                name,
                optional: None,
            };
            vec![EnvFromSource {
                secret_ref: Some(secret),
                ..EnvFromSource::default()
            }]
        });
        mount_record(&mut spec, &mut container.volume_mounts);
        let terms = Terms {
            name: self.job_name(owner),
            role: ROLE,
            labels,
            retries: RETRIES,
            max_seconds: MAX_SECONDS,
        };
        let mut job = agent_job(owner, spec, container, terms);
        if let Some(spec) = &mut job.spec {
            spec.ttl_seconds_after_finished = Some(KEPT_SECONDS);
            let metadata = spec.template.metadata.get_or_insert_default();
            metadata.annotations = Some([(RECORD.to_owned(), record)].into());
        }
        Ok(job)
    }

    /// Says in an object's status how it stands: what was shown, and the condition among `conditions`, which were `before`.
    /// What is new and bad is told.
    pub fn say(
        &self,
        shown: Shown,
        tracking: &mut Option<TrackingStatus>,
        conditions: &mut Vec<Condition>,
        before: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Option<Note> {
        let mut note = None;
        let (truth, reason, message) = match shown {
            Shown::Yes(shown) => {
                let version = shown.model_version.as_ref();
                let as_what = version.map_or_else(
                    || "as run".to_owned(),
                    |version| format!("as version {version} of run"),
                );
                let message = format!("{} shows it {as_what} {}", self.mlflow.uri, shown.run_id);
                *tracking = Some(shown);
                (Truth::True, condition::PUBLISHED.to_owned(), message)
            }
            Shown::Soon(message) => (Truth::Unknown, PUBLISHING.to_owned(), message),
            Shown::No(problem) => {
                let said = find_condition(before, condition::PUBLISHED);
                if said.is_none_or(|said| said.reason != problem.reason) {
                    note = Some(Note::warning(&problem.reason, &problem.message));
                }
                (Truth::False, problem.reason, problem.message)
            }
        };
        let told = Conditions::new(before, generation, now).with(
            condition::PUBLISHED,
            truth,
            &reason,
            &message,
        );
        conditions.retain(|one| one.type_ != condition::PUBLISHED);
        conditions.extend(told.finish());
        note
    }
}

/// How the Job stands that shows an object.
fn outcome(job: &Job, digest: String, known: &Known<'_>) -> Told {
    let all = pods::in_order(known.pods);
    let name = job.name_any();
    let read = |report| match report {
        Report::Publish(report) => Some(report),
        Report::Training(_)
        | Report::Evaluation(_)
        | Report::Drift(_)
        | Report::Fetch(_)
        | Report::Check(_)
        | Report::Delete(_)
        | Report::Labels(_)
        | Report::Failure(_) => None,
    };
    match work(job, &all, known.now, "NotPublished", read) {
        Work::Done(PublishReport {
            run_id,
            model_version,
            ..
        }) => Shown::Yes(TrackingStatus {
            digest,
            time: known.now,
            run_id,
            model_version,
        })
        .into(),
        Work::UnderWay(again) => Told {
            again,
            ..Shown::Soon(format!("Job {name} shows it")).into()
        },
        Work::HeldUp(problem) => Shown::No(problem).into(),
        Work::Unread => {
            let problem = Problem::new("NotPublished", "what the agent said is not known");
            tried_again(&name, &problem).into()
        }
        Work::Failed(problem) => tried_again(&name, &problem).into(),
    }
}

fn tried_again(job: &str, problem: &Problem) -> Shown {
    let minutes = KEPT_SECONDS / 60;
    let message = format!(
        "{}. It is tried again once Job {job} has gone, {minutes} minutes after its end",
        problem.message
    );
    Shown::No(Problem::new(&problem.reason, message))
}

/// Mounts the pod's own annotation as a file.
fn mount_record(spec: &mut PodSpec, mounts: &mut Option<Vec<VolumeMount>>) {
    let name = "windlass-record";
    let file = DownwardAPIVolumeFile {
        path: RECORD_FILE.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            field_path: format!("metadata.annotations['{RECORD}']"),
            ..ObjectFieldSelector::default()
        }),
        ..DownwardAPIVolumeFile::default()
    };
    spec.volumes.get_or_insert_default().push(Volume {
        name: name.to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![file]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    });
    mounts.get_or_insert_default().push(VolumeMount {
        name: name.to_owned(),
        mount_path: paths::RECORD.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    });
}
