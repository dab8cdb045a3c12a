//! What windows are compared with, and why nothing can be.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use windlass_api::{Address, DriftEngine, ModelDeployment, ModelVersion, Stored};

use super::{Reconcile, Stop};
use crate::driftmonitor::observed::Engine;
use crate::driftmonitor::schedule::Schedule;
use crate::driftmonitor::tenures::{Tenure, tenures};
use crate::modelversion::fingerprint;
use crate::{Problem, pods};

/// Clocks of two operators may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What windows are compared with.
pub(super) struct Watched<'a> {
    pub deployment: &'a ModelDeployment,
    /// The version that serves.
    pub version: &'a ModelVersion,
    pub payloads: &'a Address,
    pub schedule: Schedule,
    /// The versions that served, the one that serves last.
    pub tenures: Vec<Tenure>,
    /// Since when it serves.
    pub since: Timestamp,
}

impl Watched<'_> {
    /// The version that is being tried beside the one that serves.
    pub fn canary(&self) -> Option<&str> {
        let canary = self.deployment.status.as_ref()?.canary.as_ref()?;
        Some(&canary.version)
    }

    /// The version that is kept, since the one that serves may be taken back yet.
    pub fn bakes(&self) -> bool {
        let status = self.deployment.status.as_ref();
        status.is_some_and(|status| status.bake.is_some())
    }

    /// Whether a version was taken back, or another of its fingerprint: it is not tried.
    pub fn is_quarantined(&self, version: &ModelVersion) -> bool {
        let status = self.deployment.status.iter();
        let mut entries = status.flat_map(|status| &status.quarantine);
        entries.any(|entry| {
            entry.version == version.name_any() || entry.fingerprint == fingerprint(version)
        })
    }
}

/// The profile of a version that windows are compared with.
pub(super) fn baseline(version: &ModelVersion) -> Option<&Stored> {
    let found = version.status.as_ref()?.validation.as_ref()?;
    found.baseline.as_ref()
}

impl Reconcile<'_> {
    pub(super) fn version(&self, name: &str) -> Option<&ModelVersion> {
        let mut all = self.observed.versions.iter();
        all.find(|version| version.name_any() == name)
            .map(AsRef::as_ref)
    }

    pub(super) fn watched(&self) -> Result<Watched<'_>, Stop> {
        let spec = &self.monitor.spec;
        let name = &spec.deployment;
        let namespace = self.monitor.namespace().unwrap_or_default();
        let mend = |reason: &str, message: String| Stop::Mend(Problem::new(reason, message));
        let schedule = Schedule::of(&spec.window, self.now).map_err(Stop::Mend)?;
        let deployment = self.observed.deployment.as_deref().ok_or_else(|| {
            mend("DeploymentNotFound", format!("spec.deployment: there is no ModelDeployment {name:?} in namespace {namespace:?}; make it, or make a DriftMonitor of one that is there"))
        })?;
        let logged = deployment.spec.observe.as_ref();
        let payloads = logged.and_then(|observe| observe.log_payloads.as_ref()).map(|log| &log.uri).ok_or_else(|| {
            mend("PayloadsNotLogged", format!("spec.deployment: the ModelDeployment {name:?} logs no payloads; set its spec.observe.logPayloads"))
        })?;
        self.check_claims(&namespace).map_err(Stop::Mend)?;
        self.engine().map_err(Stop::Mend)?;
        let status = deployment.status.as_ref();
        let Some(stable) = status.and_then(|status| status.stable.as_ref()) else {
            return Err(Stop::Wait(Problem::new(
                "NothingServes",
                format!(
                    "no version serves yet in the ModelDeployment {name:?}, whose condition Ready says why; windows are judged once one does"
                ),
            )));
        };
        let version = self.version(&stable.version).ok_or_else(|| {
            mend("ServingRecordDeleted", format!("the ModelVersion {}, which serves in the ModelDeployment {name:?}, was deleted, and with it its baseline; apply it again, or let another version serve", stable.version))
        })?;
        if baseline(version).is_none() {
            return Err(mend(
                "NoBaseline",
                format!(
                    "the version that serves, {}, has no baseline profile to compare windows with: it was never validated; train one whose TrainingJob has a spec.validation, and let that one serve",
                    stable.version
                ),
            ));
        }
        self.check_time(version, stable.since)?;
        self.check_template(deployment).map_err(Stop::Mend)?;
        Ok(Watched {
            deployment,
            version,
            payloads,
            schedule,
            tenures: status.map(tenures).unwrap_or_default(),
            since: stable.since,
        })
    }

    /// What counts windows in place of their own pods, if it is asked for.
    pub(super) fn engine(&self) -> Result<Option<&Engine>, Problem> {
        match self.monitor.spec.engine {
            DriftEngine::DataFusion => Ok(None),
            DriftEngine::Ballista => self.observed.engine.as_ref().map(Some).ok_or_else(|| {
                let namespace = self.monitor.namespace().unwrap_or_default();
                Problem::new(
                    "EngineNotConfigured",
                    format!("spec.engine: the operator knows no Ballista cluster of namespace {namespace:?}, and one of another namespace reads with that one's keys; have an administrator add the namespace to ballista.namespaces of the chart (WINDLASS_BALLISTA of the operator), or set spec.engine to DataFusion"),
                )
            }),
        }
    }

    fn check_claims(&self, namespace: &str) -> Result<(), Problem> {
        let spec = &self.monitor.spec;
        let labels = spec.performance.iter();
        let labels = labels.map(|one| ("spec.performance.labels.uri", &one.labels.uri));
        let reports = spec
            .reports
            .iter()
            .map(|one| ("spec.reports.uri", &one.uri));
        pods::check_claims(labels.chain(reports), &self.observed.claims, namespace)
    }

    /// A reference from the future cannot be what traffic before it is held against.
    fn check_time(&self, version: &ModelVersion, since: Timestamp) -> Result<(), Stop> {
        let latest = self.now.checked_add(SKEW).unwrap_or(Timestamp::MAX);
        let name = version.name_any();
        let trained = version.spec.window.as_ref().map(|window| window.end);
        let found = [
            (Some(since), "serves only from"),
            (trained, "was trained on data up to"),
        ];
        let later = found
            .iter()
            .find_map(|(time, what)| Some((time.filter(|time| *time > latest)?, what)));
        let Some((time, what)) = later else {
            return Ok(());
        };
        Err(Stop::Until(
            time,
            Problem::new(
                "ReferenceInFuture",
                format!(
                    "the version that serves, {name}, {what} {time}, which is yet to come: windows before that cannot be compared with it; correct the record, or the clocks of the cluster"
                ),
            ),
        ))
    }

    /// What is trained has to be what serves.
    fn check_template(&self, deployment: &ModelDeployment) -> Result<(), Problem> {
        let Some(retrain) = &self.monitor.spec.retrain else {
            return Ok(());
        };
        let model = retrain.template.spec.model.as_deref();
        if model == Some(&deployment.spec.model) {
            return Ok(());
        }
        let given = model.map_or_else(
            || "none is given".to_owned(),
            |model| format!("it is {model:?}"),
        );
        Err(Problem::new(
            "ModelDiffers",
            format!(
                "spec.retrain.template.spec.model: {given}, and the ModelDeployment {:?} serves {:?}: what is trained would never serve; give the model that serves",
                deployment.name_any(),
                deployment.spec.model
            ),
        ))
    }
}
