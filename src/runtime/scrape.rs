//! What the proxies of a roll-out have seen since its step began.
//!
//! Read from pods that Windlass made, at the port that it gave them; never from an address that a user wrote.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::{self, join_all};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use windlass_api::agent::{METRICS_PORT, Observations};
use windlass_api::{ModelDeployment, ModelDeploymentStatus, labels};
use windlass_plan::Note;
use windlass_plan::modeldeployment::{self, Evidence, Traffic, sides};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Share;

use super::Context;
use super::apply::event;
use super::kept::UNDER_WAY;
use super::losses::{Losses, Rows};

/// How often pods are asked, while they are few.
const EVERY: Duration = Duration::from_secs(1);
/// Pods that are asked in a second: of more, each is asked the more seldom.
const PODS_A_SECOND: usize = 200;
/// Roll-outs that are looked at at once: what is known of these, and the connections to their pods, is in memory.
const AT_ONCE: usize = 16;
/// How long a pod may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that an answer may have.
const MAX_BYTES: usize = 64 * 1024;

/// A client that asks agents.
pub(super) type HttpClient = Client<HttpConnector, Empty<Bytes>>;

/// What has been seen.
#[derive(Clone, Default)]
pub struct Scraper {
    /// Of pods, by uid.
    pods: Arc<Mutex<HashMap<String, Seen>>>,
    /// Of roll-outs, by the uid of the ModelDeployment.
    evidence: Arc<Mutex<HashMap<String, Evidence>>>,
    /// Of versions that bake, by the uid of the ModelDeployment: since when, and their errors.
    baking: Arc<Mutex<HashMap<String, (Timestamp, Share)>>>,
    losses: Arc<Losses>,
}

struct Seen {
    /// Since when is counted: the start of the roll-out's step.
    since: Timestamp,
    /// When it was asked first since then.
    asked: Timestamp,
    first: Observations,
    last: Observations,
}

impl Scraper {
    /// The traffic of each version since a step began.
    pub fn traffic<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a Arc<Pod>>,
        since: Timestamp,
    ) -> BTreeMap<String, Traffic> {
        let seen = self.pods.lock().expect("no holder panics");
        let mut all: BTreeMap<String, Traffic> = BTreeMap::new();
        for pod in pods {
            let Some(seen) = pod
                .uid()
                .and_then(|uid| seen.get(&uid))
                .filter(|seen| seen.since == since)
            else {
                continue;
            };
            let version = pod
                .labels()
                .get(labels::VERSION)
                .cloned()
                .unwrap_or_default();
            let traffic = all.entry(version).or_default();
            add(traffic, &seen.first, &seen.last);
            let first = traffic.since.map_or(seen.asked, |at| at.min(seen.asked));
            traffic.since = Some(first);
        }
        all
    }

    /// How the sides of a roll-out compare; absent while nothing rolls.
    pub fn evidence(&self, deployment: &ModelDeployment) -> Option<Evidence> {
        let (uid, sides) = (deployment.uid()?, sides(deployment)?);
        let known = self.evidence.lock().expect("no holder panics");
        Some(sides.evidence.after(known.get(&uid)))
    }

    /// The errors of the version that bakes; absent where none does, or they are not judged.
    pub fn bake(&self, deployment: &ModelDeployment) -> Option<Share> {
        let status = deployment.status.as_ref()?;
        let (uid, since) = (deployment.uid()?, status.bake.as_ref()?.since);
        let written = modeldeployment::bake(status)?;
        let known = self.baking.lock().expect("no holder panics");
        let known = known.get(&uid).filter(|(of, _)| *of == since);
        Some(known.map_or(written, |(_, share)| *share))
    }

    /// Takes what the versions have had since they were asked last.
    fn take(&self, deployment: &ModelDeployment, counted: &BTreeMap<String, Traffic>) {
        let Some(uid) = deployment.uid() else { return };
        let nothing = Traffic::default();
        let of = |version: &str| counted.get(version).unwrap_or(&nothing);
        if let Some(sides) = sides(deployment) {
            let mut known = self.evidence.lock().expect("no holder panics");
            let (canary, stable) = (of(sides.canary), of(sides.stable));
            let mut now = sides.evidence.after(known.get(&uid));
            now.take(canary, stable);
            known.insert(uid, now);
        } else if let Some(mut share) = self.bake(deployment)
            && let Some(status) = &deployment.status
            && let (Some(bake), Some(stable)) = (&status.bake, &status.stable)
        {
            let seen = of(&stable.version);
            share.take(Proportion {
                successes: seen.errors.min(seen.requests),
                trials: seen.requests,
            });
            let mut known = self.baking.lock().expect("no holder panics");
            known.insert(uid, (bake.since, share));
        }
    }

    /// Takes what a pod has counted; what is new of it.
    fn note(&self, pod: String, since: Timestamp, now: Observations) -> Traffic {
        let mut seen = self.pods.lock().expect("no holder panics");
        let mut more = Traffic::default();
        match seen.get(&pod) {
            Some(entry) if now.requests >= entry.last.requests => {
                add(&mut more, &entry.last, &now);
            }
            // What one has counted before it was asked first may be of before the roll-out.
            Some(_) | None => {}
        }
        match seen.get_mut(&pod) {
            // A proxy that was started again counts from nothing.
            Some(entry) if entry.since == since && now.requests >= entry.last.requests => {
                entry.last = now;
            }
            _ => {
                seen.insert(
                    pod,
                    Seen {
                        since,
                        asked: Timestamp::now(),
                        first: now.clone(),
                        last: now,
                    },
                );
            }
        }
        more
    }

    /// Rows that a proxy was to log since it was asked last.
    fn rows(&self, pod: &str, now: &Observations) -> Rows {
        let seen = self.pods.lock().expect("no holder panics");
        let before = seen.get(pod).map(|seen| &seen.last);
        before.map_or_else(Rows::default, |before| Rows::between(before, now))
    }

    fn forget_all_but(&self, pods: &HashSet<String>, deployments: &HashSet<String>) {
        self.losses.forget_all_but(deployments);
        let mut seen = self.pods.lock().expect("no holder panics");
        seen.retain(|pod, _| pods.contains(pod));
        let mut evidence = self.evidence.lock().expect("no holder panics");
        evidence.retain(|deployment, _| deployments.contains(deployment));
        let mut baking = self.baking.lock().expect("no holder panics");
        baking.retain(|deployment, _| deployments.contains(deployment));
    }
}

