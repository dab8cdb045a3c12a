//! The roll-outs in whose course the operator is killed, and how each has to go.

use serde_json::{Value, json};

/// The model, and the ModelDeployment of it.
pub const NAME: &str = "churn";
/// Pods of each version.
const REPLICAS: i32 = 2;

/// One way to replace version 1 by version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollOut {
    /// A canary by share of replicas, which is promoted.
    Replicas,
    /// A canary by share of replicas, which fails in its second step and is taken back.
    Errors,
    /// A canary by a Gateway, which is promoted.
    Gateway,
    /// All at once after a preview; what served is kept for a while.
    BlueGreen,
}

impl RollOut {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Replicas, Self::Errors, Self::Gateway, Self::BlueGreen];

    /// A word for names of namespaces.
    pub fn word(self) -> &'static str {
        match self {
            Self::Replicas => "replicas",
            Self::Errors => "errors",
            Self::Gateway => "gateway",
            Self::BlueGreen => "bluegreen",
        }
    }

    /// Whether version 2 fails once it has come to its second step.
    pub fn fails(self) -> bool {
        self == Self::Errors
    }

    fn rollout(self, namespace: &str) -> Value {
        let second = if self.fails() { "2m" } else { "1s" };
        let steps = json!([{"weight": 20, "hold": "1s"}, {"weight": 50, "hold": second}]);
        let mut rollout = match self {
            Self::Replicas | Self::Errors => json!({"steps": steps}),
            // A host name belongs to one ModelDeployment alone.
            Self::Gateway => json!({
                "steps": steps,
                "traffic": {"gatewayRef": {"name": "public"}, "hostnames": [format!("{namespace}.example")]},
            }),
            Self::BlueGreen => json!({"strategy": "BlueGreen", "preview": {"hold": "1s"}}),
        };
        rollout["analysis"] = json!([{"metric": "ErrorRate", "notWorseThan": "0.05"}]);
        rollout
    }

    /// The two versions and their ModelDeployment.
    pub fn objects(self, namespace: &str) -> Value {
        let metadata = |name: &str| json!({"name": name, "namespace": namespace});
        let version = |number: usize| {
            let digest = format!("sha256:{number:064x}");
            json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
                "metadata": metadata(&format!("{NAME}-{number}")),
                "spec": {
                    "model": NAME, "version": number, "fingerprint": digest,
                    "artifact": {"uri": format!("s3://models/{NAME}/{number}"), "digest": digest, "format": "LightGBM"},
                },
            })
        };
        let rollout = self.rollout(namespace);
        let deployment = json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata(NAME),
            "spec": {"model": NAME, "version": 1, "replicas": REPLICAS, "runtime": "mlserver", "rollout": rollout},
        });
        json!({"apiVersion": "v1", "kind": "List", "items": [version(1), version(2), deployment]})
    }

    /// The steps that the status has to show, one after the other.
    pub fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Replicas | Self::Gateway => &[
                "churn-1 serves",
                "churn-2 at step 0 with 20%",
                "churn-2 at step 1 with 50%",
                "churn-2 serves",
            ],
            Self::Errors => &[
                "churn-1 serves",
                "churn-2 at step 0 with 20%",
                "churn-2 at step 1 with 50%",
                "churn-1 serves",
            ],
            Self::BlueGreen => &[
                "churn-1 serves",
                "churn-2 at step 0 with 0%",
                "churn-2 serves",
            ],
        }
    }

    /// The weights of the route, one after the other.
    pub fn routes(self) -> &'static [&'static str] {
        match self {
            Self::Gateway => &[
                "churn-v1 100",
                "churn-v1 100, churn-v2 0",
                "churn-v1 80, churn-v2 20",
                "churn-v1 50, churn-v2 50",
                "churn-v2 100",
            ],
            Self::Replicas | Self::Errors | Self::BlueGreen => &[],
        }
    }

    /// The records of decisions that the two versions have in the end.
    pub fn records(self) -> [&'static [&'static str]; 2] {
        match self {
            Self::Replicas | Self::Gateway | Self::BlueGreen => [
                &["Created", "Promoted", "Retired"],
                &["Created", "CanaryStarted", "Promoted"],
            ],
            Self::Errors => [
                &["Created", "Promoted"],
                &["Created", "CanaryStarted", "RolledBack", "Quarantined"],
            ],
        }
    }
}
