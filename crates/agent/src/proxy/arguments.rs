//! What `windlass-agent proxy` is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use windlass_api::agent::{FailureReason, FailureReport};

use super::rows::ALWAYS;
use crate::arguments::{bytes, duration};
use crate::report::failure;

/// Arguments of `windlass-agent proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where clients come to, over HTTP/1.1 or, with prior knowledge, HTTP/2.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The model server.
    #[arg(long, default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub upstream: Uri,
    /// The model server's port for gRPC; the same as the other where it is not said.
    #[arg(long, value_name = "URL")]
    pub grpc_upstream: Option<Uri>,
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
    /// How many requests the model server is asked at once; 0 for as many as come.
    #[arg(long, default_value_t = 0, value_name = "REQUESTS")]
    pub concurrency: usize,
    /// How many requests wait for their turn; one more is answered with 429.
    #[arg(long, default_value_t = 100, value_name = "REQUESTS")]
    pub queue: usize,
    /// How long a request waits for its turn; then it is answered with 503.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub queue_wait: Duration,
    /// How long an answer may take to begin; then the client is answered with 504. Without it, as long as it takes, or as
    /// the client itself says.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    pub timeout: Option<Duration>,
    /// After how many failed connections on end the model server is left alone for a second; 0 for never.
    #[arg(long, default_value_t = 5, value_name = "CONNECTIONS")]
    pub circuit_failures: u32,
    /// Another version, which is sent copies of requests; nobody waits for its answers.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<Uri>,
    /// The share of requests of which copies are sent, from 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share, value_name = "SHARE")]
    pub mirror_share: f64,
    /// The share of requests whose predictions are counted, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    pub count_predictions: f64,
    /// Where payloads are logged; without it they are not.
    #[arg(long, value_name = "URI")]
    pub log_uri: Option<String>,
    /// The share of requests that is logged, from 0 to 1.
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    pub sample: f64,
    /// A column whose values are logged as null; may be said more than once.
    #[arg(long, value_name = "COLUMN")]
    pub redact: Vec<String>,
    /// How large a body may be that is logged, mirrored or counted, such as 512Ki or 2Mi; a larger one passes all the same.
    #[arg(long, default_value = "2Mi", value_parser = bytes, value_name = "BYTES")]
    pub body_limit: u64,
    /// The folder in which rows are kept until they are uploaded; a folder below the system's temporary one where it is
    /// not said. What an earlier run has left there is uploaded at the start.
    #[arg(long, value_name = "FOLDER")]
    pub spool: Option<PathBuf>,
    /// How much may be in that folder, such as 256Mi; further rows are dropped, and counted.
    #[arg(long, default_value = "256Mi", value_parser = bytes, value_name = "BYTES")]
    pub spool_limit: u64,
    /// How long a row waits to be uploaded.
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
    /// The Open Inference Protocol, version 2, over HTTP or gRPC.
    #[value(alias = "OpenInferenceGRPC")]
    OpenInference,
    /// The protocol of TensorFlow Serving and KServe, version 1, over HTTP.
    V1,
    /// The completions of the OpenAI protocol.
    #[value(name = "OpenAI")]
    OpenAI,
    /// Any other: bodies are not read.
    Raw,
}

impl Arguments {
    /// Says what makes no sense.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`], with what is accepted.
    pub fn validate(&self) -> Result<(), FailureReport> {
        if let Some(column) = self
            .redact
            .iter()
            .find(|name| ALWAYS.contains(&name.as_str()))
        {
            let message = format!(
                "--redact {column}: rows are told apart and found by {}; any other column can be redacted",
                ALWAYS.join(", ")
            );
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        Ok(())
    }
}

/// The server that an argument names.
///
/// # Errors
/// [`FailureReason::InvalidArguments`] for what is not of the form `http://host:port`.
pub fn server(argument: &str, uri: &Uri) -> Result<Authority, FailureReport> {
    let authority = uri.authority().cloned();
    authority
        .filter(|_| uri.scheme_str() == Some("http"))
        .ok_or_else(|| {
            let message = format!("{argument} {uri} is not of the form http://host:port");
            failure(FailureReason::InvalidArguments, message)
        })
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| format!("'{text}' is not a share from 0 to 1"))
}
