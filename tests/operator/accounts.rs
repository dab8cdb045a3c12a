//! Who may have pods run as a service account: the author of an object is asked, not the operator that makes the pods.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use windlass_api::{DriftMonitor, TrainingJob};

use crate::objects::{self, PATIENCE};
use crate::support::wait;
use crate::turn;

/// Ann may write objects of Windlass' and nothing else, Bob may create pods besides.
fn rights(space: &str) -> String {
    let bind = |name: &str, kind: &str, role: &str, user: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {name}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n---\n"
        )
    };
    format!(
        "{}{}{}apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: pods, namespace: {space}}}\n\
         rules: [{{apiGroups: [\"\"], resources: [pods], verbs: [create]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: trainer, namespace: {space}}}\n\
         rules: [{{apiGroups: [\"\"], resources: [serviceaccounts], resourceNames: [trainer], verbs: [use]}}]\n",
        bind("ann", "ClusterRole", "windlass-edit", "ann"),
        bind("bob", "ClusterRole", "windlass-edit", "bob"),
        bind("bob-pods", "Role", "pods", "bob"),
    )
}

fn named(space: &str, name: &str, account: &str) -> TrainingJob {
    let manifest = objects::training(space, name, "").replace(
        "containers:",
        &format!("serviceAccountName: {account}, containers:"),
    );
    serde_saphyr::from_str(&manifest).expect("a TrainingJob")
}

/// Why an object was not made, or nothing.
async fn refusal(client: &Client, job: &TrainingJob) -> Option<String> {
    let api = Api::<TrainingJob>::namespaced(client.clone(), job.metadata.namespace.as_deref()?);
    let outcome = api.create(&PostParams::default(), job).await;
    outcome.err().map(|error| error.to_string())
}

#[tokio::test]
async fn a_service_account_that_the_author_may_not_use_is_refused_to_the_author() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "accounts");
    objects::namespace(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&rights(space))?;
    let (ann, bob) = (bed.client_of("ann").await?, bed.client_of("bob").await?);

    // A policy takes effect a moment after it is there.
    let refused = async || refusal(&ann, &named(space, "probe", "trainer")).await;
    let message = wait("a refusal", PATIENCE, refused).await;
    for part in [
        "ann may not run pods as trainer in namespace accounts",
        "verb use",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        refusal(&ann, &named(space, "everyones", "default")).await,
        None
    );
    assert_eq!(refusal(&bob, &named(space, "bobs", "trainer")).await, None);

    // Those of steps, of storage and of a training that drift asks for are asked after as well.
    let storage = objects::training(space, "stored", "  storage: {serviceAccountName: reader}");
    let stored: TrainingJob = serde_saphyr::from_str(&storage)?;
    let message = refusal(&ann, &stored).await.unwrap_or_default();
    assert!(message.contains("as reader"), "{message}");
    let step = "  output: {uri: 's3://a/b', format: Other}\n  steps: [{name: join, template: {spec: {serviceAccountName: joiner, containers: [{name: a, image: b, command: [c]}]}}}]";
    let with_step: TrainingJob = serde_saphyr::from_str(&objects::training(space, "steps", step))?;
    let message = refusal(&ann, &with_step).await.unwrap_or_default();
    assert!(message.contains("as joiner"), "{message}");
    let training = serde_json::to_value(named(space, "retrained", "trainer"))?;
    let monitor: DriftMonitor = serde_json::from_value(json!({
        "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor",
        "metadata": {"name": "drifts", "namespace": space},
        "spec": {"deployment": "drifts", "window": {"every": "1m", "size": "1m"}, "mode": "Enforce",
                 "retrain": {"template": {"spec": training["spec"]}}},
    }))?;
    let monitors = Api::<DriftMonitor>::namespaced(ann.clone(), space);
    let message = monitors
        .create(&PostParams::default(), &monitor)
        .await
        .expect_err("an account that Ann may not use")
        .to_string();
    assert!(message.contains("as trainer"), "{message}");

    // What Bob made is labelled by Ann, but not started by her.
    let jobs = Api::<TrainingJob>::namespaced(ann.clone(), space);
    let parameters = PatchParams::default();
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"team": "growth"}}}));
    jobs.patch("bobs", &parameters, &labelled).await?;
    let suspended = Patch::Merge(json!({"spec": {"suspend": true}}));
    let message = jobs
        .patch("bobs", &parameters, &suspended)
        .await
        .expect_err("a change of the spec")
        .to_string();
    assert!(message.contains("as trainer"), "{message}");

    kubectl.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: ann-trainer, namespace: {space}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: trainer}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}}]\n"
    ))?;
    let allowed = async || {
        refusal(&ann, &named(space, "anns", "trainer"))
            .await
            .is_none()
            .then_some(())
    };
    wait("Ann's right to be known", PATIENCE, allowed).await;
    Ok(())
}
