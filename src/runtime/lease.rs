//! One replica leads.
//!
//! ```text
//!   waiting ──(free, given back, or not renewed for its duration)──> leading ──renews──┐
//!                                                                      │  ^────────────┘
//!            lost: taken by another, or not renewed in time <──────────┤
//!            given back: on SIGTERM, so that another leads at once <───┘
//! ```
//!
//! Each replica measures by its own clock how long a Lease has not changed: clocks of two nodes need not agree.
//! A holder that cannot renew gives up while the Lease still has longer to run than any write of its may take.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// The field manager of its writes.
const MANAGER: &str = "windlass-lease";
/// Seconds that a Lease holds without being renewed.
const DURATION_SECONDS: i32 = 15;
/// How often the holder renews it.
const RENEW: Duration = Duration::from_secs(4);
/// A holder that has not renewed it for this long gives up; a write that it has begun has ended before the Lease has.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often the one who waits looks, and how soon a holder tries again.
const LOOK: Duration = Duration::from_secs(1);
/// How long a request may take.
const REQUEST: Duration = Duration::from_secs(4);

/// That this replica leads.
pub struct Leadership {
    /// Until when another led before it, by its own clock: when the Lease was renewed or given back last.
    pub before: Option<Timestamp>,
    /// What the Lease said besides: its annotations when it was taken.
    pub annotations: BTreeMap<String, String>,
    stop: oneshot::Sender<()>,
    holder: JoinHandle<Option<Held>>,
}

/// Until when this replica may write, for all who write. A process that was stopped for a while (a frozen node, a
/// paused machine) goes on in the midst of its work, before it hears that it leads no longer.
#[derive(Clone, Default)]
pub struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    /// Whether a write that is begun now ends before the Lease does.
    pub fn holds(&self) -> bool {
        let renewed = *self.0.lock().expect("no holder panics");
        renewed.is_some_and(|renewed| renewed.elapsed() < GIVE_UP)
    }

    pub(super) fn renewed_at(&self, sent: Instant) {
        *self.0.lock().expect("no holder panics") = Some(sent);
    }
}

/// The Lease in our hands.
struct Held {
    api: Api<Lease>,
    name: String,
    identity: String,
    version: String,
    /// When the request was sent that renewed it last.
    renewed: Instant,
    term: Term,
}

/// What the one who waits has seen, and since when it has been so.
struct Seen {
    version: Option<String>,
    since: Instant,
}

impl Seen {
    /// It is of this version now.
    fn see(&mut self, version: Option<String>) {
        if self.version != version {
            *self = Self {
                version,
                since: Instant::now(),
            };
        }
    }
}

/// A Lease that was just taken.
struct Taken {
    version: String,
    /// When the request was sent.
    renewed: Instant,
    /// When it was renewed or given back before.
    before: Option<Timestamp>,
    annotations: BTreeMap<String, String>,
}

/// Waits until this replica leads, by the Lease of this name.
pub async fn acquire(
    client: Client,
    (namespace, name): (&str, &str),
    identity: &str,
    term: Term,
) -> anyhow::Result<Leadership> {
    let api = Api::<Lease>::namespaced(client, namespace);
    let mut seen = Seen {
        version: None,
        since: Instant::now(),
    };
    let (held, before, annotations) = loop {
        match timeout(REQUEST, look(&api, name, identity, &mut seen)).await {
            Ok(Ok(Some(taken))) => {
                let Taken {
                    version,
                    renewed,
                    before,
                    annotations,
                } = taken;
                let identity = identity.to_owned();
                term.renewed_at(renewed);
                let held = Held {
                    api,
                    name: name.to_owned(),
                    identity,
                    version,
                    renewed,
                    term,
                };
                break (held, before, annotations);
            }
            Ok(Ok(None)) => {}
            // The namespace or the right is missing: nothing that waiting mends.
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() || status.is_not_found() => {
                return Err(kube::Error::Api(status))
                    .with_context(|| format!("taking the Lease {namespace}/{name}"));
            }
            Ok(Err(error)) => tracing::warn!(%error, "the Lease cannot be taken now"),
            Err(_) => tracing::warn!("the API server does not answer"),
        }
        sleep(LOOK).await;
    };
    let (stop, stopped) = oneshot::channel();
    Ok(Leadership {
        before,
        annotations,
        stop,
        holder: tokio::spawn(hold(held, stopped)),
    })
}

