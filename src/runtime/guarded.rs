//! An object as a list or a watch brings it, read by itself: one that cannot be read is no reason not to read the others.
//!
//! kube's own `DeserializeGuard` reads every object twice, by way of a tree that can hold anything. Here the text is read
//! once, without who owns which field of it: that is half of an object, and nothing asks for it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::{RawValue, to_raw_value};

/// What is read, or why it cannot be.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, InvalidObject>);

/// The fields of an object, each still as text.
type Fields<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

impl<'de, K: DeserializeOwned + Resource> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let text = without_managed_fields(text.get()).map_err(D::Error::custom)?;
        let error = match serde_json::from_str(&text) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let PartialObjectMeta::<K> { metadata, .. } =
            serde_json::from_str(&text).map_err(D::Error::custom)?;
        Ok(Self(Err(InvalidObject { error, metadata })))
    }
}

/// The text of an object, less `metadata.managedFields`.
fn without_managed_fields(text: &str) -> serde_json::Result<String> {
    let mut object: Fields = serde_json::from_str(text)?;
    let Some(metadata) = object.get("metadata") else {
        return Ok(text.to_owned());
    };
    let mut metadata: Fields = serde_json::from_str(metadata.get())?;
    metadata.remove("managedFields");
    let metadata = to_raw_value(&metadata)?;
    object.insert("metadata".into(), &metadata);
    serde_json::to_string(&object)
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(of: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(of)
    }

    fn group(of: &Self::DynamicType) -> Cow<'_, str> {
        K::group(of)
    }

    fn version(of: &Self::DynamicType) -> Cow<'_, str> {
        K::version(of)
    }

    fn plural(of: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;

    /// As a watch brings it.
    fn read(object: &serde_json::Value) -> Guarded<Pod> {
        let event = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
        match serde_json::from_str(&event) {
            Ok(WatchEvent::Modified(read)) => read,
            other => panic!("{event}: {other:?}"),
        }
    }

    #[test]
    fn who_owns_which_field_is_not_read_and_all_else_is() {
        let pod = read(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a\"b", "labels": {"managedFields": "x"}, "managedFields": [{"manager": "m"}]},
            "spec": {"containers": [{"name": "c"}]},
        }));
        let pod = pod.0.expect("a pod");
        assert_eq!(pod.metadata.name.as_deref(), Some("a\"b"));
        assert!(pod.metadata.managed_fields.is_none());
        assert_eq!(pod.metadata.labels.map(|labels| labels.len()), Some(1));
        assert_eq!(pod.spec.map(|spec| spec.containers.len()), Some(1));
    }

    #[test]
    fn of_one_that_cannot_be_read_it_is_known_who_it_is_and_why() {
        let invalid = read(&json!({"metadata": {"name": "a"}, "spec": {"containers": 3}}));
        let invalid = invalid.0.expect_err("no pod");
        assert_eq!(invalid.metadata.name.as_deref(), Some("a"));
        assert!(
            invalid.error.contains("invalid type: integer `3`"),
            "{invalid}"
        );
    }
}
