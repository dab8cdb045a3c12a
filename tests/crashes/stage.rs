//! One run of a life: its namespace, its operator, the kill, and what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinSet;
use windlass_api::{ModelDeployment, condition, is_true};

use super::end::{self, End, differences};
use super::lives::Life;
use super::rollouts::NAME;
use super::seen::{Watching, Ways};
use super::support::between::{Between, Call, Point, When};
use super::support::operator::Operator;
use super::support::{Bed, lets_lead_in};

/// How long each part of a life may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long it may take after a life is over until all is as it is to be.
const SETTLES: Duration = Duration::from_mins(1);
/// How long nothing is written after a life that is over: longer than anything that it waits for by the clock, the time
/// for which a version is kept apart.
const STILL: Duration = Duration::from_secs(8);
/// The same where it is known what the end is: longer than the operator's pause between two looks.
const STILL_SO: Duration = Duration::from_millis(2500);
/// Everything that runs share.
pub struct Stage {
    /// What was seen.
    pub watching: Watching,
    /// What is played, for as long as this is held.
    pub _played: [JoinSet<()>; 2],
    /// A client with all rights.
    pub client: Client,
    /// The cluster, which goes down last.
    pub bed: Arc<Bed>,
}

/// How a run went.
pub struct Outcome {
    /// At which write the operator was killed, if it came so far.
    pub killed_at: Option<Call>,
    /// What was seen on the way.
    pub ways: Ways,
    /// What was there in the end.
    pub end: End,
    /// Actions on record of each version, of those that are gone too.
    pub records: BTreeMap<String, Vec<String>>,
    /// Decisions on record that no operator said.
    pub lost: Vec<String>,
    /// How many writes the operator took.
    pub writes: usize,
}

/// What came of a point.
pub struct Tried {
    /// Whether the operator was killed there.
    pub is_reached: bool,
    /// What was not as it has to be.
    pub wrong: Option<String>,
}

/// Where an operator is kept running.
struct Place<'a> {
    life: Life,
    namespace: &'a str,
    between: &'a Between,
    operator: &'a Mutex<Option<Operator>>,
    killed_at: &'a Mutex<Option<Call>>,
    /// What those that were killed have said.
    said: &'a Mutex<String>,
}

impl Stage {
    /// Kills the operator at a point of a life, and compares with one in which nobody is killed.
    pub async fn try_at(&self, life: Life, point: Point, expected: &Outcome) -> Tried {
        let (is_reached, how, wrong) = match self.run(life, Some((point, &expected.end))).await {
            Ok(outcome) => {
                let how = outcome.killed_at.as_ref().map_or_else(
                    || "it did not come so far".to_owned(),
                    |call| format!("killed {:?} {call}", point.when),
                );
                (
                    outcome.killed_at.is_some(),
                    how,
                    wrong(life, &outcome, expected),
                )
            }
            Err(error) => (
                false,
                "it was not to be seen".to_owned(),
                Some(format!("{error:#}")),
            ),
        };
        let what = format!("{life:?}, write {}: {how}", point.call);
        let verdict = wrong
            .as_ref()
            .map_or_else(String::new, |wrong| format!(": WRONG\n{wrong}"));
        println!("{what}{verdict}");
        Tried {
            is_reached,
            wrong: wrong.map(|wrong| format!("{what}\n{wrong}")),
        }
    }

    /// Goes on after the last write of a life in which nobody is killed, until there is none to be killed at.
    pub async fn beyond(&self, life: Life, expected: &Outcome) -> Vec<Tried> {
        let mut all = Vec::new();
        for call in expected.writes + 1.. {
            let point = Point {
                call,
                when: When::After,
            };
            let tried = self.try_at(life, point, expected).await;
            let is_last = !tried.is_reached;
            all.push(tried);
            if is_last {
                break;
            }
        }
        all
    }