/// Adds what a proxy has counted between two looks.
fn add(traffic: &mut Traffic, first: &Observations, last: &Observations) {
    let predictions = last
        .predictions
        .iter()
        .flatten()
        .filter_map(|(bin, count)| {
            let before = first.predictions.as_ref().and_then(|first| first.get(bin));
            let more = count.saturating_sub(before.copied().unwrap_or(0));
            (more > 0).then_some((*bin, more))
        });
    let [now, before] = [last, first].map(|seen| seen.mirror.unwrap_or_default());
    let [tokens, tokens_before] = [last, first].map(|seen| seen.tokens.clone().unwrap_or_default());
    traffic.merge(&Traffic {
        since: None,
        requests: last.requests.saturating_sub(first.requests),
        errors: last.errors.saturating_sub(first.errors),
        bounds_ms: last.latency_bounds_ms.clone(),
        counts: more(&last.latency_counts, &first.latency_counts),
        first_token: more(
            &tokens.first_token_counts,
            &tokens_before.first_token_counts,
        ),
        per_token: more(
            &tokens.time_per_token_counts,
            &tokens_before.time_per_token_counts,
        ),
        predictions: predictions.collect(),
        compared: now.compared.saturating_sub(before.compared),
        agreed: now.agreed.saturating_sub(before.agreed),
    });
}

/// What was counted bucket by bucket since before.
fn more(now: &[u64], before: &[u64]) -> Vec<u64> {
    let before = before.iter().chain(std::iter::repeat(&0));
    now.iter()
        .zip(before)
        .map(|(now, before)| now.saturating_sub(*before))
        .collect()
}

/// A client for agents. No connection is kept: a thousand pods are asked every few seconds, and each would take some 20 kB
/// in between.
pub(super) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http()
}

/// Asks the pods of every roll-out that is in a step, for ever.
pub async fn run(context: Arc<Context>) {
    let client = client();
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let cache = &context.stores.model_deployments;
        let looks = cache.names(UNDER_WAY, "").into_iter();
        let looks = looks.map(async |(namespace, name)| {
            let deployment = cache.get(&namespace, &name)?;
            let targets = targets(&context, &deployment);
            let pods = look(&client, &context, &deployment, targets).await;
            Some((deployment.uid()?, pods))
        });
        let looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let looked: Vec<_> = looks.filter_map(future::ready).collect().await;
        let (deployments, pods): (HashSet<_>, Vec<_>) = looked.into_iter().unzip();
        let pods: HashSet<String> = pods.into_iter().flatten().collect();
        let seconds = pods.len() / PODS_A_SECOND;
        pause = EVERY.max(Duration::from_secs(
            u64::try_from(seconds).unwrap_or(u64::MAX),
        ));
        context.scraper.forget_all_but(&pods, &deployments);
    }
}

