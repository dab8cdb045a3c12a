//! What the arguments ask for, resolved: inputs with their rules, and what makes no sense told before any data is read.

use std::collections::BTreeMap;

use windlass_api::agent::{FailureReason, FailureReport};

use super::Arguments;
use super::rules::{Rule, What, parse, rules_of};
use crate::address::Address;
use crate::arguments::{DataFormat, Pair, validate_inputs};
use crate::report::{OrFail, failure};

/// An input, and what has to hold of it.
pub(super) struct Input {
    /// Its name.
    pub name: String,
    /// Where it lies.
    pub address: Address,
    /// Its format; without one it is digested and no more.
    pub format: Option<DataFormat>,
    /// In the manifest's order.
    pub rules: Vec<Rule>,
    /// Address of the profile that it is compared with.
    pub reference: Option<String>,
}

/// The inputs in the order of the arguments, each with its rules.
///
/// # Errors
/// [`FailureReason::InvalidArguments`] with the argument and what is wrong with it.
pub(super) fn inputs_of(arguments: &Arguments) -> Result<Vec<Input>, FailureReport> {
    resolved(arguments).map_err(|problem| failure(FailureReason::InvalidArguments, problem))?
}

fn resolved(arguments: &Arguments) -> Result<Result<Vec<Input>, FailureReport>, String> {
    validate_inputs(&arguments.inputs, &arguments.formats)?;
    if arguments.inputs.is_empty() {
        return Err("there is nothing to check: --input NAME=URI names what there is".to_owned());
    }
    let mut formats: BTreeMap<&str, DataFormat> = BTreeMap::new();
    for (name, format) in &arguments.formats {
        if formats.insert(name, *format).is_some() {
            return Err(format!(
                "--input-format is there twice for the input '{name}'"
            ));
        }
    }
    let is_input = |name: &str| arguments.inputs.iter().any(|input| input.name == name);
    let mut references: BTreeMap<&str, &str> = BTreeMap::new();
    for Pair { name, value } in &arguments.references {
        if !is_input(name) {
            return Err(format!(
                "--reference {name}={value} names an input that is not there"
            ));
        }
        if references.insert(name, value).is_some() {
            return Err(format!("--reference is there twice for the input '{name}'"));
        }
    }
    let mut rules: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for Pair { name, value } in &arguments.checks {
        let number = numbers.entry(name).or_default();
        *number += 1;
        let about = |problem: String| format!("check {number} of input '{name}': {problem}");
        if !is_input(name) {
            return Err(about("there is no --input of this name".to_owned()));
        }
        if !formats.contains_key(name.as_str()) {
            return Err(about(format!(
                "it needs --input-format {name}=CSV, Parquet or JSON"
            )));
        }
        let parsed = parse(value)
            .and_then(|check| rules_of(&check))
            .map_err(about)?;
        for other in parsed.iter().filter_map(|rule| match &rule.what {
            What::In(other) => Some(&other.input),
            _ => None,
        }) {
            if !is_input(other) {
                return Err(about(format!(".in.input: there is no --input '{other}'")));
            }
            if !formats.contains_key(other.as_str()) {
                return Err(about(format!(
                    ".in.input: '{other}' needs --input-format {other}=CSV, Parquet or JSON"
                )));
            }
        }
        rules.entry(name).or_default().extend(parsed);
    }
    let input = |Pair { name, value }: &Pair| {
        Ok(Input {
            name: name.clone(),
            address: Address::parse(value).or_fail(FailureReason::InvalidArguments)?,
            format: formats.get(name.as_str()).copied(),
            rules: rules.remove(name.as_str()).unwrap_or_default(),
            reference: references.get(name.as_str()).map(|uri| (*uri).to_owned()),
        })
    };
    Ok(arguments.inputs.iter().map(input).collect())
}
