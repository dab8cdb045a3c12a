//! An attempt ended well: its output becomes a ModelVersion, exactly one.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::TrainingJobStatus;
use windlass_api::agent::{Report, TrainingReport};

use super::Reconcile;
use crate::trainingjob::children;
use crate::{Child, Plan, Problem, Step, pods};

impl Reconcile<'_> {
    pub(super) fn succeeded(&self) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        if self.job.spec.model.is_none() {
            return self.complete(None, "all workers ended well");
        }
        let uid = self.job.uid().unwrap_or_default();
        if let Some(made) = self.observed.versions.iter().find(|version| {
            version
                .spec
                .trained_by
                .as_ref()
                .is_some_and(|by| by.uid == uid)
        }) {
            let name = made.name_any();
            return self.complete(
                Some(name.clone()),
                &format!("registered as ModelVersion {name}"),
            );
        }
        let Some((pod, training)) = self.training_report(number) else {
            let problem = Problem::new(
                "ReportMissing",
                "the first worker ended well but left no report: its pod was taken away before it was read",
            );
            return self.count_failure(&problem, None);
        };
        let Some(output) = &training.output else {
            return self.failed(
                self.base(),
                &Problem::new(
                    "OutputMissing",
                    "the first worker ended well but reported no output",
                ),
            );
        };
        let newest = self
            .observed
            .versions
            .iter()
            .map(|version| version.spec.version)
            .chain(self.champion_number())
            .max()
            .unwrap_or(0);
        let version = children::model_version(
            self.job,
            newest + 1,
            &training,
            output,
            pods::images(pod),
            self.observed.champion.clone(),
        );
        let name = version.name_any();
        let mut plan = self.complete(
            Some(name.clone()),
            &format!("registered as ModelVersion {name}"),
        );
        plan.steps
            .push(Step::Create(Child::ModelVersion(Box::new(version))));
        plan
    }

    /// The number of the version that serves, whose record may have been deleted: its number is not given again.
    fn champion_number(&self) -> Option<i64> {
        let (_, number) = self.observed.champion.as_ref()?.rsplit_once('-')?;
        number.parse().ok()
    }

    fn training_report(&self, attempt: i32) -> Option<(&Pod, TrainingReport)> {
        self.pods_of(attempt).find_map(|pod| {
            let trainer = pod.spec.as_ref()?.containers.first()?;
            match pods::report(pod, &trainer.name)? {
                Report::Training(training) if rank(pod) == Some(0) => Some((pod, training)),
                _ => None,
            }
        })
    }
}

fn rank(pod: &Pod) -> Option<i32> {
    pod.labels()
        .get("batch.kubernetes.io/job-completion-index")?
        .parse()
        .ok()
}
