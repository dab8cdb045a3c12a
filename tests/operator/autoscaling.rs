//! What changes the number of pods by the load: made, followed, and taken away again.

use std::time::Duration;

use anyhow::Result;
use windlass_testcluster::Kubectl;

use crate::objects::{self, PATIENCE};
use crate::support::operator::Operator;
use crate::support::wait;
use crate::turn;

/// The operator asks every half minute what the cluster serves.
const FOUND: Duration = Duration::from_mins(2);

/// As much of KEDA's kind as an API server needs.
const SCALED_OBJECTS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {plural: scaledobjects, singular: scaledobject, kind: ScaledObject, listKind: ScaledObjectList}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
";

/// KEDA's kind, as long as this is held: the tests that come next are to run without KEDA, also where this one fails.
struct Keda(Kubectl);

impl Keda {
    fn install(kubectl: Kubectl) -> Result<Self> {
        kubectl.apply(SCALED_OBJECTS)?;
        Ok(Self(kubectl))
    }
}

impl Drop for Keda {
    fn drop(&mut self) {
        let deleted = self.0.run(&["delete", "crd", "scaledobjects.keda.sh"]);
        if let Err(error) = deleted {
            println!(
                "KEDA's kind stays, and with it what the tests that come next find: {error:#}"
            );
        }
    }
}

struct Looking<'a> {
    kubectl: Kubectl,
    space: &'a str,
}

impl Looking<'_> {
    /// What is at a path of an object; nothing where there is none.
    fn at(&self, object: &str, path: &str) -> Option<String> {
        let path = format!("jsonpath={{{path}}}");
        let found = self
            .kubectl
            .run(&["get", object, "-n", self.space, "-o", &path]);
        found.ok().filter(|text| !text.is_empty())
    }

    async fn until(&self, object: &str, path: &str, expected: &str) {
        let what = format!("{object} to have {expected} at {path}");
        wait(&what, PATIENCE, async || {
            (self.at(object, path).as_deref() == Some(expected)).then_some(())
        })
        .await;
    }

    async fn until_gone(&self, object: &str) {
        wait(&format!("{object} to go"), PATIENCE, async || {
            self.at(object, ".metadata.name").is_none().then_some(())
        })
        .await;
    }

    fn patch(&self, patch: &str) -> Result<()> {
        self.kubectl.run(&[
            "patch",
            "modeldeployment",
            "churn",
            "-n",
            self.space,
            "--type=merge",
            "-p",
            patch,
        ])?;
        Ok(())
    }

    fn scale(&self, replicas: &str) -> Result<String> {
        let replicas = format!("--replicas={replicas}");
        self.kubectl.run(&[
            "scale",
            "modeldeployment",
            "churn",
            "-n",
            self.space,
            &replicas,
        ])
    }
}

