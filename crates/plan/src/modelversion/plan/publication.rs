//! That a version is shown where `spec.tracking` asks for it, once it is judged.

use kube::ResourceExt;
use serde_json::json;
use windlass_api::{Mlflow, ModelVersionStatus, condition, find_condition};

use super::{Reconcile, retirement};
use crate::Plan;
use crate::modelversion::children::labels_of;
use crate::modelversion::observed::Observed;
use crate::publication::{ALIASES, Known, Of, Publication};

impl Reconcile<'_> {
    /// Has a version shown where its spec asks for it, and says in its status how that stands.
    pub(super) fn publish(&self, plan: &mut Plan<ModelVersionStatus>) {
        let version = self.version;
        let Some(tracking) = &version.spec.tracking else {
            return;
        };
        let is_judged = version.spec.validation.is_none() || plan.status.validation.is_some();
        let is_registered = version.digest().is_some();
        let is_going = retirement::is_decided(self.before);
        if !is_registered || !is_judged || is_going {
            let said = find_condition(&self.before.conditions, condition::PUBLISHED).cloned();
            let conditions = &mut plan.status.conditions;
            conditions.retain(|one| one.type_ != condition::PUBLISHED);
            conditions.extend(said);
            return;
        }
        let wanted = publication(self.observed, &tracking.mlflow, &plan.status);
        let known = Known {
            before: self.before.tracking.as_ref(),
            jobs: &self.observed.publications,
            pods: &self.observed.publication_pods,
            agent_image: &self.observed.agent_image,
            now: self.now,
        };
        let told = wanted.told(version, labels_of(version), &known);
        plan.steps.extend(told.step);
        plan.look_again(told.again);
        let note = wanted.say(
            told.shown,
            &mut plan.status.tracking,
            &mut plan.status.conditions,
            &self.before.conditions,
            version.metadata.generation,
            self.now,
        );
        plan.notes.extend(note);
    }
}

/// What is to be shown of a version that is to have this status.
fn publication(observed: &Observed, mlflow: &Mlflow, status: &ModelVersionStatus) -> Publication {
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
    Publication {
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
        of: Of::Version,
    }
}
