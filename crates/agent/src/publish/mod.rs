//! `windlass-agent publish`: makes a version of a model, or the run of a training that made none, visible in MLflow.
//!
//! ```text
//!   ModelVersion (JSON) ──> record ──> run        experiment, run: parameters, metrics, tags, data sets
//!   or TrainingJob            │ names    │
//!                             │          v run id
//!                             └──────> registry   of a version: registered model, its version, aliases
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

use kube::Resource;
use serde::de::DeserializeOwned;
use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport, PublishReport, Report};

use windlass_api::{ModelVersion, TrainingJob};

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
    #[arg(long, value_name = "FILE", required_unless_present = "training_job")]
    pub version: Option<PathBuf>,
    /// A TrainingJob that failed, or ended well and has no model, as `kubectl get trainingjob NAME -o json` prints it: its
    /// run is shown, and nothing registered.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["version", "registered_model", "aliases", "not_aliases"]
    )]
    pub training_job: Option<PathBuf>,
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

/// Publishes the present state of a version, or of a training.
///
/// # Errors
/// [`FailureReason::TrackingUnreachable`] where a repetition may mend it, [`FailureReason::TrackingRefused`] where it
/// cannot; [`FailureReason::InputNotFound`] and [`FailureReason::InputUnreadable`] for the file.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    if let Some(both) = arguments
        .aliases
        .iter()
        .find(|alias| arguments.not_aliases.contains(alias))
    {
        let message = format!("'{both}' is in --alias and in --unalias: leave one out");
        return Err(failure(FailureReason::InvalidArguments, message));
    }
    let record = match (&arguments.version, &arguments.training_job) {
        (_, Some(file)) => Record::of_training(&read::<TrainingJob>(file)?),
        (Some(file), None) => Record::of(&read::<ModelVersion>(file)?),
        (None, None) => Err("neither --version nor --training-job is given".to_owned()),
    };
    let record = record.map_err(|problem| failure(FailureReason::InputUnreadable, problem))?;
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
    let run_id = run::publish(tracking, experiment, &record.run).await?;
    let mut model_version = None;
    if let Some(version) = &record.version {
        let model = arguments
            .registered_model
            .as_ref()
            .unwrap_or(&version.model);
        model_version = Some(register(tracking, model, &run_id, version, arguments).await?);
    }
    Ok(PublishReport {
        run_id,
        model_version,
        wrote: tracking.wrote(),
    })
}

/// Makes the version and its aliases so in the registry; its number there.
async fn register(
    tracking: &mut Tracking,
    model: &str,
    run_id: &str,
    version: &record::Version,
    arguments: &Arguments,
) -> Result<String, TrackingError> {
    let aliases = registry::publish_model(tracking, model).await?;
    let version = registry::publish_version(tracking, model, run_id, version).await?;
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
    Ok(version)
}

/// Reads an object of a kind.
fn read<K: Resource<DynamicType = ()> + DeserializeOwned>(path: &Path) -> Result<K, FailureReport> {
    let kind = K::kind(&());
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|problem| {
        let message = format!("the {kind} cannot be read: {}: {problem}", path.display());
        failure(FailureReason::InputNotFound, message)
    })?;
    let object = serde_json::from_str::<K>(&text).or_fail(FailureReason::InputUnreadable);
    object.map_err(|mut problem| {
        problem.message = format!(
            "{} is no {kind} as JSON, such as `kubectl get {} NAME -o json` prints: {}",
            path.display(),
            kind.to_lowercase(),
            problem.message
        );
        problem
    })
}
