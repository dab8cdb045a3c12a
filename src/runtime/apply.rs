//! A plan becomes so: steps in order, then one status patch where it differs, then Events.
//!
//! Each write has a deadline well inside the Lease, and is waited for in the cache before anything is planned again.

mod error;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Request, request};
use kube::runtime::events::{Event, EventType};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_plan::compare::{APPLIED, is_so};
use windlass_plan::{Child, Doomed, Note, Severity, Step, Unchanged, digest};

pub use error::ApplyError;

use super::Context;
use super::controller::Planned;
use super::kept::Form;
use super::stores::{Cache, is_owned_by};

/// How long a write may take. Shorter than what the Lease holds after a missed renewal.
pub(super) const WRITE: Duration = Duration::from_secs(4);
/// Bytes of an Event's note; the API server takes 1,024.
const MAX_NOTE: usize = 1000;
/// Asks for an object's metadata alone.
const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
/// How long the cache may take to show a write.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Writes for one object, as one field manager.
pub struct Writer<'a> {
    /// What every reconcile has at hand.
    pub context: &'a Context,
    /// Name of the field manager.
    pub manager: &'static str,
    /// Namespace of the object and of all its children.
    pub namespace: String,
    /// The object's uid: a child must carry it.
    pub owner: String,
}

/// What is read of the answer to a write: who the object is now, and at which version.
#[derive(Debug, Deserialize)]
struct Written {
    metadata: ObjectVersion,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectVersion {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// What became of a deletion.
enum Deleted {
    /// It is gone, or goes.
    Gone,
    /// It is no longer the one that was meant.
    Changed,
}

/// A kind that is written, or watched: namespaced, and known as this program is built.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

impl<'a> Writer<'a> {
    /// Writes for an object of a kind that is planned.
    pub fn of<K: Planned>(object: &K, context: &'a Context) -> Self {
        Self {
            context,
            manager: K::MANAGER,
            namespace: object.namespace().unwrap_or_default(),
            owner: object.uid().unwrap_or_default(),
        }
    }
}

impl Writer<'_> {
    /// Does the steps, in order; why one failed that holds up no other.
    pub async fn steps(&self, steps: &[Step]) -> Result<Option<ApplyError>, ApplyError> {
        let mut left = None;
        for step in steps {
            match self.step(step).await {
                Err(error) if step.is_beside() => {
                    left.get_or_insert(error);
                }
                done => done?,
            }
        }
        Ok(left)
    }

    async fn step(&self, step: &Step) -> Result<(), ApplyError> {
        let stores = &self.context.stores;
        let background = DeleteParams::background();
        match step {
            Step::Apply(child) | Step::Create(child) => match child {
                Child::Job(job) | Child::JobBeside(job) => {
                    self.apply_once(&**job, &stores.jobs).await?;
                }
                Child::Service(service) => self.apply(&**service, &stores.services).await?,
                Child::Deployment(deployment) => {
                    self.apply(&**deployment, &stores.deployments).await?;
                }
                Child::PodDisruptionBudget(budget) => {
                    self.apply(&**budget, &stores.pod_disruption_budgets)
                        .await?;
                }
                Child::HorizontalPodAutoscaler(autoscaler) => {
                    self.apply(&**autoscaler, &stores.autoscalers).await?;
                }
                Child::ScaledObject(scaled) => {
                    if let Some(cache) = &stores.scaled_objects {
                        self.apply(&**scaled, cache).await?;
                    }
                }
                Child::HttpRoute(route) => {
                    if let Some(cache) = &stores.http_routes {
                        self.apply(&**route, cache).await?;
                    }
                }
                Child::PodGroup(group) => {
                    if let Some(cache) = &stores.pod_groups {
                        self.apply_once(&**group, cache).await?;
                    }
                }
                Child::VolcanoPodGroup(group) => {
                    if let Some(cache) = &stores.volcano_pod_groups {
                        self.apply_once(&**group, cache).await?;
                    }
                }
                Child::TrainingJob(job) => self.create(&**job, &stores.training_jobs).await?,
                Child::ModelVersion(version) => {
                    self.create(&**version, &stores.model_versions).await?;
                }
            },
            Step::Delete(Doomed::Job(name) | Doomed::JobBeside(name)) => {
                self.delete(name, &background, &stores.jobs).await?;
            }
            Step::Delete(Doomed::JobAfterItsPods(name)) => {
                let foreground = DeleteParams::foreground();
                self.delete(name, &foreground, &stores.jobs).await?;
            }
            Step::Delete(Doomed::PodGroup(name)) => {
                if let Some(cache) = &stores.pod_groups {
                    self.tidy(name, cache).await;
                }
                if let Some(cache) = &stores.volcano_pod_groups {
                    self.tidy(name, cache).await;
                }
            }
            Step::Delete(Doomed::Deployment(name)) => {
                self.delete(name, &background, &stores.deployments).await?;
            }
            Step::Delete(Doomed::Service(name)) => {
                self.delete(name, &background, &stores.services).await?;
            }
            Step::Delete(Doomed::HorizontalPodAutoscaler(name)) => {
                self.delete(name, &background, &stores.autoscalers).await?;
            }
            Step::Delete(Doomed::ScaledObject(name)) => {
                if let Some(cache) = &stores.scaled_objects {
                    self.delete(name, &background, cache).await?;
                }
            }
            Step::Delete(Doomed::HttpRoute(name)) => {
                if let Some(cache) = &stores.http_routes {
                    self.delete(name, &background, cache).await?;
                }
            }
            Step::Delete(Doomed::TrainingJob(name)) => {
                self.delete(name, &background, &stores.training_jobs)
                    .await?;
            }
            Step::Delete(Doomed::ModelVersion(version)) => {
                self.delete_unchanged(version, &stores.model_versions)
                    .await?;
            }
        }
        Ok(())
    }

    /// Writes the status, where it differs from what is there as it is written; whether it did. It is written over no other
    /// state than the one that it was planned on: an earlier write that was not answered in time may have come through,
    /// and what it says happened would have happened twice, at two times.
    pub async fn status<K: Kind, S: Serialize>(
        &self,
        object: &K,
        before: Option<&S>,
        status: &S,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<bool, ApplyError> {
        let written =
            |status: &S| serde_json::to_value(status).expect("a status always serializes");
        let wanted = written(status);
        if before.map(written).as_ref() == Some(&wanted) {
            return Ok(false);
        }
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {
                "name": object.name_any(), "namespace": self.namespace, "uid": object.uid(),
                "resourceVersion": object.resource_version(),
            },
            "status": wanted,
        });
        let parameters = PatchParams::apply(self.manager).force();
        let name = object.name_any();
        let request = self.requests::<K>().patch_subresource(
            "status",
            &name,
            &parameters,
            &Patch::Apply(&patch),
        );
        let written = match self.write::<K>("patch status of", &name, request).await {
            Err(error) if error.is_conflict() => {
                return Err(ApplyError::Outdated {
                    kind: K::kind(&()).into_owned(),
                    namespace: self.namespace.clone(),
                    name,
                });
            }
            outcome => outcome?,
        };
        self.caught_up(&name, &written, cache).await?;
        Ok(true)
    }

