//! Kueue's Workload, as far as we read it: Kueue makes one for each Job with a queue, and says there what it waits for.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::{Deserialize, Serialize};

/// The label of a Workload that has its Job's uid.
pub const JOB_UID: &str = "kueue.x-k8s.io/job-uid";

/// `kueue.x-k8s.io/v1beta2` Workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KueueWorkload {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// How it stands.
    #[serde(default)]
    pub status: KueueWorkloadStatus,
}

/// How a Workload stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KueueWorkloadStatus {
    /// `QuotaReserved`, `Admitted`, `Evicted` and others.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// What a Job in a queue waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueWord {
    /// Why a person has to do something, in one word; nothing where room will come by itself.
    pub problem: Option<&'static str>,
    /// In Kueue's words.
    pub message: String,
}

impl KueueWorkload {
    /// What it waits for; nothing where it has its room.
    pub fn waits_for(&self) -> Option<QueueWord> {
        let mut conditions = self.status.conditions.iter();
        let quota = conditions
            .find(|condition| condition.type_ == "QuotaReserved" && condition.status == "False")?;
        // What is never enough has the same reason as what is not enough now, and other words.
        let problem = match quota.reason.as_str() {
            "Inadmissible" => Some("QueueNotFound"),
            _ if quota.message.contains("maximum capacity")
                || quota.message.contains("unavailable in ClusterQueue") =>
            {
                Some("QuotaNeverFits")
            }
            _ => None,
        };
        Some(QueueWord {
            problem,
            message: quota.message.clone(),
        })
    }
}

impl Resource for KueueWorkload {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Workload".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "kueue.x-k8s.io".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1beta2".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "workloads".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
