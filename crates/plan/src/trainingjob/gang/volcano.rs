//! Volcano's PodGroup, as far as we write it.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Serialize};

/// `scheduling.volcano.sh/v1beta1` PodGroup.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct VolcanoPodGroup {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What is asked for.
    #[serde(default)]
    pub spec: VolcanoPodGroupSpec,
}

/// What a PodGroup of Volcano's asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolcanoPodGroupSpec {
    /// Pods that are scheduled together or not at all.
    #[serde(default)]
    pub min_member: i32,
    /// The queue; Volcano's default where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The priority of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

impl Serialize for VolcanoPodGroup {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::json!({
            "apiVersion": Self::api_version(&()), "kind": Self::kind(&()),
            "metadata": self.metadata, "spec": self.spec,
        })
        .serialize(serializer)
    }
}

impl Resource for VolcanoPodGroup {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "PodGroup".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "scheduling.volcano.sh".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1beta1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "podgroups".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