/// Asks the pods of a roll-out, and compares what they tell; their uids.
async fn look(
    client: &HttpClient,
    context: &Context,
    deployment: &ModelDeployment,
    targets: Vec<(Timestamp, Arc<Pod>)>,
) -> Vec<String> {
    let scraper = &context.scraper;
    let asked = targets
        .iter()
        .map(|(since, pod)| ask(client, scraper, *since, pod));
    let mut counted: BTreeMap<String, Traffic> = BTreeMap::new();
    let mut rows = Rows::default();
    for ((_, pod), more) in targets.iter().zip(join_all(asked).await) {
        if let (Some(version), Some((more, logged))) = (pod.labels().get(labels::VERSION), more) {
            counted.entry(version.clone()).or_default().merge(&more);
            rows.add(logged);
        }
    }
    scraper.take(deployment, &counted);
    let uid = deployment.uid().unwrap_or_default();
    if let Some(said) = scraper.losses.say(&uid, rows, Instant::now()) {
        let note = Note::warning("PayloadRowsDropped", said);
        let about = deployment.object_ref(&());
        context.events.publish(event(&note), about);
    }
    targets.iter().filter_map(|(_, pod)| pod.uid()).collect()
}

/// Since when traffic is counted: the start of a canary's step, or, while the step's pods start, of the wait for them; or
/// since a version has taken all of it, while it bakes.
pub fn counted_since(status: &ModelDeploymentStatus) -> Option<Timestamp> {
    let of_canary = status.canary.as_ref();
    of_canary
        .map(|canary| canary.step_started.unwrap_or(canary.since))
        .or_else(|| status.bake.as_ref().map(|bake| bake.since))
}

fn targets(context: &Context, deployment: &ModelDeployment) -> Vec<(Timestamp, Arc<Pod>)> {
    let Some(since) = deployment.status.as_ref().and_then(counted_since) else {
        return Vec::new();
    };
    let namespace = deployment.namespace().unwrap_or_default();
    let pods = context
        .stores
        .pods
        .labelled(&namespace, labels::DEPLOYMENT, &deployment.name_any());
    pods.into_iter()
        .filter(|pod| {
            pod.labels()
                .get(labels::ROLE)
                .is_some_and(|role| role == "serving")
        })
        .map(|pod| (since, pod))
        .collect()
}

async fn ask(
    client: &HttpClient,
    scraper: &Scraper,
    since: Timestamp,
    pod: &Pod,
) -> Option<(Traffic, Rows)> {
    let uid = pod.uid()?;
    let observations = get(client, pod, "/observations").await?;
    let rows = scraper.rows(&uid, &observations);
    Some((scraper.note(uid, since, observations), rows))
}

