//! The ModelVersion controller: what a decision may know is read from the caches here.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use windlass_api::{ModelDeployment, ModelVersion, ModelVersionStatus, labels};
use windlass_plan::modelversion::{
    Around, Observed, PUBLICATION_ROLE, REGISTRATION_ROLE, RETENTION_ROLE, may_go, plan, refused,
};
use windlass_plan::{Plan, Problem, jobs};

use crate::audit;
use crate::runtime::Context;
use crate::runtime::controller::Planned;
use crate::runtime::kept::{BOUNDED, Fact, Form, OF_DEPLOYMENT, OF_MODEL, Ours};
use crate::runtime::stores::{OurCache, Stores, is_owned_by, is_owned_by_any};
use crate::trainingjob::{champion, versions_of};

impl Planned for ModelVersion {
    type Status = ModelVersionStatus;
    type Observed = Observed;
    const MANAGER: &'static str = "windlass-modelversion";

    fn cache(stores: &Stores) -> &OurCache<Self> {
        &stores.model_versions
    }

    fn status(&self) -> Option<&ModelVersionStatus> {
        self.status.as_ref()
    }

    fn observe(self: Arc<Self>, context: &Context) -> Observed {
        let stores = &context.stores;
        let (namespace, name, uid) = (
            self.namespace().unwrap_or_default(),
            self.name_any(),
            self.uid().unwrap_or_default(),
        );
        let jobs = stores.jobs.owned(&namespace, labels::VERSION, &name, &uid);
        let all_pods = stores.pods.labelled(&namespace, labels::VERSION, &name);
        let of = |role| {
            let jobs: Vec<_> = jobs
                .iter()
                .filter(|job| is_for(job, role))
                .cloned()
                .collect();
            let pods = all_pods.iter();
            let pods = pods.filter(|pod| is_owned_by_any(&***pod, &jobs));
            (pods.cloned().collect::<Vec<_>>(), jobs)
        };
        let (pods, validations) = of("validation");
        let (registration_pods, registrations) = of(REGISTRATION_ROLE);
        let (publication_pods, publications) = of(PUBLICATION_ROLE);
        let serving = champion(stores, &namespace, &self.spec.model);
        let champion = serving
            .as_ref()
            .and_then(|champion| stores.model_versions.get(&namespace, champion));
        let deployments = stores
            .model_deployments
            .labelled(&namespace, OF_MODEL, &self.spec.model);
        let versions = &stores.model_versions.index;
        let names = versions.names(&namespace, OF_MODEL, &self.spec.model);
        let around = if may_go(&self, names.iter().map(String::as_str)) {
            around(stores, &self, &deployments)
        } else {
            Around::default()
        };
        Observed {
            job: validations.into_iter().next(),
            pods,
            registration: registrations.into_iter().next(),
            registration_pods,
            publications,
            publication_pods,
            serving,
            around,
            champion,
            deployments,
            claims: stores.claims.within(&namespace),
            presets: context.presets.clone(),
            agent_image: context.agent_image.clone(),
            version: self,
        }
    }

    fn plan(observed: &Observed, now: Timestamp) -> Plan<ModelVersionStatus> {
        plan(observed, now)
    }

    fn count(version: &Self, status: &ModelVersionStatus, _context: &Context) {
        let before = version.status.iter().flat_map(|status| &status.decisions);
        let known = before.last().map_or(0, |last| last.sequence);
        for decision in &status.decisions {
            if decision.sequence > known {
                audit::log(version, decision);
            }
        }
    }

    fn tell_again(version: &Self, now: Timestamp) {
        audit::log_recent_of(version, now);
    }

    fn refused(observed: &Observed, problem: &Problem, now: Timestamp) -> Plan<ModelVersionStatus> {
        refused(observed, problem, now)
    }
}

impl Ours for ModelVersion {
    fn conditions(&self) -> &[Condition] {
        (self.status.as_ref()).map_or(&[], |status| &status.conditions)
    }

    fn facts(&self) -> Vec<Fact> {
        let model = || self.spec.model.clone();
        let mut all = vec![(OF_MODEL, model())];
        all.extend(self.spec.retention.is_some().then(|| (BOUNDED, model())));
        all
    }
}

fn is_for(job: &Job, role: &str) -> bool {
    job.labels().get(labels::ROLE).is_some_and(|is| is == role)
}

/// What may need a version that may have to go, or keep it.
fn around(stores: &Stores, version: &ModelVersion, deployments: &[Arc<ModelDeployment>]) -> Around {
    let (namespace, name, uid) = (
        version.namespace().unwrap_or_default(),
        version.name_any(),
        version.uid().unwrap_or_default(),
    );
    let mut siblings = versions_of(stores, &namespace, &version.spec.model);
    siblings.retain(|sibling| sibling.name_any() != name);
    let monitors = deployments.iter().flat_map(|deployment| {
        let watched = deployment.name_any();
        (stores.drift_monitors).labelled(&namespace, OF_DEPLOYMENT, &watched)
    });
    let jobs = stores.jobs.labelled(&namespace, labels::VERSION, &name);
    let job = jobs
        .iter()
        .find(|job| is_for(job, RETENTION_ROLE) && is_owned_by(&***job, &uid))
        .cloned();
    let mut pods = stores.pods.labelled(&namespace, labels::VERSION, &name);
    pods.retain(|pod| is_owned_by_any(&**pod, &job));
    let training_jobs = stores.training_jobs.store.state();
    let training_jobs = training_jobs
        .iter()
        .filter(|job| job.namespace().as_deref() == Some(&namespace) && !job.is_finished());
    Around {
        siblings,
        children: stores
            .deployments
            .labelled(&namespace, labels::VERSION, &name),
        monitors: monitors.collect(),
        windows: jobs
            .into_iter()
            .filter(|job| is_for(job, "drift") && !jobs::has_ended(job))
            .collect(),
        training_jobs: training_jobs.map(Form::object).collect(),
        neighbours: neighbours(stores, version),
        job,
        pods,
    }
}

/// The other versions of a namespace, once a version is marked: a scan over all.
fn neighbours(stores: &Stores, version: &ModelVersion) -> Vec<Arc<ModelVersion>> {
    if !version.is_retiring() {
        return Vec::new();
    }
    let all = stores.model_versions.store.state();
    let others = all.iter().filter(|other| {
        other.namespace() == version.namespace() && other.name_any() != version.name_any()
    });
    others.map(Form::object).collect()
}
