//! An attempt is started: once what it needs is there, and nothing of the one before is alive.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::{InputRecord, SchedulingStatus, StepStatus, TrainingJobStatus, labels};

use super::attempt::is_of;
use super::data::Data;
use super::size::{self, Size};
use super::steps::Steps;
use super::{Reconcile, pace};
use crate::trainingjob::children::{self, MadeWith, TrainersAgent};
use crate::trainingjob::gang::{self, Backend};
use crate::{Child, Doomed, Note, Plan, Problem, Step, jobs, pods, template};

/// How long after its time a pod may still go.
const LATE: SignedDuration = SignedDuration::from_mins(1);

impl Reconcile<'_> {
    pub(super) fn start(&self) -> Plan<TrainingJobStatus> {
        if let Some(plan) = self.wrong_steps() {
            return plan;
        }
        let worker = match self.check() {
            Ok(worker) => worker,
            Err(problem) => return self.stalled(&problem),
        };
        let inputs = match self.data() {
            Data::Fit(inputs) => inputs,
            Data::NotFit(plan) => return *plan,
        };
        let steps = match self.steps(&inputs) {
            Steps::Ended(steps) => steps,
            Steps::Pending(plan) => return *plan,
        };
        let mut plan = self.start_attempt(&worker, &inputs, &steps);
        plan.status.inputs = inputs;
        plan.status.steps = steps;
        plan
    }

    /// Everything that comes before the workers has ended well.
    fn start_attempt(
        &self,
        worker: &PodTemplateSpec,
        inputs: &[InputRecord],
        steps: &[StepStatus],
    ) -> Plan<TrainingJobStatus> {
        let records = children::records(inputs, steps);
        let inputs = children::read_by_workers(self.job, &records);
        if let Some(plan) = self.reused(&inputs) {
            return plan;
        }
        let number = self.before.attempt.unwrap_or(0) + 1;
        let name = children::job_name(self.job, number);
        // Its Job is there when we stopped between making it and writing it down.
        let made = self
            .observed
            .children
            .iter()
            .find(|child| child.name_any() == name)
            .map(AsRef::as_ref);
        if let Some(plan) = self.held_back(number, made) {
            return plan;
        }
        if let Some(left) = pace::pause_left(&self.before.attempts, self.now)
            && made.is_none()
        {
            return self.paused(number, left);
        }
        let (backend, scheduling) = match self.backend(worker, made) {
            Ok(chosen) => chosen,
            Err(problem) => return self.stalled(&problem),
        };
        let workers = match made.and_then(|made| made.spec.as_ref()?.completions) {
            Some(workers) => workers,
            None => match self.next_size(&backend) {
                Size::Workers(workers) => workers,
                Size::NotKnown => {
                    return Plan {
                        again: Some(Duration::from_secs(1)),
                        ..Plan::status_only(self.before.clone())
                    };
                }
            },
        };
        let job = size::sized(self.job, workers);
        let mut status = match &backend {
            Backend::Kueue { queue } => self.queued(number, queue),
            Backend::Native | Backend::Kai { .. } | Backend::Volcano { .. } | Backend::None => {
                self.under_way(number)
            }
        };
        self.begin(&mut status, number, workers);
        // A queue's time is not the job's.
        if !matches!(backend, Backend::Kueue { .. }) {
            status.start_time.get_or_insert(self.now);
        }
        status.fingerprint = Some(children::fingerprint(self.job, &inputs, &[]));
        status.scheduling = Some(scheduling);
        let image = made
            .and_then(children::agent_image)
            .unwrap_or_else(|| self.observed.agent_image.clone());
        let agent_image = status.agent_image.get_or_insert(image).clone();

        let mut steps: Vec<Step> = children::service(&job)
            .map(|service| Step::Apply(Child::Service(Box::new(service))))
            .into_iter()
            .collect();
        steps.extend(children::beside(&job, number, &backend).map(Step::Apply));
        // A Job's pods cannot be changed: one that is there is taken as it is.
        if made.is_none() {
            steps.push(Step::Apply(Child::Job(Box::new(children::indexed_job(
                &job,
                number,
                worker,
                &MadeWith {
                    agent: self.agent(&agent_image),
                    inputs: &inputs,
                    backend: &backend,
                },
            )))));
        }
        steps.extend(self.left_group(number));
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

    /// What is left of how the attempt before was scheduled: its pods are gone by now.
    fn left_group(&self, number: i32) -> Option<Step> {
        let scheduled = self.before.scheduling.as_ref()?;
        let with_group = [Backend::Native, Backend::Volcano { queue: None }];
        let had_group = with_group.iter().any(|one| one.name() == scheduled.gang);
        let before = children::job_name(self.job, number - 1);
        (had_group && number > 1).then_some(Step::Delete(Doomed::PodGroup(before)))
    }

    /// The agent of this image, with the node's cache of inputs where it may use one. One from before an upgrade may not
    /// know of caches.
    pub(super) fn agent<'a>(&'a self, image: &'a str) -> TrainersAgent<'a> {
        let namespace = self.job.namespace().unwrap_or_default();
        let cache = self.observed.input_cache.as_ref();
        TrainersAgent {
            image,
            input_cache: cache
                .filter(|cache| cache.serves(&namespace) && *image == self.observed.agent_image),
        }
    }

    /// Who schedules the gang: as the Job was made, where it is there already.
    fn backend(
        &self,
        worker: &PodTemplateSpec,
        made: Option<&Job>,
    ) -> Result<(Backend, SchedulingStatus), Problem> {
        let chosen = gang::choose(self.job, worker, &self.observed.schedulers);
        let Some(made) = made.map(Backend::of) else {
            return chosen;
        };
        match chosen {
            Ok((backend, status)) if backend == made => Ok((backend, status)),
            Ok(_) | Err(_) => {
                let status = SchedulingStatus {
                    gang: made.name().to_owned(),
                    reason: "so it was when the attempt was started".to_owned(),
                };
                Ok((made, status))
            }
        }
    }

    /// The next attempt waits, since those before it ended so soon.
    fn paused(&self, number: i32, left: Duration) -> Plan<TrainingJobStatus> {
        let last = self.before.attempts.last();
        let why = last.map(|last| format!("{}: {}", last.reason, last.message));
        let message = format!(
            "attempt {number} starts in a while, since those before it ended soon after they had started; the last with {}",
            why.unwrap_or_default()
        );
        Plan {
            again: Some(left),
            ..Plan::status_only(self.progressing("BackingOff", &message))
        }
    }

    /// What is to be done while an attempt may not start yet.
    fn held_back(&self, number: i32, made: Option<&Job>) -> Option<Plan<TrainingJobStatus>> {
        if let Some(going) = made.filter(|child| child.metadata.deletion_timestamp.is_some()) {
            return Some(self.waiting_for_job(going));
        }
        // Never two attempts alive at the same time.
        let alive = self
            .pods
            .iter()
            .find(|pod| pods::is_alive(pod) && !(made.is_some() && is_of(pod, number)));
        let Some(pod) = alive else {
            return self.held_back_by_unseen();
        };
        let name = pod.name_any();
        let node = pods::node(pod);
        // A pod is deleted with a time at which it has to be gone. Past it, its kubelet does not answer.
        let left = pod.metadata.deletion_timestamp.as_ref().map(|until| {
            let left = (until.0 + LATE).duration_since(self.now);
            Duration::try_from(left).unwrap_or(Duration::ZERO)
        });
        if let (Some(Duration::ZERO), Some(node)) = (left, node) {
            return Some(self.stalled(&Problem::new(
                "PodNotGone",
                format!(
                    "pod {name} of the attempt before does not go, since node {node} does not answer; it may still run, and no attempt is started beside it. Once {node} is known to be off, delete the Node, or `kubectl taint node {node} node.kubernetes.io/out-of-service=:NoExecute`"
                ),
            )));
        }
        let message = format!("waiting until pod {name} of the attempt before is gone");
        Some(Plan {
            again: left.filter(|left| !left.is_zero()),
            ..Plan::status_only(self.progressing("WaitingForPods", &message))
        })
    }

    /// No pod is alive that has been seen. A Job that is deleted with its pods stays until they are gone; after a minute
    /// they would have been seen, and something else holds it.
    fn held_back_by_unseen(&self) -> Option<Plan<TrainingJobStatus>> {
        self.observed.children.iter().find_map(|child| {
            let since = child.metadata.deletion_timestamp.as_ref()?.0;
            let is_attempt = child.labels().contains_key(labels::ATTEMPT);
            let left = self.left(since + LATE)?;
            if !is_attempt || jobs::has_ended(child) {
                return None;
            }
            Some(Plan {
                again: Some(left),
                ..self.waiting_for_job(child)
            })
        })
    }

    fn waiting_for_job(&self, going: &Job) -> Plan<TrainingJobStatus> {
        let message = format!("waiting until Job {} is gone", going.name_any());
        Plan::status_only(self.progressing("WaitingForPods", &message))
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
        self.check_devices(TEMPLATE, spec)?;
        self.check_steps()?;
        self.check_claims()?;
        Ok(worker)
    }

    /// The service account that a field names has to be there.
    pub(super) fn check_account(&self, field: &str, account: Option<&str>) -> Result<(), Problem> {
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
                    .checkpoint
                    .iter()
                    .map(|checkpoint| ("spec.checkpoint.uri", &checkpoint.uri)),
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