    /// Publishes Events. One that is lost is no reason to do anything again.
    pub fn notes<K: Kind>(&self, object: &K, notes: &[Note]) {
        for note in notes {
            tracing::info!(kind = %K::kind(&()), namespace = self.namespace, name = object.name_any(), reason = note.reason, message = note.message, "event");
            let about = object.object_ref(&());
            self.context.events.publish(event(note), about);
        }
    }

    fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.namespace)
    }

    fn requests<K: Kind>(&self) -> Request {
        Request::new(K::url_path(&(), Some(&self.namespace)))
    }

    /// Sends a write. Of the answer only the object's metadata is asked for: the rest comes by the watch.
    async fn write<K: Kind>(
        &self,
        verb: &'static str,
        name: &str,
        request: Result<http::Request<Vec<u8>>, request::Error>,
    ) -> Result<Written, ApplyError> {
        self.may_write::<K>(verb, name)?;
        let kind = K::kind(&()).into_owned();
        self.context.metrics.written(&kind, verb);
        let (namespace, name) = (self.namespace.clone(), name.to_owned());
        let answer = async {
            let mut request = request.map_err(kube::Error::BuildRequest)?;
            let headers = request.headers_mut();
            headers.insert(http::header::ACCEPT, METADATA);
            self.context.client.request::<Written>(request).await
        };
        match tokio::time::timeout(WRITE, answer).await {
            Ok(Ok(written)) => Ok(written),
            Ok(Err(source)) => Err(ApplyError::Write {
                verb,
                kind,
                namespace,
                name,
                source: Box::new(source),
            }),
            Err(_) => Err(ApplyError::Timeout {
                verb,
                kind,
                namespace,
                name,
            }),
        }
    }

    /// A write is begun only where it ends within the Lease, and not while the API server asks to be left alone.
    fn may_write<K: Kind>(&self, verb: &'static str, name: &str) -> Result<(), ApplyError> {
        if !self.context.term.holds() {
            return Err(ApplyError::Deposed);
        }
        let after = self.context.calm.asked_for();
        if after.is_zero() {
            return Ok(());
        }
        Err(ApplyError::Spared {
            verb,
            kind: K::kind(&()).into_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            after,
        })
    }

    /// Makes a child so, where it is not.
    async fn apply<K: Kind>(
        &self,
        child: &K,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let name = child.name_any();
        let mut wanted = serde_json::to_value(child).expect("a child always serializes");
        let mark = digest::of(&wanted);
        wanted["metadata"]["annotations"][APPLIED] = json!(mark);
        let live = self.live(&name, cache)?;
        if let Some(live) = &live
            && is_so(
                &wanted,
                &serde_json::to_value(&**live).expect("an object always serializes"),
            )
        {
            return Ok(());
        }
        self.make(&name, &wanted, live.is_some(), cache).await
    }

    /// Makes a child that never changes afterwards.
    async fn apply_once<K: Kind>(
        &self,
        child: &K,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let name = child.name_any();
        if self.live(&name, cache)?.is_some() {
            return Ok(());
        }
        self.make(&name, child, false, cache).await
    }

    /// Applies a child. One that is there already and ours is made so against whoever changed it; one that is new to
    /// us is not forced: the caches hold only what is ours, and another's object of this name stays as it is.
    async fn make<K: Kind>(
        &self,
        name: &str,
        wanted: &(impl Serialize + Debug),
        is_ours: bool,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let parameters = PatchParams {
            force: is_ours,
            ..PatchParams::apply(self.manager)
        };
        let requests = self.requests::<K>();
        let request = requests.patch(name, &parameters, &Patch::Apply(wanted));
        let written = match self.write::<K>("apply", name, request).await {
            Err(error) if !is_ours && error.is_of_fields() => return Err(self.taken::<K>(name)),
            outcome => outcome?,
        };
        self.caught_up(name, &written, cache).await
    }

    fn taken<K: Kind>(&self, name: &str) -> ApplyError {
        ApplyError::Taken {
            kind: K::kind(&()).into_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }

    /// The child as it is, if it is ours.
    fn live<K: Kind>(
        &self,
        name: &str,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<Option<Arc<K>>, ApplyError> {
        let Some(live) = cache.get(&self.namespace, name) else {
            return Ok(None);
        };
        if !is_owned_by(&*live, &self.owner) {
            return Err(self.taken::<K>(name));
        }
        if live.meta().deletion_timestamp.is_some() {
            return Err(ApplyError::Leaving {
                kind: K::kind(&()).into_owned(),
                namespace: self.namespace.clone(),
                name: name.to_owned(),
            });
        }
        Ok(Some(live))
    }

    /// Makes an object that has a life of its own.
    async fn create<K: Kind>(
        &self,
        object: &K,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let parameters = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        let name = object.name_any();
        let body = serde_json::to_vec(object).expect("an object always serializes");
        // What the cache did not show was made at the same moment, and the next look knows of it.
        let was_there = cache.kept(&self.namespace, &name).is_some();
        let request = self.requests::<K>().create(&parameters, body);
        let written = match self.write::<K>("create", &name, request).await {
            Err(error) if error.is_conflict() && was_there => {
                return Err(self.taken::<K>(&name));
            }
            outcome => outcome?,
        };
        self.caught_up(&name, &written, cache).await
    }

    async fn delete<K: Kind>(
        &self,
        name: &str,
        how: &DeleteParams,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let Some(live) = cache
            .kept(&self.namespace, name)
            .filter(|live| live.meta().deletion_timestamp.is_none())
        else {
            return Ok(());
        };
        let doomed = Unchanged {
            name: name.to_owned(),
            uid: live.uid(),
            resource_version: None,
        };
        self.send_delete::<K>(&doomed, how).await?;
        self.gone(&doomed, cache).await
    }

    /// Takes away what is of no use any more. Where it stays, it goes with its owner.
    async fn tidy<K: Kind>(&self, name: &str, cache: &Cache<K, impl Form<K>>) {
        let deleted = self.delete(name, &DeleteParams::background(), cache).await;
        if let Err(error) = deleted {
            tracing::warn!(%error, "what is left of an attempt stays");
        }
    }

    /// Deletes an object if it is as it was when that was decided; if it is not, it is looked at anew.
    async fn delete_unchanged<K: Kind>(
        &self,
        doomed: &Unchanged,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let how = DeleteParams::background();
        match self.send_delete::<K>(doomed, &how).await? {
            Deleted::Gone => self.gone(doomed, cache).await,
            Deleted::Changed => Ok(()),
        }
    }

    /// Sends the deletion of an object that has this uid, and this version where one is given.
    async fn send_delete<K: Kind>(
        &self,
        doomed: &Unchanged,
        how: &DeleteParams,
    ) -> Result<Deleted, ApplyError> {
        self.may_write::<K>("delete", &doomed.name)?;
        let kind = K::kind(&()).into_owned();
        self.context.metrics.written(&kind, "delete");
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: doomed.uid.clone(),
                resource_version: doomed.resource_version.clone(),
            }),
            ..how.clone()
        };
        let (namespace, name) = (self.namespace.clone(), doomed.name.clone());
        let api = self.api::<K>();
        match tokio::time::timeout(WRITE, api.delete(&name, &parameters)).await {
            Ok(Ok(_)) => Ok(Deleted::Gone),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(Deleted::Gone),
            Ok(Err(kube::Error::Api(status))) if status.is_conflict() => Ok(Deleted::Changed),
            Ok(Err(source)) => Err(ApplyError::Write {
                verb: "delete",
                kind,
                namespace,
                name,
                source: Box::new(source),
            }),
            Err(_) => Err(ApplyError::Timeout {
                verb: "delete",
                kind,
                namespace,
                name,
            }),
        }
    }

    /// Waits until the cache shows that an object is gone, or goes.
    async fn gone<K: Kind>(
        &self,
        doomed: &Unchanged,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let gone = || {
            cache.kept(&self.namespace, &doomed.name).is_none_or(|now| {
                now.uid() != doomed.uid || now.meta().deletion_timestamp.is_some()
            })
        };
        self.until(&doomed.name, cache, gone).await
    }

    /// Waits until the cache shows what was written, or something newer.
    async fn caught_up<K: Kind>(
        &self,
        name: &str,
        written: &Written,
        cache: &Cache<K, impl Form<K>>,
    ) -> Result<(), ApplyError> {
        let of = |version: &str| version.parse::<u64>().ok();
        let Written { metadata } = written;
        let wanted = metadata.resource_version.as_deref().and_then(of);
        let shows = || match cache.kept(&self.namespace, name) {
            None => false,
            Some(now) if now.meta().uid != metadata.uid => true,
            Some(now) => now.meta().resource_version.as_deref().and_then(of) >= wanted,
        };
        self.until(name, cache, shows).await
    }

    async fn until<K: Kind>(
        &self,
        name: &str,
        cache: &Cache<K, impl Form<K>>,
        is_so: impl Fn() -> bool,
    ) -> Result<(), ApplyError> {
        if cache.until(CATCH_UP, is_so).await {
            return Ok(());
        }
        Err(ApplyError::Behind {
            kind: K::kind(&()).into_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        })
    }
}

/// A note as an Event.
pub(super) fn event(note: &Note) -> Event {
    Event {
        type_: match note.severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        },
        reason: note.reason.clone(),
        note: Some(note.message[..note.message.floor_char_boundary(MAX_NOTE)].to_owned()),
        action: "Reconcile".to_owned(),
        secondary: None,
    }
}
