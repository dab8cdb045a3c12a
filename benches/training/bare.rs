//! The bare client: what the operator sends for a TrainingJob, without the operator.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, ObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::watcher::{self, watcher};
use kube::{Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use windlass_api::{TrainingJob, TrainingJobStatus, labels};
use windlass_plan::gpus::claims::DeviceClaims;
use windlass_plan::trainingjob::{Observed, Rooms, Schedulers, Utilization, plan};
use windlass_plan::{Child, Note, Plan, Step};

use crate::shared::objects::{AT_ONCE, is_complete, job_name, training_job};
use crate::support::Bed;
use crate::support::operator::AGENT_IMAGE;

/// What the operator has under way at once, of a kind.
pub const CONCURRENCY: usize = 8;
const GROUP: &str = "bench.windlass.dev";
const API_VERSION: &str = "bench.windlass.dev/v1alpha1";
const MANAGER: &str = "windlass-trainingjob";
/// Stands in bodies for what differs from job to job.
const NAME: &str = "job-aaaaa";
const UID: &str = "11111111-2222-3333-4444-555555555555";

/// The copy of the kind that the operator does not see.
fn resource() -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: API_VERSION.to_owned(),
        kind: "TrainingJob".to_owned(),
        plural: "trainingjobs".to_owned(),
    }
}

