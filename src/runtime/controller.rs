//! One controller a kind: look up, observe, plan, apply, look again.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::Controller;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};
use windlass_plan::{Doomed, Note, Plan, Problem, Step};

use super::apply::{ApplyError, Writer};
use super::kept::{Form, Ours, Packed};
use super::pauses::{Fault, Pauses, jittered};
use super::stores::{OurCache, Stores};
use super::triggers::Triggers;
use super::{Context, progress, readings, rooms, scrape, utilization};

/// Reconciles of one kind at once.
const CONCURRENCY: u16 = 8;
/// How soon an object is looked at anew that changed while it was planned, the first time.
const SOON: Duration = Duration::from_millis(500);

/// How long until a step that holds up no other is tried again.
const BESIDE: Duration = Duration::from_secs(30);

/// A kind that is planned.
pub trait Planned: Ours {
    /// Its status.
    type Status: Serialize + PartialEq + Default + Send + Sync;
    /// What is known of it.
    type Observed: Send + Sync;
    /// The field manager.
    const MANAGER: &'static str;

    /// Its cache.
    fn cache(stores: &Stores) -> &OurCache<Self>;
    /// Its status as it is.
    fn status(&self) -> Option<&Self::Status>;
    /// What is known of it, from caches.
    fn observe(self: Arc<Self>, context: &Context) -> Self::Observed;
    /// What is to be done.
    fn plan(observed: &Self::Observed, now: Timestamp) -> Plan<Self::Status>;
    /// Counts, and passes on, what a status tells that was written.
    fn count(_before: &Self, _status: &Self::Status, _context: &Context) {}
    /// Shows what is so from now on, whether or not it was new: what was planned, or, where that could not be done, what was
    /// before.
    fn show(_observed: &Self::Observed, _status: &Self::Status, _context: &Context) {}
    /// Shows it no more: it is gone.
    fn hide(_namespace: &str, _name: &str, _context: &Context) {}
    /// Tells again what may not have been told, since the last reconcile did not end well: its write may have been made.
    fn tell_again(_object: &Self, _now: Timestamp) {}
    /// What is to be said when a step of the plan was refused, which a person has to mend.
    fn refused(observed: &Self::Observed, problem: &Problem, now: Timestamp) -> Plan<Self::Status>;
}

/// Why a reconcile did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// A write failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A fault of ours; it is held to the object that it came up with.
    #[error("a fault in the operator: {0}; please report it")]
    Panic(String),
}

/// Runs the controllers, for ever.
pub async fn run_all(context: Arc<Context>, triggers: Triggers) {
    triggers.open();
    // Each has its own waker: what is news for one kind does not stir the others.
    let all: FuturesUnordered<_> = [
        run::<TrainingJob>(context.clone(), triggers.training_jobs).boxed(),
        run::<ModelVersion>(context.clone(), triggers.model_versions).boxed(),
        run::<ModelDeployment>(context.clone(), triggers.model_deployments).boxed(),
        run::<DriftMonitor>(context.clone(), triggers.drift_monitors).boxed(),
        scrape::run(context.clone()).boxed(),
        progress::run(context.clone()).boxed(),
        utilization::run(context.clone()).boxed(),
        readings::run(context.clone()).boxed(),
        rooms::run(context).boxed(),
    ]
    .into_iter()
    .collect();
    all.collect::<()>().await;
}

/// What is remembered of objects until they go.
type OfEach<K, T> = Mutex<HashMap<ObjectRef<Packed<K>>, T>>;

/// The pauses after errors, for each object its own.
struct Backoff<K: Ours>(OfEach<K, Pauses>);

impl<K: Ours> Backoff<K> {
    /// How long an object is left alone after it failed.
    fn next(&self, object: &Packed<K>, fault: Fault) -> Duration {
        let now = tokio::time::Instant::now();
        let mut map = self.0.lock().expect("no holder panics");
        let pauses = map
            .entry(ObjectRef::from_obj(object))
            .or_insert_with(|| Pauses::new(now));
        jittered(pauses.after(fault, now))
    }

    fn holds(&self, object: &ObjectRef<Packed<K>>) -> bool {
        self.0
            .lock()
            .expect("no holder panics")
            .contains_key(object)
    }

    fn reset(&self, object: &ObjectRef<Packed<K>>) {
        self.0.lock().expect("no holder panics").remove(object);
    }
}

/// Objects of which a step that holds up no other was refused, with the generation that it was refused for: a roll-out is
/// planned every other second, and is not to ask as often.
struct Refused<K: Ours>(OfEach<K, (Option<i64>, Instant)>);

impl<K: Ours> Refused<K> {
    /// How long such steps of it are still left alone.
    fn pause(&self, object: &Packed<K>, generation: Option<i64>) -> Option<Duration> {
        let map = self.0.lock().expect("no holder panics");
        let (refused, at) = map.get(&ObjectRef::from_obj(object))?;
        let left = BESIDE.checked_sub(at.elapsed())?;
        (*refused == generation).then_some(left)
    }

