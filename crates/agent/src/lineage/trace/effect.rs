//! What a version led to: its validation, where it serves and served, who watches that, and the versions made after it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use windlass_api::agent::WindowVerdict;
use windlass_api::{
    Action, DriftMonitor, ModelDeploymentStatus, ModelVersion, RolloutOutcome, Stored,
};

use super::{Kind, Node, NodeId, Relation, Trace, id, short, verdict};
use crate::lineage::graph::Place;

impl Trace<'_> {
    /// The validation with what it read and wrote.
    pub(super) fn validation(&mut self) {
        let version = self.version;
        let status = version.status.as_ref();
        let found = status.and_then(|status| status.validation.as_ref());
        if found.is_none() && version.spec.validation.is_none() {
            return;
        }
        let facts = match found {
            Some(found) => vec![
                verdict(found.verdict).to_owned(),
                format!("{} rows", found.rows),
                found.message.clone(),
            ],
            None => vec!["it has come to no verdict yet".to_owned()],
        };
        let (root, validation) = (self.root(), id(Kind::Validation, version.name_any()));
        self.put(validation.clone(), Node::there(version.name_any(), facts));
        self.join(&root, Relation::Judged, &validation, "");
        if let Some(asked) = &version.spec.validation {
            let uri = &asked.dataset.uri.0;
            let data = id(Kind::Data, uri.as_str());
            let place = Place {
                uri: uri.clone(),
                digest: None,
            };
            let node = Node::there("held out", vec![uri.clone()]).at(place);
            self.put(data.clone(), node);
            self.join(&data, Relation::Input, &validation, "");
        }
        let champion = found.and_then(|found| found.champion.as_ref());
        let champion = champion.or(status.and_then(|status| status.champion.as_ref()));
        if let Some(champion) = champion {
            let champion = self.version_of(champion);
            self.join(&champion, Relation::Compared, &validation, "");
        }
        let Some(found) = found else { return };
        for (kind, stored) in [
            (Kind::Report, &found.report),
            (Kind::Baseline, &found.baseline),
        ] {
            if let Some(stored) = stored {
                self.wrote(&validation, kind, stored);
            }
        }
    }

    fn wrote(&mut self, by: &NodeId, kind: Kind, stored: &Stored) {
        let id = id(kind, format!("{} {}", stored.uri, stored.digest));
        let place = Place {
            uri: stored.uri.0.clone(),
            digest: Some(stored.digest.clone()),
        };
        let facts = vec![short(&stored.digest).to_owned()];
        self.put(
            id.clone(),
            Node::there(stored.uri.0.as_str(), facts).at(place),
        );
        self.join(by, Relation::Wrote, &id, "");
    }

    /// Where it serves, served, is tried, was tried, was taken back, or is kept out of. A deployment that is gone is
    /// known from the version's decisions.
    pub(super) fn deployments(&mut self) {
        let (version, objects) = (self.version, self.objects);
        let nothing = ModelDeploymentStatus::default();
        let decisions = version.status.iter().flat_map(|status| &status.decisions);
        let decided = decisions.filter_map(|decision| decision.deployment.as_deref());
        let there = objects.deployments.keys().map(String::as_str);
        let names: BTreeSet<&str> = decided.chain(there).collect();
        for name in names {
            let deployment = objects.deployments.get(name);
            let status = deployment.and_then(|one| one.status.as_ref());
            let roles = Roles::of(version, name, status.unwrap_or(&nothing));
            if roles.0.is_empty() {
                continue;
            }
            let (root, id) = (self.root(), self.deployment_of(name));
            for (relation, note) in roles.0 {
                self.join(&root, relation, &id, note);
            }
        }
    }

    /// Who watches where it serves or served, what was found of it, and the trainings that were asked for on that.
    pub(super) fn monitors(&mut self) {
        let (objects, root) = (self.objects, self.root());
        let from_root = self.graph.edges_from(&root);
        let deployments: BTreeSet<NodeId> = from_root
            .iter()
            .map(|(edge, _)| edge.to.clone())
            .filter(|to| to.kind == Kind::ModelDeployment)
            .collect();
        for monitor in objects.monitors.values() {
            let watched = id(Kind::ModelDeployment, monitor.spec.deployment.as_str());
            let found = windows(monitor, &root.key);
            if !deployments.contains(&watched) && found.is_none() {
                continue;
            }
            let watched = self.deployment_of(&monitor.spec.deployment);
            let monitor_id = self.monitor_of(&monitor.name_any());
            self.join(&watched, Relation::Watched, &monitor_id, "");
            if let Some(note) = found {
                self.join(&root, Relation::Monitored, &monitor_id, note);
            }
            self.asked_for(monitor, &monitor_id);
        }
    }

    /// The training that a monitor asked for last, if it did so because of this version.
    fn asked_for(&mut self, monitor: &DriftMonitor, monitor_id: &NodeId) {
        let root = self.root();
        let last = monitor
            .status
            .iter()
            .find_map(|one| one.last_trigger.as_ref());
        let Some(last) = last.filter(|last| last.version == root.key) else {
            return;
        };
        let note = format!("{}: {}", last.time, last.message);
        self.join(&root, Relation::Drifted, monitor_id, note);
        let (run, job) = self.job_of(&last.training_job, None);
        self.join(monitor_id, Relation::Asked, &run, "");
        let made = job.and_then(|job| job.status.as_ref()?.model_version.as_ref());
        if let Some(made) = made {
            let made = self.version_of(made);
            self.join(&run, Relation::Made, &made, "");
        }
    }

    /// The versions that were made while it served.
    pub(super) fn children(&mut self) {
        let (objects, root) = (self.objects, self.root());
        for (name, child) in &objects.versions {
            if child.spec.parent.as_ref() == Some(&root.key) {
                let child = self.version_of(name);
                self.join(&root, Relation::Parent, &child, "");
            }
        }
    }

    /// The other TrainingJobs whose result it is, since they would have made the same (`reuse`).
    pub(super) fn results(&mut self) {
        let (version, objects, root) = (self.version, self.objects, self.root());
        let by = version.spec.trained_by.as_ref();
        for (name, job) in &objects.jobs {
            let result = job
                .status
                .as_ref()
                .and_then(|one| one.model_version.as_ref());
            let is_the_maker = by.is_some_and(|by| {
                by.name == *name && job.metadata.uid.as_ref().is_none_or(|uid| *uid == by.uid)
            });
            if result == Some(&root.key) && !is_the_maker {
                let (job, _) = self.job_of(name, job.metadata.uid.as_deref());
                self.join(&root, Relation::Result, &job, "");
            }
        }
    }
}

