//! Inputs: brought, digested and checked before the trainer starts.

use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport, InputTree};

use crate::address::Address;
use crate::arguments::{Pair, validate_inputs};
use crate::report::{OrFail, failure, tree_failure};
use crate::tree;

use super::work::Work;
use super::{Arguments, columns};

/// Says what makes no sense in the arguments about inputs and parameters.
pub(super) fn validate(arguments: &Arguments) -> Result<(), FailureReport> {
    let invalid = |message: String| Err(failure(FailureReason::InvalidArguments, message));
    validate_inputs(&arguments.inputs, &arguments.formats)
        .map_err(|why| failure(FailureReason::InvalidArguments, why))?;
    let is_input = |name: &str| arguments.inputs.iter().any(|input| input.name == name);
    let digests = arguments.digests.iter();
    let named = digests.map(|digest| ("--input-digest", &digest.name));
    let times = arguments.as_of.iter();
    let mut named = named.chain(times.map(|(name, _)| ("--input-as-of", name)));
    if let Some((option, name)) = named.find(|(_, name)| !is_input(name)) {
        return invalid(format!(
            "{option} names the input '{name}', which is not there"
        ));
    }
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

/// Brings each input to its folder in the work folder and checks it.
pub(super) async fn prepare(
    arguments: &Arguments,
    work: &Work,
) -> Result<Vec<InputTree>, FailureReport> {
    let mut inputs = Vec::new();
    for Pair { name, value } in &arguments.inputs {
        let as_of = arguments.as_of.iter().find(|(of, _)| of == name);
        let address = Address::parse(value)
            .or_fail(FailureReason::InvalidArguments)?
            .as_of(as_of.map(|(_, time)| *time));
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
            None => tree::download(&address, &folder)
                .await
                .map_err(|problem| about(tree_failure(&problem)))?,
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
        inputs.push(InputTree {
            name: name.clone(),
            tree,
        });
    }
    Ok(inputs)
}

/// Data that was checked, and has changed since, is not trained on.
fn is_as_recorded(arguments: &Arguments, name: &str, found: &str) -> Result<(), FailureReport> {
    let recorded = arguments.digests.iter().find(|digest| digest.name == *name);
    match recorded {
        Some(recorded) if recorded.value != found => Err(failure(
            FailureReason::DigestMismatch,
            format!(
                "input '{name}': its digest is {found}, and {} when it was checked: it has changed since; make a new TrainingJob for the new data",
                recorded.value
            ),
        )),
        Some(_) | None => Ok(()),
    }
}