    fn set(&self, object: &Packed<K>, generation: Option<i64>, is_refused: bool) {
        let mut map = self.0.lock().expect("no holder panics");
        let key = ObjectRef::from_obj(object);
        if is_refused {
            map.insert(key, (generation, Instant::now()));
        } else {
            map.remove(&key);
        }
    }
}

struct Running<K: Ours> {
    context: Arc<Context>,
    backoff: Backoff<K>,
    refused: Refused<K>,
}

impl<K: Ours> Running<K> {
    /// How long until an object is tried again that failed so.
    fn pause(&self, object: &Packed<K>, error: &ReconcileError) -> Duration {
        let context = &self.context;
        let fault = match error {
            ReconcileError::Apply(error) => error.fault(),
            ReconcileError::Panic(_) => Fault::Other,
        };
        match error {
            // Soon a watch brings what is there by now; that it changed is no failure after which to wait for longer. But
            // where none brings it, and each write is refused, many objects are not to ask twice a second each.
            ReconcileError::Apply(ApplyError::Outdated { .. }) => {
                SOON.max(context.queue.turn(tokio::time::Instant::now()))
            }
            ReconcileError::Apply(ApplyError::Spared { after, .. }) => {
                *after + jittered(SOON) + context.queue.turn(tokio::time::Instant::now())
            }
            _ if fault == Fault::Server => {
                let turn = context.queue.turn(tokio::time::Instant::now());
                let asked_for = context.calm.asked_for();
                self.backoff.next(object, fault).max(turn).max(asked_for)
            }
            _ => self.backoff.next(object, fault),
        }
    }
}

async fn run<K: Planned>(
    context: Arc<Context>,
    triggers: impl Stream<Item = ObjectRef<Packed<K>>> + Send + 'static,
) {
    let store = K::cache(&context.stores).store.clone();
    let all: Vec<_> = store
        .state()
        .iter()
        .map(|object| ObjectRef::from_obj(&**object))
        .collect();
    let running = Arc::new(Running {
        context,
        backoff: Backoff(Mutex::default()),
        refused: Refused(Mutex::default()),
    });
    let kind = K::kind(&()).into_owned();
    let dropping = running.clone();
    Controller::for_stream(stream::pending(), store)
        .reconcile_on(stream::iter(all).chain(triggers))
        .with_config(Config::default().concurrency(CONCURRENCY))
        .run(reconcile::<K>, error_policy::<K>, running)
        .for_each(|outcome| {
            if let Err(kube::runtime::controller::Error::ObjectNotFound(object)) = outcome {
                // It is gone, and what was remembered of it goes too.
                let namespace = object.namespace.as_deref().unwrap_or_default();
                K::hide(namespace, &object.name, &dropping.context);
                let is_another = |kept: &ObjectRef<Packed<K>>| {
                    kept.name != object.name || kept.namespace != object.namespace
                };
                let mut backoff = dropping.backoff.0.lock().expect("no holder panics");
                backoff.retain(|kept, _| is_another(kept));
                let mut refused = dropping.refused.0.lock().expect("no holder panics");
                refused.retain(|kept, _| is_another(kept));
            }
            futures::future::ready(())
        })
        .await;
    tracing::error!(kind, "a controller ended");
}

#[allow(clippy::needless_pass_by_value)] // kube's signature
fn error_policy<K: Planned>(
    object: Arc<Packed<K>>,
    error: &ReconcileError,
    running: Arc<Running<K>>,
) -> Action {
    let again = running.pause(&object, error);
    let kind = K::kind(&()).into_owned();
    match error {
        ReconcileError::Apply(error) if error.is_waiting() => {
            tracing::debug!(kind, namespace = object.namespace(), name = object.name_any(), %error, ?again, "waiting");
        }
        _ => {
            tracing::warn!(kind, namespace = object.namespace(), name = object.name_any(), %error, ?again, "a reconcile failed");
        }
    }
    Action::requeue(again)
}

async fn reconcile<K: Planned>(
    object: Arc<Packed<K>>,
    running: Arc<Running<K>>,
) -> Result<Action, ReconcileError> {
    let started = Instant::now();
    if running.backoff.holds(&ObjectRef::from_obj(&*object)) {
        K::tell_again(&object.object(), Timestamp::now());
    }
    let outcome = match AssertUnwindSafe(attempt(&object, &running))
        .catch_unwind()
        .await
    {
        Ok(outcome) => outcome,
        Err(panic) => {
            let error = ReconcileError::Panic(words(&*panic));
            tell_of_panic(&object, &running, &error).await;
            Err(error)
        }
    };
    let word = match &outcome {
        Ok(_) => {
            running.backoff.reset(&ObjectRef::from_obj(&*object));
            "ok"
        }
        Err(ReconcileError::Apply(error)) if error.is_waiting() => "waiting",
        Err(ReconcileError::Apply(_)) => "error",
        Err(ReconcileError::Panic(_)) => "panic",
    };
    running
        .context
        .metrics
        .reconciled(&K::kind(&()), word, started.elapsed());
    outcome
}

/// What a panic said.
pub(super) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it said nothing").to_owned()
}

