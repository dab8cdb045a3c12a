//! What pods are made from: the user's own template, or the runtime preset for the model's format.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use kube::ResourceExt;
use windlass_api::{ModelDeploymentStatus, ModelVersion, PodTemplate, Resolved};

use super::Reconcile;
use crate::presets::Wanted;
use crate::{Problem, digest, template};

/// On the template of a runtime preset: the format of the models that it was made for.
const FORMAT: &str = "windlass.dev/format";

/// What the pods are made from.
pub(super) struct Made {
    pub(super) server: PodTemplateSpec,
    pub(super) agent_image: String,
}

impl Reconcile<'_> {
    /// What pods are made from: taken down once for each change of the object, so that an upgrade changes nothing that runs.
    pub(super) fn made(
        &self,
        target: &ModelVersion,
        status: &mut ModelDeploymentStatus,
    ) -> Result<Made, Problem> {
        let generation = self.deployment.metadata.generation.unwrap_or_default();
        let digest = self.spec_digest();
        let is_for_spec = |resolved: &&Resolved| {
            // What the API server fills in for a field that is new changes the digest, and not the generation.
            resolved.generation == generation || resolved.spec_digest.as_ref() == Some(&digest)
        };
        let before = self.before.resolved.as_ref().filter(is_for_spec);
        let resolved = if let Some(resolved) = before {
            // It may have been told by an earlier version in another way.
            Resolved {
                spec_digest: Some(digest),
                ..resolved.clone()
            }
        } else {
            let (runtime, template) = match &self.deployment.spec.template {
                Some(template) => (None, template.clone()),
                None => self.preset(&target.spec.artifact.format)?,
            };
            Resolved {
                generation,
                spec_digest: Some(digest),
                agent_image: self.observed.agent_image.clone(),
                runtime,
                template,
            }
        };
        let made = self.made_from(&resolved, target)?;
        // Once a version in another format serves, what is taken down is what its pods are made from.
        let is_tried = self
            .before
            .stable
            .as_ref()
            .is_some_and(|stable| stable.version != target.name_any());
        let keeps = is_tried || is_for(&resolved.template, &target.spec.artifact.format);
        let (runtime, template) = if keeps {
            (resolved.runtime, resolved.template)
        } else {
            self.preset(&target.spec.artifact.format)?
        };
        status.resolved = Some(Resolved {
            runtime,
            template,
            ..resolved
        });
        Ok(made)
    }

    /// What of the spec is in the pods, and more: all but how many there are, which an autoscaler changes as it likes, and
    /// how one version follows on another.
    fn spec_digest(&self) -> String {
        // Left out, not set to its default: another default of a later version is no change.
        let mut spec = serde_json::to_value(&self.deployment.spec).unwrap_or_default();
        for field in ["replicas", "autoscaling", "rollout"] {
            spec[field] = serde_json::Value::Null;
        }
        digest::of(&spec)
    }

    /// The runtime preset for a format, and its template, on which the format is written.
    fn preset(&self, format: &str) -> Result<(Option<String>, PodTemplate), Problem> {
        let spec = &self.deployment.spec;
        let (name, mut template) = self.observed.presets.template(Wanted {
            field: "spec",
            name: spec.runtime.as_deref(),
            format,
            protocol: spec.protocol,
        })?;
        template.0["metadata"]["annotations"][FORMAT] = format.into();
        Ok((Some(name), template))
    }

    /// What the pods of a version are made from: what was taken down, or, where that is for another format, the preset for its own.
    pub(super) fn made_from(
        &self,
        resolved: &Resolved,
        version: &ModelVersion,
    ) -> Result<Made, Problem> {
        let format = &version.spec.artifact.format;
        let field = if self.deployment.spec.template.is_some() {
            "spec.template"
        } else {
            "the runtime preset"
        };
        let server = if is_for(&resolved.template, format) {
            template::parse(field, &resolved.template)?
        } else {
            template::parse(field, &self.preset(format)?.1)?
        };
        Ok(Made {
            server,
            agent_image: resolved.agent_image.clone(),
        })
    }
}

/// Whether a template is for models of this format; a user's own is for every one.
fn is_for(template: &PodTemplate, format: &str) -> bool {
    let written = template
        .0
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(FORMAT))
        .and_then(serde_json::Value::as_str);
    written.is_none_or(|written| written == format)
}
