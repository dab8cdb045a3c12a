//! The CRDs as they are shipped, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON,
};
use kube::CustomResourceExt;

use crate::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

/// The four CRDs, in the order of the loop.
pub fn all() -> Vec<CustomResourceDefinition> {
    [
        TrainingJob::crd(),
        ModelVersion::crd(),
        ModelDeployment::crd(),
        DriftMonitor::crd(),
    ]
    .map(finish)
    .to_vec()
}

/// A CRD as YAML, as it lies in `crds/`.
///
/// # Errors
/// Never for the CRDs of this crate; the serializer's error otherwise.
pub fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

/// What the derive cannot say.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        let Some(properties) = schema.properties.as_mut() else {
            continue;
        };
        if let Some(status) = properties.get_mut("status") {
            // A new object must never look finished to a tool that compares generations.
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
            status.nullable = None;
        }
    }
    crd
}
