//! `ModelVersion`: the record of a model, and whether it was found good.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agent::Verdict;
use crate::quantities::ArtifactAddress;
use crate::{
    Address, Approval, Decimal, Decision, Retention, Retiring, Review, Signer, Source, Storage,
    Stored, Tracking, TrackingStatus, Validation, Window,
};

/// What is recorded of a model. All of it is immutable, but for `review`, which is set once, and `tracking`, which is no part of the record.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "windlass.dev", version = "v1alpha1", kind = "ModelVersion", plural = "modelversions",
    shortname = "mv", category = "ml", namespaced, status = "ModelVersionStatus", derive = "PartialEq",
    doc = "The record of one version of a model: where it lies, what it was made from, and whether it was found good. A model that was trained elsewhere is registered by applying one.",
    selectable = ".spec.model",
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".spec.version"),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.validation.verdict"),
    printcolumn(name = "Approval", type_ = "string", json_path = ".spec.review.decision"),
    printcolumn(name = "Trained-By", type_ = "string", json_path = ".spec.trainedBy.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = Rule::new("self.spec.model == oldSelf.spec.model && self.spec.version == oldSelf.spec.version && self.spec.artifact == oldSelf.spec.artifact && self.spec.approval == oldSelf.spec.approval && has(self.spec.fingerprint) == has(oldSelf.spec.fingerprint) && (!has(self.spec.fingerprint) || self.spec.fingerprint == oldSelf.spec.fingerprint) && has(self.spec.requestFingerprint) == has(oldSelf.spec.requestFingerprint) && (!has(self.spec.requestFingerprint) || self.spec.requestFingerprint == oldSelf.spec.requestFingerprint) && has(self.spec.source) == has(oldSelf.spec.source) && (!has(self.spec.source) || self.spec.source == oldSelf.spec.source) && has(self.spec.parameters) == has(oldSelf.spec.parameters) && (!has(self.spec.parameters) || self.spec.parameters == oldSelf.spec.parameters) && has(self.spec.inputs) == has(oldSelf.spec.inputs) && (!has(self.spec.inputs) || self.spec.inputs == oldSelf.spec.inputs) && has(self.spec.images) == has(oldSelf.spec.images) && (!has(self.spec.images) || self.spec.images == oldSelf.spec.images) && has(self.spec.environment) == has(oldSelf.spec.environment) && (!has(self.spec.environment) || self.spec.environment == oldSelf.spec.environment) && has(self.spec.window) == has(oldSelf.spec.window) && (!has(self.spec.window) || self.spec.window == oldSelf.spec.window) && has(self.spec.trainedBy) == has(oldSelf.spec.trainedBy) && (!has(self.spec.trainedBy) || self.spec.trainedBy == oldSelf.spec.trainedBy) && has(self.spec.parent) == has(oldSelf.spec.parent) && (!has(self.spec.parent) || self.spec.parent == oldSelf.spec.parent) && has(self.spec.trainingMetrics) == has(oldSelf.spec.trainingMetrics) && (!has(self.spec.trainingMetrics) || self.spec.trainingMetrics == oldSelf.spec.trainingMetrics) && has(self.spec.validation) == has(oldSelf.spec.validation) && (!has(self.spec.validation) || self.spec.validation == oldSelf.spec.validation) && has(self.spec.storage) == has(oldSelf.spec.storage) && (!has(self.spec.storage) || self.spec.storage == oldSelf.spec.storage) && has(self.spec.author) == has(oldSelf.spec.author) && (!has(self.spec.author) || self.spec.author == oldSelf.spec.author) && has(self.spec.retention) == has(oldSelf.spec.retention) && (!has(self.spec.retention) || self.spec.retention == oldSelf.spec.retention)").message("spec is immutable but for spec.review and spec.tracking: a ModelVersion is a record; register another version").field_path(".spec"),
    validation = Rule::new("!has(oldSelf.spec.review) || (has(self.spec.review) && self.spec.review == oldSelf.spec.review)").message("spec.review is immutable once it is there: register another version").field_path(".spec.review"),
    validation = Rule::new("self.metadata.name.startsWith(self.spec.model + '-') && self.metadata.name.substring(size(self.spec.model) + 1).matches('^[1-9][0-9]{0,9}$') && int(self.metadata.name.substring(size(self.spec.model) + 1)) == self.spec.version").message("metadata.name must be <spec.model>-<spec.version>"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.validation) || (has(self.status) && has(self.status.validation) && self.status.validation == oldSelf.status.validation)").message("status.validation is immutable once it is there: a verdict is not changed").field_path(".status.validation"),
    validation = Rule::new("!has(self.spec.review) || has(self.spec.artifact.digest) || (has(self.status) && has(self.status.artifact))").message("spec.review: the files are not digested yet, so that nobody can say what it is of; wait for status.artifact, or name spec.artifact.digest").field_path(".spec.review"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.artifact) || (has(self.status) && has(self.status.artifact) && self.status.artifact == oldSelf.status.artifact)").message("status.artifact is immutable once it is there: it is what the version was registered as").field_path(".status.artifact"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.decisions) || size(oldSelf.status.decisions) == 0 || (has(self.status) && has(self.status.decisions) && size(self.status.decisions) > 0 && (self.status.decisions[0].sequence == oldSelf.status.decisions[0].sequence || (size(self.status.decisions) >= 100 && self.status.decisions[0].sequence > oldSelf.status.decisions[0].sequence && self.status.decisions[0].sequence <= oldSelf.status.decisions[size(oldSelf.status.decisions) - 1].sequence + 1)) && oldSelf.status.decisions.all(old, old.sequence < self.status.decisions[0].sequence || (old.sequence - self.status.decisions[0].sequence < size(self.status.decisions) && self.status.decisions[old.sequence - self.status.decisions[0].sequence] == old)) && self.status.decisions.all(new, new.sequence - self.status.decisions[0].sequence >= 0 && new.sequence - self.status.decisions[0].sequence < size(self.status.decisions) && self.status.decisions.exists_one(other, other.sequence == new.sequence) && self.status.decisions[new.sequence - self.status.decisions[0].sequence].digest == new.digest))").message("status.decisions are records: they are added to, beyond a hundred the oldest go, and none is changed or taken out").field_path(".status.decisions")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.retention) || self.retention.artifacts != 'Delete' || has(self.artifact.digest)").message("artifact.digest is required where retention.artifacts is Delete: files are deleted only if they are what somebody named, and not what happened to lie there").field_path(".artifact"))]
