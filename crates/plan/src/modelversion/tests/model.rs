//! Every interleaving of what may become of a version that is to be judged against the one that serves: see [`crate::model`].
//!
//! Bounds: two versions, one of which a person has to approve; its validation is repeated at most once. Time goes by the
//! minute, and ages past one are alike.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::agent::Verdict;
use windlass_api::{Approval, Review, ReviewDecision, condition};

use super::{World, failure, is_good, verdict, world};
use crate::fixtures::{at, object};
use crate::model::{self, Model};

/// Times past this are alike, in seconds.
const OLDEST: i64 = 60;
/// The claim of the rows that it is judged by.
const CLAIM: &str = "holdout";

#[derive(Clone, Copy, Debug)]
pub enum Event {
    Judged(&'static str),
    GivesUp,
    EndsUnread,
    JobIsDeleted,
    ChampionGoes,
    ChampionComes,
    ClaimGoes,
    ClaimComes,
    Reviewed(ReviewDecision),
    Minute,
}

impl World {
    fn is_under_way(&self) -> bool {
        let job = self.observed.job.as_ref();
        job.is_some_and(|job| !crate::jobs::has_ended(job))
    }

    fn found(&self) -> Option<Verdict> {
        super::super::verdict(&self.observed.version)
    }

    fn is_reviewed_by_hand(&self) -> bool {
        self.observed.version.spec.approval != Approval::Automatic
    }

    fn claim(&mut self, is_there: bool) {
        let claims = Arc::make_mut(&mut self.observed.claims);
        if is_there {
            claims.insert(CLAIM.to_owned());
        } else {
            claims.remove(CLAIM);
        }
    }

    fn champion(&mut self, is_there: bool) {
        let champion = crate::fixtures::version(1, '1', Some("Pass"));
        self.observed.champion = is_there.then_some(champion);
    }

    fn judged(&mut self, found: &str) {
        self.pod_ends("p", 0, &verdict(found)).job_ends("Complete");
    }
}

impl Model for World {
    const KIND: &'static str = "ModelVersion";
    const ROUNDS: usize = 10;
    type Event = Event;

    fn events(&self) -> Vec<Event> {
        let mut all = vec![Event::Minute];
        if self.is_under_way() {
            all.extend(["Pass", "Fail", "Inconclusive"].map(Event::Judged));
            all.extend([Event::GivesUp, Event::EndsUnread]);
        }
        if self.observed.job.is_some() {
            all.push(Event::JobIsDeleted);
        }
        all.push(match self.observed.champion {
            Some(_) => Event::ChampionGoes,
            None => Event::ChampionComes,
        });
        all.push(if self.observed.claims.contains(CLAIM) {
            Event::ClaimGoes
        } else {
            Event::ClaimComes
        });
        let spec = &self.observed.version.spec;
        if self.is_reviewed_by_hand() && spec.review.is_none() {
            let words = [ReviewDecision::Approved, ReviewDecision::Denied];
            all.extend(words.map(Event::Reviewed));
        }
        all
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Judged(found) => self.judged(found),
            Event::GivesUp => {
                self.pod_ends("p", 1, &failure("ServerFailed"))
                    .job_ends("Failed");
            }
            Event::EndsUnread => drop(self.job_ends("Complete")),
            Event::JobIsDeleted => {
                self.observed.job = None;
                self.observed.pods.clear();
            }
            Event::ChampionGoes => self.champion(false),
            Event::ChampionComes => self.champion(true),
            Event::ClaimGoes => self.claim(false),
            Event::ClaimComes => self.claim(true),
            Event::Reviewed(decision) => {
                let review: Review =
                    object(json!({"decision": decision, "by": "ada", "reason": "seen"}));
                Arc::make_mut(&mut self.observed.version).spec.review = Some(review);
            }
            Event::Minute => self.now += 60,
        }
    }

