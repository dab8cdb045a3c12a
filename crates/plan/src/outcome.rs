//! What a plan is made of: steps on children, a status, notes for people, and when to look again.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use windlass_api::{ModelVersion, TrainingJob};

use crate::modeldeployment::{HttpRoute, ScaledObject};
use crate::trainingjob::VolcanoPodGroup;

/// What is to be done about one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<S> {
    /// In this order; a later one is not begun when an earlier one failed, unless that one [is beside](Step::is_beside).
    pub steps: Vec<Step>,
    /// The status as it shall be; it is written only where it differs.
    pub status: S,
    /// Events to publish, once the status is written.
    pub notes: Vec<Note>,
    /// Look again after this time, even if nothing changes.
    pub again: Option<Duration>,
}

impl<S> Plan<S> {
    /// A plan that only says how it is.
    pub fn status_only(status: S) -> Self {
        Self {
            steps: Vec::new(),
            status,
            notes: Vec::new(),
            again: None,
        }
    }

    /// Has it looked at again after this time, if there is one, or sooner.
    pub fn look_again(&mut self, after: Option<Duration>) {
        self.again = self.again.into_iter().chain(after).min();
    }
}

/// One change of the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make it so, by server-side apply; nothing is sent where it is so already.
    Apply(Child),
    /// Make it, if nothing has its name; it is an error if something has.
    Create(Child),
    /// Take it away, with all that belongs to it.
    Delete(Doomed),
}

impl Step {
    /// Whether what comes after it goes on without it: what changes the number of pods, or looks at what they answered, holds
    /// up nothing of what they serve.
    pub const fn is_beside(&self) -> bool {
        matches!(
            self,
            Self::Apply(
                Child::HorizontalPodAutoscaler(_) | Child::ScaledObject(_) | Child::JobBeside(_)
            ) | Self::Delete(
                Doomed::HorizontalPodAutoscaler(_) | Doomed::ScaledObject(_) | Doomed::JobBeside(_)
            )
        )
    }
}

/// An object that Windlass makes.
#[derive(Clone, Debug, PartialEq)]
pub enum Child {
    /// A Job.
    Job(Box<Job>),
    /// A Job whose failing holds up nothing.
    JobBeside(Box<Job>),
    /// A Service.
    Service(Box<Service>),
    /// A Deployment.
    Deployment(Box<Deployment>),
    /// An HTTPRoute of the Gateway API.
    HttpRoute(Box<HttpRoute>),
    /// A PodDisruptionBudget.
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    /// A HorizontalPodAutoscaler.
    HorizontalPodAutoscaler(Box<HorizontalPodAutoscaler>),
    /// A ScaledObject of KEDA's.
    ScaledObject(Box<ScaledObject>),
    /// A PodGroup.
    PodGroup(Box<PodGroup>),
    /// A PodGroup of Volcano's.
    VolcanoPodGroup(Box<VolcanoPodGroup>),
    /// A TrainingJob.
    TrainingJob(Box<TrainingJob>),
    /// A ModelVersion.
    ModelVersion(Box<ModelVersion>),
}

/// An object to take away; its name, in the namespace of the object that the plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doomed {
    /// A Job and its pods.
    Job(String),
    /// The same, where nothing else waits for it.
    JobBeside(String),
    /// A Job, which stays until its pods are gone.
    JobAfterItsPods(String),
    /// A PodGroup, of whichever scheduler, where there is one of this name.
    PodGroup(String),
    /// A Deployment and its pods.
    Deployment(String),
    /// A Service.
    Service(String),
    /// An HTTPRoute of the Gateway API.
    HttpRoute(String),
    /// A HorizontalPodAutoscaler.
    HorizontalPodAutoscaler(String),
    /// A ScaledObject of KEDA's.
    ScaledObject(String),
    /// A TrainingJob and its children.
    TrainingJob(String),
    /// A ModelVersion and its children, if it is as it was when this was decided.
    ModelVersion(Unchanged),
}

/// An object as it was when something was decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchanged {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: Option<String>,
    /// Its version then.
    pub resource_version: Option<String>,
}

/// An Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether a person should act.
    pub severity: Severity,
    /// One PascalCase word.
    pub reason: String,
    /// What happened, for a person.
    pub message: String,
}

/// Type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// A person may have to act.
    Warning,
}

impl Note {
    /// Something that went as it should.
    pub fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Normal,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Something a person may have to act on.
    pub fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// Something that a person has to mend: no retry until an object changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One PascalCase word.
    pub reason: String,
    /// What, where (the field's path), why, what to do.
    pub message: String,
}

impl Problem {
    /// A problem by its reason and message.
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}