impl Leadership {
    /// Ends when this replica no longer leads.
    pub async fn lost(&mut self) {
        let _ = (&mut self.holder).await;
    }

    /// Gives the Lease back, so that another replica leads at once.
    pub async fn release(self) {
        let _ = self.stop.send(());
        let Ok(Some(held)) = self.holder.await else {
            return;
        };
        let body = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": MicroTime(Timestamp::now())}});
        if !matches!(timeout(REQUEST, held.patch(body)).await, Ok(Ok(_))) {
            tracing::warn!("the Lease was not given back; it runs out by itself");
        }
    }
}

/// Looks at the Lease, and takes it where it may be taken.
async fn look(
    api: &Api<Lease>,
    name: &str,
    identity: &str,
    seen: &mut Seen,
) -> Result<Option<Taken>, kube::Error> {
    let now = Instant::now();
    let time = MicroTime(Timestamp::now());
    let mut before = None;
    let taken = match api.get_opt(name).await? {
        None => {
            let spec = LeaseSpec {
                holder_identity: Some(identity.to_owned()),
                lease_duration_seconds: Some(DURATION_SECONDS),
                acquire_time: Some(time.clone()),
                renew_time: Some(time),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            };
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec),
            };
            api.create(
                &PostParams {
                    field_manager: Some(MANAGER.to_owned()),
                    ..PostParams::default()
                },
                &lease,
            )
            .await
        }
        Some(lease) => {
            seen.see(lease.resource_version());
            let spec = lease.spec.unwrap_or_default();
            if !is_free(&spec, identity, seen.since.elapsed()) {
                return Ok(None);
            }
            before = spec.renew_time.as_ref().map(|time| time.0);
            let body = json!({
                "metadata": {"resourceVersion": seen.version},
                "spec": {
                    "holderIdentity": identity, "leaseDurationSeconds": DURATION_SECONDS, "acquireTime": time, "renewTime": time,
                    "leaseTransitions": spec.lease_transitions.unwrap_or(0) + 1,
                },
            });
            patch(api, name, body).await
        }
    };
    match taken {
        Ok(lease) => Ok(Some(Taken {
            annotations: lease.annotations().clone(),
            version: lease.resource_version().unwrap_or_default(),
            renewed: now,
            before,
        })),
        // Another was quicker.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Waits until nobody leads by the Lease of this name.
pub async fn free(client: &Client, namespace: &str, name: &str) {
    let api = Api::<Lease>::namespaced(client.clone(), namespace);
    let mut seen = Seen {
        version: None,
        since: Instant::now(),
    };
    loop {
        match timeout(REQUEST, api.get_opt(name)).await {
            Ok(Ok(None)) => return,
            Ok(Ok(Some(lease))) => {
                seen.see(lease.resource_version());
                let unchanged = seen.since.elapsed();
                if is_free(&lease.spec.unwrap_or_default(), "", unchanged) {
                    return;
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, name, "a Lease cannot be read now"),
            Err(_) => tracing::warn!("the API server does not answer"),
        }
        sleep(LOOK).await;
    }
}

/// The annotations of a Lease; none where it is not there.
///
/// # Errors
/// When the API server does not answer.
pub async fn annotations(
    client: &Client,
    namespace: &str,
    name: &str,
) -> kube::Result<BTreeMap<String, String>> {
    let api = Api::<Lease>::namespaced(client.clone(), namespace);
    let lease = api.get_metadata_opt(name).await?;
    Ok(lease
        .map(|lease| lease.annotations().clone())
        .unwrap_or_default())
}

/// Writes an annotation of a Lease.
///
/// # Errors
/// When the API server does not take it.
pub async fn annotate(
    client: &Client,
    namespace: &str,
    name: &str,
    (key, value): (&str, &str),
) -> kube::Result<()> {
    let api = Api::<Lease>::namespaced(client.clone(), namespace);
    let body = json!({"metadata": {"annotations": {key: value}}});
    patch(&api, name, body).await?;
    Ok(())
}

/// Whether a Lease may be taken that has not changed for a while.
fn is_free(lease: &LeaseSpec, identity: &str, unchanged: Duration) -> bool {
    match lease.holder_identity.as_deref() {
        None | Some("") => true,
        Some(holder) if holder == identity => true,
        Some(_) => {
            let seconds = lease.lease_duration_seconds.unwrap_or(DURATION_SECONDS);
            unchanged > Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        }
    }
}

/// Renews the Lease until it is told to stop, when it is still ours, or until it is lost.
async fn hold(mut held: Held, mut stopped: oneshot::Receiver<()>) -> Option<Held> {
    loop {
        tokio::select! {
            _ = &mut stopped => return Some(held),
            () = sleep_until(held.renewed + RENEW) => {}
        }
        match timeout_at(held.renewed + GIVE_UP, held.renew()).await {
            Ok(Renewal::Done) => {}
            Ok(Renewal::Taken) => {
                tracing::error!("another replica has the Lease");
                return None;
            }
            Err(_) => {
                tracing::error!("the Lease was not renewed within {GIVE_UP:?}");
                return None;
            }
        }
    }
}

/// How a renewal ended.
enum Renewal {
    Done,
    Taken,
}

impl Held {
    /// Renews it, and tries until it is so.
    async fn renew(&mut self) -> Renewal {
        loop {
            let sent = Instant::now();
            let body = json!({"spec": {"renewTime": MicroTime(Timestamp::now())}});
            match timeout(REQUEST, self.patch(body)).await {
                Ok(Ok(lease)) => {
                    self.version = lease.resource_version().unwrap_or_default();
                    self.renewed = sent;
                    self.term.renewed_at(sent);
                    return Renewal::Done;
                }
                Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                    return Renewal::Taken;
                }
                // Somebody wrote to it, or our own request of before was late: what counts is who holds it.
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
                    if let Ok(Ok(lease)) = timeout(REQUEST, self.api.get(&self.name)).await {
                        if lease
                            .spec
                            .as_ref()
                            .and_then(|spec| spec.holder_identity.as_deref())
                            != Some(&self.identity)
                        {
                            return Renewal::Taken;
                        }
                        // Not at once: where every write is a conflict, there would be no end of them.
                        self.version = lease.resource_version().unwrap_or_default();
                    }
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the Lease was not renewed, and is tried again");
                }
                Err(_) => tracing::warn!(
                    "the API server did not answer to the renewal of the Lease, which is tried again"
                ),
            }
            sleep(LOOK).await;
        }
    }

    async fn patch(&self, mut body: serde_json::Value) -> Result<Lease, kube::Error> {
        body["metadata"]["resourceVersion"] = self.version.as_str().into();
        patch(&self.api, &self.name, body).await
    }
}

async fn patch(
    api: &Api<Lease>,
    name: &str,
    body: serde_json::Value,
) -> Result<Lease, kube::Error> {
    api.patch(
        name,
        &PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        },
        &Patch::Merge(body),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_may_be_taken_when_it_is_free_or_has_run_out() {
        let lease = |holder: Option<&str>| LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let rows = [
            ("nobody ever had it", None, 0, true),
            ("it was given back", Some(""), 0, true),
            (
                "it is ours, from before a restart under the same name",
                Some("a"),
                0,
                true,
            ),
            ("another has it", Some("b"), 0, false),
            (
                "another has it, and it has just run to its end",
                Some("b"),
                15,
                false,
            ),
            ("another had it, and it has run out", Some("b"), 16, true),
        ];
        for (name, holder, seconds, expected) in rows {
            assert_eq!(
                is_free(&lease(holder), "a", Duration::from_secs(seconds)),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn a_holder_gives_up_before_a_write_of_its_could_outlast_the_lease() {
        let duration = Duration::from_secs(u64::try_from(DURATION_SECONDS).expect("a duration"));
        assert!(GIVE_UP + super::super::apply::WRITE < duration);
        assert!(RENEW + REQUEST < GIVE_UP, "one renewal may fail");
    }
}