/// What the agent of a pod answers; nothing where it does not in time, or something else.
pub(super) async fn get<T: DeserializeOwned>(
    client: &HttpClient,
    pod: &Pod,
    path: &str,
) -> Option<T> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?;
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.clone()
    };
    let uri = format!("http://{host}:{METRICS_PORT}{path}").parse().ok()?;
    let answer = tokio::time::timeout(TIMEOUT, async {
        let response = client.get(uri).await.ok()?;
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await
            .ok()?
            .to_bytes();
        serde_json::from_slice(&body).ok()
    });
    answer.await.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(requests: u64) -> Observations {
        Observations {
            requests,
            latency_bounds_ms: vec![1.0],
            latency_counts: vec![requests, 0],
            ..Observations::default()
        }
    }

    #[test]
    fn traffic_counts_from_the_start_of_the_step_and_from_nothing_when_a_proxy_was_restarted() {
        let scraper = Scraper::default();
        let mut pod = Pod::default();
        pod.metadata.uid = Some("a".to_owned());
        pod.metadata.labels = Some([(labels::VERSION.to_owned(), "m-1".to_owned())].into());
        let pods = [Arc::new(pod)];
        let since = Timestamp::UNIX_EPOCH;
        let requests = |scraper: &Scraper| {
            scraper
                .traffic(&pods, since)
                .get("m-1")
                .map_or(0, |traffic| traffic.requests)
        };
        assert_eq!(
            scraper.note("a".to_owned(), since, seen(100)),
            Traffic::default()
        );
        let more = scraper.note("a".to_owned(), since, seen(130));
        assert_eq!((more.requests, more.counts), (30, vec![30, 0]));
        assert_eq!(requests(&scraper), 30);
        assert_eq!(
            scraper.note("a".to_owned(), since, seen(5)),
            Traffic::default()
        );
        assert_eq!(scraper.note("a".to_owned(), since, seen(9)).requests, 4);
        assert_eq!(requests(&scraper), 4);
        assert!(
            scraper
                .traffic(&pods, "2026-01-01T00:00:00Z".parse().expect("a time"))
                .is_empty()
        );
    }

    fn at(second: i64) -> String {
        Timestamp::from_second(second).expect("a time").to_string()
    }

    /// One with this status, and version 1 that serves.
    fn deployment(more: &serde_json::Value) -> ModelDeployment {
        let mut whole = serde_json::json!({
            "metadata": {"name": "m", "namespace": "growth", "uid": "uid"},
            "spec": {"model": "m", "runtime": "mlserver"},
            "status": {"stable": {"version": "m-1", "since": at(0)}},
        });
        for (key, value) in more.as_object().expect("an object") {
            whole["status"][key] = value.clone();
        }
        serde_json::from_value(whole).expect("a ModelDeployment")
    }

    fn counted(errors: [u64; 2]) -> BTreeMap<String, Traffic> {
        let of = |errors| Traffic {
            requests: 10,
            errors,
            ..Traffic::default()
        };
        [
            ("m-1".to_owned(), of(errors[0])),
            ("m-2".to_owned(), of(errors[1])),
        ]
        .into()
    }

    #[test]
    fn both_sides_of_a_roll_out_are_compared_look_by_look() {
        let rolling = |started| {
            let canary = serde_json::json!({
                "version": "m-2", "step": 0, "weight": 10, "started": at(started), "since": at(started),
            });
            deployment(&serde_json::json!({ "canary": canary }))
        };
        let scraper = Scraper::default();
        let compared = |started| {
            let evidence = scraper.evidence(&rolling(started)).expect("it rolls");
            let errors = evidence.errors.expect("they are judged").rollout;
            [
                errors.candidate.successes,
                errors.candidate.trials,
                errors.stable.trials,
            ]
        };
        assert_eq!(compared(7), [0, 0, 0]);
        (0..4).for_each(|_| scraper.take(&rolling(7), &counted([0, 2])));
        assert_eq!(compared(7), [8, 40, 40]);
        // Another roll-out begins with nothing.
        scraper.take(&rolling(8), &counted([0, 0]));
        assert_eq!(compared(8), [0, 10, 10]);
        scraper.forget_all_but(&HashSet::new(), &HashSet::new());
        assert_eq!(compared(7), [0, 0, 0]);
        assert_eq!(scraper.evidence(&deployment(&serde_json::json!({}))), None);
    }

    #[test]
    fn the_errors_of_a_version_that_bakes_go_on_from_what_was_written_down() {
        let baking = |more: &serde_json::Value| {
            let mut bake = serde_json::json!({"version": "m-0", "since": at(7), "until": at(99), "limit": "0.05"});
            for (key, value) in more.as_object().expect("an object") {
                bake[key] = value.clone();
            }
            deployment(&serde_json::json!({ "bake": bake }))
        };
        let scraper = Scraper::default();
        let begun = baking(&serde_json::json!({}));
        (0..3).for_each(|_| scraper.take(&begun, &counted([3, 0])));
        let share = scraper.bake(&begun).expect("they are judged");
        assert_eq!((share.seen.successes, share.seen.trials), (9, 30));
        assert!(share.evidence()[0] > 1.0, "{share:?}");
        let written =
            baking(&serde_json::json!({"errors": {"requests": 100, "hits": 9}, "worse": "2.5000"}));
        let share = Scraper::default().bake(&written).expect("they are judged");
        assert_eq!((share.seen.trials, share.evidence()), (100, [2.5, 0.0]));
        assert_eq!(scraper.bake(&deployment(&serde_json::json!({}))), None);
    }
}