#[x_kube(validation = Rule::new("self.approval != 'FourEyes' || has(self.author)").message("spec.author is required where approval is FourEyes: whoever it names may not approve the version").field_path(".author"))]
pub struct ModelVersionSpec {
    /// Name of the model.
    #[schemars(length(max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    pub model: String,
    /// Number of the version, from 1.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub version: i64,
    /// The model's files.
    pub artifact: Artifact,
    /// Digest over source, parameters, inputs' digests, window, images and templates: the same fingerprint gives the same model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub fingerprint: Option<String>,
    /// The same without the images as they were resolved, which no one knows before they ran: what `reuse` of a TrainingJob compares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub request_fingerprint: Option<String>,
    /// The code that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The hyperparameters that it was made with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub parameters: BTreeMap<String, String>,
    /// The data that it was made from: inputs, and outputs of steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 48))]
    pub inputs: Vec<InputRecord>,
    /// The images that made it, as the pods ran them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), inner(length(max = 1024)))]
    pub images: Vec<String>,
    /// What it was made on: `framework`, and of the first worker `architecture`, `kernel`, `cpus`, `agent` and `nvidiaDriver`. No part of the fingerprint.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub environment: BTreeMap<String, String>,
    /// The span of data that it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// The run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_by: Option<TrainedBy>,
    /// The version that served when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub parent: Option<String>,
    /// Metrics that the trainer itself reported.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub training_metrics: BTreeMap<String, Decimal>,
    /// What makes the model good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// How validation reaches `s3://` addresses: the model, its champion and the data set, and to write the report. `pvc://` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Who made it: the author of the training. Where a policy of the cluster checks it, it is the user who wrote the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub author: Option<String>,
    /// Who has to say that it may serve, beside its validation.
    #[serde(default)]
    pub approval: Approval,
    /// How long it is kept. Without it, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Where the version and its run are shown too. It is no part of the record, and can be changed at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<Tracking>,
    /// What a person says of it; it can be set later, once. Whoever sets it has to hold the verb `approve` on this ModelVersion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
}

/// The files of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Artifact {
    /// Where they lie: `pvc://claim/path`, `s3://bucket/key`, `https://host/file`, or `oci://registry/repository@sha256:…` in an image, all of it or, with `#folder` after it, a folder of it. An image that is named by its digest is mounted as it is; what a tag names, which may be moved, is copied.
    #[schemars(with = "ArtifactAddress")]
    pub uri: Address,
    /// `sha256:` and 64 hexadecimal digits, over the sorted list of paths, sizes and contents. What is loaded is verified against it. Without it, a Job digests what lies there as the version is registered, and `status.artifact` records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("must be sha256: and 64 lower-case hexadecimal digits"))]
    pub digest: Option<String>,
    /// The model's format, as the runtime presets name it: `LightGBM`, `ONNX`, ….
    #[schemars(length(min = 1, max = 63))]
    pub format: String,
    /// The files' sizes' sum, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub bytes: Option<i64>,
    /// The signature of the files, after OpenSSF Model Signing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<ArtifactSignature>,
}

