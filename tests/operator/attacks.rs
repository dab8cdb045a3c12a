//! What users try who may write objects of Windlass' in one namespace, on the real API server: nothing of it gets through,
//! and they are told why. Attacks on approval, on roll-outs and on service accounts stand in files of their own; `SECURITY.md` lists all.

use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use windlass_api::{
    DriftMonitor, ModelDeployment, ModelVersion, TrainingJob, condition, find_condition,
};

use crate::objects::{self, Looking, PATIENCE};
use crate::support::Bed;
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

/// Ann may edit objects of Windlass' and do what an editor of the cluster's does, in this namespace alone.
fn rights(space: &str) -> String {
    let bind = |role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: ann-{role}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}}]\n"
        )
    };
    [bind("windlass-edit"), bind("edit")].join("---\n")
}

/// A namespace in which Ann may edit, once she may.
async fn namespace_of_ann(bed: &Bed, space: &str) -> Result<Client> {
    objects::namespace(bed, space).await?;
    bed.cluster.kubectl()?.apply(&rights(space))?;
    let ann = bed.client_of("ann").await?;
    let jobs = Api::<TrainingJob>::namespaced(ann.clone(), space);
    let may = async || jobs.list(&ListParams::default()).await.ok();
    wait("Ann's rights to be known", PATIENCE, may).await;
    Ok(ann)
}

/// What a manifest of a kind is, as Ann would write it.
fn object<K: serde::de::DeserializeOwned>(manifest: &str) -> K {
    serde_saphyr::from_str(manifest).unwrap_or_else(|error| panic!("{manifest}: {error}"))
}

#[tokio::test]
async fn no_reference_and_no_address_leads_into_another_namespace() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, treasure, space) = (turn.bed, "treasure", "next-door");
    objects::namespace(bed, treasure).await?;
    let ann = namespace_of_ann(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(
        &[
            format!("{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: rows, namespace: {treasure}}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}\n"),
            format!("{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: reader, namespace: {treasure}}}}}\n"),
            objects::version(treasure, "churn", 1),
            objects::deployment(treasure, "churn", 1),
        ]
        .join("---\n"),
    )?;
    let operator = Operator::lead(bed, "next-door")?;
    let input = |uri: &str| format!("  inputs: [{{name: rows, uri: '{uri}', format: CSV}}]");
    let jobs = Api::<TrainingJob>::namespaced(ann.clone(), space);
    let account = objects::training(space, "account", "")
        .replace("containers:", "serviceAccountName: reader, containers:");
    for manifest in [
        objects::training(space, "claim", &input("pvc://rows/2026")),
        objects::training(space, "space", &input("pvc://treasure/rows/2026")),
        account,
    ] {
        jobs.create(&PostParams::default(), &object(&manifest))
            .await?;
    }
    let deployments = Api::<ModelDeployment>::namespaced(ann.clone(), space);
    let deployment = object(&objects::deployment(space, "churn", 1));
    deployments
        .create(&PostParams::default(), &deployment)
        .await?;
    let monitors = Api::<DriftMonitor>::namespaced(ann.clone(), space);
    let monitor = objects::monitor(space, "stranger")
        .replace("deployment: stranger", "deployment: treasure.churn");
    let dotted = monitors
        .create(&PostParams::default(), &object(&monitor))
        .await;
    let monitor = object(&objects::monitor(space, "elsewhere"));
    monitors.create(&PostParams::default(), &monitor).await?;

    let look = Looking::new(&ann, space);
    for (name, expected, part) in [
        ("claim", "VolumeClaimNotFound", "spec.inputs[0].uri: "),
        ("space", "VolumeClaimNotFound", "treasure"),
        (
            "account",
            "ServiceAccountNotFound",
            "spec.workers.template.spec.serviceAccountName",
        ),
    ] {
        let (reason, message) = look.until(name, condition::STALLED).await;
        assert_eq!(reason, expected, "{name}: {message}");
        assert!(message.contains(part), "{name}: {message}");
    }
    let why = async || {
        let status = deployments.get("churn").await.ok()?.status?;
        let ready = find_condition(&status.conditions, condition::READY)?;
        (ready.reason == "VersionNotFound").then(|| ready.message.clone())
    };
    let message = wait("the version not to be found", PATIENCE, why).await;
    assert!(message.contains("churn-1"), "{message}");
    let why = async || {
        let status = monitors.get("elsewhere").await.ok()?.status?;
        let stalled = find_condition(&status.conditions, condition::STALLED)?;
        (stalled.reason == "DeploymentNotFound").then(|| stalled.message.clone())
    };
    let message = wait("the deployment not to be found", PATIENCE, why).await;
    assert!(message.contains("in namespace \"next-door\""), "{message}");
    if let Ok(dotted) = dotted {
        // A name with a dot is a name.
        assert_eq!(dotted.spec.deployment, "treasure.churn");
    }
    assert!(
        look.jobs
            .list(&ListParams::default())
            .await?
            .items
            .is_empty()
    );

    // Nor is there a way by the API server itself.
    let theirs = Api::<ModelVersion>::namespaced(ann.clone(), treasure);
    let message = theirs.get("churn-1").await.expect_err("a look").to_string();
    assert!(message.contains("forbidden"), "{message}");
    assert!(operator.stop()?.success());
    Ok(())
}

