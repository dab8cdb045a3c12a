//! Inputs: brought, digested and checked before the trainer starts.

use tracing::{info, warn};
use windlass_api::agent::{FailureReason, FailureReport, InputTree};

use crate::address::Address;
use crate::arguments::Pair;
use crate::cache::{Cache, Found, Kept};
use crate::report::{OrFail, chain, failure, tree_failure};
use crate::tree;

use super::work::Work;
use super::{Arguments, columns};

/// Says what makes no sense in the arguments about inputs and parameters.
pub(super) fn validate(arguments: &Arguments) -> Result<(), FailureReport> {
    let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
    let inputs = &arguments.inputs;
    inputs
        .validate(&arguments.formats)
        .map_err(|why| failure(FailureReason::InvalidArguments, why))?;
    let is_input = |name: &str| inputs.all.iter().any(|input| input.name == name);
    for Pair { name, value } in &arguments.required_columns {
        if !is_input(name) {
            return invalid(format!(
                "--require-column {name}={value} names an input that is not there"
            ));
        }
        if !arguments.formats.iter().any(|(format, _)| format == name) {
            return invalid(format!(
                "--require-column {name}={value} needs --input-format {name}=CSV, Parquet or JSON"
            ));
        }
    }
    for Pair { name, .. } in &arguments.parameters {
        if name.contains('\0') {
            return invalid("a parameter's name has no NUL".to_owned());
        }
    }
    Ok(())
}

/// Inputs that are where the trainer reads them.
pub(super) struct Prepared {
    /// As they were read.
    pub trees: Vec<InputTree>,
    /// What of them lies in the node's cache, and stays there while this is held.
    pub kept: Vec<Kept>,
}

/// Brings each input to its folder in the work folder and checks it.
pub(super) async fn prepare(arguments: &Arguments, work: &Work) -> Result<Prepared, FailureReport> {
    let (mut trees, mut kept) = (Vec::new(), Vec::new());
    for Pair { name, value } in &arguments.inputs.all {
        let address = Address::parse(value)
            .or_fail(FailureReason::InvalidArguments)?
            .as_of(arguments.inputs.as_of(name));
        let folder = work.input(name);
        let about = |mut report: FailureReport| {
            report.message = format!("input '{name}': {}", report.message);
            report
        };
        let tree = match address.local_path() {
            Some(local) => {
                let tree = tree::digest(&address)
                    .await
                    .map_err(|problem| about(tree_failure(&problem)))?;
                tree::link(&address, local, &folder)
                    .await
                    .map_err(|problem| about(tree_failure(&problem)))?;
                tree
            }
            None => match from_cache(arguments, name, &address).await {
                Some(here) => {
                    here.link(&folder)
                        .map_err(|problem| about(tree_failure(&problem)))?;
                    let tree = here.tree(value);
                    kept.push(here);
                    tree
                }
                None => tree::download(&address, &folder)
                    .await
                    .map_err(|problem| about(tree_failure(&problem)))?,
            },
        };
        info!(
            input = name,
            digest = tree.digest,
            files = tree.files,
            bytes = tree.bytes,
            "read {value}"
        );
        is_as_recorded(arguments, name, &tree.digest)?;
        if let Some((_, format)) = arguments.formats.iter().find(|(format, _)| format == name) {
            let required: Vec<&str> = arguments
                .required_columns
                .iter()
                .filter(|pair| pair.name == *name)
                .map(|pair| pair.value.as_str())
                .collect();
            columns::check(name, &folder, *format, &required).await?;
        }
        trees.push(InputTree {
            name: name.clone(),
            tree,
        });
    }
    Ok(Prepared { trees, kept })
}

/// What the node's cache has of an input. Whatever is wrong with the cache, there is the store.
async fn from_cache(arguments: &Arguments, name: &str, address: &Address) -> Option<Kept> {
    let cache = Cache::new(arguments.input_cache.as_ref()?);
    let digest = arguments.inputs.digest(name);
    let why = match cache.look_up(address, digest).await {
        Ok(Found::Whole(kept)) => {
            info!(input = name, "it is in the node's cache");
            return Some(kept);
        }
        Ok(Found::Absent) => "it is not there".to_owned(),
        Ok(Found::Damaged(why)) => why,
        Err(problem) => chain(&problem),
    };
    warn!(
        input = name,
        "it is fetched, and not read from the node's cache: {why}"
    );
    None
}

/// Data that was checked, and has changed since, is not trained on.
fn is_as_recorded(arguments: &Arguments, name: &str, found: &str) -> Result<(), FailureReport> {
    match arguments.inputs.digest(name) {
        Some(recorded) if recorded != found => Err(failure(
            FailureReason::DigestMismatch,
            format!(
                "input '{name}': its digest is {found}, and {recorded} when it was checked: it has changed since; make a new TrainingJob for the new data"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}
