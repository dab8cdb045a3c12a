//! Where a version is shown beside the cluster, and what is shown there.

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{INWARD, INWARD_MESSAGE};
use crate::shared::{SUBDOMAIN, SUBDOMAIN_MESSAGE};

/// Where a version, and the run that made it, are shown too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Tracking {
    /// An MLflow tracking server.
    pub mlflow: Mlflow,
}

/// An MLflow tracking server, as a pod of this namespace reaches it. The operator itself never does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mlflow {
    /// Its address: `https://host[:port][/path]`. A name and a password do not belong into it.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new(format!("!self.matches('{INWARD}')")).message(INWARD_MESSAGE))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/@ ]+(/[^@ ]*)?$')").message("must be https://host[:port][/path], without a name and a password: those belong into the Secret of secretName"))]
    pub uri: String,
    /// Name of a Secret in this namespace. Its keys become environment variables of the pod that shows the version: `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`. Without it, nobody says who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new(SUBDOMAIN).message(SUBDOMAIN_MESSAGE))]
    pub secret_name: Option<String>,
    /// Name of the experiment that the run is put into. Default: `<namespace>/<model>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 250))]
    pub experiment: Option<String>,
    /// Name of the registered model that the version belongs to. Default: the model's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 250))]
    pub registered_model: Option<String>,
}

/// What is shown of a version, or of a training that made none, beside the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackingStatus {
    /// Digest of what was shown, and where.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// When it was seen to be shown.
    pub time: Timestamp,
    /// The server's own id of the run.
    #[schemars(length(max = 63))]
    pub run_id: String,
    /// The server's own number of the registered version; absent for a training that made none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub model_version: Option<String>,
}