    fn words(event: Event) -> &'static str {
        match event {
            Event::Judged("Pass") => "it is found good",
            Event::Judged("Fail") => "it is found bad",
            Event::Judged(_) => "too little is known of it",
            Event::GivesUp => "the validation fails",
            Event::EndsUnread => "the validation leaves no report",
            Event::JobIsDeleted => "somebody deletes the Job",
            Event::ChampionGoes => "the record of what serves is deleted",
            Event::ChampionComes => "the record of what serves is made",
            Event::ClaimGoes => "a claim that it is judged by is deleted",
            Event::ClaimComes => "a claim that it is judged by is made",
            Event::Reviewed(ReviewDecision::Approved) => "a person approves it",
            Event::Reviewed(ReviewDecision::Denied) => "a person denies it",
            Event::Minute => "a minute passes",
        }
    }

    fn steps(&self) -> usize {
        self.plan().steps.len()
    }

    fn looks(&mut self, crash: usize) {
        self.reconcile(crash != usize::MAX);
    }

    fn state(&self) -> Value {
        let Self { observed, .. } = self;
        let status = self.status();
        let actions: Vec<_> = status.decisions.iter().map(|one| one.action).collect();
        let found = status.validation.as_ref().map(|found| found.verdict);
        let pods: Vec<_> = observed.pods.iter().map(|pod| &pod.status).collect();
        let spec = &observed.version.spec;
        let mut state = json!({
            "said": Model::said(self), "decisions": actions, "found": found, "champion": [json!(status.champion), json!(observed.champion.is_some())],
            "job": observed.job.as_ref().map(|job| &job.status), "pods": pods, "claims": *observed.claims,
            "review": spec.review, "approval": spec.approval,
        });
        model::aged(&mut state, at(self.now), OLDEST);
        state
    }

    fn said(&self) -> Option<String> {
        let status = self.status();
        let types = [condition::READY, condition::VALIDATED];
        model::said(status.phase.as_ref(), &status.conditions, &types)
    }

    fn wrong(&self, before: &Self) -> Option<String> {
        let known = before.status();
        if before.found().is_some() && before.found() != self.found() {
            return Some("its verdict changes".to_owned());
        }
        if !self.status().decisions.starts_with(&known.decisions) {
            return Some("what was recorded changes".to_owned());
        }
        let review = self.observed.version.spec.review.as_ref();
        let is_let = review.map_or(!self.is_reviewed_by_hand(), |review| {
            review.decision == ReviewDecision::Approved
        });
        let is_ready = self.is(condition::READY) && known != self.status();
        let may_serve = is_good(&self.observed.version) || is_ready;
        (may_serve && (self.found() != Some(Verdict::Pass) || !is_let))
            .then(|| "it may serve, and nobody found it good".to_owned())
    }

    fn stuck(&self) -> Option<String> {
        let mut deleted = self.clone();
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(self.now));
        Arc::make_mut(&mut deleted.observed.version)
            .metadata
            .deletion_timestamp = Some(now);
        if !deleted.plan().steps.is_empty() {
            return Some("something is done though it is being deleted".to_owned());
        }
        let waits_for_a_person =
            self.is_reviewed_by_hand() && self.observed.version.spec.review.is_none();
        let is_awaited = self.plan().again.is_some() || self.is_under_way() || waits_for_a_person;
        model::unexplained(&self.status().conditions, is_awaited)
    }

    fn goes_well(&mut self) {
        if self.reconcile(false) {
            return;
        }
        self.claim(true);
        self.champion(true);
        if self.is_under_way() {
            self.judged("Pass");
        }
        self.now += 60;
    }

    fn rests(&self) -> bool {
        let is_awaiting = self.status().phase.as_deref() == Some("AwaitingApproval");
        self.is(condition::READY) || self.is(condition::STALLED) || is_awaiting
    }
}

#[test]
fn whatever_becomes_of_a_version_is_in_the_docs_and_nothing_of_it_is_wrong() {
    let of = |approval| {
        let mut world = world(true);
        Arc::make_mut(&mut world.observed.version).spec.approval = approval;
        world
    };
    let found = model::explore(vec![of(Approval::Automatic), of(Approval::Manual)]);
    assert!(found.worlds >= 100, "{}", found.worlds);
    found.is_in_the_docs();
}
