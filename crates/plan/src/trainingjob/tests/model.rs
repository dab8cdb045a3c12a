//! Every interleaving of what may become of a gang of two with one failure allowed: see [`crate::model`].
//!
//! Bounds: three attempts, the last of which goes well or fails for good; time goes by the minute, and ages past one are alike (every pause and deadline here is
//! shorter); one change of the template. Four jobs, of which the second
//! and fourth go no further than two attempts: one with a deadline, one whose data is checked, one that
//! makes no model (and whose template changes), and one that goes a minute after its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;
use serde_json::{Value, json};
use windlass_api::{condition, labels};

use super::world::{World, failure, trained};
use crate::fixtures::{at, waiting};
use crate::model::{self, Model};

/// The bound of attempts.
const ATTEMPTS: usize = 2;
/// Times past this are alike, in seconds.
const OLDEST: i64 = 60;
/// The claim that is read from.
const CLAIM: &str = "events";

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Succeeds,
    SucceedsUnread,
    Fails,
    FailsForGood,
    IsPreempted,
    IsPreemptedAndGone,
    IsBeingPreempted,
    CannotStart,
    Starts,
    PodsGo,
    JobIsDeleted,
    Suspends,
    Resumes,
    ChangesTemplate,
    DataHolds,
    DataFails,
    DataIsNotKnown,
    ClaimGoes,
    ClaimComes,
    Minute,
}

impl World {
    fn attempts(&self) -> usize {
        let attempt = self.status().attempt.unwrap_or(0);
        usize::try_from(attempt).expect("a number")
    }

    /// Whether a Job of this kind has not ended.
    fn runs(&self, is_attempt: bool) -> bool {
        let mut children = self.observed.children.iter();
        children.any(|child| {
            child.labels().contains_key(labels::ATTEMPT) == is_attempt
                && !crate::jobs::has_ended(child)
        })
    }

    fn has_pods(&self, is: impl Fn(&Pod) -> bool) -> bool {
        self.observed.pods.iter().any(|pod| is(pod))
    }

    fn claim(&mut self, is_there: bool) {
        let claims = Arc::make_mut(&mut self.observed.claims);
        if is_there {
            claims.insert(CLAIM.to_owned());
        } else {
            claims.remove(CLAIM);
        }
    }

    fn start_pods(&mut self) {
        self.every_pod(|mut pod| {
            if is_pending(&pod) {
                pod.status = Some(PodStatus {
                    phase: Some("Running".to_owned()),
                    ..PodStatus::default()
                });
            }
            pod
        });
    }

    /// Somebody deletes the Job of the attempt; its pods go with it.
    fn job_is_deleted(&mut self) {
        let children = &mut self.observed.children;
        let is_attempt = |child: &Arc<k8s_openapi::api::batch::v1::Job>| {
            child.labels().contains_key(labels::ATTEMPT)
        };
        let Some(place) = children.iter().rposition(is_attempt) else {
            return;
        };
        let name = children.remove(place).name_any();
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.now));
        self.each_pod_of(&name, |pod| {
            pod.metadata.deletion_timestamp = Some(now.clone());
        });
    }

    /// The attempts of which pods may be alive.
    fn gangs(&self) -> BTreeSet<&String> {
        let pods = self.observed.pods.iter();
        let alive = pods.filter(|pod| crate::pods::is_alive(pod));
        alive
            .filter_map(|pod| pod.labels().get(labels::ATTEMPT))
            .collect()
    }
}

fn is_pending(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Pending")
}

impl Model for World {
    const KIND: &'static str = "TrainingJob";
    const ROUNDS: usize = 30;
    type Event = Event;

    fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        if self.deleted {
            return all;
        }
        let spec = &self.observed.job.spec;
        let is_short =
            spec.ttl_seconds_after_finished.is_some() || !spec.inputs[0].checks.is_empty();
        let most = ATTEMPTS - usize::from(is_short) + model::further();
        let may_go_on = self.attempts() < most;
        let runs = self.runs(true);
        let mut when = |is: bool, events: &[Event]| {
            if is {
                all.extend_from_slice(events);
            }
        };
        when(runs, &[Event::Succeeds, Event::FailsForGood]);
        when(
            runs && may_go_on,
            &[
                Event::SucceedsUnread,
                Event::IsPreempted,
                Event::IsPreemptedAndGone,
                Event::IsBeingPreempted,
                Event::JobIsDeleted,
            ],
        );
        let is_last = self.status().failures >= spec.backoff_limit;
        when(runs && (may_go_on || is_last), &[Event::Fails]);
        when(
            is_short
                && runs
                && !self.has_pods(|pod| crate::pods::is_disrupted(pod) || is_pending(pod)),
            &[Event::CannotStart],
        );
        when(self.has_pods(is_pending), &[Event::Starts]);
        when(
            self.has_pods(|pod| pod.metadata.deletion_timestamp.is_some()),
            &[Event::PodsGo],
        );
        when(
            self.runs(false),
            &[Event::DataHolds, Event::DataFails, Event::DataIsNotKnown],
        );
        let is_over = self.has_ended();
        when(!is_over && spec.suspend, &[Event::Resumes]);
        when(!is_over && !spec.suspend && may_go_on, &[Event::Suspends]);
        let template = &spec.workers.template;
        let is_changed = json!(template).to_string().contains("trainer:2");
        when(
            !is_over && spec.suspend && !is_changed && spec.model.is_none(),
            &[Event::ChangesTemplate],
        );
        let is_there = self.observed.claims.contains(CLAIM);
        when(
            is_short && !is_over && is_there && self.attempts() == 0,
            &[Event::ClaimGoes],
        );
        when(!is_there, &[Event::ClaimComes]);
        when(true, &[Event::Minute]);
        all
    }

    fn happens(&mut self, event: Event) {
        let failed = failure("TrainerFailed", Some(1));
        match event {
            Event::Succeeds => drop(self.succeeds(&trained())),
            Event::SucceedsUnread => drop(self.succeeds("")),
            Event::Fails => drop(self.fails(1, &failed)),
            Event::FailsForGood => drop(self.fails(1, &failure("ColumnNotFound", None))),
            Event::IsPreempted => drop(self.is_preempted(false)),
            Event::IsPreemptedAndGone => drop(self.is_preempted(true)),
            Event::IsBeingPreempted => drop(self.is_being_preempted()),
            Event::CannotStart => drop(self.pod(|pod| waiting(pod, "ErrImagePull"))),
            Event::Starts => self.start_pods(),
            Event::PodsGo => drop(self.pods_go()),
            Event::JobIsDeleted => self.job_is_deleted(),
            Event::Suspends => drop(self.suspend(true)),
            Event::Resumes => drop(self.suspend(false)),
            Event::ChangesTemplate => drop(self.edit(|spec| {
                let changed = json!(spec.workers.template).to_string();
                let changed = changed.replace("trainer:1", "trainer:2");
                spec.workers.template = serde_json::from_str(&changed).expect("a template");
            })),
            Event::DataHolds => drop(self.data_holds()),
            Event::DataFails => drop(self.data_fails()),
            Event::DataIsNotKnown => drop(self.data_is_not_known()),
            Event::ClaimGoes => self.claim(false),
            Event::ClaimComes => self.claim(true),
            Event::Minute => drop(self.wait(60)),
        }
    }

    fn words(event: Event) -> &'static str {
        match event {
            Event::Succeeds => "the workers end well",
            Event::SucceedsUnread => "the workers end well and leave no report",
            Event::Fails => "a worker fails",
            Event::FailsForGood => "a worker fails in a way that a repetition cannot mend",
            Event::IsPreempted | Event::IsPreemptedAndGone => "a worker was preempted",
            Event::IsBeingPreempted => "a worker is being preempted",
            Event::CannotStart => "a worker's image cannot be pulled",
            Event::Starts => "the workers start",
            Event::PodsGo => "pods are gone",
            Event::JobIsDeleted => "somebody deletes the Job",
            Event::Suspends => "a person suspends it",
            Event::Resumes => "a person resumes it",
            Event::ChangesTemplate => "a person changes the template",
            Event::DataHolds => "the data is fit",
            Event::DataFails => "the data is not fit",
            Event::DataIsNotKnown => "the check of the data leaves no report",
            Event::ClaimGoes => "a claim that it reads from is deleted",
            Event::ClaimComes => "a claim that it reads from is made",
            Event::Minute => "a minute passes",
        }
    }

    fn steps(&self) -> usize {
        if self.deleted {
            0
        } else {
            self.plan().steps.len()
        }
    }

    fn looks(&mut self, crash: usize) {
        if !self.deleted {
            self.reconcile_until(crash);
        }
    }

    fn state(&self) -> Value {
        let Self { observed, .. } = self;
        let status = self.status();
        let spec = &observed.job.spec;
        // Of what has ended it is read when, and why of those that a person ended alone.
        let attempts = status.attempts.iter().map(|attempt| {
            let is_over = attempt.ended.is_some();
            json!([
                is_over,
                attempt.started.filter(|_| !is_over),
                is_over && attempt.reason == "Suspended"
            ])
        });
        let is_last_over = status.attempts.last().map(|last| last.ended);
        let over: Vec<String> = status
            .attempts
            .iter()
            .filter(|one| one.ended.is_some())
            .map(|one| one.number.to_string())
            .collect();
        let started = status
            .start_time
            .filter(|_| spec.active_deadline_seconds.is_some());
        let ended = status
            .completion_time
            .map(|time| Some(time).filter(|_| spec.ttl_seconds_after_finished.is_some()));
        let written = if self.has_ended() {
            json!([Model::said(self), ended])
        } else {
            json!([
                Model::said(self),
                attempts.collect::<Vec<_>>(),
                is_last_over,
                started,
                status.attempt,
                status.failures,
                status.inputs.len()
            ])
        };
        // What is left of an attempt that is over is of interest while it may be alive.
        let is_left = |labels: &BTreeMap<String, String>| {
            self.has_ended()
                || labels
                    .get(labels::ATTEMPT)
                    .is_some_and(|of| over.contains(of))
        };
        let mut children = BTreeMap::new();
        for child in &observed.children {
            let meta = &child.metadata;
            let template = child
                .spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref());
            let image = template.map(|spec| &spec.containers[0].image);
            let of = if is_left(child.labels()) {
                json!([meta.deletion_timestamp, crate::jobs::has_ended(child)])
            } else {
                json!([meta.deletion_timestamp, child.status, image])
            };
            children.insert(child.name_any(), of);
        }
        let mut pods = BTreeMap::new();
        for pod in &observed.pods {
            let going = &pod.metadata.deletion_timestamp;
            let of = if is_left(pod.labels()) {
                json!([going, crate::pods::is_alive(pod)])
            } else {
                json!([going, pod.status])
            };
            pods.insert(pod.name_any(), of);
        }
        let template = json!(spec.workers.template).to_string();
        let mut state = json!({
            "status": written, "children": children, "pods": pods, "versions": observed.versions.len(), "claims": *observed.claims,
            "deleted": self.deleted, "suspend": spec.suspend, "changed": template.contains("trainer:2"),
            "which": [json!(spec.active_deadline_seconds), json!(spec.inputs[0].checks.len()), json!(spec.model), json!(spec.ttl_seconds_after_finished)],
        });
        model::aged(&mut state, at(self.now), OLDEST);
        state
    }

    fn said(&self) -> Option<String> {
        let status = self.status();
        model::said(
            status.phase.as_ref(),
            &status.conditions,
            &[condition::READY],
        )
    }

    fn wrong(&self, before: &Self) -> Option<String> {
        if self.gangs().len() > 1 {
            return Some(format!("two gangs: {:?}", self.gangs()));
        }
        if before.has_ended() && (!self.has_ended() || self.made() > before.made()) {
            return Some("it goes on after its end".to_owned());
        }
        if self.status().failures > self.observed.job.spec.backoff_limit + 1 {
            return Some("more failures than are allowed".to_owned());
        }
        let is_published = self.observed.job.spec.model.is_some();
        let versions = self.observed.versions.len();
        if versions > 1 || (is_published && self.is(condition::COMPLETE) && versions != 1) {
            return Some(format!("{versions} versions come of it"));
        }
        None
    }

    fn stuck(&self) -> Option<String> {
        if self.deleted {
            return None;
        }
        let is_going = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
        if self.observed.job.spec.suspend
            && !self.has_ended()
            && self.has_pods(|pod| crate::pods::is_alive(pod) && !is_going(pod))
        {
            return Some("pods run though it is suspended".to_owned());
        }
        let mut deleted = self.clone();
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.now));
        Arc::make_mut(&mut deleted.observed.job)
            .metadata
            .deletion_timestamp = Some(now);
        if !deleted.plan().steps.is_empty() {
            return Some("something is done though it is being deleted".to_owned());
        }
        let is_awaited = self.plan().again.is_some()
            || self.runs(true)
            || self.runs(false)
            || self.has_pods(is_going)
            || self
                .observed
                .children
                .iter()
                .any(|child| child.metadata.deletion_timestamp.is_some());
        model::unexplained(&self.status().conditions, is_awaited)
    }

    fn goes_well(&mut self) {
        if self.deleted || self.reconcile() {
            return;
        }
        self.claim(true);
        self.pods_go().start_pods();
        self.data_holds().succeeds(&trained()).wait(60);
    }

    fn rests(&self) -> bool {
        let is_suspended = self.observed.job.spec.suspend && self.is(condition::SUSPENDED);
        self.deleted || self.has_ended() || is_suspended
    }
}

#[test]
fn whatever_becomes_of_a_training_is_in_the_docs_and_nothing_of_it_is_wrong() {
    let of = |more: Value| {
        let mut spec = json!({"backoffLimit": 1, "workers": {"replicas": 2, "template": {"spec": {"containers": [{"name": "trainer", "image": "trainer:1", "command": ["t"]}]}}}});
        let (Value::Object(all), Value::Object(more)) = (&mut spec, more) else {
            panic!("objects")
        };
        all.extend(more);
        World::new(spec)
    };
    let checked = json!([{"name": "events", "uri": "pvc://events/2026-10", "format": "Parquet", "checks": [{"column": "age", "notNull": true}]}]);
    let found = model::explore(vec![
        of(json!({"activeDeadlineSeconds": 50})),
        of(json!({"inputs": checked})),
        of(json!({"model": null, "output": null})),
        of(json!({"ttlSecondsAfterFinished": 60})),
    ]);
    assert!(found.worlds >= 1000, "{}", found.worlds);
    found.is_in_the_docs();
}
