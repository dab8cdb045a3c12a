//! Plays the proxies of the pods that kwok plays: their addresses are of loopback, and all of them are answered for here.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use windlass_api::agent::{METRICS_PORT, Observations};
use windlass_api::labels;

use super::seen::{Watching, changes};

/// Requests a second that each proxy has answered.
const RATE: u64 = 500;
/// Of these, how many fail once a canary fails.
const FAILING: u64 = 200;
/// In a namespace whose name has this word, version 2 fails once it has come to its second step.
const WORD: &str = "errors";

/// The pod of an address.
#[derive(Clone)]
struct Playing {
    namespace: String,
    version: String,
    uid: Option<String>,
    since: Instant,
}

type Pods = Arc<Mutex<HashMap<IpAddr, Playing>>>;

/// Answers for all proxies, for as long as what is returned is held.
pub async fn answer(client: &Client, watching: &Watching) -> Result<JoinSet<()>> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, METRICS_PORT))
        .await
        .with_context(|| format!("listening at port {METRICS_PORT} of all of loopback"))?;
    let pods = Pods::default();
    let mut serving = JoinSet::new();
    serving.spawn(learn(Api::all(client.clone()), pods.clone()));
    let watching = watching.clone();
    serving.spawn(async move {
        loop {
            // Nobody but this machine is answered.
            if let Ok((stream, from)) = listener.accept().await
                && from.ip().is_loopback()
            {
                tokio::spawn(converse(stream, pods.clone(), watching.clone()));
            }
        }
    });
    Ok(serving)
}

/// Learns which pod has which address.
async fn learn(all: Api<Pod>, pods: Pods) {
    let mut changes = changes(watcher(all, watcher::Config::default()));
    while let Some((pod, is_there)) = changes.next().await {
        let address = pod
            .status
            .as_ref()
            .and_then(|status| status.pod_ip.as_ref());
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            continue;
        };
        let mut pods = pods.lock().expect("no holder panics");
        let is_its = |known: &Playing| known.uid == pod.uid();
        if !is_there {
            if pods.get(&address).is_some_and(is_its) {
                pods.remove(&address);
            }
        } else if !pods.get(&address).is_some_and(is_its) {
            let version = pod.labels().get(labels::VERSION).cloned();
            let playing = Playing {
                namespace: pod.namespace().unwrap_or_default(),
                version: version.unwrap_or_default(),
                uid: pod.uid(),
                since: Instant::now(),
            };
            pods.insert(address, playing);
        }
    }
}

async fn converse(stream: TcpStream, pods: Pods, watching: Watching) {
    let address = stream.local_addr().map(|address| address.ip()).ok();
    let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
        let pods = pods.lock().expect("no holder panics");
        let pod = address.and_then(|address| pods.get(&address).cloned());
        let said = pod
            .map(|pod| observations(&pod, &watching))
            .unwrap_or_default();
        let said = serde_json::to_vec(&said).expect("observations are plain data");
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(
            said,
        )))))
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // The operator may end in the midst of it.
    let _ = connection.await;
}

/// What the proxy of a pod has counted by now.
fn observations(pod: &Playing, watching: &Watching) -> Observations {
    let fails = pod.namespace.contains(WORD) && pod.version.ends_with("-2");
    let failing = fails
        .then(|| watching.second_step(&pod.namespace))
        .flatten();
    let requests = counted(pod.since.elapsed(), RATE);
    let errors = failing.map_or(0, |since| counted(since.elapsed(), FAILING));
    Observations {
        requests,
        errors: errors.min(requests),
        latency_bounds_ms: vec![1.0, 4.0, 40.0],
        latency_counts: vec![0, requests, 0, 0],
        ..Observations::default()
    }
}

fn counted(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or_default() * rate / 1000
}
