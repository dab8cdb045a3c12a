//! What the tests of all four kinds build their worlds from.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_api::{ModelVersion, find_condition};

use crate::presets::Presets;
use crate::{Child, Plan, Step, compare};

/// A second after an arbitrary beginning.
pub fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a time");
    start + SignedDuration::from_secs(seconds)
}

/// An object from its manifest.
pub fn object<T: DeserializeOwned>(manifest: Value) -> T {
    serde_json::from_value(manifest).expect("a manifest")
}

/// A digest of one repeated digit.
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// Whether an object is there as it is wanted.
pub fn is_so(wanted: &impl Serialize, live: &impl Serialize) -> bool {
    compare::is_so(
        &serde_json::to_value(wanted).expect("JSON"),
        &serde_json::to_value(live).expect("JSON"),
    )
}

/// The kinds and names of a plan's steps: `Apply Job/a-1`.
pub fn steps<S>(plan: &Plan<S>) -> Vec<String> {
    plan.steps.iter().map(step).collect()
}

fn step(step: &Step) -> String {
    match step {
        Step::Apply(child) => format!("Apply {}", child_name(child)),
        Step::Create(child) => format!("Create {}", child_name(child)),
        Step::Delete(doomed) => format!("Delete {doomed:?}"),
    }
}

fn child_name(child: &Child) -> String {
    let (kind, metadata) = match child {
        Child::Job(child) | Child::JobBeside(child) => ("Job", &child.metadata),
        Child::Service(child) => ("Service", &child.metadata),
        Child::Deployment(child) => ("Deployment", &child.metadata),
        Child::HttpRoute(child) => ("HTTPRoute", &child.metadata),
        Child::PodDisruptionBudget(child) => ("PodDisruptionBudget", &child.metadata),
        Child::HorizontalPodAutoscaler(child) => ("HorizontalPodAutoscaler", &child.metadata),
        Child::ScaledObject(child) => ("ScaledObject", &child.metadata),
        Child::PodGroup(child) => ("PodGroup", &child.metadata),
        Child::VolcanoPodGroup(child) => ("PodGroup of Volcano", &child.metadata),
        Child::TrainingJob(child) => ("TrainingJob", &child.metadata),
        Child::ModelVersion(child) => ("ModelVersion", &child.metadata),
    };
    format!("{kind}/{}", metadata.name.as_deref().unwrap_or_default())
}

/// A whole plan, as a person reads it.
pub fn readable<S: Serialize>(plan: &Plan<S>) -> Value {
    let steps: Vec<Value> = plan
        .steps
        .iter()
        .map(|one| match one {
            Step::Apply(child) => json!({ "apply": manifest(child) }),
            Step::Create(child) => json!({ "create": manifest(child) }),
            Step::Delete(doomed) => json!({ "delete": format!("{doomed:?}") }),
        })
        .collect();
    let notes: Vec<String> = plan
        .notes
        .iter()
        .map(|note| format!("{:?} {}: {}", note.severity, note.reason, note.message))
        .collect();
    json!({ "steps": steps, "status": plan.status, "notes": notes, "again": plan.again.map(|again| format!("{again:?}")) })
}

fn manifest(child: &Child) -> Value {
    let value = match child {
        Child::Job(child) | Child::JobBeside(child) => serde_json::to_value(child),
        Child::Service(child) => serde_json::to_value(child),
        Child::Deployment(child) => serde_json::to_value(child),
        Child::HttpRoute(child) => serde_json::to_value(child),
        Child::PodDisruptionBudget(child) => serde_json::to_value(child),
        Child::HorizontalPodAutoscaler(child) => serde_json::to_value(child),
        Child::ScaledObject(child) => serde_json::to_value(child),
        Child::PodGroup(child) => serde_json::to_value(child),
        Child::VolcanoPodGroup(child) => serde_json::to_value(child),
        Child::TrainingJob(child) => serde_json::to_value(child),
        Child::ModelVersion(child) => serde_json::to_value(child),
    };
    value.expect("JSON")
}

/// A condition as `True Reason: message`.
pub fn said(conditions: &[Condition], type_: &str) -> String {
    find_condition(conditions, type_).map_or_else(
        || "absent".to_owned(),
        |found| format!("{} {}: {}", found.status, found.reason, found.message),
    )
}

