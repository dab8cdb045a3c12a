//! How far trainings are, asked of the agent of each first worker once a minute.
//!
//! One that does not answer, or has nothing to say, is asked ever more seldom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use windlass_api::agent::Progress;
use windlass_api::{TrainingJob, labels};
use windlass_plan::pods;

use super::Context;
use super::kept::{Form, UNDER_WAY};
use super::scrape::{self, HttpClient};

/// How often it is looked who is to be asked.
const LOOK: Duration = Duration::from_secs(5);
/// How often one is asked that answers.
const EVERY: Duration = Duration::from_mins(1);
/// The first pause after no answer; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// How many are asked of those that are due at a look; the others follow with the next ones.
const MOST: usize = 256;
/// How many are asked at once.
const AT_ONCE: usize = 32;

/// What first workers have said, by the uid of their job.
#[derive(Default)]
pub struct Said(Mutex<HashMap<String, Entry>>);

struct Entry {
    pod: String,
    said: Option<Progress>,
    next: Instant,
    pause: Duration,
}

impl Said {
    /// What the first worker of a job said last.
    pub fn of(&self, job: &TrainingJob) -> Option<Progress> {
        let said = self.0.lock().expect("no holder panics");
        said.get(job.metadata.uid.as_ref()?)?.said.clone()
    }
}

/// Asks, for ever; never, where it is not to.
pub async fn run(context: Arc<Context>) {
    if !context.ask_trainers {
        return std::future::pending().await;
    }
    let client = scrape::client();
    loop {
        tokio::time::sleep(LOOK).await;
        let due = due(&context);
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, |(job, pod)| ask(&client, &context, job, pod))
            .await;
    }
}

/// The running jobs that are to be asked now, each with its first worker. Forgets those that do not run.
fn due(context: &Context) -> Vec<(Arc<TrainingJob>, Arc<Pod>)> {
    let now = Instant::now();
    let cache = &context.stores.training_jobs;
    // As they are kept: of most of those that run nothing but who they are has to be known.
    let running: HashMap<String, _> = cache
        .index
        .everywhere(UNDER_WAY, "")
        .iter()
        .filter_map(|(namespace, name)| cache.kept(namespace, name))
        .filter_map(|kept| Some((kept.uid()?, kept)))
        .collect();
    let mut said = context.said.0.lock().expect("no holder panics");
    said.retain(|uid, _| running.contains_key(uid));
    running
        .into_iter()
        .filter(|(uid, _)| said.get(uid).is_none_or(|known| known.next <= now))
        .filter_map(|(_, kept)| {
            let job: Arc<TrainingJob> = kept.object();
            let pod = first_worker(context, &job)?;
            Some((job, pod))
        })
        .take(MOST)
        .collect()
}

/// The attempt that runs.
fn attempt(job: &TrainingJob) -> Option<i32> {
    Some(job.status.as_ref()?.attempt_under_way()?.number)
}

fn first_worker(context: &Context, job: &TrainingJob) -> Option<Arc<Pod>> {
    let (namespace, attempt) = (job.namespace()?, attempt(job)?.to_string());
    let pods = context
        .stores
        .pods
        .labelled(&namespace, labels::TRAINING_JOB, &job.name_any());
    pods.into_iter().find(|pod| {
        let runs = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        pods::rank(pod) == Some(0)
            && pod.labels().get(labels::ATTEMPT) == Some(&attempt)
            && runs == Some("Running")
    })
}

async fn ask(client: &HttpClient, context: &Context, job: Arc<TrainingJob>, pod: Arc<Pod>) {
    let (Some(uid), Some(pod_uid)) = (job.uid(), pod.uid()) else {
        return;
    };
    let answer: Option<Progress> = scrape::get(client, &pod, "/progress").await;
    let says_something = |said: &Progress| {
        *said
            != Progress {
                attempt: said.attempt,
                ..Progress::default()
            }
    };
    let answer = answer.filter(says_something);
    {
        let mut all = context.said.0.lock().expect("no holder panics");
        let before = all.remove(&uid).filter(|entry| entry.pod == pod_uid);
        let (pause, wait) = match (&answer, before) {
            (Some(_), _) => (FIRST_PAUSE, EVERY),
            (None, Some(before)) => {
                let pause = (before.pause * 2).min(LONGEST_PAUSE);
                (pause, pause)
            }
            (None, None) => (FIRST_PAUSE, FIRST_PAUSE),
        };
        let entry = Entry {
            pod: pod_uid,
            said: answer.clone(),
            next: Instant::now() + wait,
            pause,
        };
        all.insert(uid, entry);
    }
    if answer.is_some() {
        let namespace = job.namespace().unwrap_or_default();
        context
            .senders
            .training_job_named(&namespace, &job.name_any());
    }
}