/// What a version is and was in a deployment, each with what is to be said of it.
struct Roles(BTreeMap<Relation, String>);

/// When something happened last, and why.
type Last<'e> = BTreeMap<Action, (Timestamp, &'e str)>;

impl Roles {
    fn of(version: &ModelVersion, deployment: &str, status: &ModelDeploymentStatus) -> Self {
        let name = version.name_any();
        let mut roles = Self(BTreeMap::new());
        let last = last_events(version, deployment, status);
        let stable = status.stable.as_ref().filter(|one| one.version == name);
        let canary = status.canary.as_ref().filter(|one| one.version == name);
        match (stable, last.get(&Action::Promoted)) {
            (Some(stable), _) => roles.put(Relation::Serves, format!("since {}", stable.since)),
            (None, Some((from, _))) => {
                let until = last
                    .get(&Action::Retired)
                    .filter(|(until, _)| until >= from);
                roles.put(
                    Relation::Served,
                    match until {
                        Some((until, why)) => format!("{from} to {until}: {why}"),
                        None => format!("from {from}"),
                    },
                );
            }
            (None, None) => {}
        }
        match (canary, last.get(&Action::CanaryStarted)) {
            (Some(canary), _) => roles.put(
                Relation::Tried,
                format!(
                    "{} % of the traffic, since {}",
                    canary.weight, canary.started
                ),
            ),
            (None, Some((when, _))) => roles.put(Relation::WasTried, format!("from {when}")),
            (None, None) => {}
        }
        roles.taken_back(&name, &last, status);
        roles.kept_out(version, status);
        roles
    }

    fn put(&mut self, relation: Relation, note: String) {
        self.0.insert(relation, note);
    }

    fn taken_back(&mut self, name: &str, last: &Last<'_>, status: &ModelDeploymentStatus) {
        if let Some((when, why)) = last.get(&Action::RolledBack) {
            self.put(Relation::RolledBack, format!("{when}: {why}"));
        } else if let Some(record) = status
            .last_rollout
            .as_ref()
            .filter(|record| record.version == name && record.outcome == RolloutOutcome::RolledBack)
        {
            self.put(
                Relation::RolledBack,
                format!("{}: {}", record.time, record.message),
            );
        }
    }

    /// By its own name, or by the fingerprint of another version that did harm.
    fn kept_out(&mut self, version: &ModelVersion, status: &ModelDeploymentStatus) {
        let name = version.name_any();
        let fingerprint = version.fingerprint_or_digest();
        let mut quarantine = status.quarantine.iter();
        if let Some(by) = quarantine.find(|one| one.version == name) {
            self.put(Relation::Quarantined, format!("{}: {}", by.time, by.reason));
        } else if let Some(by) = status
            .quarantine
            .iter()
            .find(|one| Some(one.fingerprint.as_str()) == fingerprint)
        {
            let note = format!(
                "{}: it is the same as {} by its fingerprint: {}",
                by.time, by.version, by.reason
            );
            self.put(Relation::Quarantined, note);
        }
    }
}

/// The newest event of each kind: of the deployment's history, which may have forgotten it, and of the version's record.
fn last_events<'e>(
    version: &'e ModelVersion,
    deployment: &str,
    status: &'e ModelDeploymentStatus,
) -> Last<'e> {
    let name = version.name_any();
    let decisions = version.status.iter().flat_map(|status| &status.decisions);
    let decisions = decisions
        .filter(|one| one.deployment.as_deref() == Some(deployment))
        .map(|one| (one.action, one.time, one.reason.as_str()));
    let history = status
        .history
        .iter()
        .filter(|event| event.version == name)
        .map(|event| (event.action, event.time, event.reason.as_str()));
    let mut last = Last::new();
    for (action, time, reason) in decisions.chain(history) {
        let known = last.entry(action).or_insert((time, reason));
        if time > known.0 {
            *known = (time, reason);
        }
    }
    last
}

/// What a monitor says of a version: how its windows were judged, and whether it is what they are compared with now.
fn windows(monitor: &DriftMonitor, version: &str) -> Option<String> {
    let status = monitor.status.as_ref()?;
    let windows: Vec<WindowVerdict> = status
        .windows
        .iter()
        .filter(|window| window.version == version)
        .map(|window| window.verdict)
        .collect();
    let is_reference = status.reference.as_deref() == Some(version);
    let drifted = windows.iter().filter(|one| **one == WindowVerdict::Drifted);
    let counted = format!("{} windows, {} Drifted", windows.len(), drifted.count());
    match (windows.is_empty(), is_reference) {
        (true, false) => None,
        (true, true) => Some("its baseline is the reference".to_owned()),
        (false, true) => Some(format!("{counted}; its baseline is the reference")),
        (false, false) => Some(counted),
    }
}
