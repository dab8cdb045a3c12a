//! `windlass-agent publish`: makes a version of a model visible in MLflow.
//!
//! ```text
//!   ModelVersion (JSON) ──> record ──> run        experiment, run: parameters, metrics, tags, data sets
//!                             │ names    │
//!                             │          v run id
//!                             └──────> registry   registered model, its version, aliases
//!                                        │
//!                                        v
//!                                     tracking ──> MLflow's REST API 2.0
//! ```
//!
//! Every step looks at what is there first and writes only what is not so already. What is made has the tag by which it
//! is found again from its first moment, so that a crash at any request is mended by the same command.
//!
//! Absent on purpose: files. MLflow learns where the model lies and what its digest is; nothing is copied.

mod names;
mod record;
mod registry;
mod run;
mod tracking;

use std::io::Read;
use std::path::{Path, PathBuf};

use tracing::info;
use windlass_api::ModelVersion;
use windlass_api::agent::{FailureReason, FailureReport, PublishReport, Report};

use self::record::Record;
use self::tracking::{Credentials, Tracking, TrackingError};
use crate::report::{OrFail, chain, failure};

/// Arguments of `windlass-agent publish`.
///
/// Credentials come from the environment alone: `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, or
/// `MLFLOW_TRACKING_TOKEN`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the MLflow server, `https://host[:port][/path]`.
    #[arg(long, value_name = "URL")]
    pub tracking_uri: String,
    /// The ModelVersion as JSON, as `kubectl get modelversion NAME -o json` prints it; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub version: PathBuf,
    /// The experiment that the run is put into; without it `<namespace>/<model>`.
    #[arg(long, value_name = "NAME")]
    pub experiment: Option<String>,
    /// The registered model that the version belongs to; without it the model's name.
    #[arg(long, value_name = "NAME")]
    pub registered_model: Option<String>,
    /// An alias that is to name this version; it is taken from the version that has it.
    #[arg(long = "alias", value_name = "ALIAS")]
    pub aliases: Vec<String>,
    /// An alias that is not to name this version; where it names another one, it stays.
    #[arg(long = "unalias", value_name = "ALIAS")]
    pub not_aliases: Vec<String>,
}

/// Publishes the present state of a version.
///
/// # Errors
/// [`FailureReason::TrackingUnreachable`] where a repetition may mend it, [`FailureReason::TrackingRefused`] where it
/// cannot; [`FailureReason::InputNotFound`] and [`FailureReason::InputUnreadable`] for the file of the version.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    if let Some(both) = arguments
        .aliases
        .iter()
        .find(|alias| arguments.not_aliases.contains(alias))
    {
        let message = format!("'{both}' is in --alias and in --unalias: leave one out");
        return Err(failure(FailureReason::InvalidArguments, message));
    }
    let record = Record::of(&read_version(&arguments.version)?)
        .map_err(|problem| failure(FailureReason::InputUnreadable, problem))?;
    let credentials = Credentials::from_environment(|name| std::env::var(name).ok())
        .map_err(|problem| failure(FailureReason::InvalidArguments, problem))?;
    let mut tracking = Tracking::new(&arguments.tracking_uri, credentials)
        .map_err(|problem| failure(FailureReason::InvalidArguments, problem))?;
    let report = publish(&mut tracking, &record, &arguments)
        .await
        .map_err(|problem| failure(problem.reason(), tracking.without_secrets(&chain(&problem))))?;
    info!(
        run = report.run_id,
        version = report.model_version,
        wrote = report.wrote,
        "published {}",
        record.name
    );
    Ok(Report::Publish(report))
}

async fn publish(
    tracking: &mut Tracking,
    record: &Record,
    arguments: &Arguments,
) -> Result<PublishReport, TrackingError> {
    let experiment = arguments.experiment.as_ref().unwrap_or(&record.experiment);
    let model = arguments.registered_model.as_ref().unwrap_or(&record.model);
    let run_id = run::publish(tracking, experiment, &record.run).await?;
    let aliases = registry::publish_model(tracking, model).await?;
    let version = registry::publish_version(tracking, model, &run_id, &record.version).await?;
    let mut naming = registry::Naming {
        model,
        version: &version,
        aliases,
    };
    for alias in &arguments.aliases {
        naming.set(tracking, alias).await?;
    }
    for alias in &arguments.not_aliases {
        naming.remove(tracking, alias).await?;
    }
    Ok(PublishReport {
        run_id,
        model_version: version,
        wrote: tracking.wrote(),
    })
}

fn read_version(path: &Path) -> Result<ModelVersion, FailureReport> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|problem| {
        let message = format!(
            "the ModelVersion of --version cannot be read: {}: {problem}",
            path.display()
        );
        failure(FailureReason::InputNotFound, message)
    })?;
    let version =
        serde_json::from_str::<ModelVersion>(&text).or_fail(FailureReason::InputUnreadable);
    version.map_err(|mut problem| {
        problem.message = format!(
            "{} is no ModelVersion as JSON, such as `kubectl get modelversion NAME -o json` prints: {}",
            path.display(),
            problem.message
        );
        problem
    })
}
