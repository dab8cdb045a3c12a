//! The steps of a TrainingJob: programs that run before its workers, and hand on what they write.
//!
//! ```text
//!   spec.inputs ──> step ──> step ──> workers      what is read: by name, and by the digest that it had
//!                     └────> step ──────┘          what waits: whoever names another
//! ```

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PodTemplate, TrainingJobSpec};

/// A program that runs before the workers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.inputs) || !(self.name in self.inputs)").message("a step cannot read its own output").field_path(".inputs"),
    validation = Rule::new("!has(self.dependsOn) || !(self.name in self.dependsOn)").message("a step cannot wait for itself").field_path(".dependsOn")
)]
pub struct TrainingStep {
    /// Name of the step. Its Job is `<job>-<name>`; whoever reads its output gets it as `WINDLASS_INPUT_<NAME>`.
    #[schemars(length(max = 20))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("must be a DNS label: lower-case letters, digits and '-', starting with a letter"))]
    #[x_kube(validation = Rule::new("self != 'check'").message("must not be 'check': the Job that checks the data has this name"))]
    pub name: String,
    /// What its program reads: names of `spec.inputs`, and of other steps, which it then waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 40)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub inputs: Vec<String>,
    /// Steps that it waits for without reading their output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 31), inner(length(max = 20)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub depends_on: Vec<String>,
    /// The pod. Its first container is the step's program and must have a `command`, since the agent runs it. What it writes to `WINDLASS_OUTPUT` is the step's output; it has to write something.
    pub template: PodTemplate,
    /// How often its pod is repeated when it fails. What the cluster itself took away never counts, and what a repetition cannot mend is not repeated.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: i32,
    /// `Never`: it runs. `IfUnchanged`: where a step of another TrainingJob in the namespace with the same fingerprint ended well, its output is taken over.
    #[serde(default)]
    pub reuse: Reuse,
}

fn default_retries() -> i32 {
    2
}

impl TrainingJobSpec {
    /// Names of the inputs and steps that the workers read, in their order: what `workers.inputs` says, else all that no
    /// step reads.
    pub fn read_by_workers(&self) -> Vec<&str> {
        if let Some(names) = &self.workers.inputs {
            return names.iter().map(String::as_str).collect();
        }
        let by_steps = self.steps.iter().flat_map(|step| &step.inputs);
        let by_steps: BTreeSet<&str> = by_steps.map(String::as_str).collect();
        let inputs = self.inputs.iter().map(|input| input.name.as_str());
        inputs
            .chain(self.steps.iter().map(|step| step.name.as_str()))
            .filter(|name| !by_steps.contains(name))
            .collect()
    }
}

/// Whether what was made before is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reuse {
    /// It is made anew.
    #[default]
    Never,
    /// It is taken where it was made from the same.
    IfUnchanged,
}

/// How a step stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// Name of the step.
    #[schemars(length(max = 20))]
    pub name: String,
    /// `Waiting`: for what it depends on. `Running`: its Job is there. `Complete`: its program ended well. `Reused`: the output of another run was taken over. `Failed`: and the job with it.
    pub phase: StepPhase,
    /// When its Job was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended, well or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Where its output lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub uri: Option<String>,
    /// The output's digest; who reads it reads this, or fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub digest: Option<String>,
    /// Digest over its template, the job's source, parameters and window, and the digests of what it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub fingerprint: Option<String>,
    /// The TrainingJob that made the output, where it was taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reused_from: Option<String>,
    /// What it waits for, or how it ended, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StepPhase {
    /// It waits for what it depends on.
    #[default]
    Waiting,
    /// Its Job is there.
    Running,
    /// Its program ended well.
    Complete,
    /// The output of another run was taken over.
    Reused,
    /// It failed.
    Failed,
}
