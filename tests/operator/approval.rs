//! Who may say that a version may serve, on the real API server with real users; and the chain of what was decided.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use windlass_api::{
    Action, AuditLine, DriftMonitor, ModelVersion, TrainingJob, condition, find_condition,
};

use crate::objects::{self, PATIENCE};
use crate::support::Bed;
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

/// Ann makes models, Rita approves them, Bob makes models and may approve churn-1 alone, Eve looks on.
fn rights(space: &str) -> String {
    let bind = |user: &str, kind: &str, role: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {user}-{role}, namespace: {space}}}\n\
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}\n\
             subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]\n---\n"
        )
    };
    format!(
        "{}{}{}{}{}apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: first, namespace: {space}}}\n\
         rules: [{{apiGroups: [windlass.dev], resources: [modelversions], resourceNames: [churn-1], verbs: [approve]}}]\n",
        bind("ann", "ClusterRole", "windlass-edit"),
        bind("rita", "ClusterRole", "windlass-approve"),
        bind("bob", "ClusterRole", "windlass-edit"),
        bind("bob", "Role", "first"),
        bind("eve", "ClusterRole", "windlass-view"),
    )
}

/// A version of churn; `more` are further fields of its spec.
fn version(space: &str, number: u32, more: &Value) -> ModelVersion {
    let mut version: Value =
        serde_saphyr::from_str(&objects::version(space, "churn", number)).expect("YAML");
    if let (Some(spec), Some(more)) = (version["spec"].as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    serde_json::from_value(version).expect("a ModelVersion")
}

fn review(decision: &str, by: &str) -> Value {
    json!({"decision": decision, "by": by, "reason": "I looked at its report"})
}

/// A user's requests.
struct User {
    versions: Api<ModelVersion>,
    jobs: Api<TrainingJob>,
    monitors: Api<DriftMonitor>,
}

impl User {
    fn new(client: Client, space: &str) -> Self {
        Self {
            versions: Api::namespaced(client.clone(), space),
            jobs: Api::namespaced(client.clone(), space),
            monitors: Api::namespaced(client, space),
        }
    }

    async fn merge(&self, name: &str, patch: Value) -> Result<(), String> {
        let outcome = self
            .versions
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        outcome.map(drop).map_err(|error| error.to_string())
    }

    async fn review(&self, name: &str, review: Value) -> Result<(), String> {
        self.merge(name, json!({"spec": {"review": review}})).await
    }

    async fn create(&self, version: ModelVersion) -> Result<(), String> {
        let outcome = self.versions.create(&PostParams::default(), &version).await;
        outcome.map(drop).map_err(|error| error.to_string())
    }

    async fn train(&self, manifest: &str) -> Result<(), String> {
        let job: TrainingJob = serde_saphyr::from_str(manifest).expect("a TrainingJob");
        let outcome = self.jobs.create(&PostParams::default(), &job).await;
        outcome.map(drop).map_err(|error| error.to_string())
    }

    async fn apply(&self, name: &str, content: Value) -> Result<(), String> {
        let parameters = PatchParams::apply("kubectl").force();
        let outcome = self
            .versions
            .patch(name, &parameters, &Patch::Apply(content))
            .await;
        outcome.map(drop).map_err(|error| error.to_string())
    }

    async fn replace(&self, name: &str, change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let now = self
            .versions
            .get(name)
            .await
            .map_err(|error| error.to_string())?;
        let mut value = serde_json::to_value(now).expect("JSON");
        change(&mut value);
        let changed: ModelVersion = serde_json::from_value(value).expect("a ModelVersion");
        let outcome = self
            .versions
            .replace(name, &PostParams::default(), &changed)
            .await;
        outcome.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // most of it is the list of what is refused
async fn nobody_approves_who_may_not_and_what_is_decided_is_a_chain() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space, elsewhere) = (turn.bed, "approval", "approval-elsewhere");
    objects::namespace(bed, space).await?;
    objects::namespace(bed, elsewhere).await?;
    bed.cluster.kubectl()?.apply(&rights(space))?;
    let user = async |name: &str| anyhow::Ok(User::new(bed.client_of(name).await?, space));
    let (ann, rita) = (user("ann").await?, user("rita").await?);
    let (bob, eve) = (user("bob").await?, user("eve").await?);
    let operator = Operator::lead(bed, "approval")?;

    let manual = json!({"approval": "Manual", "author": "ann"});
    let four_eyes = |author: &str| json!({"approval": "FourEyes", "author": author});
    ann.create(version(space, 1, &manual))
        .await
        .expect("churn-1");
    ann.create(version(space, 2, &manual))
        .await
        .expect("churn-2");
    ann.create(version(space, 3, &four_eyes("ann")))
        .await
        .expect("churn-3");
    bob.create(version(space, 4, &four_eyes("bob")))
        .await
        .expect("churn-4");
    let admin = Api::<ModelVersion>::namespaced(bed.client().await?, elsewhere);
    admin
        .create(
            &PostParams::default(),
            &version(elsewhere, 1, &json!({"approval": "Manual"})),
        )
        .await?;
    let bob_approves_his_own = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: bob-approves, namespace: {space}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: windlass-approve}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}}]\n"
    );

    let conditions = async |name: &str, type_: &str| {
        let status = ann.versions.get(name).await.ok()?.status?;
        let found = find_condition(&status.conditions, type_)?;
        Some((
            found.status.clone(),
            found.reason.clone(),
            found.message.clone(),
        ))
    };
    let waits = async || {
        let (status, reason, message) = conditions("churn-3", condition::READY).await?;
        ((status.as_str(), reason.as_str()) == ("False", "AwaitingApproval")).then_some(message)
    };
    let message = wait("churn-3 to wait for approval", PATIENCE, waits).await;
    assert!(
        message.contains("verb approve") && message.contains("is not ann"),
        "{message}"
    );

    // The policy takes effect a moment after it is there.
    let refused = async || ann.review("churn-1", review("Approved", "ann")).await.err();
    let message = wait("a refusal", PATIENCE, refused).await;
    assert!(
        message.contains("ann may not approve or deny ModelVersion churn-1"),
        "{message}"
    );

    let elsewhere = User::new(bed.client_of("rita").await?, elsewhere);
    let training =
        |more: &str| objects::training(space, "job", &format!("{}\n{more}", objects::WITH_MODEL));
    let monitor = || {
        let training: Value = serde_saphyr::from_str(&training("  author: rita")).expect("YAML");
        serde_json::from_value::<DriftMonitor>(json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "DriftMonitor",
            "metadata": {"name": "churn", "namespace": space},
            "spec": {"deployment": "churn", "window": {"every": "1m", "size": "1m"}, "mode": "Enforce",
                     "retrain": {"template": {"spec": training["spec"]}}},
        }))
        .expect("a DriftMonitor")
    };
    let monitored = ann
        .monitors
        .create(&PostParams::default(), &monitor())
        .await;
    let monitored = monitored.map(drop).map_err(|error| error.to_string());
    // Ann's own, which Bob may edit: what is run in her name he may not say, all else he may.
    ann.train(&objects::training(
        space,
        "hers",
        &format!("{}\n  author: ann\n  suspend: true", objects::WITH_MODEL),
    ))
    .await
    .expect("ann's training");
    let mut hers = monitor();
    hers.metadata.name = Some("hers".to_owned());
    let mut hers = serde_json::to_value(hers)?;
    hers["spec"]["retrain"]["template"]["spec"]["author"] = "ann".into();
    let hers: DriftMonitor = serde_json::from_value(hers)?;
    let made = ann.monitors.create(&PostParams::default(), &hers).await;
    made.expect("ann's monitor");
    let other = json!({"spec": {"containers": [{"name": "trainer", "image": "bobs"}]}});
    let plain = PatchParams::default();
    let job = |spec: Value| Patch::Merge(json!({"spec": spec}));
    let workers = job(json!({"workers": {"template": other}}));
    let workers = bob.jobs.patch("hers", &plain, &workers);
    let workers = workers.await.map(drop).map_err(|error| error.to_string());
    let template = json!({"retrain": {"template": {"spec": {"workers": {"template": other}}}}});
    let template = job(template);
    let template = bob.monitors.patch("hers", &plain, &template);
    let template = template.await.map(drop).map_err(|error| error.to_string());
    let resumed = job(json!({"suspend": false}));
    let resumed = bob.jobs.patch("hers", &plain, &resumed);
    resumed.await.expect("whoever may edit it may resume it");
    let observed = job(json!({"mode": "Observe"}));
    let observed = bob.monitors.patch("hers", &plain, &observed);
    observed.await.expect("and change what is not run");
    let status = Patch::Merge(json!({"status": {"decisions": []}}));
    let status = ann
        .versions
        .patch_status("churn-1", &PatchParams::default(), &status)
        .await;
    let status = status.map(drop).map_err(|error| error.to_string());
    let applied = json!({"apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "churn-1"},
        "spec": {"review": review("Approved", "ann")}});
    let refusals = [
        (
            "an onlooker approves",
            eve.review("churn-1", review("Approved", "eve")).await,
            "forbidden",
        ),
        (
            "the author approves",
            ann.review("churn-1", review("Approved", "ann")).await,
            "may not approve",
        ),
        (
            "the author denies",
            ann.review("churn-1", review("Denied", "ann")).await,
            "may not approve",
        ),
        (
            "the author approves in another's name",
            ann.review("churn-1", review("Approved", "rita")).await,
            "may not approve",
        ),
        (
            "the author by server-side apply",
            ann.apply("churn-1", applied).await,
            "may not approve",
        ),
        (
            "the author by replacing it",
            ann.replace("churn-1", |all| {
                all["spec"]["review"] = review("Approved", "ann");
            })
            .await,
            "may not approve",
        ),
        (
            "a reviewer in another's name",
            rita.review("churn-1", review("Approved", "ann")).await,
            "spec.review.by: must be rita",
        ),
        (
            "a reviewer in nobody's name",
            rita.review("churn-1", review("Approved", "")).await,
            "spec.review.by",
        ),
        (
            "a reviewer without a reason",
            rita.review("churn-1", json!({"decision": "Approved", "by": "rita"}))
                .await,
            "spec.review.reason",
        ),
        (
            "a reviewer with an empty reason",
            rita.review(
                "churn-1",
                json!({"decision": "Approved", "by": "rita", "reason": ""}),
            )
            .await,
            "spec.review.reason",
        ),
        (
            "a word that is none",
            rita.review("churn-1", review("Perhaps", "rita")).await,
            "spec.review.decision",
        ),
        (
            "a reviewer of one approves another",
            bob.review("churn-2", review("Approved", "bob")).await,
            "may not approve",
        ),
        (
            "a reviewer in another namespace",
            elsewhere
                .review("churn-1", review("Approved", "rita"))
                .await,
            "forbidden",
        ),
        (
            "a version that comes approved",
            ann.create(version(
                space,
                9,
                &json!({"review": review("Approved", "ann")}),
            ))
            .await,
            "may not approve",
        ),
        (
            "a version that comes approved by another",
            ann.create(version(
                space,
                9,
                &json!({"review": review("Approved", "rita")}),
            ))
            .await,
            "may not approve",
        ),
        (
            "a version in another's name",
            ann.create(version(space, 9, &json!({"author": "rita"})))
                .await,
            "spec.author: must be ann",
        ),
        (
            "a training in another's name",
            ann.train(&training("  author: rita")).await,
            "spec.author: must be ann",
        ),
        (
            "a monitor whose trainings are in another's name",
            monitored,
            "spec.author: must be ann",
        ),
        (
            "another's workers in a training of hers",
            workers,
            "spec.author: must be bob, who writes what is run in its name",
        ),
        (
            "another's training in a monitor of hers",
            template,
            "spec.author: must be bob, who writes what is run in its name",
        ),
        (
            "a version that says which training made it",
            ann.create(version(
                space,
                9,
                &json!({"trainedBy": {"name": "churn-of-may", "uid": "1", "cause": "by hand"}}),
            ))
            .await,
            "spec.trainedBy: only Windlass knows what a training made, and ann may not say it",
        ),
        (
            "a version with another's fingerprints",
            ann.create(version(
                space,
                9,
                &json!({"fingerprint": "sha256:ab", "requestFingerprint": "sha256:cd"}),
            ))
            .await,
            "spec.fingerprint, spec.requestFingerprint: only Windlass knows",
        ),
        (
            "four eyes without an author",
            ann.train(&training("  approval: FourEyes")).await,
            "spec.author is required",
        ),
        (
            "four eyes on a version without an author",
            ann.create(version(space, 9, &json!({"approval": "FourEyes"})))
                .await,
            "spec.author is required",
        ),
        (
            "approval of a training without a model",
            ann.train(&objects::training(space, "job", "  approval: Manual"))
                .await,
            "spec.model is required",
        ),
        (
            "approval is asked for no longer",
            ann.merge("churn-1", json!({"spec": {"approval": "Automatic"}}))
                .await,
            "spec is immutable but for spec.review",
        ),
        (
            "two eyes in place of four",
            ann.merge("churn-3", json!({"spec": {"approval": "Manual"}}))
                .await,
            "spec is immutable but for spec.review",
        ),
        (
            "another author",
            ann.merge("churn-3", json!({"spec": {"author": "bob"}}))
                .await,
            "immutable",
        ),
        (
            "no author",
            ann.merge("churn-1", json!({"spec": {"author": null}}))
                .await,
            "spec is immutable but for spec.review",
        ),
        (
            "another artifact",
            ann.merge(
                "churn-1",
                json!({"spec": {"artifact": {"digest": format!("sha256:{}", "1".repeat(64))}}}),
            )
            .await,
            "spec is immutable but for spec.review",
        ),
        ("another history", status, "forbidden"),
    ];
    assert!(refusals.len() >= 20);
    for (what, outcome, why) in refusals {
        let message = outcome.expect_err(what);
        assert!(message.contains(why), "{what}: {message}");
    }

    rita.review("churn-1", review("Approved", "rita"))
        .await
        .expect("Rita may");
    rita.review("churn-2", review("Denied", "rita"))
        .await
        .expect("Rita may");
    bed.cluster.kubectl()?.apply(&bob_approves_his_own)?;
    let own = async || {
        let message = bob
            .review("churn-4", review("Approved", "bob"))
            .await
            .err()?;
        message
            .contains("somebody else has to approve it")
            .then_some(())
    };
    wait("Bob's own model to want another's eyes", PATIENCE, own).await;
    rita.review("churn-4", review("Approved", "rita"))
        .await
        .expect("Rita may");
    for (what, outcome) in [
        (
            "said otherwise later",
            rita.review("churn-1", review("Denied", "rita")).await,
        ),
        ("taken back", rita.review("churn-1", Value::Null).await),
        (
            "approved after all",
            rita.review("churn-2", review("Approved", "rita")).await,
        ),
    ] {
        let message = outcome.expect_err(what);
        assert!(
            message.contains("spec.review is immutable"),
            "{what}: {message}"
        );
    }

    for (name, ready, reason) in [
        ("churn-1", "True", "Registered"),
        ("churn-2", "False", "Denied"),
        ("churn-4", "True", "Registered"),
    ] {
        let is_so = async || {
            let (status, said, _) = conditions(name, condition::READY).await?;
            (status == ready && said == reason).then_some(())
        };
        wait(&format!("{name} to be {reason}"), PATIENCE, is_so).await;
    }
    let decided = ann.versions.get("churn-1").await?;
    let decisions = decided.status.clone().unwrap_or_default().decisions;
    let told: Vec<_> = decisions
        .iter()
        .map(|one| (one.action, one.actor.as_str()))
        .collect();
    assert_eq!(told, [(Action::Created, "ann"), (Action::Approved, "rita")]);
    assert_eq!(decisions[1].previous.as_ref(), Some(&decisions[0].digest));
    let said = operator.said();
    let logged: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for decision in decisions {
        let line = AuditLine {
            namespace: space.to_owned(),
            name: "churn-1".to_owned(),
            uid: decided.metadata.uid.clone().unwrap_or_default(),
            decision,
        };
        assert_eq!(line.decision.digest, line.digest());
        let line = json!({"audit": line});
        assert!(logged.contains(&line), "{line} is not in\n{said}");
    }
    let log = bed.folder.join("decided.log");
    std::fs::write(&log, said)?;
    assert_whole(bed, space, &log)?;
    no_record_is_changed(bed, space).await?;
    assert!(operator.stop()?.success());
    Ok(())
}

