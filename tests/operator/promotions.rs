//! Who may decide on a roll-out, on the real API server with real users.

use anyhow::Result;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use windlass_api::ModelDeployment;

use crate::objects::{self, PATIENCE};
use crate::support::wait;
use crate::turn;

/// Ann may edit, Rita may promote, Bob may promote what is called `other` alone.
fn rights(space: &str) -> String {
    let bind = |user: &str, kind: &str, role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {user}-{role}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n---\n"
        )
    };
    format!(
        "{}{}{}{}apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: other, namespace: {space}}}\n\
         rules: [{{apiGroups: [windlass.dev], resources: [modeldeployments], resourceNames: [other], verbs: [promote]}}]\n",
        bind("ann", "ClusterRole", "windlass-edit"),
        bind("rita", "ClusterRole", "windlass-promote"),
        bind("bob", "ClusterRole", "windlass-edit"),
        bind("bob", "Role", "other"),
    )
}

struct User(Api<ModelDeployment>);

impl User {
    fn new(client: Client, space: &str) -> Self {
        Self(Api::namespaced(client, space))
    }

    /// Why annotations were not written, or nothing.
    async fn refusal(&self, annotations: Value) -> Option<String> {
        let patch = json!({"metadata": {"annotations": annotations}});
        let outcome = self
            .0
            .patch("churn", &PatchParams::default(), &Patch::Merge(patch))
            .await;
        outcome.err().map(|error| error.to_string())
    }
}

#[tokio::test]
async fn who_decides_on_a_roll_out_says_who_he_is_and_may() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "promotions");
    objects::namespace(bed, space).await?;
    let kubectl = bed.cluster.kubectl()?;
    kubectl.apply(&rights(space))?;
    kubectl.apply(&objects::deployment(space, "churn", 1))?;
    let user =
        async |name: &str| Ok::<_, anyhow::Error>(User::new(bed.client_of(name).await?, space));
    let (ann, rita, bob) = (user("ann").await?, user("rita").await?, user("bob").await?);

    let promote = |by: &str| json!({"windlass.dev/promote": "churn-2/1", "windlass.dev/by": by});
    // A policy takes effect a moment after it is there.
    let refused = async || ann.refusal(promote("ann")).await;
    let message = wait("a refusal", PATIENCE, refused).await;
    assert!(
        message.contains("ann may not say windlass.dev/promote of ModelDeployment churn")
            && message.contains("the ClusterRole windlass-promote gives"),
        "{message}"
    );
    // What is not his, in another's name, and in nobody's.
    for (who, annotations, part) in [
        (&bob, promote("bob"), "it takes the verb promote"),
        (
            &ann,
            json!({"windlass.dev/force": "churn-2/1", "windlass.dev/by": "ann"}),
            "it takes the verb promote",
        ),
        (
            &rita,
            promote("ann"),
            "must be rita, who writes it, and not ann",
        ),
        (
            &rita,
            json!({"windlass.dev/promote": "churn-2/1"}),
            "must be rita, who writes it",
        ),
        (
            &ann,
            json!({"windlass.dev/abort": "churn-2"}),
            "must be ann, who writes it",
        ),
        (
            &ann,
            json!({"windlass.dev/by": "rita"}),
            "must be ann, who writes it, and not rita",
        ),
    ] {
        let message = who.refusal(annotations.clone()).await;
        let message = message.unwrap_or_else(|| panic!("{annotations} was taken"));
        assert!(message.contains(part), "{annotations}: {message}");
    }
    assert_eq!(rita.refusal(promote("rita")).await, None);
    // What she said is not said by another, and not again under another name.
    for by in [json!("ann"), json!(null)] {
        let message = ann.refusal(json!({"windlass.dev/by": by})).await;
        let message = message.unwrap_or_else(|| panic!("{by} was taken"));
        assert!(message.contains("was said by another"), "{message}");
    }
    assert_eq!(
        rita.refusal(json!({"windlass.dev/promote": null, "windlass.dev/by": null}))
            .await,
        None
    );
    // Whoever may edit may take back, if he says who he is; and all else is as it was.
    let abort = json!({"windlass.dev/abort": "churn-2", "windlass.dev/by": "ann"});
    assert_eq!(ann.refusal(abort).await, None);
    assert_eq!(bob.refusal(json!({"team": "growth"})).await, None);
    Ok(())
}
