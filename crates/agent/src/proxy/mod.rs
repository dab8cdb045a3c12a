//! `windlass-agent proxy`: stands in front of a model server, measures it and logs payloads.
//!
//! ```text
//!   clients ──> --listen ──> forward ──────────> --upstream
//!                              │    └─ capture ──> log ──> Parquet at --log-uri
//!                              v
//!                         measurements ──> --metrics-listen: /observations, /metrics, /healthz
//! ```
//!
//! Bodies stream both ways; nothing on the way of a response waits for the log. On SIGTERM it goes on serving
//! for a while, so that endpoints are withdrawn first, then finishes what is in flight and writes the log.

mod capture;
mod forward;
mod log;
mod measurements;
mod payload;
mod rows;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};
use windlass_api::agent::{FailureReason, FailureReport};

use self::forward::Forwarder;
use self::measurements::Measurements;
use self::rows::Identity;
use crate::address::Address;
use crate::arguments::duration;
use crate::report::{OrFail, failure};

/// Arguments of `windlass-agent proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where clients come to.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The model server.
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub upstream: Uri,
    /// Where the operator and Prometheus come to.
    #[arg(long, default_value = "0.0.0.0:9464", value_name = "ADDRESS")]
    pub metrics_listen: SocketAddr,
    /// The model's name.
    #[arg(long)]
    pub model: String,
    /// The name of the ModelVersion.
    #[arg(long)]
    pub version: String,
    /// The inference protocol.
    #[arg(long, default_value = "OpenInference")]
    pub protocol: Protocol,
    /// The file with the model's signature; it may be missing.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Where payloads are logged; without it they are not.
    #[arg(long, value_name = "URI")]
    pub log_uri: Option<String>,
    /// The share of requests that is logged, from 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    pub sample: f64,
    /// How long a row waits to be written.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub flush_every: Duration,
    /// How long it goes on serving once it was told to stop.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub drain: Duration,
    /// How long requests that are in flight may take after that, and then the log's last file.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub finish: Duration,
}

/// An inference protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Protocol {
    /// The Open Inference Protocol, version 2, over HTTP.
    OpenInference,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is not a share from 0 to 1"))
}

/// Serves until it is told to stop.
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let mut terminate = signal(SignalKind::terminate()).or_fail(FailureReason::Internal)?;
    let mut interrupt = signal(SignalKind::interrupt()).or_fail(FailureReason::Internal)?;
    let upstream = arguments.upstream.authority().cloned();
    let upstream = upstream
        .filter(|_| arguments.upstream.scheme_str() == Some("http"))
        .ok_or_else(|| {
            let message = format!(
                "--upstream {} is not of the form http://host:port",
                arguments.upstream
            );
            failure(FailureReason::InvalidArguments, message)
        })?;
    let measurements = Arc::new(Measurements::default());
    let (inlet, log) = start_log(&arguments, &measurements)?.unzip();
    let forwarder = Arc::new(Forwarder::new(
        upstream,
        Arc::clone(&measurements),
        inlet,
        arguments.sample,
    ));
    let clients = bind(arguments.listen, "--listen").await?;
    let metrics = bind(arguments.metrics_listen, "--metrics-listen").await?;
    let at = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| address.to_string())
            .unwrap_or_default()
    };
    info!(listen = at(&clients), metrics = at(&metrics), upstream = %arguments.upstream, "serving");

    let metrics = tokio::spawn(server::serve_metrics(
        metrics,
        measurements,
        arguments.version.clone(),
    ));
    let (phase, phases) = watch::channel(server::Phase::Serving);
    let serving = tokio::spawn(server::serve(clients, forwarder, phases));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
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
    if let Some(log) = log
        && tokio::time::timeout(arguments.finish, log.finished())
            .await
            .is_err()
    {
        warn!(
            "the payload log was not written in {:?}; its last rows are lost",
            arguments.finish
        );
    }
    metrics.abort();
    info!("stopped");
    Ok(())
}

fn start_log(
    arguments: &Arguments,
    measurements: &Arc<Measurements>,
) -> Result<Option<(log::Inlet, log::Running)>, FailureReport> {
    let Some(uri) = &arguments.log_uri else {
        return Ok(None);
    };
    let settings = log::Settings {
        to: Address::parse(uri).or_fail(FailureReason::InvalidArguments)?,
        identity: Identity {
            model: arguments.model.clone(),
            version: arguments.version.clone(),
        },
        signature: arguments.signature.clone(),
        flush_every: arguments.flush_every,
    };
    log::start(settings, Arc::clone(measurements))
        .or_fail(FailureReason::Internal)
        .map(Some)
}

async fn bind(address: SocketAddr, argument: &str) -> Result<TcpListener, FailureReport> {
    TcpListener::bind(address).await.map_err(|problem| {
        failure(
            FailureReason::InvalidArguments,
            format!("{argument} {address} cannot be listened on: {problem}"),
        )
    })
}
