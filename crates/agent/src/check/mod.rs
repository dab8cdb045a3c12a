//! `windlass-agent check`: tests of data, before any GPU is asked for.
//!
//! ```text
//!   --input ──digest──> Tree                            --check ──plan──> rules
//!           ──source──> a table, read where it lies ──prepared──> columns and their kinds
//!                                 └──evaluate──> findings ──none──> profiles, Report::Check
//!                                                         ──some──> Report::Failure (CheckFailed)
//! ```
//!
//! All rules are checked, and all that do not hold are told. Data is streamed through DataFusion, as often as the rules
//! ask for it, in memory that is bounded; nothing is downloaded whole.
//!
//! Absent on purpose: mending. What breaks a rule is counted, not dropped.

mod distribution;
mod evaluate;
mod json;
mod keys;
mod plan;
mod predicate;
mod prepared;
mod profiles;
mod rows;
mod rules;
mod source;
mod tally;
mod values;
mod wording;

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use tracing::{info, warn};
use windlass_api::agent::{CheckReport, CheckedInput, FailureReason, FailureReport, Report, Tree};

use crate::address::Address;
use crate::arguments::{DataFormat, Pair, input_format};
use crate::profile::{self, write_json};
use crate::report::{OrFail, tree_failure};
use crate::tree::{self, TreeError};

use self::evaluate::{Found, evaluate, failed};
use self::plan::Input;
use self::prepared::Prepared;
use self::rules::What;
use self::source::Source;
use self::wording::{Broken, failure_of};
use crate::data::engine::Engine;

/// Arguments of `windlass-agent check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// An input and its address.
    #[arg(long = "input", value_name = "NAME=URI")]
    pub inputs: Vec<Pair>,
    /// The format of an input: CSV, Parquet or JSON.
    #[arg(long = "input-format", value_name = "NAME=FORMAT", value_parser = input_format)]
    pub formats: Vec<(String, DataFormat)>,
    /// A check of an input, as in a manifest: `flights={"column":"delay","notNull":true}`.
    #[arg(long = "check", value_name = "NAME=JSON")]
    pub checks: Vec<Pair>,
    /// The profile that the distributions of an input are compared with.
    #[arg(long = "reference", value_name = "NAME=URI")]
    pub references: Vec<Pair>,
    /// The folder that gets a profile of each input that has a format: `NAME.json`.
    #[arg(long, value_name = "URI")]
    pub profile_to: Option<String>,
    /// How many threads read at once; by default as many as there are processors.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: Option<u16>,
    /// How much memory a query may hold, MiB, before it writes to the work folder.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..))]
    pub memory: u32,
    /// The folder for what memory does not hold; by default the system's for temporary files.
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let mut inputs = plan::inputs_of(&arguments)?;
    let profile_to = arguments
        .profile_to
        .as_deref()
        .map(Address::parse)
        .transpose()
        .or_fail(FailureReason::InvalidArguments)?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let partitions = arguments.parallel.map_or(processors, usize::from);
    let bytes = usize::try_from(arguments.memory)
        .unwrap_or(usize::MAX)
        .saturating_mul(1 << 20);
    let engine = Engine::new(partitions, bytes, arguments.work_dir.as_deref())?;
    let mut trees = Vec::new();
    for input in &mut inputs {
        trees.push(digest(input).await?);
    }
    let prepared = prepare(&engine, &inputs, profile_to.is_some()).await?;
    let found = check(&engine, &prepared).await?;
    let rules: usize = inputs.iter().map(|input| input.rules.len()).sum();
    info!(rules, "every check holds");
    let mut checked = Vec::new();
    for (input, (tree, as_of)) in inputs.iter().zip(trees) {
        let of = prepared
            .iter()
            .zip(&found)
            .find(|(of, _)| of.source.name == input.name);
        let profile = match (of, &profile_to) {
            (Some((of, found)), Some(to)) => Some(write_profile(&engine, of, found, to).await?),
            (_, _) => None,
        };
        checked.push(CheckedInput {
            name: input.name.clone(),
            tree,
            as_of,
            rows: of.map(|(_, found)| found.rows),
            profile,
        });
    }
    Ok(Report::Check(CheckReport {
        inputs: checked,
        rules: rules as u64,
    }))
}

