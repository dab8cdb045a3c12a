//! How far the GPUs of running jobs are used, asked of the administrator's Prometheus, which has DCGM's metrics.
//!
//! ```text
//!   observe ──of(job, threshold, pods)──> what is known
//!                  │                          ^
//!                  └─> remembered ──one query a threshold, for all jobs──> Prometheus ──> what changed ──> its trigger
//! ```
//!
//! Prometheus looks back over the whole window each time, so that a restart of the operator forgets nothing.
//!
//! Absent on purpose: a query for each job, a series for each GPU in an answer, and any judgement on what is answered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use serde::Deserialize;
use windlass_api::TrainingJob;
use windlass_plan::trainingjob::{GpuUse, Threshold, Utilization};

use super::Context;
use super::prometheus::{Prometheus, PrometheusError, Sample, Values};

/// The pause between two queries, and so how many there are at most: thirty a minute, whatever jobs ask for.
const PAUSE: Duration = Duration::from_secs(2);
/// How often a threshold is asked for: ten times in its window, but not more often than this, nor more seldom than that.
const EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// After so many queries without an answer, what was answered before counts no more.
const PATIENCE: u32 = 5;
/// A job that was not looked at for so long is, and after twice that is forgotten: it may be gone.
const RENEWED: Duration = Duration::from_mins(10);
/// Bytes that an answer may have: some 60,000 pods.
const MAX_BYTES: usize = 16 << 20;

/// Percent of its time that a GPU is busy; not there for slices of one.
const UTILIZATION: &str = "DCGM_FI_DEV_GPU_UTIL";
/// Share of the time that the engines of a GPU, or of a slice (MIG) of one, are busy.
const ACTIVE: &str = "DCGM_FI_PROF_GR_ENGINE_ACTIVE";
/// In how many parts of a window there has to be a value, of thirty.
const COVERED: u32 = 27;

/// What is known of the GPUs of jobs that run, by namespace and name.
#[derive(Default)]
pub struct Utilizations(Mutex<HashMap<Key, Watched>>);

type Key = (String, String);
/// What Prometheus answers: the GPUs of each pod, by namespace and name.
type Answer = HashMap<Key, GpuUse>;

struct Watched {
    threshold: Threshold,
    pods: BTreeSet<String>,
    /// When its reconcile last asked.
    wanted: Instant,
    /// Since when an answer is awaited: since it was asked for first, or the last one came.
    since: Instant,
    known: Option<BTreeMap<String, GpuUse>>,
    /// Its trigger was given for want of an answer.
    is_given_up: bool,
}

impl Utilizations {
    /// What is known of the GPUs of a job's pods; what is wanted of it is remembered, and the job triggered at news.
    pub fn of(
        &self,
        job: &TrainingJob,
        threshold: Option<Threshold>,
        pods: BTreeSet<String>,
        now: Instant,
    ) -> Utilization {
        let key = (job.namespace().unwrap_or_default(), job.name_any());
        let mut all = self.0.lock().expect("no holder panics");
        let Some(threshold) = threshold else {
            all.remove(&key);
            return Utilization::Awaited;
        };
        let before = all.remove(&key);
        let same = before.filter(|one| one.threshold == threshold && pods.is_subset(&one.pods));
        let watched = all.entry(key).insert_entry(Watched {
            wanted: now,
            since: same.as_ref().map_or(now, |one| one.since),
            is_given_up: same.as_ref().is_some_and(|one| one.is_given_up),
            known: same.and_then(|one| one.known),
            threshold,
            pods,
        });
        let watched = watched.get();
        match &watched.known {
            _ if watched.is_overdue(now) => Utilization::NotAnswered,
            Some(known) => Utilization::Known(known.clone()),
            None => Utilization::Awaited,
        }
    }

