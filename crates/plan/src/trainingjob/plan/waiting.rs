//! Workers that find no node: how many, what they ask for, and what the scheduler says.
//!
//! The scheduler says something else whenever a node changes. A thousand gangs that wait must not write each word down:
//! what is said is renewed at most once a minute.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec};
use kube::ResourceExt;
use windlass_api::{TrainingJobStatus, Waiting};

use super::Reconcile;
use crate::trainingjob::gang::Share;
use crate::trainingjob::observed::Rooms;
use crate::{Plan, Problem, gpus, pods, template};

/// How long what was said stays.
const RENEWED: SignedDuration = SignedDuration::from_mins(1);

/// How the scheduler speaks of devices by DRA: "cannot allocate all claims".
const CLAIM: &str = "claim";

/// How long the scheduler may take until it has looked at every pod of a gang.
const JUDGED: SignedDuration = SignedDuration::from_secs(2);

impl Reconcile<'_> {
    /// What is to be said of an attempt whose workers find no node; nothing where all have one.
    pub(super) fn waiting(&self, attempt: i32) -> Option<Plan<TrainingJobStatus>> {
        let message = self.unscheduled(attempt)?;
        let begun = self.current().and_then(|attempt| attempt.started);
        if let Some(left) = begun.and_then(|begun| self.left(begun + JUDGED)) {
            return Some(Plan {
                again: Some(left),
                ..Plan::status_only(self.under_way(attempt))
            });
        }
        let (waiting, again) = self.renewed(&message);
        let mut plan = self.stalled(&Problem::new("Unschedulable", waiting.message.clone()));
        plan.status.waiting = Some(waiting);
        plan.again = again;
        Some(plan)
    }

    /// What is said of a wait: this, or what was said less than a minute ago, and when to say something else.
    pub(super) fn renewed(&self, message: &str) -> (Waiting, Option<Duration>) {
        let said = |since| Waiting {
            since,
            observed: self.now,
            message: message.to_owned(),
        };
        let Some(before) = &self.before.waiting else {
            return (said(self.now), None);
        };
        match self.left(before.observed + RENEWED) {
            _ if before.message == message => (before.clone(), None),
            Some(left) => (before.clone(), Some(left)),
            None => (said(before.since), None),
        }
    }

    /// `2 of 4 workers find no node, nvidia.com/gpu: 8 asked. The scheduler says of pod a-1-2: 0/3 nodes are …`
    fn unscheduled(&self, attempt: i32) -> Option<String> {
        let waiting: Vec<(&Pod, &str)> = self
            .pods_of(attempt)
            .filter_map(|pod| Some((pod, pods::unschedulable(pod)?)))
            .collect();
        // Of a gang, only the pod that lacked a node is told which nodes there are; the others hear of the gang.
        let tells = |(_, said): &&(&Pod, &str)| said.contains("nodes are available");
        let (pod, said) = *waiting.iter().find(tells).or_else(|| waiting.first())?;
        let count = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
        let all = self.workers();
        let template = template::parse("spec.workers.template", &self.job.spec.workers.template);
        let asked = template.map_or_else(
            |_| String::new(),
            |template| self.asked(&template, count, said),
        );
        let workers = if all == 1 { "worker" } else { "workers" };
        let find = if count == 1 { "finds" } else { "find" };
        Some(format!(
            "{count} of {all} {workers} {find} no node{asked}; the scheduler says of pod {}: {said}",
            pod.name_any()
        ))
    }

    /// `, nvidia.com/gpu: 8 asked, 4 free` of each device that the scheduler speaks of, or that no node has; of devices
    /// by DRA, and of shares of GPUs, what is asked: what is free of them is not known here.
    fn asked(&self, template: &PodTemplateSpec, count: i64, said: &str) -> String {
        let Some(spec) = &template.spec else {
            return String::new();
        };
        // Writing to a String cannot fail.
        let mut told = self.asked_by_limits(spec, count, said);
        if said.contains(CLAIM) {
            for (class, each) in self.claimed(spec) {
                let asked = each * count;
                let _ = write!(told, ", {class}: {asked} asked by resource claims");
            }
        }
        if let Some(share) = Share::of(template) {
            let _ = write!(told, ", {} asked", share.asked_by(count));
        }
        told
    }

    fn asked_by_limits(&self, spec: &PodSpec, count: i64, said: &str) -> String {
        let devices = gpus::resources(spec).into_iter();
        let told = devices.filter_map(|(name, each)| {
            let asked = each * count;
            // No node lists what claims are made of.
            let is_class = gpus::is_device_class(&name);
            let room = match &self.observed.room {
                Rooms::Known(room) if !is_class => Some(room),
                Rooms::Known(_) | Rooms::Asked | Rooms::Unknown => None,
            };
            let is_told = said.contains(&name) || (is_class && said.contains(CLAIM));
            match room {
                Some(room) if !room.has(&name, spec) => Some(format!(
                    ", {name}: {asked} asked, and no node that they may be on has any"
                )),
                Some(room) if is_told => {
                    let room = room.free(&name, spec);
                    Some(format!(", {name}: {asked} asked, {room} free"))
                }
                _ if is_told => Some(format!(", {name}: {asked} asked")),
                _ => None,
            }
        });
        told.collect()
    }
}
