//! `windlass-agent proxy`: stands in front of a model server, measures it and logs payloads.
//!
//! ```text
//!   clients ──> --listen ──> forward ──────────> --upstream, --grpc-upstream
//!                              │ │  └─ mirror ──> --mirror
//!                              │ └─ capture ──> log ──> --spool ──> Parquet at --log-uri
//!                              v
//!                         measurements ──> --metrics-listen: /observations, /metrics, /healthz
//! ```
//!
//! Bodies stream both ways; nothing on the way of a response waits for the log, nor for the mirror. On SIGTERM it goes on
//! serving for a while, so that endpoints are withdrawn first, then finishes what is in flight and writes the log.

mod admission;
mod arguments;
mod capture;
mod circuit;
mod deadline;
mod exchange;
mod exposition;
mod forward;
mod histogram;
mod line;
mod log;
mod measurements;
mod mirror;
mod outcome;
mod payload;
mod refusal;
mod request;
mod rows;
mod server;
mod signature;
mod spool;
mod tokens;
mod trace;
mod upload;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};
use windlass_api::agent::{FailureReason, FailureReport};

use self::admission::Admission;
pub use self::arguments::{Arguments, Protocol};
use self::capture::Budget;
use self::circuit::{Circuit, PAUSE};
use self::forward::Shared;
use self::log::Destination;
use self::measurements::{Measured, Measurements};
use self::mirror::Mirror;
use self::rows::Identity;
use self::signature::SignatureFile;
use crate::address::Address;
use crate::report::{OrFail, failure};

/// How many bytes of bodies the proxy keeps at once for the log, and as many again for the mirror where there is one.
const KEPT_BYTES: usize = 4 << 20;

/// Serves until it is told to stop.
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let mut terminate = signal(SignalKind::terminate()).or_fail(FailureReason::Internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(FailureReason::Internal)?;
    arguments.validate()?;
    let (shared, log) = prepare(&arguments)?;
    let clients = bind(arguments.listen, "--listen").await?;
    let metrics = bind(arguments.metrics_listen, "--metrics-listen").await?;
    let at = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default()
    };
    info!(listen = at(&clients), metrics = at(&metrics), upstream = %arguments.upstream, "serving");

    let told = server::Told {
        shared: Arc::clone(&shared),
        fill: log.as_ref().map(log::Running::fill).unwrap_or_default(),
        version: arguments.version.clone(),
    };
    let metrics = tokio::spawn(server::serve_metrics(metrics, told));
    let (phase, phases) = watch::channel(server::Phase::Serving);
    let mut serving = tokio::spawn(server::serve(clients, shared, phases));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut serving => {
            return ended.or_fail(FailureReason::Internal)?.or_fail(FailureReason::Internal);
        }
    }
    info!("told to stop: serving for another {:?}", arguments.drain);
    phase.send_replace(server::Phase::Draining);
    tokio::time::sleep(arguments.drain).await;
    phase.send_replace(server::Phase::Finishing);
    if tokio::time::timeout(arguments.finish, serving)
        .await
        .is_err()
    {
        warn!("requests were still in flight after {:?}", arguments.finish);
    }
    // It holds on to what they share.
    metrics.abort();
    let _ = metrics.await;
    if let Some(log) = log
        && tokio::time::timeout(arguments.finish, log.finished())
            .await
            .is_err()
    {
        warn!(
            "the payload log was not uploaded in {:?}: its last rows stay in --spool, and are uploaded at the next start where that folder is still there",
            arguments.finish
        );
    }
    info!("stopped");
    Ok(())
}

/// What serves, and the log that it feeds.
fn prepare(arguments: &Arguments) -> Result<(Arc<Shared>, Option<log::Running>), FailureReport> {
    let upstream = arguments::server("--upstream", &arguments.upstream)?;
    let grpc_upstream = match &arguments.grpc_upstream {
        Some(uri) => arguments::server("--grpc-upstream", uri)?,
        None => upstream.clone(),
    };
    let measurements = Arc::new(Measurements::new(Measured {
        predictions: arguments.count_predictions > 0.0,
        mirror: arguments.mirror.is_some(),
        tokens: arguments.protocol == Protocol::OpenAI,
    }));
    let signature = Arc::new(SignatureFile::new(arguments.signature.clone()));
    let body_limit = usize::try_from(arguments.body_limit).unwrap_or(usize::MAX);
    let mirror = match &arguments.mirror {
        None => None,
        Some(uri) => {
            let settings = mirror::Settings {
                to: arguments::server("--mirror", uri)?,
                share: arguments.mirror_share,
                protocol: arguments.protocol,
                signature: Arc::clone(&signature),
                // At least for a copy and for both answers to it.
                budget: Budget::new(KEPT_BYTES.max(body_limit.saturating_mul(3)), body_limit),
            };
            Some(Arc::new(Mirror::new(settings, Arc::clone(&measurements))))
        }
    };
    let (inlet, log) = start_log(arguments, signature, &measurements)?.unzip();
    let is_logged = arguments.log_uri.is_some();
    let shared = Shared {
        settings: forward::Settings {
            upstream,
            grpc_upstream,
            protocol: arguments.protocol,
            timeout: arguments.timeout,
            sample: if is_logged { arguments.sample } else { 0.0 },
            count_predictions: arguments.count_predictions,
        },
        measurements,
        log: inlet,
        mirror,
        admission: Admission::new(arguments.concurrency, arguments.queue, arguments.queue_wait),
        circuit: Circuit::new(arguments.circuit_failures, PAUSE),
        grpc_circuit: Circuit::new(arguments.circuit_failures, PAUSE),
        // At least for a request and its answer.
        budget: Budget::new(KEPT_BYTES.max(body_limit.saturating_mul(2)), body_limit),
    };
    Ok((Arc::new(shared), log))
}

fn start_log(
    arguments: &Arguments,
    signature: Arc<SignatureFile>,
    measurements: &Arc<Measurements>,
) -> Result<Option<(log::Inlet, log::Running)>, FailureReport> {
    let to = match &arguments.log_uri {
        Some(uri) => Some(Destination {
            uri: Address::parse(uri).or_fail(FailureReason::InvalidArguments)?,
            spool: arguments.spool.clone().unwrap_or_else(|| usual_spool(uri)),
            spool_limit: arguments.spool_limit,
            flush_every: arguments.flush_every,
        }),
        None if arguments.count_predictions > 0.0 => None,
        None => return Ok(None),
    };
    let settings = log::Settings {
        to,
        identity: Identity {
            model: arguments.model.clone(),
            version: arguments.version.clone(),
            protocol: arguments.protocol,
            redacted: arguments.redact.iter().cloned().collect(),
        },
        signature,
    };
    log::start(settings, Arc::clone(measurements))
        .or_fail(FailureReason::Internal)
        .map(Some)
}

/// The spool of a log where none is named: each log has its own, so that nothing is uploaded to another's place.
fn usual_spool(uri: &str) -> PathBuf {
    let digest = Sha256::digest(uri.as_bytes());
    let (name, _) = digest.split_first_chunk().expect("it has 32 bytes");
    let name = u64::from_be_bytes(*name);
    std::env::temp_dir().join(format!("windlass-payloads-{name:016x}"))
}

async fn bind(address: SocketAddr, argument: &str) -> Result<TcpListener, FailureReport> {
    TcpListener::bind(address).await.map_err(|problem| {
        failure(
            FailureReason::InvalidArguments,
            format!("{argument} {address} cannot be listened on: {problem}"),
        )
    })
}
