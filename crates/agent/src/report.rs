//! The agent's last word: a [`Report`] in the container's termination message.
//!
//! The kubelet cuts a message at [`MAX_REPORT_BYTES`](windlass_api::agent::MAX_REPORT_BYTES), or sooner in a pod of many containers; a cut JSON document is no document. So a report is
//! shrunk until it fits: first the log's tail, then messages, then lists from their end, and what is left
//! is always valid.

use std::error::Error;
use std::io;
use std::path::Path;

use object_store::client::HttpError;

use crate::address::AddressError;
use crate::tree::TreeError;
use windlass_api::agent::{
    CheckReport, EXIT_FOR_GOOD, FailureReason, FailureReport, Report, Resumed,
};

/// Where the kubelet looks for a container's last word.
pub const TERMINATION_MESSAGE: &str = "/dev/termination-log";

/// How many bytes of the trainer's output a report holds.
pub const MAX_LOG_TAIL_BYTES: usize = 1500;

/// How many bytes a message of a report holds.
const MAX_MESSAGE_BYTES: usize = 1000;

/// A failure for the person who reads the condition.
pub fn failure(reason: FailureReason, message: impl Into<String>) -> FailureReport {
    FailureReport {
        reason,
        message: message.into(),
        exit_code: None,
        log_tail: String::new(),
        resumed: None,
    }
}

/// An error and what caused it, on one line: `reading s3://b/k failed: timed out`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    // What a server answers may have lines of its own.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Turns an error into a [`FailureReport`] of a reason.
pub trait OrFail<T> {
    /// The failure's message is the error with its causes.
    fn or_fail(self, reason: FailureReason) -> Result<T, FailureReport>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_fail(self, reason: FailureReason) -> Result<T, FailureReport> {
        self.map_err(|error| failure(reason, chain(&error)))
    }
}

/// What a problem with an input's files is for the person who reads the condition.
pub fn tree_failure(problem: &TreeError) -> FailureReport {
    let reason = match problem {
        TreeError::Address(AddressError::Invalid { .. }) => FailureReason::InvalidArguments,
        TreeError::Address(problem) if is_passing(problem) => FailureReason::InputUnreachable,
        TreeError::Address(
            AddressError::NotFound { .. }
            | AddressError::Access { .. }
            | AddressError::Store { .. },
        ) => FailureReason::InputNotFound,
        TreeError::File {
            doing: "reading", ..
        }
        | TreeError::Name { .. } => FailureReason::InputUnreadable,
        TreeError::File { .. } => FailureReason::Internal,
        TreeError::Occupied { .. } | TreeError::NoFolder { .. } => FailureReason::OutputNotWritten,
    };
    failure(reason, chain(problem))
}

/// Whether a store was not reached, or did not answer as it should: asked again, it may.
pub fn is_passing(problem: &AddressError) -> bool {
    matches!(problem, AddressError::Access { source, .. } if may_pass(source))
}

/// Whether a store may answer otherwise if it is asked again: it was not reached, or its answer was an error of its own.
fn may_pass(source: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(source);
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    // What holds the status of an answer is private to object_store; its words are not.
    let text = source.to_string();
    ["status code: 5", "status code: 429"]
        .iter()
        .any(|status| text.contains(status))
}

/// The report, shrunk so that its JSON holds at most `bytes`.
pub fn fit(mut report: Report, bytes: usize) -> Report {
    while json(&report).len() > bytes {
        if !shrink(&mut report) {
            return Report::Failure(failure(
                FailureReason::Internal,
                "the report does not fit into a termination message",
            ));
        }
    }
    report
}

/// Takes one thing off a report; false when there is nothing more to take.
fn shrink(report: &mut Report) -> bool {
    match report {
        Report::Failure(failure) => {
            cut_skipped(&mut failure.resumed)
                || cut_front(&mut failure.log_tail, MAX_LOG_TAIL_BYTES, 200)
                || cut(&mut failure.message)
                || failure.resumed.take().is_some()
        }
        Report::Training(training) => {
            cut_skipped(&mut training.resumed)
                || training.metrics.pop_last().is_some()
                || training.environment.pop_last().is_some()
                || training.inputs.pop().is_some()
                || training.resumed.take().is_some()
        }
        Report::Evaluation(evaluation) => {
            evaluation.metrics.pop().is_some() || cut(&mut evaluation.message)
        }
        Report::Drift(drift) => drift.top.pop().is_some() || cut(&mut drift.message),
        Report::Check(check) => shrink_check(check),
        Report::Delete(delete) => delete.deleted.pop().is_some(),
        Report::Fetch(_) | Report::Labels(_) | Report::Publish(_) => false,
    }
}

/// Takes off what the operator knows itself, then what is of use and no more. An input's digest stays: without it, other data
/// could be trained on than was checked.
fn shrink_check(check: &mut CheckReport) -> bool {
    let longest = check
        .inputs
        .iter_mut()
        .max_by_key(|input| input.tree.uri.len());
    if let Some(input) = longest.filter(|input| !input.tree.uri.is_empty()) {
        input.tree.uri.clear();
        return true;
    }
    let mut inputs = check.inputs.iter_mut().rev();
    inputs.any(|input| input.profile.take().is_some())
}