/// The signature of a model's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.bundle) || has(self.signedBy)").message("must have at least one of bundle (where the signature lies) and signedBy (whose it has to be)"))]
pub struct ArtifactSignature {
    /// Where it lies, as `model_signing sign` wrote it. Default: `model.sig` among the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Address>,
    /// Whose it has to be. Validation loads the files only with such a signature, and so does a ModelDeployment that does not ask for another in its own `signedBy`. Without it the signature is on record, and verified where a ModelDeployment asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Signer>,
}

/// An input as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct InputRecord {
    /// Name of the input.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Where it lay.
    #[schemars(length(max = 1024))]
    pub uri: String,
    /// Its digest when it was read.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// When the newest of its files was changed, by the clock of its store: what came later belongs to a later training.
    /// Absent where nothing was checked, and for a single file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// The profile of its columns, where checks of data made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Stored>,
}

/// The run that made a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct TrainedBy {
    /// Name of the TrainingJob.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its uid.
    #[schemars(length(max = 63))]
    pub uid: String,
    /// The DriftMonitor that asked for it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub monitor: Option<String>,
    /// Why it was asked for: the drift that a monitor saw and in which window, or what the TrainingJob's annotation `windlass.dev/cause` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub cause: Option<String>,
}

/// What is so with a ModelVersion.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word for people: Pending, Registering, Validating, Validated, AwaitingApproval, Denied, Rejected, Inconclusive, Registered, Retiring. No program should read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Ready, Reconciling, Stalled, Validated, Approved, Published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What lay at `spec.artifact.uri` as the version was registered, where its manifest names no digest. Immutable once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactStatus>,
    /// What validation found. Immutable once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationStatus>,
    /// The version that it is compared with, taken down when validation starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// What is shown of it where `spec.tracking` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TrackingStatus>,
    /// That `spec.retention` takes it away; absent while it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring: Option<Retiring>,
    /// What happened to it, the newest last: a chain in which each record has the digest of the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub decisions: Vec<Decision>,
}

/// A model's files as they were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct ArtifactStatus {
    /// Their digest, as `spec.artifact.digest` would name it.
    #[schemars(length(max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("must be sha256: and 64 lower-case hexadecimal digits"))]
    pub digest: String,
    /// How many they are.
    pub files: i64,
    /// Their sizes' sum, in bytes.
    pub bytes: i64,
}

impl ModelVersion {
    /// The digest of its files: what its manifest names, or else what was found as it was registered. Absent until then.
    pub fn digest(&self) -> Option<&str> {
        self.digest_with(self.status.as_ref())
    }

    /// The same, where it is to have this status.
    pub fn digest_with<'a>(&'a self, status: Option<&'a ModelVersionStatus>) -> Option<&'a str> {
        let found = status.and_then(|status| status.artifact.as_ref());
        let named = self.spec.artifact.digest.as_deref();
        named.or_else(|| found.map(|found| found.digest.as_str()))
    }

    /// By what it is known in quarantine: its fingerprint, or else its digest. Absent until one is known.
    pub fn fingerprint_or_digest(&self) -> Option<&str> {
        self.spec.fingerprint.as_deref().or_else(|| self.digest())
    }

    /// The size of its files in bytes, where it is known.
    pub fn bytes(&self) -> Option<i64> {
        let found = self
            .status
            .as_ref()
            .and_then(|status| status.artifact.as_ref());
        let named = self.spec.artifact.bytes;
        named.or_else(|| found.map(|found| found.bytes))
    }
}

/// What validation found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidationStatus {
    /// `Pass`, `Fail` or `Inconclusive`.
    pub verdict: Verdict,
    /// Why.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// Rows that were judged.
    pub rows: i64,
    /// Overall metrics first, then by segment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200))]
    pub metrics: Vec<MetricStatus>,
    /// The version that it was compared with on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub champion: Option<String>,
    /// The profile of features and predictions that drift is measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Stored>,
    /// The full report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Stored>,
}

/// One metric on one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricStatus {
    /// Name of the metric, or of a difference between groups and their column: `equalOpportunity by country`.
    #[schemars(length(max = 192))]
    pub name: String,
    /// The segment's predicate; absent for all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub segment: Option<String>,
    /// Rows that it was computed on.
    pub rows: i64,
    /// The point estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32))]
    pub value: Option<Decimal>,
    /// Lower bound of its confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32))]
    pub lower: Option<Decimal>,
    /// Upper bound of its confidence interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32))]
    pub upper: Option<Decimal>,
    /// The champion's value on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 32))]
    pub champion: Option<Decimal>,
    /// Whether its gates hold; absent when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}
