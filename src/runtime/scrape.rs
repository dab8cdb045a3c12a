//! What the proxies of a roll-out have seen since its step began.
//!
//! Read from pods that Windlass made, at the port that it gave them; never from an address that a user wrote.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use windlass_api::agent::{METRICS_PORT, Observations};
use windlass_api::{CanaryStatus, Counted, Decimal, ModelDeployment, labels};
use windlass_plan::modeldeployment::{Traffic, allowed_errors};
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::Shares;

use super::Context;
use super::kept::UNDER_WAY;

/// How often pods are asked.
const EVERY: Duration = Duration::from_secs(1);
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
    errors: Arc<Mutex<HashMap<String, Compared>>>,
}

/// The errors of a roll-out, look by look.
struct Compared {
    /// When the roll-out started.
    started: Timestamp,
    shares: Shares,
}

struct Seen {
    /// Since when is counted: the start of the roll-out's step.
    since: Timestamp,
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
            add(all.entry(version).or_default(), &seen.first, &seen.last);
        }
        all
    }

    /// The errors of a roll-out; absent before its pods were asked.
    pub fn errors(&self, deployment: &ModelDeployment) -> Option<Shares> {
        let canary = deployment.status.as_ref()?.canary.as_ref()?;
        let errors = self.errors.lock().expect("no holder panics");
        let compared = errors.get(&deployment.uid()?)?;
        (compared.started == canary.started).then_some(compared.shares)
    }

    /// Takes what both sides of a roll-out have had since they were asked last.
    #[allow(clippy::float_cmp)] // both are of the same text
    fn compare(&self, deployment: &ModelDeployment, counted: &BTreeMap<String, Proportion>) {
        let (Some(uid), Some(status)) = (deployment.uid(), &deployment.status) else {
            return;
        };
        let (Some(canary), Some(stable)) = (&status.canary, &status.stable) else {
            return;
        };
        let Some(allowed) = allowed_errors(&deployment.spec.rollout.analysis) else {
            return;
        };
        let mut errors = self.errors.lock().expect("no holder panics");
        let begin = || Compared {
            started: canary.started,
            shares: begun(canary, allowed),
        };
        let compared = errors.entry(uid).or_insert_with(begin);
        // Another roll-out, or another question.
        if compared.started != canary.started || compared.shares.allowed != allowed {
            *compared = begin();
        }
        let of = |version: &str| counted.get(version).copied().unwrap_or(NOTHING);
        compared
            .shares
            .take(of(&canary.version), of(&stable.version));
    }

    /// Takes what a pod has counted; what is new of it.
    fn note(&self, pod: String, since: Timestamp, now: Observations) -> Proportion {
        let mut seen = self.pods.lock().expect("no holder panics");
        let more = match seen.get(&pod) {
            Some(entry) if now.requests >= entry.last.requests => Proportion {
                successes: now.errors.saturating_sub(entry.last.errors),
                trials: now.requests - entry.last.requests,
            },
            // What one has counted before it was asked first may be of before the roll-out.
            Some(_) | None => NOTHING,
        };
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
                        first: now.clone(),
                        last: now,
                    },
                );
            }
        }
        // More of them failed than there were is of a proxy that answers while it counts.
        Proportion {
            successes: more.successes.min(more.trials),
            ..more
        }
    }

    fn forget_all_but(&self, pods: &HashSet<String>, deployments: &HashSet<String>) {
        let mut seen = self.pods.lock().expect("no holder panics");
        seen.retain(|pod, _| pods.contains(pod));
        let mut errors = self.errors.lock().expect("no holder panics");
        errors.retain(|deployment, _| deployments.contains(deployment));
    }
}

const NOTHING: Proportion = Proportion {
    successes: 0,
    trials: 0,
};

/// What a comparison begins with: what was written down of it, by an operator before this one.
#[allow(clippy::float_cmp)] // both are of the same text
fn begun(canary: &CanaryStatus, allowed: f64) -> Shares {
    let written = canary.errors.as_ref().and_then(|errors| {
        let number = |decimal: &Decimal| decimal.value().ok();
        let of = |counted: &Counted| {
            let trials = u64::try_from(counted.requests).ok()?;
            let successes = u64::try_from(counted.errors).ok()?.min(trials);
            Some(Proportion { successes, trials })
        };
        let is_same = number(&errors.allowed).is_some_and(|number| number == allowed);
        let evidence = [number(&errors.worse)?, number(&errors.within)?];
        let (canary, stable) = (of(&errors.canary)?, of(&errors.stable)?);
        is_same.then(|| Shares::resumed(allowed, canary, stable, evidence))
    });
    written.unwrap_or_else(|| Shares::new(allowed))
}

fn add(traffic: &mut Traffic, first: &Observations, last: &Observations) {
    traffic.requests += last.requests.saturating_sub(first.requests);
    traffic.errors += last.errors.saturating_sub(first.errors);
    traffic.bounds_ms.clone_from(&last.latency_bounds_ms);
    traffic.counts.resize(last.latency_counts.len(), 0);
    for (at, count) in last.latency_counts.iter().enumerate() {
        let before = first.latency_counts.get(at).copied().unwrap_or(0);
        traffic.counts[at] += count.saturating_sub(before);
    }
}

/// A client for agents: pods come and go, so that one connection each is kept at most.
pub(super) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(1)
        .build_http()
}