    /// Writes an answer down, and returns the jobs that it is news for.
    fn note(&self, threshold: &Threshold, answer: &Answer, now: Instant) -> Vec<Key> {
        let mut all = self.0.lock().expect("no holder panics");
        let mut news = Vec::new();
        for (key, watched) in all
            .iter_mut()
            .filter(|(_, one)| one.threshold == *threshold)
        {
            let of_pod = |pod: &String| {
                let of = answer.get(&(key.0.clone(), pod.clone()))?;
                Some((pod.clone(), *of))
            };
            let known = Some(watched.pods.iter().filter_map(of_pod).collect());
            if watched.known != known || watched.is_given_up {
                news.push(key.clone());
            }
            (watched.known, watched.since, watched.is_given_up) = (known, now, false);
        }
        news
    }

    /// Forgets jobs that nobody looks at, and returns those that are to be looked at without an answer.
    fn without_answer(&self, now: Instant) -> Vec<Key> {
        let mut all = self.0.lock().expect("no holder panics");
        all.retain(|_, watched| now.duration_since(watched.wanted) < RENEWED * 2);
        let mut due = Vec::new();
        for (key, watched) in all.iter_mut() {
            let is_news = watched.is_overdue(now) && !watched.is_given_up;
            watched.is_given_up |= is_news;
            if is_news || now.duration_since(watched.wanted) >= RENEWED {
                due.push(key.clone());
            }
        }
        due
    }

    /// The threshold that is to be asked for now, of those that are due the one that was asked for least recently.
    fn due(&self, asked: &mut HashMap<Threshold, Instant>, now: Instant) -> Option<Threshold> {
        let all = self.0.lock().expect("no holder panics");
        let wanted: BTreeSet<&Threshold> = all.values().map(|one| &one.threshold).collect();
        asked.retain(|threshold, _| wanted.contains(threshold));
        let due = wanted.into_iter().filter(|threshold| {
            let last = asked.get(threshold);
            last.is_none_or(|last| now.duration_since(*last) >= every(threshold))
        });
        let next = due
            .min_by_key(|threshold| asked.get(threshold).copied())?
            .clone();
        asked.insert(next.clone(), now);
        Some(next)
    }
}

impl Watched {
    fn is_overdue(&self, now: Instant) -> bool {
        now.duration_since(self.since) > every(&self.threshold) * PATIENCE
    }
}

/// How often a threshold is asked for.
fn every(threshold: &Threshold) -> Duration {
    (threshold.window / 10).clamp(EVERY.0, EVERY.1)
}

/// Asks, for ever; never, where there is no Prometheus.
pub async fn run(context: Arc<Context>) {
    let Some(prometheus) = &context.prometheus else {
        return std::future::pending().await;
    };
    let mut asked = HashMap::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        let mut news = Vec::new();
        if let Some(threshold) = context.utilizations.due(&mut asked, Instant::now()) {
            let answer = ask(prometheus, &threshold).await;
            context.metrics.asked_prometheus(answer.is_ok());
            match answer {
                Ok(answer) => {
                    news = context
                        .utilizations
                        .note(&threshold, &answer, Instant::now());
                }
                Err(error) => tracing::warn!(
                    %error,
                    "Prometheus did not tell how far GPUs are used: no job is stopped for it meanwhile"
                ),
            }
        }
        news.extend(context.utilizations.without_answer(Instant::now()));
        for (namespace, name) in news {
            context.senders.training_job_named(&namespace, &name);
        }
    }
}

