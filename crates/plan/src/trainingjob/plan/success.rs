//! An attempt ended well: its output becomes a ModelVersion, exactly one.

use kube::ResourceExt;
use windlass_api::agent::{Report, TrainingReport};
use windlass_api::{InputRecord, TrainingJobStatus};

use super::Reconcile;
use super::record::Ending;
use crate::trainingjob::children::{self, Trained};
use crate::{Child, Plan, Problem, Step, digest, pods};

impl Reconcile<'_> {
    pub(super) fn succeeded(&self) -> Plan<TrainingJobStatus> {
        let number = self.before.attempt.unwrap_or(1);
        let report = self.training_report(number);
        let uid = self.job.uid().unwrap_or_default();
        let made = self.observed.versions.iter().find(|version| {
            let by = version.spec.trained_by.as_ref();
            by.is_some_and(|by| by.uid == uid)
        });
        if self.job.spec.model.is_none() {
            return self.ended_well(report.as_ref(), None, "all workers ended well");
        }
        if let Some(made) = made {
            let name = made.name_any();
            let message = format!("registered as ModelVersion {name}");
            return self.ended_well(report.as_ref(), Some(name), &message);
        }
        let Some(report) = report else {
            let problem = Problem::new(
                "ReportMissing",
                "the first worker ended well but left no report: its pod was taken away before it was read",
            );
            return self.count_failure(&problem, Ending::of(&problem));
        };
        let Some(output) = &report.output else {
            let problem = Problem::new(
                "OutputMissing",
                "the first worker ended well but reported no output",
            );
            let mut status = self.base();
            self.record(&mut status, Ending::of(&problem));
            return self.failed(status, &problem);
        };
        if let Some(problem) = children::output_elsewhere(self.job, &output.uri) {
            let mut status = self.base();
            self.record(&mut status, Ending::of(&problem));
            return self.failed(status, &problem);
        }
        let newest = self
            .observed
            .versions
            .iter()
            .map(|version| version.spec.version)
            .chain(self.champion_number())
            .max()
            .unwrap_or(0);
        let mut inputs = children::inputs_read(&report, &self.told_to_read());
        let request_fingerprint = children::fingerprint(self.job, &inputs, &[]);
        // What the steps read, and made for each other, is where the workers' data comes from.
        let known = children::records(&self.before.inputs, &self.before.steps);
        for record in known {
            if inputs.iter().all(|input| input.name != record.name) {
                inputs.push(record);
            }
        }
        let trained = Trained {
            report: &report,
            output,
            images: pods::images_but(self.pods_of(number), &[]),
            fingerprint: self.fingerprint(&report),
            request_fingerprint,
            inputs,
            parent: self.observed.champion.clone(),
        };
        let version = children::model_version(self.job, newest + 1, trained);
        let name = version.name_any();
        let message = format!("registered as ModelVersion {name}");
        let mut plan = self.ended_well(Some(&report), Some(name), &message);
        plan.steps
            .push(Step::Create(Child::ModelVersion(Box::new(version))));
        plan
    }

    /// The job is complete, its last attempt and the fingerprint of what was used are written down.
    fn ended_well(
        &self,
        report: Option<&TrainingReport>,
        version: Option<String>,
        message: &str,
    ) -> Plan<TrainingJobStatus> {
        let mut plan = self.complete(version, message);
        if let Some(report) = report {
            plan.status.fingerprint = Some(self.fingerprint(report));
        }
        let ending = Ending {
            resumed: report.and_then(|report| report.resumed.clone()),
            ..Ending::new("Succeeded", "all workers ended well")
        };
        self.record(&mut plan.status, ending);
        plan
    }

    /// The fingerprint of what was used: inputs as they were read, images as the kubelets resolved them. The agent is in
    /// every pod, and makes no model.
    fn fingerprint(&self, report: &TrainingReport) -> String {
        let number = self.before.attempt.unwrap_or(1);
        let inputs = children::inputs_read(report, &self.told_to_read());
        let images = pods::images_but(self.pods_of(number), &children::AGENT_ALONE);
        let fingerprint = children::fingerprint(self.job, &inputs, &images);
        let sizes = self.before.attempts.iter().map(|attempt| attempt.workers);
        let sizes: Vec<i32> = sizes.flatten().collect();
        let all = self.job.spec.workers.replicas;
        if sizes.iter().all(|size| *size == all) {
            return fingerprint;
        }
        // Other world sizes make another model.
        digest::of(&serde_json::json!({"fingerprint": fingerprint, "sizes": sizes}))
    }

    /// What the workers were told to read by digest.
    fn told_to_read(&self) -> Vec<InputRecord> {
        let known = children::records(&self.before.inputs, &self.before.steps);
        children::read_by_workers(self.job, &known)
    }

    /// The number of the version that serves, whose record may have been deleted: its number is not given again.
    fn champion_number(&self) -> Option<i64> {
        let (_, number) = self.observed.champion.as_ref()?.rsplit_once('-')?;
        number.parse().ok()
    }

    fn training_report(&self, attempt: i32) -> Option<TrainingReport> {
        let mut first = self
            .pods_of(attempt)
            .filter(|pod| pods::rank(pod) == Some(0));
        first.find_map(|pod| {
            pods::reports(pod).find_map(|report| match report {
                Report::Training(training) => Some(training),
                _ => None,
            })
        })
    }
}
