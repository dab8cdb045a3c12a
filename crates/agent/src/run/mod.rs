//! `windlass-agent run`: fetches inputs, runs the trainer, uploads what it wrote, reports.
//!
//! ```text
//!   inputs (digested, checked) ──┬─> trainer ──> output (digested, uploaded) ──> report
//!        WORK/inputs/<name>      │      │           WORK/output
//!   the newest whole checkpoint ─┘      │           WORK/progress.json, WORK/parameters.json
//!        WORK/checkpoints/<name> <──────┴──> uploaded beside it (crate::checkpoint)
//! ```
//!
//! Nothing is written outside of the work folder, the volumes and the output's address, so that the root file
//! system can be read-only. Absent on purpose: attempts and backoff; a failed run is the operator's to repeat.

mod checkpoints;
mod columns;
mod environment;
mod inputs;
mod interruption;
mod machine;
mod progress;
mod tail;
mod trainer;
mod work;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tracing::info;
use windlass_api::agent::{
    FailureReason, FailureReport, InputTree, Progress, Report, TrainingReport, Tree, paths,
};

use crate::address::{Address, AddressError};
use crate::arguments::{DataFormat, Inputs, Pair, duration, input_format, time};
use crate::cache::Kept;
use crate::checkpoint::{self, Keeper, Restored};
use crate::report::{OrFail, chain, failure};
use crate::tree::{self, TreeError};

use self::interruption::Interruption;
use self::progress::Reporter;
use self::work::Work;

/// Arguments of `windlass-agent run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// What is read.
    #[command(flatten)]
    pub inputs: Inputs,
    /// The format of an input: CSV, Parquet or JSON. Such an input is checked before the trainer starts.
    #[arg(long = "input-format", value_name = "NAME=FORMAT", value_parser = input_format)]
    pub formats: Vec<(String, DataFormat)>,
    /// The folder in which `windlass-agent cache` keeps inputs: what is there is read from there.
    #[arg(long, value_name = "DIR")]
    pub input_cache: Option<PathBuf>,
    /// A column that an input must have.
    #[arg(long = "require-column", value_name = "NAME=COLUMN")]
    pub required_columns: Vec<Pair>,
    /// A parameter of the training.
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    pub parameters: Vec<Pair>,
    /// Address that the output goes to; without it, what the trainer writes stays in the work folder.
    #[arg(long, value_name = "URI")]
    pub output: Option<String>,
    /// The attempt of the gang, from 1.
    #[arg(long, default_value_t = 1)]
    pub attempt: u32,
    /// This worker's rank; only the worker of rank 0 uploads.
    #[arg(long, default_value_t = 0)]
    pub rank: u32,
    /// How many workers the gang has.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub world_size: u32,
    /// Folder or prefix of this job's own, to keep checkpoints in and to go on from.
    #[arg(long, value_name = "URI")]
    pub checkpoint: Option<String>,
    /// How often the newest checkpoint is uploaded.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = duration)]
    pub checkpoint_every: Duration,
    /// How many whole checkpoints are kept.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub checkpoint_keep: u32,
    /// The folder that the agent and the trainer work in.
    #[arg(long, default_value = paths::WORK, value_name = "DIR")]
    pub work_dir: PathBuf,
    /// Start of the window of data to train on.
    #[arg(long, value_parser = time)]
    pub window_start: Option<Timestamp>,
    /// End of the window of data to train on.
    #[arg(long, value_parser = time)]
    pub window_end: Option<Timestamp>,
    /// How long a trainer that was told to stop may take; where checkpoints are kept, its last upload is counted in.
    #[arg(long, default_value = "25s", value_parser = duration)]
    pub grace_period: Duration,
    /// Where the worker of rank 0 tells how far the training is, at `/progress`; without it, nowhere.
    #[arg(long, value_name = "ADDRESS")]
    pub progress_listen: Option<SocketAddr>,
    /// The trainer and its arguments; `$(NAME)` stands for a variable of its environment.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let mut interruption = Interruption::new(checkpoints::grace(&arguments))?;
    let output = arguments
        .output
        .as_deref()
        .map(Address::parse)
        .transpose()
        .or_fail(FailureReason::InvalidArguments)?;
    let root = checkpoints::address(&arguments)?;
    inputs::validate(&arguments)?;
    let work = Work::prepare(&arguments.work_dir)?;
    let inputs = interruption
        .unless("the inputs were read", inputs::prepare(&arguments, &work))
        .await?;
    let restored = match &root {
        Some(root) => {
            work.prepare_checkpoints()?;
            let folder = work.checkpoints();
            let has_others = arguments.world_size > 1;
            let resume = checkpoint::resume(root, arguments.attempt, has_others, &folder);
            interruption
                .unless("the checkpoint to go on from was read", resume)
                .await?
        }
        None => Restored::default(),
    };
    let resumed = root.is_some().then(|| restored.to_report());
    let prepared = Prepared {
        inputs: inputs.trees,
        kept: inputs.kept,
        output,
        checkpoints: root,
        restored,
        work,
    };
    match train(&arguments, prepared, &mut interruption).await {
        Ok(report) => Ok(Report::Training(TrainingReport { resumed, ..report })),
        Err(report) => Err(FailureReport { resumed, ..report }),
    }
}

