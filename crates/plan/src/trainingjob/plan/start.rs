//! An attempt is started: once what it needs is there, and nothing of the one before is alive.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::TrainingJobStatus;

use super::Reconcile;
use super::attempt::is_of;
use crate::trainingjob::children;
use crate::{Child, Note, Plan, Problem, Step, pods, template};

impl Reconcile<'_> {
    pub(super) fn start(&self) -> Plan<TrainingJobStatus> {
        let worker = match self.check() {
            Ok(worker) => worker,
            Err(problem) => return self.stalled(&problem),
        };
        let number = self.before.attempt.unwrap_or(0) + 1;
        let name = children::job_name(self.job, number);
        // Its Job is there when we stopped between making it and writing it down.
        let made = self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name)
            .map(AsRef::as_ref);
        if let Some(message) = self.held_back(number, made) {
            return Plan::status_only(self.progressing("WaitingForPods", &message));
        }
        let (gang, scheduling) = self.scheduling(made);
        let mut status = self.under_way(number);
        status.attempt = Some(number);
        status.start_time.get_or_insert(self.now);
        status.fingerprint = Some(children::fingerprint(self.job, &[]));
        status.scheduling = Some(scheduling);
        let image = made
            .and_then(children::agent_image)
            .unwrap_or_else(|| self.observed.agent_image.clone());
        let agent_image = status.agent_image.get_or_insert(image).clone();

        let mut steps: Vec<Step> = children::service(self.job)
            .map(|service| Step::Apply(Child::Service(Box::new(service))))
            .into_iter()
            .collect();
        if gang {
            steps.push(Step::Apply(Child::PodGroup(Box::new(children::pod_group(
                self.job, number,
            )))));
        }
        // A Job's pods cannot be changed: one that is there is taken as it is.
        if made.is_none() {
            steps.push(Step::Apply(Child::Job(Box::new(children::indexed_job(
                self.job,
                number,
                &worker,
                &agent_image,
                gang,
            )))));
        }
        let notes = vec![Note::normal(
            "AttemptStarted",
            format!("started attempt {number}"),
        )];
        Plan {
            steps,
            status,
            notes,
            again: None,
        }
    }

    /// What an attempt waits for before it may start.
    fn held_back(&self, number: i32, made: Option<&Job>) -> Option<String> {
        if let Some(going) = made.filter(|child| child.metadata.deletion_timestamp.is_some()) {
            return Some(format!("waiting until Job {} is gone", going.name_any()));
        }
        // Never two attempts alive at the same time.
        let pod = self
            .pods
            .iter()
            .find(|pod| pods::is_alive(pod) && !(made.is_some() && is_of(pod, number)))?;
        Some(format!(
            "waiting until pod {} of the attempt before is gone",
            pod.name_any()
        ))
    }

    /// What can be known to be wrong before a pod is made.
    fn check(&self) -> Result<PodTemplateSpec, Problem> {
        const TEMPLATE: &str = "spec.workers.template";
        let worker = template::parse(TEMPLATE, &self.job.spec.workers.template)?;
        let spec = worker.spec.as_ref().expect("parse checked it");
        if spec.containers[0]
            .command
            .as_ref()
            .is_none_or(Vec::is_empty)
        {
            return Err(Problem::new(
                "InvalidTemplate",
                format!(
                    "{TEMPLATE}.spec.containers[0].command: is required: the agent runs the trainer, and cannot know the image's own entry point"
                ),
            ));
        }
        let account = spec.service_account_name.as_deref();
        self.check_account(&format!("{TEMPLATE}.spec.serviceAccountName"), account)?;
        let storage = self.job.spec.storage.as_ref();
        let account = storage.and_then(|storage| storage.service_account_name.as_deref());
        self.check_account("spec.storage.serviceAccountName", account)?;
        self.check_claims()?;
        Ok(worker)
    }

    /// The service account that a field names has to be there.
    fn check_account(&self, field: &str, account: Option<&str>) -> Result<(), Problem> {
        match account {
            Some(name) if !self.observed.service_accounts.contains(name) => Err(Problem::new(
                "ServiceAccountNotFound",
                format!(
                    "{field}: the ServiceAccount {name:?} does not exist in namespace {:?}; create it, or correct the name",
                    self.job.namespace().unwrap_or_default()
                ),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The claims that the job reads from and writes to have to be there.
    fn check_claims(&self) -> Result<(), Problem> {
        let inputs: Vec<(String, _)> = self
            .job
            .spec
            .inputs
            .iter()
            .enumerate()
            .map(|(at, input)| (format!("spec.inputs[{at}].uri"), &input.uri))
            .collect();
        let named = inputs
            .iter()
            .map(|(field, address)| (field.as_str(), *address))
            .chain(
                self.job
                    .spec
                    .output
                    .iter()
                    .map(|output| ("spec.output.uri", &output.uri)),
            )
            .chain(
                self.job
                    .spec
                    .validation
                    .iter()
                    .map(|validation| ("spec.validation.dataset.uri", &validation.dataset.uri)),
            );
        pods::check_claims(
            named,
            &self.observed.claims,
            &self.job.namespace().unwrap_or_default(),
        )
    }
}