/// What is asked: of each pod how many GPUs reached the threshold in the window, and how many never did and were measured
/// throughout. With the labels as DCGM's exporter gives them, or as Prometheus renames them (`exported_pod`).
fn query(threshold: &Threshold) -> String {
    let below = &threshold.below;
    let window = format!("{}ms", threshold.window.as_millis());
    let step = format!("{}ms", threshold.window.as_millis() / 30);
    // One value a GPU or slice, however often it was scraped, and whatever else the exporter says of it.
    let by_gpu = |values: &str| {
        format!(
            r#"max by (namespace, pod, UUID, GPU_I_ID) (label_replace(label_replace({values}, "namespace", "$1", "exported_namespace", "(.+)"), "pod", "$1", "exported_pod", "(.+)"))"#
        )
    };
    let highest = by_gpu(&format!(
        "max_over_time({UTILIZATION}[{window}]) or 100 * max_over_time({ACTIVE}[{window}])"
    ));
    let at_a_time = by_gpu(&format!("{UTILIZATION} or {ACTIVE}"));
    let used = format!("count by (namespace, pod) ({highest} >= {below})");
    let idle = format!(
        "count by (namespace, pod) ({highest} < {below} and count_over_time({at_a_time}[{window}:{step}]) >= {COVERED})"
    );
    format!(
        r#"label_replace({used}, "use", "used", "", "") or label_replace({idle}, "use", "idle", "", "")"#
    )
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    pod: String,
    #[serde(rename = "use")]
    use_: Use,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Use {
    Used,
    Idle,
}

/// Asks how far GPUs are used.
async fn ask(prometheus: &Prometheus, threshold: &Threshold) -> Result<Answer, PrometheusError> {
    counted(prometheus.query(&query(threshold), MAX_BYTES).await?)
}

fn counted(values: Values<Labels>) -> Result<Answer, PrometheusError> {
    let mut answer = Answer::new();
    for Sample { metric, value } in values.0 {
        let count: i64 = value
            .1
            .parse()
            .map_err(|_| PrometheusError::NoCount(value.1))?;
        let of = answer.entry((metric.namespace, metric.pod)).or_default();
        match metric.use_ {
            Use::Used => of.used = count,
            Use::Idle => of.idle = count,
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::super::prometheus::read;
    use super::*;

    fn threshold(minutes: u64, below: &str) -> Threshold {
        Threshold {
            window: Duration::from_mins(minutes),
            below: below.to_owned(),
        }
    }

    fn job(name: &str) -> TrainingJob {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name, "namespace": "growth"},
            "spec": {"workers": {"template": {"spec": {"containers": [{"name": "t", "image": "t"}]}}}}
        }))
        .expect("a TrainingJob")
    }

    fn pods(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn answer(pods: &[(&str, i64, i64)]) -> Answer {
        let one = |(pod, used, idle): &(&str, i64, i64)| {
            let key = ("growth".to_owned(), (*pod).to_owned());
            (
                key,
                GpuUse {
                    used: *used,
                    idle: *idle,
                },
            )
        };
        pods.iter().map(one).collect()
    }

    #[test]
    fn an_answer_is_news_for_the_jobs_it_changes_something_for_and_counts_until_none_came_for_long()
    {
        let (all, start, half) = (Utilizations::default(), Instant::now(), threshold(30, "5"));
        let of = |name: &str, after: u64| {
            let now = start + Duration::from_secs(after);
            all.of(
                &job(name),
                Some(half.clone()),
                pods(&[&format!("{name}-0")]),
                now,
            )
        };
        let note = |answer: &Answer, after: u64| {
            let mut news = all.note(&half, answer, start + Duration::from_secs(after));
            news.sort();
            news.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
        };
        let without = |after: u64| all.without_answer(start + Duration::from_secs(after));
        assert_eq!(
            (of("a", 0), of("b", 0)),
            (Utilization::Awaited, Utilization::Awaited)
        );
        assert_eq!(
            note(&answer(&[("a-0", 1, 0), ("c-0", 9, 9)]), 1),
            ["a", "b"]
        );
        let known = Utilization::Known([("a-0".to_owned(), GpuUse { used: 1, idle: 0 })].into());
        assert_eq!(of("a", 2), known);
        assert_eq!(
            of("b", 2),
            Utilization::Known(BTreeMap::new()),
            "of b nothing is measured"
        );
        assert_eq!(note(&answer(&[("a-0", 0, 1)]), 60), ["a"]);
        assert!(without(60 + 300).is_empty());
        assert_ne!(of("a", 60 + 300), Utilization::NotAnswered);
        // Five queries long nothing came.
        assert_eq!(without(60 + 301).len(), 2);
        assert!(without(60 + 302).is_empty(), "once");
        assert_eq!(of("a", 60 + 303), Utilization::NotAnswered);
        assert_eq!(
            note(&answer(&[("a-0", 0, 1)]), 400),
            ["a", "b"],
            "it answers again"
        );
        assert_ne!(of("a", 401), Utilization::NotAnswered);
    }

    #[test]
    fn other_pods_and_another_threshold_wait_for_an_answer_of_their_own_and_what_ended_is_forgotten()
     {
        let (all, now) = (Utilizations::default(), Instant::now());
        let of = |threshold: Option<Threshold>, names: &[&str]| {
            all.of(&job("a"), threshold, pods(names), now)
        };
        let half = || Some(threshold(30, "5"));
        of(half(), &["a-0", "a-1"]);
        all.note(&threshold(30, "5"), &answer(&[("a-0", 1, 0)]), now);
        assert_ne!(of(half(), &["a-0"]), Utilization::Awaited, "one has ended");
        assert_eq!(
            of(half(), &["b-0"]),
            Utilization::Awaited,
            "another attempt"
        );
        assert!(
            all.note(&threshold(60, "5"), &answer(&[("b-0", 1, 0)]), now)
                .is_empty()
        );
        assert_eq!(of(Some(threshold(60, "5")), &["b-0"]), Utilization::Awaited);
        of(None, &["b-0"]);
        assert!(all.0.lock().expect("no holder panics").is_empty());
        // One whose object went unseen is looked at, and then forgotten.
        of(half(), &["a-0"]);
        assert_eq!(all.without_answer(now + RENEWED).len(), 1);
        all.without_answer(now + RENEWED * 2);
        assert!(all.0.lock().expect("no holder panics").is_empty());
    }

    #[test]
    fn each_threshold_is_asked_for_once_for_all_jobs_in_turn_and_not_too_often() {
        let (all, start) = (Utilizations::default(), Instant::now());
        for (name, threshold) in [
            ("a", threshold(30, "5")),
            ("b", threshold(30, "5")),
            ("c", threshold(1, "5")),
            ("d", threshold(30, "10")),
        ] {
            all.of(&job(name), Some(threshold), pods(&[]), start);
        }
        let mut asked = HashMap::new();
        let mut counts: BTreeMap<Threshold, usize> = BTreeMap::new();
        for look in 0..90 {
            let now = start + PAUSE * look;
            if let Some(due) = all.due(&mut asked, now) {
                *counts.entry(due).or_default() += 1;
            }
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|(one, count)| (one.window.as_secs(), one.below.as_str(), *count))
            .collect();
        assert_eq!(counts, [(60, "5", 30), (1800, "10", 3), (1800, "5", 3)]);
        all.of(&job("c"), None, pods(&[]), start);
        all.due(&mut asked, start);
        assert_eq!(asked.len(), 2, "what nobody wants is forgotten");
    }

    #[test]
    fn an_answer_is_read_by_pod_and_what_is_no_count_is_an_error() {
        let of = |samples: &str| {
            let body = format!(
                r#"{{"status":"success","data":{{"resultType":"vector","result":[{samples}]}}}}"#
            );
            read(http::StatusCode::OK, body.as_bytes()).and_then(counted)
        };
        let answer = of(
            r#"{"metric":{"namespace":"growth","pod":"a-0","use":"used"},"value":[1.5,"1"]},
            {"metric":{"namespace":"growth","pod":"a-0","use":"idle"},"value":[1.5,"7"]},
            {"metric":{"pod":"x","use":"idle"},"value":[1.5,"2"]}"#,
        )
        .expect("an answer");
        let of_pod = |namespace: &str, pod: &str| answer[&(namespace.to_owned(), pod.to_owned())];
        assert_eq!(of_pod("growth", "a-0"), GpuUse { used: 1, idle: 7 });
        assert_eq!(of_pod("", "x"), GpuUse { used: 0, idle: 2 });
        let error = of(r#"{"metric":{"use":"idle"},"value":[1,"NaN"]}"#).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("\"NaN\", which is no count"), "{error}");
    }
}