/// Installs it.
pub fn install(bed: &Bed) -> Result<()> {
    let kubectl = bed.cluster.kubectl()?;
    let text = kubectl.run(&["get", "crd", "trainingjobs.windlass.dev", "-o", "json"])?;
    let mut definition: Value = serde_json::from_str(&text)?;
    definition["metadata"] = json!({"name": format!("trainingjobs.{GROUP}")});
    definition["spec"]["group"] = GROUP.into();
    if let Some(definition) = definition.as_object_mut() {
        definition.remove("status");
    }
    kubectl.create(&definition.to_string())?;
    let question = ["get", "trainingjobs.bench.windlass.dev", "-A"];
    let end = Instant::now() + Duration::from_mins(1);
    while kubectl.run(&question).is_err() {
        ensure!(Instant::now() < end, "{GROUP} is not served after a minute");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// What is sent for a TrainingJob, as the planner makes it.
struct Bodies {
    job: String,
    started: String,
    complete: String,
    notes: [Vec<Note>; 2],
}

impl Bodies {
    fn new(namespace: &str) -> Result<Self> {
        let mut object: TrainingJob = serde_json::from_value(training_job(0))?;
        object.metadata.name = Some(NAME.to_owned());
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.uid = Some(UID.to_owned());
        object.metadata.generation = Some(1);
        let now = Timestamp::now();
        let first = plan(&observed(&object, Vec::new()), now);
        let [Step::Apply(Child::Job(job))] = &first.steps[..] else {
            bail!(
                "the first plan of a TrainingJob is not one Job: {:?}",
                first.steps
            );
        };
        object.status = Some(first.status.clone());
        let mut ended = job.clone();
        ended.metadata.uid = Some(UID.to_owned());
        // Pods of one that ended long ago are not waited for.
        ended.status = serde_json::from_value(json!({"succeeded": 1, "conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        ]}))?;
        let second = plan(&observed(&object, vec![Arc::new(*ended)]), now);
        if !windlass_api::is_true(&second.status.conditions, windlass_api::condition::COMPLETE) {
            bail!("the second plan does not complete it: {:?}", second.status);
        }
        let mut job = serde_json::to_value(job)?;
        // The operator must not take it for its own.
        for pointer in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(all) = job.pointer_mut(pointer) {
                all[labels::MANAGED_BY] = "bare".into();
            }
        }
        Ok(Self {
            job: job
                .to_string()
                .replace("windlass.dev/v1alpha1", API_VERSION),
            started: status(namespace, &first),
            complete: status(namespace, &second),
            notes: [first.notes, second.notes],
        })
    }

    fn of(template: &str, name: &str, uid: &str) -> Result<Value> {
        Ok(serde_json::from_str(
            &template.replace(NAME, name).replace(UID, uid),
        )?)
    }
}

fn status(namespace: &str, plan: &Plan<TrainingJobStatus>) -> String {
    json!({
        "apiVersion": API_VERSION, "kind": "TrainingJob",
        "metadata": {"name": NAME, "namespace": namespace, "uid": UID},
        "status": plan.status,
    })
    .to_string()
}

fn observed(job: &TrainingJob, children: Vec<Arc<Job>>) -> Observed {
    Observed {
        job: Arc::new(job.clone()),
        children,
        pods: Vec::new(),
        others: Vec::new(),
        versions: Vec::new(),
        champion: None,
        claims: Arc::new([].into()),
        service_accounts: Arc::new(["default".to_owned()].into()),
        claim_templates: Arc::default(),
        queue: BTreeMap::new(),
        schedulers: Schedulers {
            kueue: false,
            native: Ok(()),
            kai: false,
            volcano: false,
            device_claims: DeviceClaims::NotServed,
        },
        progress: None,
        room: Rooms::Unknown,
        utilization: Utilization::Off,
        agent_image: AGENT_IMAGE.to_owned(),
        input_cache: None,
    }
}

/// The bare client in a namespace.
pub struct Bare {
    bodies: Bodies,
    made: Api<DynamicObject>,
    objects: Api<DynamicObject>,
    jobs: Api<Job>,
    recorder: Option<Recorder>,
}

/// One TrainingJob.
#[derive(Clone)]
pub struct Subject {
    name: String,
    uid: String,
}

enum Work {
    Start(Subject),
    Finish(Subject),
}

impl Bare {
    /// In this namespace, which it makes; `user` is its name in the audit log. It publishes Events too, or not.
    pub async fn new(bed: &Bed, user: &str, namespace: &str, events: bool) -> Result<Self> {
        bed.namespace(namespace)?;
        let client = bed.client_as(user).await?;
        let reporter = Reporter {
            controller: "windlass".to_owned(),
            instance: Some(user.to_owned()),
        };
        Ok(Self {
            bodies: Bodies::new(namespace)?,
            made: Api::namespaced_with(bed.client().await?, namespace, &resource()),
            objects: Api::namespaced_with(client.clone(), namespace, &resource()),
            jobs: Api::namespaced(client.clone(), namespace),
            recorder: events.then(|| Recorder::new(client, reporter)),
        })
    }

    /// Makes TrainingJobs, as a user would.
    pub async fn create(&self, jobs: usize) -> Result<Vec<Subject>> {
        let made = futures::stream::iter(0..jobs).map(|number| self.create_one(number));
        made.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn create_one(&self, number: usize) -> Result<Subject> {
        let mut object = training_job(number);
        object["apiVersion"] = API_VERSION.into();
        let object: DynamicObject = serde_json::from_value(object)?;
        let made = self.made.create(&PostParams::default(), &object).await?;
        Ok(Subject {
            name: made.name_any(),
            uid: made.uid().context("a uid")?,
        })
    }

    /// The first two writes.
    pub async fn start(&self, of: &Subject) -> Result<()> {
        let body = Bodies::of(&self.bodies.job, &of.name, &of.uid)?;
        let name = format!("{}-1", of.name);
        let parameters = PatchParams::apply(MANAGER);
        self.jobs
            .patch(&name, &parameters, &Patch::Apply(&body))
            .await?;
        self.status(of, &self.bodies.started).await?;
        self.publish(of, &self.bodies.notes[0]).await
    }

    /// The third write.
    pub async fn finish(&self, of: &Subject) -> Result<()> {
        self.status(of, &self.bodies.complete).await?;
        self.publish(of, &self.bodies.notes[1]).await
    }

    async fn status(&self, of: &Subject, body: &str) -> Result<()> {
        let body = Bodies::of(body, &of.name, &of.uid)?;
        let parameters = PatchParams::apply(MANAGER).force();
        self.objects
            .patch_status(&of.name, &parameters, &Patch::Apply(&body))
            .await?;
        Ok(())
    }

    async fn publish(&self, of: &Subject, notes: &[Note]) -> Result<()> {
        let Some(recorder) = &self.recorder else {
            return Ok(());
        };
        let object = DynamicObject {
            types: None,
            metadata: ObjectMeta {
                name: Some(of.name.clone()),
                namespace: self.jobs.namespace().map(str::to_owned),
                uid: Some(of.uid.clone()),
                ..ObjectMeta::default()
            },
            data: Value::Null,
        };
        for note in notes {
            let event = Event {
                type_: EventType::Normal,
                reason: note.reason.clone(),
                note: Some(note.message.clone()),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let about = object.object_ref(&resource());
            recorder.publish(&event, &about).await?;
        }
        Ok(())
    }

    /// TrainingJobs from creation to completion: each is completed when its Job is.
    pub async fn run(&self, jobs: usize) -> Result<()> {
        let (send, receive) = unbounded();
        let creating = async {
            let made = futures::stream::iter(0..jobs).map(|number| self.create_one(number));
            let mut made = made.buffer_unordered(AT_ONCE);
            while let Some(subject) = made.next().await {
                send.unbounded_send(Work::Start(subject?))?;
            }
            // The workers are what ends.
            futures::future::pending::<Result<()>>().await
        };
        let working = async {
            let mut done = receive
                .map(|work| async {
                    match work {
                        Work::Start(subject) => self.start(&subject).await.map(|()| 0),
                        Work::Finish(subject) => self.finish(&subject).await.map(|()| 1),
                    }
                })
                .buffer_unordered(CONCURRENCY);
            let mut finished = 0;
            while finished < jobs {
                let next = tokio::time::timeout(Duration::from_mins(2), done.next());
                finished += next
                    .await
                    .with_context(|| format!("the bare client finished {finished} of {jobs}"))?
                    .context("its work does not end")??;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = working => ended,
            ended = creating => ended,
            ended = self.watch(&send) => ended,
        }
    }

    async fn watch(&self, send: &UnboundedSender<Work>) -> Result<()> {
        let config = watcher::Config::default().labels(&format!("{}=bare", labels::MANAGED_BY));
        let mut stream = watcher(self.jobs.clone(), config)
            .default_backoff()
            .applied_objects()
            .boxed();
        let mut seen = HashSet::new();
        while let Some(job) = stream.try_next().await? {
            let owner = job.owner_references().first().filter(|_| is_complete(&job));
            if let Some(owner) = owner
                && seen.insert(owner.uid.clone())
            {
                send.unbounded_send(Work::Finish(Subject {
                    name: owner.name.clone(),
                    uid: owner.uid.clone(),
                }))?;
            }
        }
        bail!("the watch ended")
    }
}

/// Does something for many, as many at once as the operator.
pub async fn each<F: Future<Output = Result<()>>>(
    of: &[Subject],
    work: impl Fn(Subject) -> F,
) -> Result<()> {
    futures::stream::iter(of.iter().cloned())
        .map(work)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// The Jobs' names that belong to these numbers.
pub fn job_of(number: usize) -> String {
    format!("{}-1", job_name(number))
}