/// The operator's log and the versions say the same, as an auditor asks with the two commands of the documentation.
fn assert_whole(bed: &Bed, space: &str, log: &Path) -> Result<()> {
    let agent = std::env::var_os("WINDLASS_AGENT_BINARY").expect("the agent's program");
    let kubectl = bed.cluster.kubectl()?;
    let versions = bed.folder.join("versions.json");
    let printed = kubectl.run(&["get", "modelversions", "-n", space, "-o", "json"])?;
    std::fs::write(&versions, &printed)?;
    let verify = |versions: &Path| {
        let mut command = Command::new(&agent);
        command.arg("--termination-message");
        command.arg(bed.folder.join("verify.json"));
        command.args(["audit", "verify", "--versions"]);
        command.arg(versions).arg(log).output()
    };
    let said = verify(&versions)?;
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(text.contains("approval/churn-1: records 1 to 2"), "{text}");
    std::fs::write(
        &versions,
        printed.replace("I looked at its report", "I did not look at it"),
    )?;
    let said = verify(&versions)?;
    let text = String::from_utf8_lossy(&said.stdout);
    assert_eq!(said.status.code(), Some(65), "{text}");
    assert!(
        text.contains("status.decisions: approval/churn-1, record 2: it was changed"),
        "{text}"
    );
    Ok(())
}