/// Says of an object, where its owner looks, that it came up with a fault of ours: as an Event, and as a condition. What
/// makes that condition may be at fault too; then the Event is all there is.
async fn tell_of_panic<K: Planned>(
    packed: &Arc<Packed<K>>,
    running: &Running<K>,
    error: &ReconcileError,
) {
    let problem = Problem::new("OperatorFault", error.to_string());
    let telling = async {
        let object: Arc<K> = packed.object();
        let writer = Writer::of::<K>(&object, &running.context);
        writer.notes(
            &*object,
            &[Note::warning(&problem.reason, problem.message.clone())],
        );
        let observed = object.clone().observe(&running.context);
        let mut refused = K::refused(&observed, &problem, Timestamp::now());
        // It is said above, each time with the same words.
        refused.notes.clear();
        tell(&writer, &*object, &refused).await
    };
    let kind = K::kind(&()).into_owned();
    let (namespace, name) = (packed.namespace(), packed.name_any());
    match AssertUnwindSafe(telling).catch_unwind().await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(kind, namespace, name, %error, "a fault of the operator is not told in the status yet");
        }
        Err(panic) => {
            let said = words(&*panic);
            tracing::error!(
                kind,
                namespace,
                name,
                said,
                "a fault of the operator cannot be told in the status, for another"
            );
        }
    }
}

async fn attempt<K: Planned>(
    packed: &Arc<Packed<K>>,
    running: &Running<K>,
) -> Result<Action, ReconcileError> {
    let object: Arc<K> = packed.object();
    let context = &*running.context;
    if object.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let observed = object.clone().observe(context);
    let now = Timestamp::now();
    let mut plan = K::plan(&observed, now);
    let generation = object.meta().generation;
    let pause = running.refused.pause(packed, generation);
    if pause.is_some() {
        plan.steps.retain(|step| !step.is_beside());
    }
    let writer = Writer::of::<K>(&object, context);
    let left = act(&writer, &object, &observed, &plan, now).await;
    match (&left, object.status()) {
        (Ok(_), _) => K::show(&observed, &plan.status, context),
        (Err(_), Some(before)) => K::show(&observed, before, context),
        (Err(_), None) => K::show(&observed, &K::Status::default(), context),
    }
    let mut again = plan.again;
    let left = left?;
    if pause.is_none() {
        running.refused.set(packed, generation, left.is_some());
    }
    if let Some(error) = left {
        let kind = K::kind(&()).into_owned();
        tracing::warn!(kind, namespace = object.namespace(), name = object.name_any(), %error, "a step that holds up no other failed");
        if let Some(Problem { reason, message }) = error.problem() {
            writer.notes(&*object, &[Note::warning(&reason, message)]);
        }
        again = again.into_iter().chain([BESIDE]).min();
    }
    again = again.into_iter().chain(pause).min();
    Ok(again.map_or_else(Action::await_change, Action::requeue))
}

/// Does what was planned, and writes its status; the error of a step that holds up no other.
async fn act<K: Planned>(
    writer: &Writer<'_>,
    object: &Arc<K>,
    observed: &K::Observed,
    plan: &Plan<K::Status>,
    now: Timestamp,
) -> Result<Option<ApplyError>, ReconcileError> {
    let left = match writer.steps(&plan.steps).await {
        Ok(left) => left,
        Err(error) => {
            // Tried again, since what stands in the way may be no object of ours; and said where its owner looks.
            if let Some(problem) = error.problem() {
                let refused = K::refused(observed, &problem, now);
                if let Err(untold) = tell(writer, &**object, &refused).await {
                    tracing::warn!(kind = %K::kind(&()), namespace = writer.namespace, name = object.name_any(), error = %untold, "what was refused is not told yet");
                }
            }
            return Err(error.into());
        }
    };
    if !is_deleted(plan, &object.name_any()) {
        tell(writer, &**object, plan).await?;
    }
    Ok(left)
}

/// Writes a plan's status, where it differs, and publishes its notes.
async fn tell<K: Planned>(
    writer: &Writer<'_>,
    object: &K,
    plan: &Plan<K::Status>,
) -> Result<(), ApplyError> {
    let cache = K::cache(&writer.context.stores);
    let is_written = object.status() != Some(&plan.status)
        && writer
            .status(object, object.status(), &plan.status, cache)
            .await?;
    if is_written {
        K::count(object, &plan.status, writer.context);
    }
    writer.notes(object, &plan.notes);
    Ok(())
}

/// Whether the plan took the object itself away.
fn is_deleted<S>(plan: &Plan<S>, name: &str) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Delete(Doomed::TrainingJob(doomed)) => doomed == name,
        Step::Delete(Doomed::ModelVersion(doomed)) => doomed.name == name,
        Step::Delete(
            Doomed::Job(_)
            | Doomed::JobBeside(_)
            | Doomed::JobAfterItsPods(_)
            | Doomed::PodGroup(_)
            | Doomed::Deployment(_)
            | Doomed::Service(_)
            | Doomed::HttpRoute(_)
            | Doomed::HorizontalPodAutoscaler(_)
            | Doomed::ScaledObject(_),
        )
        | Step::Apply(_)
        | Step::Create(_) => false,
    })
}

#[cfg(test)]
mod panics;
