//! The operator with Roles in some namespaces and no ClusterRole, as `watchNamespaces` of the chart makes them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use serde_json::Value;
use windlass_api::{ModelVersion, condition};
use windlass_testcluster::programs::{Program, ensure as built};

use crate::objects::{self, Looking, PATIENCE};
use crate::support::audit;
use crate::support::operator::Operator;
use crate::support::{NAMESPACE, wait};
use crate::turn;

const WATCHED: [&str; 2] = ["watched", "watched-too"];
const OTHER: &str = "unwatched";
const USER: &str = "of-two-namespaces";

/// The Roles and RoleBindings of the chart in these namespaces, for our user, and what lets it lead.
fn rights() -> Result<String> {
    let helm = built(&[Program::Helm])?
        .remove(&Program::Helm)
        .context("helm")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let set = format!("watchNamespaces={{{}}}", WATCHED.join(","));
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(helm);
    command
        .args(["template", "windlass", "charts/windlass", "--namespace"])
        .args([NAMESPACE, "--set", &set])
        .current_dir(root);
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(name, folder.path());
    }
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    let rendered: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?)?;
    let mut manifests = Vec::new();
    for mut object in rendered {
        let kind = object["kind"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str();
        ensure!(
            kind != "ClusterRole" && kind != "ClusterRoleBinding",
            "{object}"
        );
        let is_theirs = namespace.is_some_and(|namespace| WATCHED.contains(&namespace));
        if !is_theirs || kind != "Role" && kind != "RoleBinding" {
            continue;
        }
        if kind == "RoleBinding" {
            let group = "rbac.authorization.k8s.io";
            object["subjects"] =
                serde_json::json!([{"kind": "User", "name": USER, "apiGroup": group}]);
        }
        manifests.push(object.to_string());
    }
    manifests.push(format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {USER}, namespace: {NAMESPACE}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: windlass}}\n\
         subjects: [{{kind: User, name: {USER}, apiGroup: rbac.authorization.k8s.io}}]\n"
    ));
    Ok(manifests.join("\n---\n"))
}

#[tokio::test]
async fn an_operator_of_two_namespaces_works_there_and_asks_for_nothing_elsewhere() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    for namespace in WATCHED.iter().chain([&OTHER]) {
        objects::namespace(bed, namespace).await?;
    }
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&rights()?)?;
    let before = audit::mark(&bed.cluster);
    let names = WATCHED.join(",");
    let operator = Operator::lead_as(bed, USER, &[("WINDLASS_WATCH_NAMESPACES", &names)])?;
    let all = |name: &str, more: &str| {
        let spaces = WATCHED.iter().chain([&OTHER]);
        let manifests: Vec<_> = spaces
            .map(|space| objects::training(space, name, more))
            .collect();
        manifests.join("---\n")
    };
    // First the one that is not watched: it had its chance before the others had theirs.
    kubectl.apply(&objects::training(OTHER, "first", ""))?;
    kubectl.apply(&all("model", objects::WITH_MODEL))?;
    let client = bed.client().await?;
    for space in WATCHED {
        kubectl.apply(
            &[
                objects::gang(space, "gang"),
                objects::version(space, "churn", 7),
                objects::deployment(space, "churn", 7),
                objects::monitor(space, "churn"),
            ]
            .join("---\n"),
        )?;
        let look = Looking::new(&client, space);
        look.until_job("gang-1", None).await;
        look.until_job("model-1", None).await;
        let report = crate::writing::report(&look.place("model").await?);
        look.end_pods("model-1", 1, &report).await?;
        look.until("model", condition::COMPLETE).await;
        let versions = Api::<ModelVersion>::namespaced(client.clone(), space);
        wait("the version of the training", PATIENCE, async || {
            let all = versions.list(&ListParams::default()).await.ok()?;
            all.iter()
                .any(|one| one.spec.trained_by.is_some())
                .then_some(())
        })
        .await;
        let service = async || look.services.get_opt("churn").await.ok().flatten();
        wait("the Service of the deployment", PATIENCE, service).await;
    }
    let look = Looking::new(&client, OTHER);
    let jobs = look.jobs.list(&ListParams::default()).await?;
    let names: Vec<_> = jobs.iter().map(ResourceExt::name_any).collect();
    assert!(names.is_empty(), "{OTHER} has {names:?}");

    let requests = audit::requests_of(&bed.cluster, "system:authenticated", before);
    let mine: Vec<_> = requests.iter().filter(|one| one.user == USER).collect();
    assert!(mine.len() > 50, "{} requests", mine.len());
    for request in mine {
        let is_within = WATCHED.contains(&request.namespace.as_str())
            || request.namespace == NAMESPACE && request.resource == "leases"
            // What the cluster serves.
            || request.resource.is_empty();
        assert!(is_within, "{}", request.said());
        assert!(request.denied.is_none(), "{}", request.said());
    }
    assert!(operator.stop()?.success());
    Ok(())
}