    /// A life from the beginning to the end; where the operator is killed, and what the end is to be.
    pub async fn run(&self, life: Life, killed: Option<(Point, &End)>) -> Result<Outcome> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}-{number}", life.word());
        let objects = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\n{}---\n{}",
            lets_lead_in(&namespace),
            life.objects(&namespace)
        );
        let bed = self.bed.clone();
        tokio::task::spawn_blocking(move || bed.cluster.kubectl()?.create(&objects)).await??;
        let client = self.client.clone();
        let point = killed.map(|(point, _)| point);
        let between = Between::start(client, &namespace, Call::is_write, point).await?;
        let operator = Mutex::new(Some(self.operator(&between, &namespace).await?));
        let killed_at = Mutex::new(None);
        let said = Mutex::new(String::new());
        let place = Place {
            life,
            namespace: &namespace,
            between: &between,
            operator: &operator,
            killed_at: &killed_at,
            said: &said,
        };
        let outcome = tokio::select! {
            end = self.follow(life, &namespace, &between, killed.map(|(_, end)| end)) => end,
            failed = self.keep_running(&place) => failed.map(|never| match never {}),
        };
        let end = outcome.with_context(|| {
            let operator = operator.lock().expect("no holder panics");
            let said = operator.as_ref().map(Operator::said).unwrap_or_default();
            format!("{namespace}; the operator said:\n{said}")
        })?;
        let last = operator.into_inner().expect("no holder panics");
        let mut said = said.into_inner().expect("no holder panics");
        said += &last.context("an operator")?.last_words()?;
        let seen = self.watching.of(&namespace);
        let outcome = Outcome {
            killed_at: killed_at.into_inner().expect("no holder panics"),
            lost: seen.lost(&said),
            records: seen.records(),
            ways: seen.ways,
            end,
            writes: between.calls().len(),
        };
        // Nothing waits for it to be gone.
        let namespaces = Api::<Namespace>::all(self.client.clone());
        namespaces
            .delete(&namespace, &DeleteParams::default())
            .await?;
        Ok(outcome)
    }

    /// Kills the operator once the point is reached, and starts another where one has ended.
    async fn keep_running(
        &self,
        &Place {
            life,
            namespace,
            between,
            operator,
            killed_at,
            said,
        }: &Place<'_>,
    ) -> Result<Infallible> {
        loop {
            let is_killed = killed_at.lock().expect("no holder panics").is_some();
            tokio::select! {
                call = between.reached(), if !is_killed => {
                    *killed_at.lock().expect("no holder panics") = Some(call?);
                }
                // One that loses its Lease on a busy machine ends, and is started again as its pod would be.
                () = ended(operator) => {}
            }
            let last = operator.lock().expect("no holder panics").take();
            let words = last.context("an operator")?.last_words()?;
            said.lock().expect("no holder panics").push_str(&words);
            life.while_down(&self.client, namespace).await?;
            between.open();
            let next = self.operator(between, namespace).await?;
            *operator.lock().expect("no holder panics") = Some(next);
        }
    }

    async fn operator(&self, between: &Between, namespace: &str) -> Result<Operator> {
        let (bed, server, namespace) = (self.bed.clone(), between.url(), namespace.to_owned());
        let started =
            move || Operator::lead_by(&bed, &format!("crash-{namespace}"), &server, &namespace);
        tokio::task::spawn_blocking(started).await?
    }

    /// Waits until a life is over and nothing more is done, and returns what is there then. Where it is not what it is to be
    /// for too long, it is returned as it is.
    async fn follow(
        &self,
        life: Life,
        namespace: &str,
        between: &Between,
        expected: Option<&End>,
    ) -> Result<End> {
        life.follow(self, namespace).await?;
        let still = if expected.is_some() { STILL_SO } else { STILL };
        let began = Instant::now();
        loop {
            let is_too_long = began.elapsed() > SETTLES;
            if between.quiet() >= still || is_too_long {
                let end = end::end(&self.client, namespace).await?;
                if is_too_long || expected.is_none_or(|expected| end == *expected) {
                    return Ok(end);
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Asks for version 2 once version 1 serves, and waits until the roll-out is over.
    pub async fn roll_out(&self, namespace: &str) -> Result<()> {
        let status = || self.watching.of(namespace).status;
        let serves = async || {
            status().filter(|status| {
                status.stable.is_some() && is_true(&status.conditions, condition::READY)
            })
        };
        until("version 1 to serve", serves).await?;
        let deployments = Api::<ModelDeployment>::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({"spec": {"version": 2}}));
        deployments
            .patch(NAME, &PatchParams::default(), &patch)
            .await?;
        let is_over = async || {
            status().filter(|status| status.last_rollout.is_some() && status.bake.is_none())
        };
        until("the roll-out to be over", is_over).await?;
        Ok(())
    }
}

/// Waits until an operator has ended.
async fn ended(operator: &Mutex<Option<Operator>>) {
    let has_ended = || {
        let operator = operator.lock().expect("no holder panics");
        operator.as_ref().is_some_and(Operator::has_ended)
    };
    while !has_ended() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for an answer; an error where there is none for too long.
pub async fn until<T>(what: &str, question: impl AsyncFn() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What is not as it was when nobody was killed.
fn wrong(life: Life, found: &Outcome, expected: &Outcome) -> Option<String> {
    let mut wrong = String::new();
    let ways: BTreeSet<&String> = expected.ways.keys().chain(found.ways.keys()).collect();
    for what in ways.into_iter().filter(|_| life.has_one_way()) {
        let (expected, found) = (expected.ways.get(what), found.ways.get(what));
        if expected != found {
            let _ = write!(wrong, "  {what}:\n    - {expected:?}\n    + {found:?}\n");
        }
    }
    wrong += &differences(&expected.end, &found.end).unwrap_or_default();
    if life.has_one_way() && found.records != expected.records {
        let (expected, found) = (&expected.records, &found.records);
        let _ = write!(wrong, "  records:\n    - {expected:?}\n    + {found:?}\n");
    }
    for lost in found.lost.iter().filter(|_| life.is_told()) {
        let _ = writeln!(wrong, "  {lost}");
    }
    (!wrong.is_empty()).then_some(wrong)
}

impl Outcome {
    /// What one thing showed, one after the other.
    pub fn way(&self, what: &str) -> Vec<String> {
        self.ways.get(what).cloned().unwrap_or_default()
    }

    /// The actions on record of a version, be it gone.
    pub fn recorded(&self, version: &str) -> Vec<String> {
        self.records.get(version).cloned().unwrap_or_default()
    }
}