/// Panics unless a pod meets the *restricted* Pod Security Standard.
pub fn assert_restricted(spec: &PodSpec) {
    let pod = spec.security_context.as_ref().expect("a security context");
    assert_eq!(pod.run_as_non_root, Some(true));
    assert_eq!(
        pod.seccomp_profile
            .as_ref()
            .map(|profile| profile.type_.as_str()),
        Some("RuntimeDefault")
    );
    assert_eq!(spec.automount_service_account_token, Some(false));
    assert!(spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none());
    for volume in spec.volumes.iter().flatten() {
        assert!(
            volume.empty_dir.is_some()
                || volume.persistent_volume_claim.is_some()
                || volume.config_map.is_some()
                || volume.downward_api.is_some()
                || volume.image.is_some(),
            "volume {}",
            volume.name
        );
    }
    for container in spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
    {
        let context = container
            .security_context
            .as_ref()
            .expect("a container's security context");
        assert_eq!(
            context.allow_privilege_escalation,
            Some(false),
            "{}",
            container.name
        );
        assert_eq!(
            context
                .capabilities
                .as_ref()
                .and_then(|these| these.drop.clone()),
            Some(vec!["ALL".to_owned()]),
            "{}",
            container.name
        );
        for mount in container.volume_mounts.iter().flatten() {
            assert!(
                spec.volumes
                    .iter()
                    .flatten()
                    .any(|volume| volume.name == mount.name),
                "{} mounts {}",
                container.name,
                mount.name
            );
        }
    }
}

/// The containers of a pod that are handed this Secret, in whatever way, by name and in order.
pub fn given(spec: &PodSpec, secret: &str) -> Vec<String> {
    let all = spec.init_containers.iter().flatten();
    let mut names: Vec<String> = all
        .chain(&spec.containers)
        .filter(|container| {
            let written = serde_json::to_string(container).expect("JSON");
            written.contains(&format!("{secret:?}"))
        })
        .map(|container| container.name.clone())
        .collect();
    names.sort();
    names
}

/// A pod that runs, its container a trainer.
pub fn pod(name: &str, labels: &BTreeMap<String, String>) -> Pod {
    pod_of(name, "trainer", labels)
}

/// A pod that runs, its container of this name.
pub fn pod_of(name: &str, container: &str, labels: &BTreeMap<String, String>) -> Pod {
    object(
        json!({"metadata": {"name": name, "namespace": "growth", "labels": labels}, "spec": {"containers": [{"name": container}], "nodeName": "node-a"}, "status": {"phase": "Running"}}),
    )
}

/// The same pod, ended in this phase; its first container with this exit code and message.
pub fn ended(mut pod: Pod, container: &str, exit_code: i32, message: &str) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some(
        if exit_code == 0 {
            "Succeeded"
        } else {
            "Failed"
        }
        .to_owned(),
    );
    status.container_statuses = Some(object(json!([{
        "name": container, "image": "registry/image:1", "imageID": format!("registry/image@{}", digest('9')), "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": exit_code, "message": message}}
    }])));
    pod
}

/// The same pod, which cannot start for this reason of its container's.
pub fn waiting(mut pod: Pod, reason: &str) -> Pod {
    let status = pod.status.get_or_insert_default();
    status.phase = Some("Pending".to_owned());
    status.container_statuses = Some(object(json!([{
        "name": "trainer", "image": "registry/missing:1", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": "not there"}}
    }])));
    pod
}

/// The same pod, taken away by the cluster.
pub fn disrupted(mut pod: Pod) -> Pod {
    pod.status.get_or_insert_default().conditions = Some(object(
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]),
    ));
    pod
}

/// The version `churn-<number>`, its fingerprint this digit, its verdict where one is given.
pub fn version(number: i64, fingerprint: char, verdict: Option<&str>) -> Arc<ModelVersion> {
    let status = verdict.map(|verdict| {
        json!({"validation": {"verdict": verdict, "message": "judged", "rows": 500, "baseline": {"uri": "pvc://models/baseline", "digest": digest('b')}}})
    });
    Arc::new(object(json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("churn-{number}"), "namespace": "growth", "uid": format!("uid-{number}"), "generation": 1},
        "spec": {
            "model": "churn", "version": number, "fingerprint": digest(fingerprint),
            "artifact": {"uri": format!("pvc://models/churn/{number}/model"), "digest": digest('a'), "format": "LightGBM"}
        },
        "status": status
    })))
}

/// The chart's presets, in small.
pub fn presets() -> Presets {
    object(json!({"presets": {"mlserver": {
        "formats": {"LightGBM": {"MLSERVER_MODEL_IMPLEMENTATION": "mlserver_lightgbm.LightGBMModel"}, "XGBoost": {"MLSERVER_MODEL_IMPLEMENTATION": "mlserver_xgboost.XGBoostModel"}},
        "template": {"spec": {"containers": [{"name": "server", "image": "mlserver:1", "env": [{"name": "MLSERVER_HTTP_PORT", "value": "$(WINDLASS_PORT)"}]}]}}
    }}}))
}

/// Pods and Jobs as the caches hold them, on which decisions are taken.
pub fn as_kept<'a>(pods: &mut [Arc<Pod>], jobs: impl IntoIterator<Item = &'a mut Arc<Job>>) {
    for pod in pods {
        crate::pods::trim(Arc::make_mut(pod));
    }
    for job in jobs {
        crate::jobs::trim(Arc::make_mut(job));
    }
}
