//! How a container that loads a model is told whose signature it has to have, and gets the key or the certificates.
//!
//! ```text
//!   ModelDeployment.spec.signedBy, else ModelVersion.spec.artifact.signature.signedBy
//!       └─> --public-key | --certificate-authority <trust>/<ConfigMap>/<key>      (the ConfigMap is mounted there)
//! ```
//!
//! Absent on purpose: the ConfigMap itself. The operator does not read it; the kubelet mounts it, as one that may be
//! missing: the agent then says which file is not there and loads nothing, while a pod that waits for a mount says nothing.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, Container, PodSpec, Volume, VolumeMount};
use windlass_api::agent::paths;
use windlass_api::{Artifact, ConfigMapKey, Signer};

use crate::pods::flag;

/// How the names of the volumes begin.
const VOLUME: &str = "windlass-trust-";

/// Whose signature an artifact has to have, where one is asked for: who loads it has the last word.
pub fn signer<'a>(asked: Option<&'a Signer>, artifact: &'a Artifact) -> Option<&'a Signer> {
    asked.or_else(|| artifact.signature.as_ref()?.signed_by.as_ref())
}

/// Adds to the arguments of `windlass-agent fetch` whose signature is asked for, and where it lies.
pub fn ask(arguments: &mut Vec<String>, signer: &Signer, artifact: &Artifact) {
    for (name, key) in keys(signer) {
        let path = format!("{}/{}", folder(key), key.key);
        flag(arguments, name, path);
    }
    let bundle = artifact
        .signature
        .as_ref()
        .and_then(|signature| signature.bundle.as_ref());
    if let Some(bundle) = bundle {
        flag(arguments, "signature", bundle.0.clone());
    }
}

/// Mounts what a signer's signature is verified with.
pub fn mount(spec: &mut PodSpec, container: &mut Container, signer: &Signer) {
    for (_, key) in keys(signer) {
        let volumes = spec.volumes.get_or_insert_default();
        let source = ConfigMapVolumeSource {
            name: key.name.clone(),
            optional: Some(true),
            ..ConfigMapVolumeSource::default()
        };
        let mounted = volumes.iter().find(|volume| {
            volume.name.starts_with(VOLUME) && volume.config_map.as_ref() == Some(&source)
        });
        let volume = if let Some(volume) = mounted {
            volume.name.clone()
        } else {
            let name = format!("{VOLUME}{}", volumes.len());
            volumes.push(Volume {
                name: name.clone(),
                config_map: Some(source),
                ..Volume::default()
            });
            name
        };
        container
            .volume_mounts
            .get_or_insert_default()
            .push(VolumeMount {
                name: volume,
                mount_path: folder(key),
                read_only: Some(true),
                ..VolumeMount::default()
            });
    }
}

/// The agent's argument for what is asked for, and where that lies. The API server lets one of them through.
fn keys(signer: &Signer) -> impl Iterator<Item = (&'static str, &ConfigMapKey)> {
    let authority = signer.certificate_authority.as_ref();
    [
        ("public-key", signer.public_key.as_ref()),
        ("certificate-authority", authority),
    ]
    .into_iter()
    .filter_map(|(name, source)| Some((name, &source?.config_map_key_ref)))
}

/// Where a ConfigMap is mounted.
fn folder(key: &ConfigMapKey) -> String {
    format!("{}/{}", paths::TRUST, key.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures::object;

    fn artifact(signature: Value) -> Artifact {
        let mut artifact =
            json!({"uri": "s3://models/churn/1", "digest": "sha256:00", "format": "ONNX"});
        if !signature.is_null() {
            artifact["signature"] = signature;
        }
        object(artifact)
    }

    fn key(name: &str) -> Value {
        json!({"configMapKeyRef": {"name": name, "key": "model.pub"}})
    }

    #[test]
    fn who_loads_a_model_has_the_last_word_on_whose_signature_it_has() {
        let own = json!({"signedBy": {"publicKey": key("own")}});
        let others: Signer = object(json!({"certificateAuthority": key("others")}));
        let rows = [
            ("nobody asks", None, Value::Null, None),
            (
                "its place is on record",
                None,
                json!({"bundle": "s3://signatures/1.sig"}),
                None,
            ),
            ("the version asks", None, own.clone(), Some("own")),
            ("who loads asks", Some(&others), Value::Null, Some("others")),
            ("both ask", Some(&others), own, Some("others")),
        ];
        for (name, asked, signature, expected) in rows {
            let artifact = artifact(signature);
            let found = signer(asked, &artifact);
            let from = found.and_then(|signer| keys(signer).next());
            assert_eq!(from.map(|(_, key)| key.name.as_str()), expected, "{name}");
        }
    }

    #[test]
    fn a_config_map_is_mounted_once_in_a_pod_and_its_key_named_to_each_who_asks() {
        let (mut spec, mut one, mut other) = Default::default();
        let key_signer: Signer = object(json!({"publicKey": key("keys")}));
        mount(&mut spec, &mut one, &key_signer);
        mount(&mut spec, &mut other, &key_signer);
        let authority: Signer = object(json!({"certificateAuthority": key("authorities")}));
        mount(&mut spec, &mut other, &authority);
        let expected: PodSpec = object(json!({"containers": [], "volumes": [
            {"name": "windlass-trust-0", "configMap": {"name": "keys", "optional": true}},
            {"name": "windlass-trust-1", "configMap": {"name": "authorities", "optional": true}},
        ]}));
        assert_eq!(spec.volumes, expected.volumes);
        assert_eq!(one.volume_mounts.map(|mounts| mounts.len()), Some(1));
        assert_eq!(other.volume_mounts.map(|mounts| mounts.len()), Some(2));

        let mut arguments = Vec::new();
        let there = artifact(json!({"bundle": "s3://signatures/1.sig"}));
        ask(&mut arguments, &authority, &there);
        assert_eq!(
            arguments,
            [
                "--certificate-authority",
                "/windlass/trust/authorities/model.pub",
                "--signature",
                "s3://signatures/1.sig"
            ]
        );
        let mut arguments = Vec::new();
        ask(&mut arguments, &key_signer, &artifact(Value::Null));
        assert_eq!(
            arguments,
            ["--public-key", "/windlass/trust/keys/model.pub"]
        );
    }
}