/// Why an editor's word on a status is not taken.
async fn forged<K>(api: &Api<K>, made: &str) -> (String, Value)
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::Serialize,
    K: serde::de::DeserializeOwned,
{
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Forged", "message": "forged",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mut object: Value = serde_saphyr::from_str(made).expect("YAML");
    object["status"] = json!({"conditions": ready, "phase": "Ready"});
    let name = object["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    let made: K = serde_json::from_value(object.clone()).expect("an object");
    api.create(&PostParams::default(), &made)
        .await
        .expect("its status is not looked at");
    let plain = PatchParams::default();
    let status = json!({"status": object["status"]});
    let patch = Patch::Merge(&status);
    let written = api.patch(&name, &plain, &patch).await;
    written.expect("its status is not looked at");
    let written = api.patch_status(&name, &plain, &patch).await;
    let message = written.expect_err("a status is forged").to_string();
    let now = api.get(&name).await.expect("it is there");
    (message, serde_json::to_value(now).expect("JSON"))
}

#[tokio::test]
async fn an_editor_writes_no_status_of_any_kind() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "forged-status");
    let ann = namespace_of_ann(bed, space).await?;
    let api = || ann.clone();
    let training = objects::training(space, "churn", "");
    let version = objects::version(space, "churn", 1);
    let deployment = objects::deployment(space, "churn", 1);
    let monitor = objects::monitor(space, "churn");
    for (plural, (message, now)) in [
        (
            "trainingjobs",
            forged(&Api::<TrainingJob>::namespaced(api(), space), &training).await,
        ),
        (
            "modelversions",
            forged(&Api::<ModelVersion>::namespaced(api(), space), &version).await,
        ),
        (
            "modeldeployments",
            forged(
                &Api::<ModelDeployment>::namespaced(api(), space),
                &deployment,
            )
            .await,
        ),
        (
            "driftmonitors",
            forged(&Api::<DriftMonitor>::namespaced(api(), space), &monitor).await,
        ),
    ] {
        let expected = format!("User \"ann\" cannot patch resource \"{plural}/status\"");
        assert!(message.contains(&expected), "{plural}: {message}");
        assert!(!now.to_string().contains("Forged"), "{plural}: {now}");
    }
    Ok(())
}

/// A worker of Ann's own beside the operator's, with its labels, and a report of a better model. Without the Job's uid: with
/// that, Kubernetes itself makes the pod the Job's.
async fn impostor(look: &Looking, worker: &Pod, report: &str) -> Result<()> {
    let mut labels = worker.labels().clone();
    labels.retain(|name, _| !name.ends_with("controller-uid"));
    let forged: Pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "impostor", "namespace": worker.namespace(), "labels": labels, "annotations": worker.annotations()},
        "spec": {"containers": [{"name": "trainer", "image": "localhost/busybox:test"}]},
    }))?;
    look.pods.create(&PostParams::default(), &forged).await?;
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": report, "finishedAt": "2026-01-01T00:00:01Z", "startedAt": "2026-01-01T00:00:00Z"}});
    let container = json!({"name": "trainer", "image": "busybox", "imageID": "busybox", "ready": false, "started": false, "restartCount": 0, "state": ended});
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
    // The kubelet's part.
    let patch = Patch::Merge(status);
    let parameters = PatchParams::default();
    look.pods
        .patch_status("impostor", &parameters, &patch)
        .await?;
    Ok(())
}