#[tokio::test]
async fn what_an_autoscaler_asks_for_by_the_scale_subresource_is_followed() -> Result<()> {
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "autoscaled");
    objects::namespace(bed, space).await?;
    let operator = Operator::lead(bed, "autoscaled")?;
    let look = Looking {
        kubectl: bed.cluster.kubectl()?,
        space,
    };
    let deployment = objects::deployment(space, "churn", 1);
    let autoscaling =
        "  autoscaling: {minReplicas: 2, maxReplicas: 6, metric: CPU, target: '70'}\n";
    look.kubectl.apply(
        &[
            objects::version(space, "churn", 1),
            deployment + autoscaling,
        ]
        .join("---\n"),
    )?;

    let autoscaler = "horizontalpodautoscaler/churn";
    look.until(autoscaler, ".spec.scaleTargetRef.kind", "ModelDeployment")
        .await;
    let is = |path: &str| look.at(autoscaler, path).unwrap_or_default();
    assert_eq!(is(".spec.scaleTargetRef.name"), "churn");
    assert_eq!(
        (is(".spec.minReplicas"), is(".spec.maxReplicas")),
        ("2".to_owned(), "6".to_owned())
    );
    assert_eq!(is(".spec.metrics[0].containerResource.container"), "server");
    assert_eq!(
        is(".spec.metrics[0].containerResource.target.averageUtilization"),
        "70"
    );
    assert_eq!(is(".metadata.ownerReferences[0].kind"), "ModelDeployment");
    // It has been created with one, which is fewer than there may be.
    let pods = "deployment/churn-v1";
    look.until(pods, ".spec.replicas", "2").await;
    let template = look.at(pods, ".spec.template");

    look.scale("5")?;
    look.until(pods, ".spec.replicas", "5").await;
    assert_eq!(
        look.at(pods, ".spec.template"),
        template,
        "no pod is made anew"
    );
    let selector = "windlass.dev/deployment=churn,windlass.dev/role=serving";
    look.until("modeldeployment/churn", ".status.selector", selector)
        .await;
    look.until("modeldeployment/churn", ".status.replicas", "5")
        .await;
    let refused = look.scale("7").expect_err("more than there may be");
    assert!(
        format!("{refused:#}").contains(
            "must lie between spec.autoscaling.minReplicas and spec.autoscaling.maxReplicas"
        ),
        "{refused:#}"
    );
    // Bounds move past what there is: the pods follow, and the autoscaler will.
    look.patch(r#"{"spec": {"autoscaling": {"maxReplicas": 3}}}"#)?;
    look.until(autoscaler, ".spec.maxReplicas", "3").await;
    look.until(pods, ".spec.replicas", "3").await;

    look.patch(r#"{"spec": {"autoscaling": null}}"#)?;
    look.until_gone(autoscaler).await;
    // Kubernetes' own controller may have followed the bounds by now.
    let asked = look.at("modeldeployment/churn", ".spec.replicas");
    look.until(pods, ".spec.replicas", &asked.unwrap_or_default())
        .await;
    let said = r#".status.conditions[?(@.type=="Autoscaled")].reason"#;
    assert_eq!(look.at("modeldeployment/churn", said), None);

    // As docs/serving.md says: `replicas` goes from the manifest as `autoscaling` comes, and is 1 then by default.
    look.patch(
        r#"{"spec": {"replicas": null, "autoscaling": {"minReplicas": 2, "maxReplicas": 6, "metric": "CPU", "target": "70"}}}"#,
    )?;
    look.until(autoscaler, ".spec.minReplicas", "2").await;
    look.until(pods, ".spec.replicas", "2").await;
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn keda_that_comes_later_is_found_and_pointed_to_the_administrator_s_prometheus() -> Result<()>
{
    let Some(turn) = turn().await else {
        return Ok(());
    };
    let (bed, space) = (turn.bed, "keda");
    objects::namespace(bed, space).await?;
    // Nothing asks it here.
    let prometheus = [("WINDLASS_PROMETHEUS_URL", "http://127.0.0.1:9")];
    let operator = Operator::lead_with(bed, "keda", &prometheus)?;
    let look = Looking {
        kubectl: bed.cluster.kubectl()?,
        space,
    };
    let autoscaling = "  autoscaling: {maxReplicas: 6, metric: Concurrency, target: '4'}\n";
    let deployment = objects::deployment(space, "churn", 1) + autoscaling;
    look.kubectl
        .apply(&[objects::version(space, "churn", 1), deployment].join("---\n"))?;
    let reason = r#".status.conditions[?(@.type=="Autoscaled")].reason"#;
    look.until("modeldeployment/churn", reason, "AutoscalerNotFound")
        .await;
    look.until("deployment/churn-v1", ".spec.replicas", "1")
        .await;

    let _keda = Keda::install(bed.cluster.kubectl()?)?;
    let scaled = "scaledobjects.keda.sh/churn";
    let trigger = |path: &str| look.at(scaled, &format!(".spec.triggers[0].metadata.{path}"));
    let address = wait("KEDA's object", FOUND, async || trigger("serverAddress")).await;
    assert_eq!(address, "http://127.0.0.1:9");
    assert_eq!(trigger("threshold").as_deref(), Some("4"));
    let query = trigger("query").unwrap_or_default();
    assert!(
        query.contains(r#"namespace="keda",pod=~"churn-v[0-9]+-"#),
        "{query}"
    );
    look.until("modeldeployment/churn", reason, "ScaledObject")
        .await;

    look.kubectl.run(&[
        "patch", scaled, "-n", space, "--subresource=status", "--type=merge", "-p",
        r#"{"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "TriggerError", "message": "no answer"}]}}"#,
    ])?;
    look.until("modeldeployment/churn", reason, "TriggerError")
        .await;

    look.patch(r#"{"spec": {"autoscaling": {"metric": "CPU", "target": "70"}}}"#)?;
    look.until_gone(scaled).await;
    look.until("horizontalpodautoscaler/churn", ".spec.maxReplicas", "6")
        .await;
    assert!(operator.stop()?.success());
    Ok(())
}