/// The digest of an input and its time: files that are added while it is checked do not belong to it.
async fn digest(input: &mut Input) -> Result<(Tree, Option<Timestamp>), FailureReport> {
    let named = |problem: TreeError| {
        let mut failure = tree_failure(&problem);
        failure.message = format!("input '{}': {}", input.name, failure.message);
        failure
    };
    let now = input.address.clone().as_of_now().await;
    let (address, as_of) = now.map_err(|problem| named(problem.into()))?;
    let tree = tree::digest(&address).await.map_err(named)?;
    info!(
        input = input.name,
        digest = tree.digest,
        files = tree.files,
        bytes = tree.bytes,
        "read {}",
        tree.uri
    );
    input.address = address;
    Ok((tree, as_of))
}

/// Opens the inputs that have a format, and finds out what their columns are.
async fn prepare<'a>(
    engine: &Engine,
    inputs: &'a [Input],
    is_profiled: bool,
) -> Result<Vec<Prepared<'a>>, FailureReport> {
    let mut prepared = Vec::new();
    for (place, input) in inputs.iter().enumerate() {
        let Some(format) = input.format else {
            continue;
        };
        let is_compared = input
            .rules
            .iter()
            .any(|rule| matches!(rule.what, What::SameDistribution { .. }));
        let reference = match &input.reference {
            Some(uri) if is_compared => Some(profile::read(uri, None).await?),
            Some(_) | None => None,
        };
        let source =
            Source::open(&engine.parallel, &input.name, &input.address, format, place).await?;
        prepared.push(Prepared::new(input, source, reference));
    }
    let foreign: Vec<(String, String)> = prepared
        .iter()
        .flat_map(|of| of.rules)
        .filter_map(|rule| match &rule.what {
            What::In(other) => Some((other.input.clone(), other.column.clone())),
            _ => None,
        })
        .collect();
    for of in &mut prepared {
        let named: BTreeSet<String> = foreign
            .iter()
            .filter(|(input, _)| *input == of.source.name)
            .map(|(_, column)| column.clone())
            .collect();
        if let Err(problem) = of.find_kinds(engine, &named, is_profiled).await {
            let culprit = of.source.culprit(&engine.serial).await;
            return Err(culprit.unwrap_or_else(|| failed(of, &problem)));
        }
    }
    Ok(prepared)
}

/// What was found of each input, all of whose rules hold.
async fn check(engine: &Engine, prepared: &[Prepared<'_>]) -> Result<Vec<Found>, FailureReport> {
    let now = Timestamp::now();
    let mut all = Vec::new();
    for of in prepared {
        all.push(evaluate(engine, prepared, of, now).await?);
    }
    let mut broken = Vec::new();
    for (of, found) in prepared.iter().zip(&all) {
        for (rule, finding) in of.rules.iter().zip(&found.findings) {
            broken.extend(finding.clone().map(|finding| Broken {
                input: &of.source.name,
                rule,
                finding,
            }));
        }
    }
    if broken.is_empty() {
        return Ok(all);
    }
    for one in &broken {
        warn!("{}", one.sentence());
    }
    Err(failure_of(&broken))
}

async fn write_profile(
    engine: &Engine,
    of: &Prepared<'_>,
    found: &Found,
    to: &Address,
) -> Result<Tree, FailureReport> {
    let name = &of.source.name;
    let frame = || of.source.frame(&engine.serial);
    let made = profiles::profile(name, frame, &of.columns, found.rows).await;
    let profile = made.map_err(|problem| failed(of, &problem))?;
    let tree = write_json(&to.child(&format!("{name}.json")), &profile).await?;
    info!(
        input = name,
        columns = profile.columns.len(),
        "wrote the profile to {}",
        tree.uri
    );
    Ok(tree)
}
