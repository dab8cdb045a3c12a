//! What the pods of a `ModelDeployment` take on, how many there are, and what is recorded: all but roll-outs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantities::{where_decimal, where_duration};
use crate::{Address, Decimal, GoDuration};

/// A number of bytes, as the agent reads it.
const BYTES: &str = "self.matches('^[1-9][0-9]{0,9}(Ki|Mi|Gi)?$')";
const BYTES_MESSAGE: &str = "must be a number of bytes such as 1048576, 512Ki, 2Mi or 1Gi";

/// Changes the number of pods by the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas").message("must be at most maxReplicas").field_path(".minReplicas"),
    validation = Rule::new("self.metric != 'CPU' || (self.target.matches('^[1-9][0-9]{0,3}$') && int(self.target) <= 1000)").message("with metric CPU this is how busy the model server may be, in percent of the CPU that it requests, from 1 to 1000, such as \"70\"").field_path(".target"),
    validation = Rule::new("self.metric != 'Concurrency' || (self.target.matches('^[0-9]+([.][0-9]{1,3})?$') && double(self.target) > 0.0)").message("with metric Concurrency this is how many requests a pod is to answer at once, a number above 0 such as \"4\"").field_path(".target"),
    validation = Rule::new("self.metric != 'Latency' || (self.target.matches('^([0-9]+([.][0-9]+)?(ms|s|m))+$') && duration(self.target) >= duration('1ms'))").message("with metric Latency this is the time that 95% of the requests are to be answered in, of 1ms or more, such as \"250ms\"").field_path(".target")
)]
pub struct Autoscaling {
    /// The least number of pods.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The largest number of pods. A canary's come on top of it, as they do of `replicas`.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// `CPU`: how busy the model server is, by a HorizontalPodAutoscaler. `Concurrency`: how many requests are answered at once. `Latency`: the time that 95% of the requests are answered in. The last two are told by the agents' metrics: by KEDA and the Prometheus that the administrator configured, else by a HorizontalPodAutoscaler where an adapter serves them (custom.metrics.k8s.io).
    pub metric: ScalingMetric,
    /// What a pod is to have of it: with CPU, percent of what its model server requests, such as `"70"`; with Concurrency, a number of requests, such as `"4"`; with Latency, a duration, such as `"250ms"`.
    #[schemars(length(min = 1, max = 16))]
    pub target: String,
}

fn one() -> i32 {
    1
}

/// By what the number of pods is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScalingMetric {
    /// How busy the model server is.
    #[serde(rename = "CPU")]
    Cpu,
    /// How many requests are answered at once.
    Concurrency,
    /// How long they take.
    Latency,
}

/// How a model that lies in a claim comes to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FromClaim {
    /// It is copied, and verified on the way.
    #[default]
    Fetch,
    /// It is mounted, and verified where it lies.
    Mount,
}

/// What a pod takes on at a time, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.concurrency) || (!has(self.queue) && !has(self.queueWait))").message("must be given with queue and queueWait: without it no request waits").field_path(".concurrency"))]
pub struct Limits {
    /// How many requests the model server is asked at once. Default: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrency: Option<i32>,
    /// How many more wait for their turn; one more is answered with 429. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub queue: Option<i32>,
    /// How long a request waits for its turn; then it is answered with 503. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_wait: Option<GoDuration>,
    /// How long an answer may take to begin; then the client is answered with 504. Default: as long as it takes, or as the client itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) > duration('0s')")).message("must be longer than 0s"))]
    pub timeout: Option<GoDuration>,
    /// After how many failed connections on end the model server is left alone for a second; 0 for never. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub circuit_failures: Option<i32>,
}

/// What is recorded of the traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observe {
    /// How large a body may be that is logged, mirrored or of which predictions are counted, such as `512Ki`; a larger one passes all the same. Default: 2Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new(BYTES).message(BYTES_MESSAGE))]
    pub max_body_bytes: Option<String>,
    /// Requests and answers, as Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_payloads: Option<LogPayloads>,
}

/// The payload log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogPayloads {
    /// Share of the requests that are logged, from 0 to 1.
    #[serde(default = "default_sample")]
    #[x_kube(validation = Rule::new(where_decimal("double(self) >= 0.0 && double(self) <= 1.0")).message("must lie between 0 and 1, such as \"0.1\""))]
    pub sample: Decimal,
    /// A folder or prefix (`pvc://` or `s3://`); files lie below it, in a folder for each version.
    #[x_kube(validation = Rule::new("!self.startsWith('https://')").message("must be pvc:// or s3://: a log cannot be written to https://"))]
    pub uri: Address,
    /// Columns whose values are logged as null, such as a feature that tells who somebody is. They are blank before anything is written, to disk too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = Rule::new("self.all(column, !(column in ['request_id', 'timestamp', 'model', 'version']))").message("rows are told apart and found by request_id, timestamp, model and version; any other column can be redacted"))]
    pub redact: Vec<String>,
    /// How much a pod keeps on its own disk until it is uploaded, such as `256Mi`; further rows are dropped, and counted. Default: 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 12))]
    #[x_kube(validation = Rule::new(BYTES).message(BYTES_MESSAGE))]
    pub max_spool_bytes: Option<String>,
    /// How long a row waits to be uploaded. Default: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(where_duration("self", "duration(self) >= duration('100ms')")).message("must be 100ms or longer"))]
    pub flush_every: Option<GoDuration>,
}

fn default_sample() -> Decimal {
    "1".into()
}
