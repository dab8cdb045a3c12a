//! What is shown of a version beside the cluster, and the Job that shows it.
//!
//! The Job runs in the version's namespace and alone mounts the Secret. What it shows it is handed with its pod, so that it
//! needs no rights in the cluster.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, DownwardAPIVolumeSource, EnvFromSource, ObjectFieldSelector, PodSpec,
    SecretEnvSource, Volume, VolumeMount,
};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};
use windlass_api::agent::paths;
use windlass_api::{Mlflow, ModelVersion, ModelVersionStatus};

use super::agent_job::{Terms, agent_job};
use super::observed::Observed;
use crate::pods::{self, Agent, flag};
use crate::{Problem, digest};

/// What a Job that shows a version is for, as its label says.
pub const ROLE: &str = "publication";

/// The alias of the version that serves, and of the one that is tried.
const ALIASES: [&str; 2] = ["champion", "challenger"];
/// Annotation of a pod: the version that it shows, as JSON.
const RECORD: &str = "windlass.dev/record";
const RECORD_FILE: &str = "modelversion.json";
/// Bytes of the record; a pod's annotations may have 256 KiB together.
const MAX_RECORD: usize = 250_000;
/// Seconds that it may take.
const MAX_SECONDS: i64 = 10 * 60;
/// How often it is tried again at once where the server does not answer.
const RETRIES: i32 = 2;
/// Seconds after which a Job that has ended goes. Where it failed, the next one follows then.
pub(super) const KEPT_SECONDS: i32 = 10 * 60;

/// What is to be shown, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Publication {
    mlflow: Mlflow,
    /// The version as it is to be shown.
    record: Value,
    /// The aliases that name it.
    aliases: Vec<&'static str>,
}

impl Publication {
    /// What is to be shown of a version that is to have this status.
    pub(super) fn of(observed: &Observed, mlflow: &Mlflow, status: &ModelVersionStatus) -> Self {
        let version = &*observed.version;
        let name = version.name_any();
        let statuses = observed
            .deployments
            .iter()
            .filter_map(|of| of.status.as_ref());
        let is_tried = statuses
            .filter_map(|status| status.canary.as_ref())
            .any(|canary| canary.version == name);
        let is_so = [observed.serving.as_ref() == Some(&name), is_tried];
        let aliases = ALIASES.into_iter().zip(is_so);
        let mut spec = version.spec.clone();
        // How it is judged, reached and shown is not shown.
        (spec.validation, spec.storage, spec.tracking) = (None, None, None);
        let mut shown = json!({"validation": status.validation, "decisions": status.decisions});
        if let Some(artifact) = &status.artifact {
            shown["artifact"] = json!(artifact);
        }
        Self {
            mlflow: mlflow.clone(),
            record: json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
                "metadata": {
                    "name": name, "namespace": version.namespace(), "uid": version.uid(),
                    "creationTimestamp": version.metadata.creation_timestamp,
                },
                "spec": spec,
                "status": shown,
            }),
            aliases: aliases
                .filter(|(_, is_so)| *is_so)
                .map(|(alias, _)| alias)
                .collect(),
        }
    }

    /// By which it is told from what was shown before.
    pub(super) fn digest(&self) -> String {
        digest::of(self)
    }

    /// The name of its Job.
    pub(super) fn job_name(&self, version: &ModelVersion) -> String {
        // With the longest name of a version, 51 characters, there is room for 12 more.
        format!("{}-p{}", version.name_any(), digest::short(self))
    }

    /// Where it is shown.
    pub(super) fn uri(&self) -> &str {
        &self.mlflow.uri
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["publish".to_owned()];
        flag(&mut arguments, "tracking-uri", &*self.mlflow.uri);
        flag(
            &mut arguments,
            "version",
            format!("{}/{RECORD_FILE}", paths::RECORD),
        );
        let named = [
            ("experiment", &self.mlflow.experiment),
            ("registered-model", &self.mlflow.registered_model),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                flag(&mut arguments, name, &**value);
            }
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

    /// The Job that shows it.
    ///
    /// # Errors
    /// Where it is more than a pod can be handed.
    pub(super) fn job(&self, version: &ModelVersion, agent_image: &str) -> Result<Job, Problem> {
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
            name: self.job_name(version),
            role: ROLE,
            retries: RETRIES,
            max_seconds: MAX_SECONDS,
        };
        let mut job = agent_job(version, spec, container, terms);
        if let Some(spec) = &mut job.spec {
            spec.ttl_seconds_after_finished = Some(KEPT_SECONDS);
            let metadata = spec.template.metadata.get_or_insert_default();
            metadata.annotations = Some([(RECORD.to_owned(), record)].into());
        }
        Ok(job)
    }
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