#[tokio::test]
async fn labels_make_nobody_s_object_a_child() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "labels-on-children");
    let ann = namespace_of_ann(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    let operator = Operator::lead(bed, "labels-on-children")?;
    let jobs = Api::<TrainingJob>::namespaced(ann.clone(), space);
    let make = async |name: &str| {
        let manifest = objects::training(space, name, objects::WITH_MODEL);
        jobs.create(&PostParams::default(), &object(&manifest))
            .await
    };
    make("real").await?;
    let look = Looking::new(&bed.client().await?, space);
    let child = look.until_job("real-1", None).await;
    let selector = ListParams::default().labels("batch.kubernetes.io/job-name=real-1");
    let worker = wait("the worker", PATIENCE, async || {
        look.pods.list(&selector).await.ok()?.items.pop()
    })
    .await;
    let place = look.place("real").await?;
    let forged = crate::writing::report(&place).replace(&"1".repeat(64), &"f".repeat(64));
    impostor(&look, &worker, &forged).await?;

    // A Job of her own that has the labels and the name of the first attempt of a training that is yet to come.
    let mut own = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "next-1", "namespace": space, "labels": child.labels()},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "localhost/busybox:test"}]}}},
    });
    own["metadata"]["labels"]["windlass.dev/training-job"] = "next".into();
    let own: Job = serde_json::from_value(own)?;
    let as_ann = Looking::new(&ann, space);
    as_ann.jobs.create(&PostParams::default(), &own).await?;
    make("next").await?;
    let (_, message) = look.until("next", condition::STALLED).await;
    assert!(
        message.contains("Job labels-on-children/next-1")
            && message.contains("belongs to somebody else"),
        "{message}"
    );

    // A Service with all labels of the operator's own, which nobody asked for, stays as it is.
    let own: Service = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "mine", "namespace": space, "labels": child.labels()},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
    }))?;
    let own = as_ann.services.create(&PostParams::default(), &own).await?;

    // The worker's own report is the one that counts.
    let pods = worker.name_any();
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed", "message": crate::writing::report(&place), "finishedAt": "2026-01-01T00:00:02Z", "startedAt": "2026-01-01T00:00:00Z"}});
    let container = json!({"name": "trainer", "image": "busybox", "imageID": "busybox", "ready": false, "started": false, "restartCount": 0, "state": ended});
    let status = json!({"status": {"phase": "Succeeded", "containerStatuses": [container]}});
    let parameters = PatchParams::default();
    look.pods
        .patch_status(&pods, &parameters, &Patch::Merge(status))
        .await?;
    look.until("real", condition::COMPLETE).await;
    let versions = Api::<ModelVersion>::namespaced(bed.client().await?, space);
    let registered = versions.list(&ListParams::default()).await?.items;
    let digests: Vec<_> = registered
        .iter()
        .filter_map(|version| version.spec.artifact.digest.clone())
        .collect();
    assert_eq!(digests, [format!("sha256:{}", "1".repeat(64))]);
    let service = look.services.get("mine").await?;
    assert_eq!(service.resource_version(), own.resource_version());
    // It would be tried again by the operators of other tests.
    kubectl.run(&["delete", "trainingjob", "next", "-n", space])?;
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn a_trainer_s_false_report_registers_nothing_of_another_s() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "false-report");
    let ann = namespace_of_ann(bed, space).await?;
    let operator = Operator::lead(bed, "false-report")?;
    let jobs = Api::<TrainingJob>::namespaced(ann.clone(), space);
    let manifest = objects::training(space, "forger", objects::WITH_MODEL);
    jobs.create(&PostParams::default(), &object(&manifest))
        .await?;
    let look = Looking::new(&bed.client().await?, space);
    look.until_job("forger-1", None).await;
    let place = look.place("forger").await?;
    // The trainer writes in the agent's place: it shares a container with it.
    let report = crate::writing::report("s3://models/fraud/of-somebody-else");
    look.end_pods("forger-1", 1, &report).await?;
    let (reason, message) = look.until("forger", condition::FAILED).await;
    assert_eq!(reason, "OutputElsewhere", "{message}");
    for part in [
        "s3://models/fraud/of-somebody-else/1/model",
        &format!("not below {place}/"),
        "nothing of it is taken",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let versions = Api::<ModelVersion>::namespaced(ann, space);
    assert!(
        versions
            .list(&ListParams::default())
            .await?
            .items
            .is_empty()
    );
    assert!(operator.stop()?.success());
    Ok(())
}

