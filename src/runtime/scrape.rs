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
use windlass_api::{CanaryStatus, Counted, ModelDeployment, labels};
use windlass_plan::modeldeployment::{Errors, Traffic, allowed_errors};
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
    /// The step that is judged.
    step: i32,
    errors: Errors,
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

    /// How the errors of a roll-out compare; absent where that is not judged.
    pub fn errors(&self, deployment: &ModelDeployment) -> Option<Errors> {
        let (uid, _, now) = judged(deployment)?;
        let known = self.errors.lock().expect("no holder panics");
        Some(now.after(known.get(&uid)).errors)
    }

    /// Takes what both sides of a roll-out have had since they were asked last.
    fn compare(&self, deployment: &ModelDeployment, counted: &BTreeMap<String, Proportion>) {
        let Some((uid, [canary, stable], now)) = judged(deployment) else {
            return;
        };
        let of = |version: &str| counted.get(version).copied().unwrap_or_default();
        let mut known = self.errors.lock().expect("no holder panics");
        let mut now = now.after(known.get(&uid));
        now.errors.take(of(canary), of(stable));
        known.insert(uid, now);
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
            Some(_) | None => Proportion::default(),
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

impl Compared {
    /// What it is, with what is known of it: of another roll-out or another question nothing is, of another step what is of
    /// the whole.
    #[allow(clippy::float_cmp)] // both are of the same text
    fn after(self, known: Option<&Self>) -> Self {
        let is_same = |known: &&Self| {
            known.started == self.started
                && known.errors.rollout.allowed == self.errors.rollout.allowed
        };
        match known.filter(is_same) {
            None => self,
            Some(known) if known.step == self.step => Self {
                errors: known.errors,
                ..self
            },
            Some(known) => Self {
                errors: Errors {
                    rollout: known.errors.rollout,
                    step: Shares::new(self.errors.step.allowed),
                },
                ..self
            },
        }
    }
}

/// Whose errors are judged: the uid, the canary and the stable version, and what was written down of the comparison, by an
/// operator before this one or by this one.
fn judged(deployment: &ModelDeployment) -> Option<(String, [&str; 2], Compared)> {
    let (uid, status) = (deployment.uid()?, deployment.status.as_ref()?);
    let (canary, stable) = (status.canary.as_ref()?, status.stable.as_ref()?);
    let rollout = &deployment.spec.rollout;
    let allowed = allowed_errors(&rollout.analysis)?;
    let last = i32::try_from(rollout.steps.len()).unwrap_or(i32::MAX) - 1;
    let now = Compared {
        started: canary.started,
        step: canary.step.min(last),
        errors: written(canary, allowed).unwrap_or_else(|| Errors::new(allowed)),
    };
    Some((uid, [&canary.version, &stable.version], now))
}

#[allow(clippy::float_cmp)] // both are of the same text
fn written(canary: &CanaryStatus, allowed: f64) -> Option<Errors> {
    let written = canary.errors.as_ref()?;
    let counts = |counted: &Counted| {
        let trials = u64::try_from(counted.requests).ok()?;
        let successes = u64::try_from(counted.errors).ok()?.min(trials);
        Some(Proportion { successes, trials })
    };
    let of = |compared: &windlass_api::Compared| {
        let evidence = [compared.worse.value().ok()?, compared.within.value().ok()?];
        let (canary, stable) = (counts(&compared.canary)?, counts(&compared.stable)?);
        Some(Shares::resumed(allowed, canary, stable, evidence))
    };
    if written.allowed.value().ok()? != allowed {
        return None;
    }
    Some(Errors {
        rollout: of(&written.rollout)?,
        step: of(&written.step)?,
    })
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
            counted.entry(version.clone()).or_default().merge(more);
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
        assert_eq!(
            scraper.note("a".to_owned(), since, seen(100)),
            Proportion::default()
        );
        let more = scraper.note("a".to_owned(), since, seen(130));
        assert_eq!(more.trials, 30);
        assert_eq!(requests(&scraper), 30);
        assert_eq!(
            scraper.note("a".to_owned(), since, seen(5)),
            Proportion::default()
        );
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
        let canary_trials = |errors: Option<Errors>| {
            let errors = errors.expect("a comparison");
            [errors.rollout, errors.step].map(|shares| shares.candidate.trials)
        };
        assert_eq!(canary_trials(scraper.errors(&deployment)), [0, 0]);
        (0..4).for_each(|_| scraper.compare(&deployment, &counted(2)));
        let errors = scraper.errors(&deployment).expect("a comparison");
        let shares = errors.rollout;
        assert_eq!((shares.candidate.successes, shares.stable.trials), (8, 40));
        assert!(shares.evidence()[0] > 1.0, "{shares:?}");
        // A step has what is of itself; the default has two.
        let mut next = deployment.clone();
        let canary = next
            .status
            .as_mut()
            .and_then(|status| status.canary.as_mut());
        canary.expect("a canary").step = 1;
        assert_eq!(canary_trials(scraper.errors(&next)), [40, 0]);
        scraper.compare(&next, &counted(0));
        let canary = next
            .status
            .as_mut()
            .and_then(|status| status.canary.as_mut());
        canary.expect("a canary").step = 2;
        assert_eq!(canary_trials(scraper.errors(&next)), [50, 10]);
        // Another roll-out begins with nothing.
        scraper.compare(&rolling(8, None), &counted(0));
        assert_eq!(canary_trials(scraper.errors(&rolling(8, None))), [10, 10]);

        let of = |requests| {
            serde_json::json!({
                "canary": {"requests": requests, "errors": 5}, "stable": {"requests": 900, "errors": 4},
                "worse": "1.2500", "within": "-0.5000",
            })
        };
        let written = serde_json::json!({"allowed": "0.01", "rollout": of(500), "step": of(300)});
        let (anew, rolled) = (Scraper::default(), rolling(7, Some(written.clone())));
        assert_eq!(canary_trials(anew.errors(&rolled)), [500, 300]);
        anew.compare(&rolled, &counted(0));
        assert_eq!(canary_trials(anew.errors(&rolled)), [510, 310]);
        // What was asked then was another question.
        let mut other = written;
        other["allowed"] = "0.02".into();
        let other = Scraper::default().errors(&rolling(7, Some(other)));
        assert_eq!(canary_trials(other), [0, 0]);
    }
}