/// What is there before the trainer starts.
struct Prepared {
    inputs: Vec<InputTree>,
    /// What the trainer reads of the node's cache.
    kept: Vec<Kept>,
    output: Option<Address>,
    checkpoints: Option<Address>,
    restored: Restored,
    work: Work,
}

/// Runs the trainer, and keeps what it makes.
async fn train(
    arguments: &Arguments,
    prepared: Prepared,
    interruption: &mut Interruption,
) -> Result<TrainingReport, FailureReport> {
    let Prepared {
        inputs,
        kept,
        output,
        checkpoints,
        restored,
        work,
    } = prepared;
    let variables = environment::variables(arguments, &work, &restored)?;
    let command: Vec<String> = arguments
        .command
        .iter()
        .map(|argument| environment::expanded(argument, &variables))
        .collect();
    info!(
        attempt = arguments.attempt,
        rank = arguments.rank,
        program = command[0],
        "starting the trainer"
    );
    let resumed = checkpoints.is_some().then(|| restored.to_report());
    let keeper = checkpoints::keeper(arguments, checkpoints, &work, restored, interruption);
    let _reporter = match arguments.progress_listen.filter(|_| arguments.rank == 0) {
        Some(listen) => {
            let known = Progress {
                attempt: arguments.attempt,
                resumed,
                ..Progress::default()
            };
            let last = keeper.as_ref().map(Keeper::last);
            Reporter::start(listen, &work, known, last).await
        }
        None => None,
    };
    let ended = trainer::run(&command, &variables, interruption).await;
    // From now on it may make room for others.
    drop(kept);
    checkpoints::after_the_trainer(ended, keeper, interruption).await?;
    let output = match output {
        Some(output) if arguments.rank == 0 => Some(
            interruption
                .unless_over("the output was uploaded", upload(&work, &output))
                .await?,
        ),
        Some(_) | None => None,
    };
    Ok(TrainingReport {
        inputs,
        output,
        metrics: work.metrics(),
        resumed: None,
        environment: if arguments.rank == 0 {
            machine::described()
        } else {
            BTreeMap::new()
        },
    })
}

async fn upload(work: &Work, to: &Address) -> Result<Tree, FailureReport> {
    let from =
        Address::local("the output folder", &work.output()).or_fail(FailureReason::Internal)?;
    match from.files_and_hidden().await {
        Ok(_) => {}
        Err(AddressError::NotFound { .. }) => {
            let folder = work.output();
            return Err(failure(
                FailureReason::OutputMissing,
                format!(
                    "the trainer ended well but wrote nothing into {} (its WINDLASS_OUTPUT), so there is nothing to keep",
                    folder.display()
                ),
            ));
        }
        Err(problem) => return Err(failure(FailureReason::OutputNotWritten, chain(&problem))),
    }
    let not_written =
        |problem: TreeError| failure(FailureReason::OutputNotWritten, chain(&problem));
    let tree = tree::upload(&work.output(), to)
        .await
        .map_err(not_written)?;
    info!(
        digest = tree.digest,
        files = tree.files,
        bytes = tree.bytes,
        "uploaded the output to {}",
        tree.uri
    );
    Ok(tree)
}
