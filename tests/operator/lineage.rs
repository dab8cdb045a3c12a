//! `windlass-agent lineage` and `card`, asked by somebody who may only look, on the real API server.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::objects::{self, PATIENCE};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

const SPACE: &str = "test-lineage";

/// Eve may look at the four kinds in this namespace, and at nothing else; Mallory at nothing.
fn rights() -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: eve, namespace: {SPACE}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: windlass-view}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: eve}}]\n"
    )
}

#[tokio::test]
async fn who_may_look_walks_the_lineage_in_the_cluster() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let bed = turn.bed;
    let agent = std::env::var_os("WINDLASS_AGENT_BINARY").expect("the agent's program");
    objects::namespace(bed, SPACE).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&rights())?;
    kubectl.apply(&objects::training(
        SPACE,
        "churn-of-may",
        objects::WITH_MODEL,
    ))?;
    let told = |object: &str, path: &str| {
        let path = format!("jsonpath={path}");
        kubectl.run(&["get", object, "-n", SPACE, "-o", &path])
    };
    let uid = told("tj/churn-of-may", "{.metadata.uid}")?;
    let made_by =
        format!("spec:\n  trainedBy: {{name: churn-of-may, uid: {uid}, cause: by hand}}\n");
    let all = [
        objects::version(SPACE, "churn", 1).replace("spec:\n", &made_by),
        objects::deployment(SPACE, "churn", 1).replace("replicas: 1", "replicas: 0"),
        objects::monitor(SPACE, "churn"),
    ];
    kubectl.apply(&all.join("---\n"))?;
    let operator = Operator::lead(bed, "operator-lineage")?;
    let tried = async || {
        let said = told(
            "md/churn",
            "{.status.stable.version} {.status.canary.version}",
        );
        said.ok().filter(|said| said.contains("churn-1"))
    };
    wait("the version is tried", PATIENCE, tried).await;
    operator.stop()?;

    let ask = |user: &str, command: &[&str]| {
        let mut asked = Command::new(&agent);
        let message = bed.cluster.kubeconfig_path().with_file_name("said.json");
        asked
            .arg("--termination-message")
            .arg(message)
            .args(command);
        asked.args(["churn-1", "--namespace", SPACE]);
        asked.env("KUBECONFIG", bed.kubeconfig_of_user(user)?);
        anyhow::Ok(asked.output()?)
    };
    let said = ask("eve", &["lineage", "--output", "openlineage"])?;
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let events: Vec<Value> = said
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()?;
    assert!(!events.is_empty());
    let said = ask("eve", &["lineage"])?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    for part in ["churn-1", "churn-of-may", "ModelDeployment", "DriftMonitor"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let folder = tempfile::tempdir()?;
    let page = folder.path().join("card.html");
    let said = ask("eve", &["card", "--output", &page.display().to_string()])?;
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(std::fs::read_to_string(page)?.contains("<html"));

    let refused = ask("mallory", &["lineage"])?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{text}");
    assert!(
        text.contains("forbidden") && text.contains("mallory"),
        "{text}"
    );
    Ok(())
}
