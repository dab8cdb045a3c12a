//! Which objects each change is news for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use windlass_api::{
    DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, condition, is_true, labels,
};

use super::stores::Stores;

/// What each controller is to look at.
pub struct Triggers {
    /// TrainingJobs.
    pub training_jobs: UnboundedReceiver<ObjectRef<TrainingJob>>,
    /// ModelVersions.
    pub model_versions: UnboundedReceiver<ObjectRef<ModelVersion>>,
    /// ModelDeployments.
    pub model_deployments: UnboundedReceiver<ObjectRef<ModelDeployment>>,
    /// DriftMonitors.
    pub drift_monitors: UnboundedReceiver<ObjectRef<DriftMonitor>>,
    open: Arc<AtomicBool>,
}

impl Triggers {
    /// From now on triggers are taken out. What happened before is seen by looking at everything once.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }
}

/// The other ends, for the watches.
#[derive(Clone)]
pub struct Senders {
    training_jobs: Sender<TrainingJob>,
    model_versions: Sender<ModelVersion>,
    model_deployments: Sender<ModelDeployment>,
    drift_monitors: Sender<DriftMonitor>,
}

/// A sender of triggers for one kind, shut until this replica leads: until then nobody would take them out.
struct Sender<K: Resource<DynamicType = ()>> {
    open: Arc<AtomicBool>,
    channel: UnboundedSender<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()>> Clone for Sender<K> {
    fn clone(&self) -> Self {
        Self {
            open: self.open.clone(),
            channel: self.channel.clone(),
        }
    }
}

fn send<K: Resource<DynamicType = ()>>(sender: &Sender<K>, name: &str, namespace: &str) {
    if sender.open.load(Ordering::Acquire) {
        // The receiver is gone only while the process ends.
        let _ = sender
            .channel
            .unbounded_send(ObjectRef::new(name).within(namespace));
    }
}

impl Senders {
    /// A child is news for whatever its labels name.
    pub fn child<K: ResourceExt>(&self, child: &K) {
        let namespace = child.namespace().unwrap_or_default();
        let label = |name: &str| child.labels().get(name).map(String::as_str);
        match label(labels::ROLE) {
            Some("training") => label(labels::TRAINING_JOB)
                .into_iter()
                .for_each(|name| send(&self.training_jobs, name, &namespace)),
            Some("validation") => label(labels::VERSION)
                .into_iter()
                .for_each(|name| send(&self.model_versions, name, &namespace)),
            Some("serving") => label(labels::DEPLOYMENT)
                .into_iter()
                .for_each(|name| send(&self.model_deployments, name, &namespace)),
            Some("drift") => label(labels::MONITOR)
                .into_iter()
                .for_each(|name| send(&self.drift_monitors, name, &namespace)),
            _ => {}
        }
    }

    /// Something about a TrainingJob is news that no object tells.
    pub fn training_job_named(&self, namespace: &str, name: &str) {
        send(&self.training_jobs, name, namespace);
    }

    /// A TrainingJob is news for itself and for the monitor that asked for it.
    pub fn training_job(&self, job: &TrainingJob) {
        let namespace = job.namespace().unwrap_or_default();
        send(&self.training_jobs, &job.name_any(), &namespace);
        if let Some(monitor) = job.labels().get(labels::MONITOR) {
            send(&self.drift_monitors, monitor, &namespace);
        }
    }

    /// A ModelVersion is news for itself, for the job that trained it and for what serves its model.
    pub fn model_version(&self, version: &ModelVersion, stores: &Stores) {
        let namespace = version.namespace().unwrap_or_default();
        send(&self.model_versions, &version.name_any(), &namespace);
        if let Some(by) = &version.spec.trained_by {
            send(&self.training_jobs, &by.name, &namespace);
        }
        for deployment in stores.model_deployments.store.state() {
            if deployment.namespace().as_deref() == Some(&namespace)
                && deployment.spec.model == version.spec.model
            {
                self.model_deployment(&deployment, stores);
            }
        }
    }

    /// A ModelDeployment is news for itself and for the monitors that watch it.
    pub fn model_deployment(&self, deployment: &ModelDeployment, stores: &Stores) {
        let namespace = deployment.namespace().unwrap_or_default();
        send(&self.model_deployments, &deployment.name_any(), &namespace);
        for monitor in stores.drift_monitors.store.state() {
            if monitor.namespace().as_deref() == Some(&namespace)
                && monitor.spec.deployment == deployment.name_any()
            {
                send(&self.drift_monitors, &monitor.name_any(), &namespace);
            }
        }
    }

    /// A DriftMonitor is news for itself.
    pub fn drift_monitor(&self, monitor: &DriftMonitor) {
        let namespace = monitor.namespace().unwrap_or_default();
        send(&self.drift_monitors, &monitor.name_any(), &namespace);
    }

    /// A claim or an account may be what an object waits for; only those that are stalled ask.
    pub fn namespace(&self, namespace: &str, stores: &Stores) {
        fn stalled<K: ResourceExt>(
            object: &K,
            namespace: &str,
            conditions: Option<&[Condition]>,
        ) -> bool {
            object.namespace().as_deref() == Some(namespace)
                && conditions.is_some_and(|all| is_true(all, condition::STALLED))
        }
        for job in stores.training_jobs.store.state() {
            if stalled(
                &*job,
                namespace,
                job.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.training_jobs, &job.name_any(), namespace);
            }
        }
        for version in stores.model_versions.store.state() {
            if stalled(
                &*version,
                namespace,
                version.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.model_versions, &version.name_any(), namespace);
            }
        }
        for deployment in stores.model_deployments.store.state() {
            if stalled(
                &*deployment,
                namespace,
                deployment.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.model_deployments, &deployment.name_any(), namespace);
            }
        }
        for monitor in stores.drift_monitors.store.state() {
            if stalled(
                &*monitor,
                namespace,
                monitor.status.as_ref().map(|status| &*status.conditions),
            ) {
                send(&self.drift_monitors, &monitor.name_any(), namespace);
            }
        }
    }
}

/// The two ends, shut until [`Triggers::open`].
pub fn channels() -> (Senders, Triggers) {
    let open = Arc::new(AtomicBool::new(false));
    let (training_jobs, for_training_jobs) = unbounded();
    let (model_versions, for_model_versions) = unbounded();
    let (model_deployments, for_model_deployments) = unbounded();
    let (drift_monitors, for_drift_monitors) = unbounded();
    (
        Senders {
            training_jobs: Sender {
                open: open.clone(),
                channel: training_jobs,
            },
            model_versions: Sender {
                open: open.clone(),
                channel: model_versions,
            },
            model_deployments: Sender {
                open: open.clone(),
                channel: model_deployments,
            },
            drift_monitors: Sender {
                open: open.clone(),
                channel: drift_monitors,
            },
        },
        Triggers {
            training_jobs: for_training_jobs,
            model_versions: for_model_versions,
            model_deployments: for_model_deployments,
            drift_monitors: for_drift_monitors,
            open,
        },
    )
}
