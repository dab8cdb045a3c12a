//! Versions beyond what is kept go, the oldest first, and on record; what is needed or held stays.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use windlass_api::{Action, AuditLine, ModelDeployment, ModelVersion, labels};

use crate::objects::{self, Looking, PATIENCE};
use crate::support::operator::Operator;
use crate::support::{audit, wait};
use crate::turn;

/// How long it takes until a version that nothing keeps is gone, the half minute of its mark with it.
const UNTIL_GONE: Duration = Duration::from_mins(2);

/// A version that goes once two newer ones are there; `more` are further fields of its spec.
fn version(space: &str, number: u32, artifacts: &str, more: &Value) -> String {
    let mut version: Value =
        serde_saphyr::from_str(&objects::version(space, "churn", number)).expect("YAML");
    version["spec"]["artifact"]["uri"] = format!("s3://models/churn/{number}").into();
    version["spec"]["retention"] = json!({"keep": 2, "artifacts": artifacts});
    if let (Some(spec), Some(more)) = (version["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    version.to_string()
}

fn bind(space: &str, user: &str, role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {user}, namespace: {space}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n"
    )
}

/// The names of the versions that are there.
async fn names(versions: &Api<ModelVersion>) -> Vec<String> {
    let all = versions.list(&ListParams::default()).await;
    let mut names: Vec<String> = all.iter().flatten().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

async fn label(client: &Client, space: &str, name: &str, value: Value) -> Result<(), String> {
    let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
    let patch = Patch::Merge(json!({"metadata": {"labels": {labels::LEGAL_HOLD: value}}}));
    let outcome = versions.patch(name, &PatchParams::default(), &patch).await;
    outcome.map(drop).map_err(|error| error.to_string())
}

/// The audit line by which an operator said that a version is retired.
fn retired(operator: &Operator, name: &str) -> Option<AuditLine> {
    let said = operator.said();
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines =
        lines.filter_map(|line| serde_json::from_value(line.get("audit")?.clone()).ok());
    lines.find(|line: &AuditLine| line.name == name && line.decision.action == Action::Retired)
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // one story
async fn versions_beyond_what_is_kept_go_and_a_crash_in_between_is_made_good() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "retention");
    let kubectl = bed.cluster.kubectl()?;
    objects::namespace(bed, space).await?;
    let rights = [
        bind(space, "ann", "windlass-edit"),
        bind(space, "rita", "windlass-release"),
    ];
    kubectl.apply(&rights.join("---\n"))?;
    let client = bed.client().await?;
    let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
    let start = audit::mark(&bed.cluster);
    let first = Operator::lead(bed, "retention-1")?;

    // The third serves, by a Deployment of no pods; the second is its parent; the first is held.
    let none = json!({});
    let parent = json!({"parent": "churn-2"});
    let before = [
        version(space, 1, "Delete", &none),
        version(space, 2, "Delete", &none),
        version(space, 3, "Delete", &parent),
        objects::deployment(space, "churn", 3).replace("replicas: 1", "replicas: 0"),
    ];
    kubectl.apply(&before.join("\n---\n"))?;
    let ann = bed.client_of("ann").await?;
    label(&ann, space, "churn-1", "case-7".into())
        .await
        .expect("whoever may change it may hold it");
    let deployments = Api::<ModelDeployment>::namespaced(client.clone(), space);
    let serves = async || {
        let stable = deployments.get_opt("churn").await.ok()??.status?.stable?;
        (stable.version == "churn-3").then_some(())
    };
    wait("churn-3 to serve", PATIENCE, serves).await;
    let after = [
        version(space, 4, "Delete", &none),
        version(space, 5, "Retain", &none),
        version(space, 6, "Delete", &none),
        version(space, 7, "Delete", &none),
    ];
    kubectl.apply(&after.join("\n---\n"))?;

    let marked = async || {
        let status = versions.get_opt("churn-4").await.ok()??.status?;
        status.retiring.map(drop)
    };
    wait("churn-4 to be marked", PATIENCE, marked).await;
    let look = Looking::new(&client, space);
    let made = async || look.jobs.get_opt("churn-4-retention").await.ok()?;
    let job = wait("the Job that deletes its files", UNTIL_GONE, made).await;
    let spec = job.spec.and_then(|spec| spec.template.spec);
    let arguments = spec.and_then(|mut spec| spec.containers.remove(0).args);
    let digest = format!("sha256:{}", "0".repeat(64));
    let expected = [
        "delete",
        "--uri",
        "s3://models/churn/4",
        "--digest",
        &digest,
    ];
    assert_eq!(arguments.unwrap_or_default(), expected);
    let line = retired(&first, "churn-4").expect("it was said before anything was done");
    assert_eq!(line.decision.digest, line.digest());
    let recorded = versions.get("churn-4").await?.status.unwrap_or_default();
    assert_eq!(recorded.decisions.last(), Some(&line.decision));
    assert_eq!(
        names(&versions).await.len(),
        7,
        "the next goes once this one has gone"
    );

    // It is decided and the Job is made, and the operator is gone.
    first.kill()?;
    let second = Operator::lead(bed, "retention-2")?;
    wait("the line to be there again", PATIENCE, async || {
        retired(&second, "churn-4").filter(|again| *again == line)
    })
    .await;
    let report = json!({"kind": "Delete", "deleted": []}).to_string();
    look.end_pods("churn-4-retention", 1, &report).await?;
    let kept = ["churn-1", "churn-2", "churn-3", "churn-6", "churn-7"];
    let is_left = async || (names(&versions).await == kept).then_some(());
    wait("the fourth and the fifth to be gone", UNTIL_GONE, is_left).await;
    let line = retired(&second, "churn-5").expect("the fifth is on record");
    assert_eq!(line.decision.digest, line.digest());
    assert!(
        line.decision.reason.ends_with("; its files stay"),
        "{}",
        line.decision.reason
    );
    assert!(look.jobs.get_opt("churn-5-retention").await?.is_none());

    // Who may change a version may not end a hold, and who may release it may.
    let refused = async || label(&ann, space, "churn-1", Value::Null).await.err();
    let message = wait("a refusal", PATIENCE, refused).await;
    assert!(
        message.contains("ann may neither take it off nor delete the version"),
        "{message}"
    );
    label(&ann, space, "churn-1", "another".into())
        .await
        .expect_err("another reason ends the first");
    let of_ann = Api::<ModelVersion>::namespaced(ann.clone(), space);
    of_ann
        .delete("churn-1", &DeleteParams::default())
        .await
        .expect_err("a version that is held");
    assert_eq!(names(&versions).await, kept);
    let rita = bed.client_of("rita").await?;
    label(&rita, space, "churn-1", Value::Null)
        .await
        .expect("Rita may");
    let made = async || look.jobs.get_opt("churn-1-retention").await.ok()?;
    wait("the Job that deletes the first", UNTIL_GONE, made).await;
    look.end_pods("churn-1-retention", 1, &report).await?;
    let is_left = async || (names(&versions).await == kept[1..]).then_some(());
    wait("the first to be gone", UNTIL_GONE, is_left).await;

    let deleted: Vec<String> = audit::read(&bed.cluster, start)
        .into_iter()
        .filter(|write| write.user.starts_with("retention-") && write.code == 200)
        .filter(|write| write.kind() == "delete modelversions")
        .map(|write| write.name)
        .collect();
    assert_eq!(deleted, ["churn-4", "churn-5", "churn-1"]);
    assert!(second.stop()?.success());
    Ok(())
}

/// What nobody may delete is not deleted with its namespace, either.
#[tokio::test]
async fn a_namespace_waits_for_a_version_on_hold() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "held");
    objects::namespace(bed, space).await?;
    let client = bed.client().await?;
    let held = version(space, 1, "Retain", &json!({}));
    bed.cluster.kubectl()?.apply(&held)?;
    label(&client, space, "churn-1", "case-7".into())
        .await
        .expect("an administrator may");

    let namespaces = Api::<Namespace>::all(client.clone());
    namespaces.delete(space, &DeleteParams::default()).await?;
    let waits = async || {
        let status = namespaces.get_opt(space).await.ok()??.status?;
        let conditions = status.conditions.unwrap_or_default();
        let failed = conditions
            .into_iter()
            .find(|one| one.type_ == "NamespaceDeletionContentFailure" && one.status == "True")?;
        failed.message
    };
    let message = wait("the namespace to say why it stays", UNTIL_GONE, waits).await;
    assert!(message.contains("on legal hold"), "{message}");
    let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
    let there = versions.get("churn-1").await?;
    assert!(there.is_held() && there.metadata.deletion_timestamp.is_none());

    label(&client, space, "churn-1", Value::Null)
        .await
        .expect("an administrator may");
    let is_gone = async || {
        let there = namespaces.get_opt(space).await.ok()?;
        there.is_none().then_some(())
    };
    wait("the namespace to be gone", UNTIL_GONE, is_gone).await;
    Ok(())
}