/// Takes off the oldest checkpoint that was passed over; the log has them all.
fn cut_skipped(resumed: &mut Option<Resumed>) -> bool {
    let skipped = resumed.as_mut().map(|resumed| &mut resumed.skipped);
    skipped.is_some_and(|skipped| skipped.pop().is_some())
}

/// Cuts a message to what is allowed, then by halves; false when it is short already.
fn cut(message: &mut String) -> bool {
    const ELLIPSIS: char = '…';
    if message.len() <= 100 {
        return false;
    }
    // Each cut makes it shorter, its ellipsis counted: the caller goes on until it fits.
    let most = MAX_MESSAGE_BYTES - ELLIPSIS.len_utf8();
    let keep = if message.len() > MAX_MESSAGE_BYTES {
        most
    } else {
        message.len() / 2
    };
    message.truncate(message.floor_char_boundary(keep));
    message.push(ELLIPSIS);
    true
}

/// Cuts a log's tail from its front.
fn cut_front(log: &mut String, most: usize, step: usize) -> bool {
    if log.is_empty() {
        return false;
    }
    let keep = if log.len() > most {
        most
    } else {
        log.len().saturating_sub(step)
    };
    let from = log.ceil_char_boundary(log.len() - keep);
    log.drain(..from);
    true
}

/// Writes a report: to `path`, or to the kubelet's own place, or to standard output where there is neither.
///
/// # Errors
/// When the file is there but cannot be written.
pub fn write(report: &Report, path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(path) => std::fs::write(path, json(report)),
        None if Path::new(TERMINATION_MESSAGE).exists() => {
            std::fs::write(TERMINATION_MESSAGE, json(report))
        }
        None => {
            let text = serde_json::to_string_pretty(report).expect("a report is plain data");
            println!("{text}");
            Ok(())
        }
    }
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report is plain data")
}