/// Whoever may write a version's status may add records to it, and neither change one nor take one out.
async fn no_record_is_changed(bed: &Bed, space: &str) -> Result<()> {
    let versions: Api<ModelVersion> = Api::namespaced(bed.client().await?, space);
    let decided = versions.get("churn-1").await?.status.unwrap_or_default();
    let decisions = serde_json::to_value(&decided.decisions)?;
    let records = decisions.as_array().expect("a list");
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut records = records.clone();
        change(&mut records);
        json!({"status": {"decisions": records}})
    };
    let last = records.len() - 1;
    let far = |records: &mut Vec<Value>| {
        records.clear();
        records.push(decisions[last].clone());
        records[0]["sequence"] = json!(100);
    };
    let write = async |content: Value| {
        let parameters = PatchParams::default();
        let patch = Patch::Merge(content);
        let outcome = versions.patch_status("churn-1", &parameters, &patch).await;
        outcome.map(drop).map_err(|error| error.to_string())
    };
    for (what, content) in [
        ("none is left", with(&|records| records.clear())),
        ("no list is left", json!({"status": {"decisions": null}})),
        ("the last is missing", with(&|records| drop(records.pop()))),
        (
            "another actor",
            with(&|records| records[1]["actor"] = json!("ann")),
        ),
        (
            "another digest",
            with(&|records| records[0]["digest"] = json!("sha256:0")),
        ),
        ("another order", with(&|records| records.swap(0, 1))),
        ("all are others", with(&far)),
    ] {
        let message = write(content).await.expect_err(what);
        assert!(
            message.contains("status.decisions are records"),
            "{what}: {message}"
        );
    }
    let next = |sequence: u64| {
        let mut next = records[last].clone();
        next["sequence"] = json!(sequence);
        next["digest"] = json!(format!("sha256:{sequence}"));
        next
    };
    for (what, content) in [
        (
            "the first is missing",
            with(&|records| drop(records.remove(0))),
        ),
        (
            "the first is missing, and one is new",
            with(&|records| {
                records.remove(0);
                records.push(next(3));
            }),
        ),
        ("one is left out", with(&|records| records.push(next(4)))),
        (
            "two of one number",
            with(&|records| records.push(records[last].clone())),
        ),
    ] {
        let message = write(content).await.expect_err(what);
        assert!(
            message.contains("status.decisions are records"),
            "{what}: {message}"
        );
    }
    // New ones come; beyond a hundred the oldest go.
    write(with(&|records| records.extend((3..=100).map(next))))
        .await
        .expect("records are added");
    write(with(&|records| {
        records.extend((3..=102).map(next));
        records.drain(..2);
    }))
    .await
    .expect("the oldest go");
    Ok(())
}