/// Whatever a user writes, a line of the log is one entry, and only the operator's own are audit records.
#[tokio::test]
async fn nothing_that_a_user_writes_makes_a_line_of_the_log() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "log-injection");
    objects::namespace(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    let operator = Operator::lead(bed, "log-injection")?;
    let forged = format!(
        "fine\n{{\"audit\": {{\"namespace\": \"{space}\", \"name\": \"churn-9\", \"uid\": \"1\", \"decision\": {{\"action\": \"Approved\"}}}}}}\r\n\u{1b}[2J"
    );
    let client = bed.client().await?;
    let mut version: Value = serde_saphyr::from_str(&objects::version(space, "churn", 1))?;
    version["spec"]["approval"] = "Manual".into();
    kubectl.apply(&version.to_string())?;
    let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
    // Who has all rights is known by this name.
    let who = kubectl.run(&[
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ])?;
    let review =
        json!({"spec": {"review": {"decision": "Denied", "by": who.trim(), "reason": forged}}});
    let parameters = PatchParams::default();
    versions
        .patch("churn-1", &parameters, &Patch::Merge(review))
        .await?;
    let decided = wait("the denial to be recorded", PATIENCE, async || {
        let status = versions.get("churn-1").await.ok()?.status?;
        (status.decisions.len() >= 2).then_some(status.decisions)
    })
    .await;
    // And a trainer's last words.
    kubectl.apply(&objects::training(space, "loud", "  backoffLimit: 0"))?;
    let look = Looking::new(&client, space);
    look.until_job("loud-1", None).await;
    look.end_pods("loud-1", 1, &forged).await?;
    look.until("loud", condition::COMPLETE).await;

    let count = async || {
        let said = operator.said();
        let audits = said
            .lines()
            .filter(|line| line.starts_with("{\"audit\"") && line.contains(space));
        (audits.count() >= decided.len()).then_some(said)
    };
    let said = wait("the records to be in the log", PATIENCE, count).await;
    let mut records = 0;
    for line in said.lines() {
        let entry: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        assert!(!line.contains('\u{1b}'), "{line:?}");
        if entry["audit"]["namespace"] == space {
            assert_eq!(entry["audit"]["name"], "churn-1", "{line}");
            records += 1;
        }
    }
    assert_eq!(records, decided.len(), "{said}");
    assert!(operator.stop()?.success());
    Ok(())
}

/// What goes into a query of Prometheus, a name or a model's, cannot hold what would end a text in it.
#[tokio::test]
async fn no_name_can_hold_a_piece_of_a_query() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "query-injection");
    let ann = namespace_of_ann(bed, space).await?;
    let deployments = Api::<ModelDeployment>::namespaced(ann.clone(), space);
    let refusal = async |name: &str, model: &str| {
        let mut manifest: Value =
            serde_saphyr::from_str(&objects::deployment(space, "churn", 1)).expect("YAML");
        manifest["metadata"]["name"] = name.into();
        manifest["spec"]["model"] = model.into();
        let deployment = serde_json::from_value(manifest).expect("a ModelDeployment");
        let outcome = deployments
            .create(&PostParams::default(), &deployment)
            .await;
        outcome.expect_err("it is refused").to_string()
    };
    for piece in [
        "a\"} or vector(1) #",
        "a\nb",
        "a\\",
        "a'b",
        "a{b",
        "{{ canary }}",
    ] {
        let message = refusal(piece, "churn").await;
        assert!(message.contains("metadata.name"), "{piece}: {message}");
        let message = refusal("churn", piece).await;
        assert!(message.contains("spec.model"), "{piece}: {message}");
    }
    Ok(())
}
