//! The trainer's environment, and `$(NAME)` in its command line.

use std::collections::BTreeMap;

use windlass_api::agent::{FailureReason, FailureReport, environment};

use crate::arguments::Pair;
use crate::report::failure;

use super::Arguments;
use super::work::Work;
use crate::checkpoint::Restored;

/// All variables of the trainer: those of the agent itself and those that `WINDLASS_` begins.
/// Writes the file with all parameters.
pub(super) fn variables(
    arguments: &Arguments,
    work: &Work,
    restored: &Restored,
) -> Result<BTreeMap<String, String>, FailureReport> {
    let mut variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let parameters: BTreeMap<&str, &str> = arguments
        .parameters
        .iter()
        .map(|Pair { name, value }| (name.as_str(), value.as_str()))
        .collect();
    let file = serde_json::to_vec_pretty(&parameters).expect("texts are plain data");
    std::fs::write(work.parameters(), file).map_err(|problem| {
        let path = work.parameters();
        failure(
            FailureReason::Internal,
            format!("writing {} failed: {problem}", path.display()),
        )
    })?;
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let time =
        |time: &Option<jiff::Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    variables.extend([
        (environment::OUTPUT.to_owned(), text(work.output())),
        (environment::PROGRESS.to_owned(), text(work.progress())),
        (environment::PARAMETERS.to_owned(), text(work.parameters())),
        (
            environment::ATTEMPT.to_owned(),
            arguments.attempt.to_string(),
        ),
        (
            environment::WINDOW_START.to_owned(),
            time(&arguments.window_start),
        ),
        (
            environment::WINDOW_END.to_owned(),
            time(&arguments.window_end),
        ),
    ]);
    let resume_from = restored.entry.clone().map(text).unwrap_or_default();
    variables.extend([
        (environment::RESUME_FROM.to_owned(), resume_from),
        (environment::RANK.to_owned(), arguments.rank.to_string()),
        (
            environment::WORLD_SIZE.to_owned(),
            arguments.world_size.to_string(),
        ),
    ]);
    if arguments.checkpoint.is_some() {
        variables.insert(
            environment::CHECKPOINTS.to_owned(),
            text(work.checkpoints()),
        );
    }
    for input in &arguments.inputs.all {
        variables.insert(input_variable(&input.name), text(work.input(&input.name)));
    }
    for (name, value) in parameters {
        variables.insert(
            format!("{}{name}", environment::PARAMETER_PREFIX),
            value.to_owned(),
        );
    }
    Ok(variables)
}

/// `WINDLASS_INPUT_` and the name in upper case, with `_` for what is no letter or digit.
fn input_variable(name: &str) -> String {
    let upper = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    format!(
        "{}{}",
        environment::INPUT_PREFIX,
        name.chars().map(upper).collect::<String>()
    )
}

/// The text with each `$(NAME)` replaced by the variable of that name, as the kubelet does it: one that is not
/// there stays as it is written, and `$$(NAME)` is a literal `$(NAME)`.
pub(super) fn expanded(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(literal) = rest.strip_prefix("$$(") {
            out.push_str("$(");
            rest = literal;
            continue;
        }
        let name = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'));
        if let Some((value, after)) =
            name.and_then(|(name, after)| Some((variables.get(name)?, after)))
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_the_kubelet_does_it() {
        let variables = BTreeMap::from([
            ("A".to_owned(), "one".to_owned()),
            ("B.c".to_owned(), "$(A)".to_owned()),
            ("E".to_owned(), String::new()),
        ]);
        for (text, wanted) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "one"),
            ("--x=$(A)/$(A)", "--x=one/one"),
            ("$(B.c)", "$(A)"),
            ("$(E)|", "|"),
            ("$(NOPE) $(A)", "$(NOPE) one"),
            ("$$(A)", "$(A)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$$ é$(A)", "$$ éone"),
        ] {
            assert_eq!(expanded(text, &variables), wanted, "{text}");
        }
    }

    #[test]
    fn an_inputs_variable_is_its_name_in_upper_case() {
        assert_eq!(
            input_variable("raw-events.v2"),
            "WINDLASS_INPUT_RAW_EVENTS_V2"
        );
    }
}
