//! How the agent in a pod reaches object stores: the keys of a Secret, a service account, or both.
//!
//! Absent on purpose: the Secret itself. The kubelet reads it, and says so in the pod's status where it is missing.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, PodSpec, SecretEnvSource};
use windlass_api::Storage;

/// Hands the Secret's keys to a container that runs the agent. Whatever else its environment says of them counts more.
pub fn give_keys(container: &mut Container, storage: Option<&Storage>) {
    let Some(secret) = storage.and_then(|storage| storage.secret_name.clone()) else {
        return;
    };
    let keys = EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret,
            optional: None,
        }),
        ..EnvFromSource::default()
    };
    // Of sources that have the same key the last one counts.
    container.env_from.get_or_insert_default().insert(0, keys);
}

/// Lets a pod run as the account that its template names, or else as the storage's.
pub fn run_as(spec: &mut PodSpec, storage: Option<&Storage>) {
    let named = [
        spec.service_account_name.take(),
        spec.service_account.take(),
    ];
    let account = named
        .into_iter()
        .flatten()
        .find(|name| !name.is_empty())
        .or_else(|| storage?.service_account_name.clone());
    // The API server writes the old name of the field as well, and takes it for the new one where that is gone: an
    // account could never be taken away again if both were not ours.
    spec.service_account.clone_from(&account);
    spec.service_account_name = account;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::object;
    use serde_json::{Value, json};

    fn storage(storage: Value) -> Storage {
        object(storage)
    }

    #[test]
    fn the_keys_come_before_the_container_s_own_sources_and_leave_its_variables_alone() {
        let keys = json!({"secretRef": {"name": "keys"}});
        let own = json!({"secretRef": {"name": "own"}});
        let rows = [
            (
                "a Secret",
                json!({"secretName": "keys"}),
                json!([own]),
                json!([keys, own]),
            ),
            (
                "none of its own",
                json!({"secretName": "keys"}),
                Value::Null,
                json!([keys]),
            ),
            (
                "no Secret",
                json!({"serviceAccountName": "a"}),
                json!([own]),
                json!([own]),
            ),
        ];
        for (name, given, before, after) in rows {
            let env = json!([{"name": "AWS_REGION", "value": "eu-central-1"}]);
            let with = |sources| object(json!({"name": "c", "env": env, "envFrom": sources}));
            let mut container: Container = with(before);
            give_keys(&mut container, Some(&storage(given)));
            assert_eq!(container, with(after), "{name}");
        }
    }

    #[test]
    fn a_pod_runs_as_the_account_where_its_template_names_none() {
        let both = json!({"secretName": "keys", "serviceAccountName": "reader"});
        let keys = json!({"secretName": "keys"});
        let rows = [
            (json!({}), Some(&both), Some("reader")),
            (
                json!({"serviceAccountName": ""}),
                Some(&both),
                Some("reader"),
            ),
            (
                json!({"serviceAccountName": "own"}),
                Some(&both),
                Some("own"),
            ),
            (json!({"serviceAccountName": "own"}), None, Some("own")),
            // The old name of the field, which the API server still reads.
            (json!({"serviceAccount": "own"}), Some(&both), Some("own")),
            (json!({}), Some(&keys), None),
            (json!({}), None, None),
        ];
        for (mut template, given, expected) in rows {
            template["containers"] = json!([]);
            let mut spec: PodSpec = object(template.clone());
            run_as(&mut spec, given.cloned().map(storage).as_ref());
            let account = spec.service_account_name.as_deref();
            assert_eq!(account, expected, "{template}");
            let alias = spec.service_account.as_deref();
            assert_eq!(alias, expected, "{template}: both, so that both can go");
        }
    }
}
