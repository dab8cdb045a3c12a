//! The TrainingJob controller: what a decision may know is read from the caches here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{ModelDeployment, TrainingJob, TrainingJobStatus, labels};
use windlass_plan::pods::is_alive;
use windlass_plan::trainingjob::{
    Observed, QueueWord, Rooms, Utilization, gang, plan, reads_others, refused,
};
use windlass_plan::{Plan, Problem};

use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{Fact, HAS_STEPS, OF_MODEL, Ours, UNDER_WAY, so};
use crate::runtime::stores::{OurCache, Stores, is_owned_by_any};

impl Planned for TrainingJob {
    type Status = TrainingJobStatus;
    type Observed = Observed;
    const MANAGER: &'static str = "windlass-trainingjob";

    fn cache(stores: &Stores) -> &OurCache<Self> {
        &stores.training_jobs
    }

    fn status(&self) -> Option<&TrainingJobStatus> {
        self.status.as_ref()
    }

    fn observe(self: Arc<Self>, context: &Context) -> Observed {
        let stores = &context.stores;
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let children = stores
            .jobs
            .owned(&namespace, labels::TRAINING_JOB, &name, &uid);
        let mut pods = stores
            .pods
            .labelled(&namespace, labels::TRAINING_JOB, &name);
        // The pods of a Job that was taken away are still ours to wait for, until they are gone.
        pods.retain(|pod| is_owned_by_any(&**pod, &children) || is_alive(pod));
        let queue = queue_words(stores, &namespace, &children);
        let model = self.spec.model.clone().unwrap_or_default();
        let mut observed = Observed {
            children,
            pods,
            others: others_with_steps(stores, &self),
            versions: versions_of(stores, &namespace, &model),
            champion: champion(stores, &namespace, &model),
            claims: stores.claims.within(&namespace),
            service_accounts: stores.service_accounts.within(&namespace),
            claim_templates: (stores.claim_templates.as_ref())
                .map_or_else(Arc::default, |templates| templates.within(&namespace)),
            queue,
            schedulers: context.schedulers.clone(),
            progress: context.said.of(&self),
            room: Rooms::Unknown,
            utilization: Utilization::Off,
            agent_image: context.agent_image.clone(),
            input_cache: context.input_cache.clone(),
            job: self,
        };
        if let Some(age) = observed.wants_room() {
            observed.room = context.rooms.get(&observed.job, age);
        }
        if context.prometheus.is_some() {
            let pods = observed.pods.iter().map(|pod| pod.name_any()).collect();
            observed.utilization = context.utilizations.of(
                &observed.job,
                observed.wants_utilization(),
                pods,
                Instant::now(),
            );
        }
        observed
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<TrainingJobStatus> {
        plan(observed, now)
    }

    fn count(before: &Self, status: &TrainingJobStatus, context: &Context) {
        let model = before.spec.model.clone().unwrap_or_default();
        let of = context
            .metrics
            .training(&before.namespace().unwrap_or_default(), &model);
        let known = before.status.iter().flat_map(|status| &status.attempts);
        let known: Vec<_> = known.collect();
        let seconds = |from: Option<Timestamp>, to: Option<Timestamp>| {
            Some(to?.duration_since(from?).as_secs_f64().max(0.0))
        };
        for attempt in &status.attempts {
            let was = known.iter().find(|known| known.number == attempt.number);
            if attempt.admitted.is_some() && was.is_none_or(|was| was.admitted.is_none()) {
                of.queue_wait(seconds(attempt.started, attempt.admitted));
            }
            if attempt.ended.is_some() && was.is_none_or(|was| was.ended.is_none()) {
                of.start_up(seconds(
                    attempt.admitted.or(attempt.started),
                    attempt.running,
                ));
                of.run(seconds(attempt.running, attempt.ended));
                of.ended(&attempt.reason, attempt.gpu_seconds.unwrap_or(0));
            }
        }
    }

    fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<TrainingJobStatus> {
        refused(observed, problem, now)
    }
}

impl Ours for TrainingJob {
    fn conditions(&self) -> &[Condition] {
        (self.status.as_ref()).map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<Fact> {
        let status = self.status.as_ref();
        let is_under_way = status.is_some_and(|status| status.attempt_under_way().is_some());
        let has_steps = status.is_some_and(|status| !status.steps.is_empty());
        let all = [(UNDER_WAY, is_under_way), (HAS_STEPS, has_steps)];
        let is_so = all.into_iter().filter(|(_, is_so)| *is_so);
        // What has ended is no training that anybody waits for.
        let model = self.spec.model.clone().filter(|_| !self.is_finished());
        let of_model = model.map(|model| (OF_MODEL, model));
        is_so.map(|(what, _)| so(what)).chain(of_model).collect()
    }

    fn is_finished(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(TrainingJobStatus::is_finished)
    }
}

/// The other jobs of a namespace whose steps a job may take over; none where it takes none, or is past its steps.
fn others_with_steps(stores: &Stores, job: &TrainingJob) -> Vec<Arc<TrainingJob>> {
    let status = job.status.as_ref();
    let is_past =
        status.is_some_and(|status| status.attempt.is_some() || status.completion_time.is_some());
    if is_past || !reads_others(job) {
        return Vec::new();
    }
    let namespace = job.namespace().unwrap_or_default();
    let mut others = stores.training_jobs.labelled(&namespace, HAS_STEPS, "");
    others.retain(|other| other.uid() != job.uid());
    others
}

/// What Jobs in queues of Kueue's wait for, by their names.
fn queue_words(stores: &Stores, namespace: &str, jobs: &[Arc<Job>]) -> BTreeMap<String, QueueWord> {
    let Some(workloads) = &stores.workloads else {
        return BTreeMap::new();
    };
    jobs.iter()
        .filter(|job| gang::is_queued(job))
        .filter_map(|job| {
            let of_job = workloads.labelled(namespace, gang::JOB_UID, &job.uid()?);
            let word = of_job.iter().find_map(|workload| workload.waits_for())?;
            Some((job.name_any(), word))
        })
        .collect()
}

/// The versions of a model, those that a person applied without labels too.
pub fn versions_of(
    stores: &Stores,
    namespace: &str,
    model: &str,
) -> Vec<Arc<windlass_api::ModelVersion>> {
    if model.is_empty() {
        return Vec::new();
    }
    let mut all = stores.model_versions.labelled(namespace, OF_MODEL, model);
    all.sort_by_key(|version| version.spec.version);
    all
}

/// Name of the version that serves a model now.
pub fn champion(stores: &Stores, namespace: &str, model: &str) -> Option<String> {
    let serving = |deployment: &ModelDeployment| {
        deployment
            .status
            .as_ref()?
            .stable
            .as_ref()
            .map(|stable| stable.version.clone())
    };
    let all = stores
        .model_deployments
        .labelled(namespace, OF_MODEL, model);
    all.iter().find_map(|deployment| serving(deployment))
}