/// Asks the pods of every roll-out that is in a step, for ever.
pub async fn run(context: Arc<Context>) {
    let client = client();
    loop {
        tokio::time::sleep(EVERY).await;
        let deployments = context.stores.model_deployments.everywhere(UNDER_WAY, "");
        let looks = deployments.iter().map(|deployment| {
            let targets = targets(&context, deployment);
            look(&client, &context.scraper, deployment, targets)
        });
        let pods = join_all(looks).await.into_iter().flatten().collect();
        let deployments = deployments.iter().filter_map(|deployment| deployment.uid());
        context
            .scraper
            .forget_all_but(&pods, &deployments.collect());
    }
}

/// Asks the pods of a roll-out, and compares what they tell; their uids.
async fn look(
    client: &HttpClient,
    scraper: &Scraper,
    deployment: &ModelDeployment,
    targets: Vec<(Timestamp, Arc<Pod>)>,
) -> Vec<String> {
    let asked = targets
        .iter()
        .map(|(since, pod)| ask(client, scraper, *since, pod));
    let mut counted: BTreeMap<String, Proportion> = BTreeMap::new();
    for ((_, pod), more) in targets.iter().zip(join_all(asked).await) {
        if let (Some(version), Some(more)) = (pod.labels().get(labels::VERSION), more) {
            let all = counted.entry(version.clone()).or_insert(NOTHING);
            all.successes += more.successes;
            all.trials += more.trials;
        }
    }
    scraper.compare(deployment, &counted);
    targets.iter().filter_map(|(_, pod)| pod.uid()).collect()
}

/// Since when a canary's traffic is counted: the start of its step, or, while the step's pods start, of the wait for them.
pub fn counted_since(canary: &CanaryStatus) -> Timestamp {
    canary.step_started.unwrap_or(canary.since)
}

fn targets(context: &Context, deployment: &ModelDeployment) -> Vec<(Timestamp, Arc<Pod>)> {
    let since = deployment
        .status
        .as_ref()
        .and_then(|status| status.canary.as_ref())
        .map(counted_since);
    let Some(since) = since else {
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
) -> Option<Proportion> {
    let uid = pod.uid()?;
    let observations = get(client, pod, "/observations").await?;
    Some(scraper.note(uid, since, observations))
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
        assert_eq!(scraper.note("a".to_owned(), since, seen(100)), NOTHING);
        let more = scraper.note("a".to_owned(), since, seen(130));
        assert_eq!(more.trials, 30);
        assert_eq!(requests(&scraper), 30);
        assert_eq!(scraper.note("a".to_owned(), since, seen(5)), NOTHING);
        assert_eq!(scraper.note("a".to_owned(), since, seen(9)).trials, 4);
        assert_eq!(requests(&scraper), 4);
        assert!(
            scraper
                .traffic(&pods, "2026-01-01T00:00:00Z".parse().expect("a time"))
                .is_empty()
        );
    }

    /// A roll-out that started then, in whose status this was written down.
    fn rolling(started: i64, errors: Option<serde_json::Value>) -> ModelDeployment {
        let at = |second: i64| Timestamp::from_second(second).expect("a time").to_string();
        let mut canary = serde_json::json!({
            "version": "m-2", "step": 0, "weight": 10, "started": at(started), "since": at(started),
        });
        if let Some(errors) = errors {
            canary["errors"] = errors;
        }
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "m", "namespace": "growth", "uid": "uid"},
            "spec": {"model": "m", "runtime": "mlserver"},
            "status": {"stable": {"version": "m-1", "since": at(0)}, "canary": canary},
        }))
        .expect("a ModelDeployment")
    }

    #[test]
    fn errors_are_compared_over_a_roll_out_and_after_a_restart_from_what_was_written_down() {
        let counted = |canary: u64| -> BTreeMap<String, Proportion> {
            let of = |successes| Proportion {
                successes,
                trials: 10,
            };
            [("m-1".to_owned(), of(0)), ("m-2".to_owned(), of(canary))].into()
        };
        let scraper = Scraper::default();
        let deployment = rolling(7, None);
        assert_eq!(scraper.errors(&deployment), None);
        (0..4).for_each(|_| scraper.compare(&deployment, &counted(2)));
        let shares = scraper.errors(&deployment).expect("a comparison");
        assert_eq!((shares.candidate.successes, shares.stable.trials), (8, 40));
        assert!(shares.evidence()[0] > 1.0, "{shares:?}");
        // Another roll-out begins with nothing.
        assert_eq!(scraper.errors(&rolling(8, None)), None);
        scraper.compare(&rolling(8, None), &counted(0));
        let other = scraper.errors(&rolling(8, None)).expect("a comparison");
        assert_eq!(other.candidate.trials, 10);

        let written = serde_json::json!({
            "allowed": "0.01", "canary": {"requests": 500, "errors": 5}, "stable": {"requests": 900, "errors": 4},
            "worse": "1.2500", "within": "-0.5000",
        });
        let (anew, rolled) = (Scraper::default(), rolling(7, Some(written.clone())));
        anew.compare(&rolled, &BTreeMap::new());
        let shares = anew.errors(&rolled).expect("a comparison");
        assert_eq!(shares.candidate.trials, 500);
        assert!((shares.evidence()[0] - 1.25).abs() < 1e-9);
        // What was asked then was another question.
        let mut other = written;
        other["allowed"] = "0.02".into();
        let (anew, rolled) = (Scraper::default(), rolling(7, Some(other)));
        anew.compare(&rolled, &BTreeMap::new());
        assert_eq!(
            anew.errors(&rolled).map(|shares| shares.candidate.trials),
            Some(0)
        );
    }
}