/// The exit code that goes with a report: 0 for a good one, the trainer's own for a failed trainer.
pub fn exit_code(report: &Report) -> u8 {
    match report {
        Report::Training(_)
        | Report::Evaluation(_)
        | Report::Drift(_)
        | Report::Fetch(_)
        | Report::Check(_)
        | Report::Delete(_)
        | Report::Labels(_)
        | Report::Publish(_) => 0,
        Report::Failure(failure) => match (failure.reason, failure.exit_code) {
            (FailureReason::InvalidArguments, _) => EXIT_FOR_GOOD[0],
            (
                FailureReason::CheckFailed
                | FailureReason::ColumnNotFound
                | FailureReason::InputUnreadable
                | FailureReason::DigestMismatch
                | FailureReason::SignatureInvalid
                | FailureReason::ReferenceUnreadable
                | FailureReason::TrackingRefused,
                _,
            ) => EXIT_FOR_GOOD[1],
            (FailureReason::InputNotFound, _) => EXIT_FOR_GOOD[2],
            (FailureReason::TrainerFailed, Some(code)) => u8::try_from(code)
                .ok()
                .filter(|code| *code != 0)
                .unwrap_or(1),
            _ => 1,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use object_store::client::HttpErrorKind;
    use windlass_api::agent::{
        CheckReport, CheckedInput, EvaluationReport, MAX_REPORT_BYTES, MetricResult,
        TrainingReport, Tree, Verdict,
    };

    use super::*;

    fn fitted(report: Report) -> Report {
        // As in the pod that has the most containers: a validation beside the champion, and two that a mesh adds.
        let short = fit(report.clone(), 1755);
        assert!(json(&short).len() <= 1755, "{} bytes", json(&short).len());
        let report = fit(report, MAX_REPORT_BYTES);
        assert!(
            json(&report).len() <= MAX_REPORT_BYTES,
            "{} bytes",
            json(&report).len()
        );
        report
    }

    #[test]
    fn a_store_that_is_not_reached_is_no_missing_input() {
        let reason = |source: object_store::Error| {
            let problem = AddressError::Access {
                doing: "listing",
                uri: "s3://bucket/data/".to_owned(),
                source,
            };
            tree_failure(&TreeError::Address(problem)).reason
        };
        let generic = |source| object_store::Error::Generic {
            store: "S3",
            source,
        };
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let refused = HttpError::new(HttpErrorKind::Connect, refused);
        assert_eq!(
            reason(generic(Box::new(refused))),
            FailureReason::InputUnreachable
        );
        let answered = |status: &str| {
            let text = format!("Server returned non-2xx status code: {status}: <Error/>");
            reason(generic(text.into()))
        };
        for status in ["503 Service Unavailable", "429 Too Many Requests"] {
            assert_eq!(answered(status), FailureReason::InputUnreachable);
        }
        for status in ["404 Not Found", "400 Bad Request"] {
            assert_eq!(answered(status), FailureReason::InputNotFound);
        }
    }

    #[test]
    fn a_long_log_loses_its_beginning_and_the_message_stays() {
        let mut long = failure(
            FailureReason::TrainerFailed,
            "the trainer ended with exit code 1",
        );
        long.log_tail = format!("{}the last line", "žluťoučký kůň\n".repeat(1000));
        let Report::Failure(short) = fitted(Report::Failure(long)) else {
            panic!("still a failure")
        };
        assert_eq!(short.message, "the trainer ended with exit code 1");
        assert!(short.log_tail.ends_with("the last line"));
        assert!(short.log_tail.len() > 1000);
    }

    #[test]
    fn a_message_of_any_length_fits() {
        for length in [0, 100, 4000, 5000, 100_000] {
            fitted(Report::Failure(failure(
                FailureReason::Internal,
                "\u{1}\"ü".repeat(length),
            )));
        }
    }

    #[test]
    fn checkpoints_that_were_passed_over_go_before_the_log_and_the_one_that_was_used_stays() {
        let mut failed = failure(FailureReason::TrainerFailed, "the trainer failed");
        failed.log_tail = "x".repeat(1500);
        failed.resumed = Some(Resumed {
            from: Some("000002/000004-step-300".to_owned()),
            skipped: vec!["why".repeat(400); 3],
        });
        let Report::Failure(short) = fitted(Report::Failure(failed.clone())) else {
            panic!("still a failure")
        };
        assert_eq!(short.log_tail.len(), 1500);
        let resumed = short.resumed.expect("it stays");
        assert_eq!(resumed.from.as_deref(), Some("000002/000004-step-300"));
        assert_eq!(resumed.skipped.len(), 2);
        // A name of the greatest length, of characters that JSON writes in six.
        failed.resumed = Some(Resumed {
            from: Some("\u{1}".repeat(255)),
            skipped: vec!["\u{1}".repeat(600); 3],
        });
        fitted(Report::Failure(failed.clone()));
        fitted(Report::Training(TrainingReport {
            inputs: Vec::new(),
            output: None,
            metrics: BTreeMap::new(),
            resumed: failed.resumed,
            environment: BTreeMap::new(),
        }));
    }

    #[test]
    fn an_evaluation_keeps_its_first_metrics() {
        let metric = |index| MetricResult {
            name: format!("metric{index}"),
            segment: Some("origin = 'JFK'".to_owned()),
            rows: 1,
            value: None,
            interval: None,
            champion: None,
            verdict: None,
        };
        let report = fitted(Report::Evaluation(EvaluationReport {
            verdict: Verdict::Pass,
            message: "good".to_owned(),
            rows: 1,
            metrics: (0..1000).map(metric).collect(),
            champion: None,
            report: None,
            baseline: None,
        }));
        let Report::Evaluation(evaluation) = report else {
            panic!("still an evaluation")
        };
        assert_eq!(evaluation.metrics[0].name, "metric0");
        assert!(evaluation.metrics.len() > 20);
    }

    #[test]
    fn a_check_of_many_inputs_stays_whole() {
        let tree = |place| Tree {
            uri: format!(
                "s3://a-bucket-with-a-long-name/{place}/{}",
                "folder/".repeat(20)
            ),
            digest: format!("sha256:{}", "0".repeat(64)),
            files: 1,
            bytes: 1,
        };
        let input = |place| CheckedInput {
            name: format!("input-{place}"),
            tree: tree(place),
            as_of: None,
            rows: Some(1),
            profile: Some(tree(place)),
        };
        let report = fitted(Report::Check(CheckReport {
            inputs: (0..16).map(input).collect(),
            rules: 40,
        }));
        let Report::Check(check) = report else {
            panic!("still a check")
        };
        let digests: Vec<(&str, usize)> = check
            .inputs
            .iter()
            .map(|input| (&*input.name, input.tree.digest.len()))
            .collect();
        assert_eq!(digests.len(), 16);
        assert_eq!(digests[15], ("input-15", 71));
        assert!(
            check.inputs[0].profile.is_some(),
            "as many as there is room for"
        );
    }

    #[test]
    fn a_report_that_fits_stays_as_it_is() {
        let metrics = BTreeMap::from([("loss".to_owned(), 0.5)]);
        let report = Report::Training(TrainingReport {
            inputs: Vec::new(),
            output: None,
            metrics,
            resumed: None,
            environment: BTreeMap::new(),
        });
        assert_eq!(fit(report.clone(), MAX_REPORT_BYTES), report);
    }

    #[test]
    fn the_exit_code_is_the_trainers_own() {
        let mut failed = failure(FailureReason::TrainerFailed, "");
        failed.exit_code = Some(137);
        assert_eq!(exit_code(&Report::Failure(failed)), 137);
        assert_eq!(
            exit_code(&Report::Failure(failure(
                FailureReason::InvalidArguments,
                ""
            ))),
            64
        );
        assert_eq!(
            exit_code(&Report::Failure(failure(FailureReason::OutputMissing, ""))),
            1
        );
    }
}
