//! `windlass-agent audit verify`: whether the records of decisions on versions are all there, and as they were written.
//!
//! ```text
//!   {"audit": {…, "decision": {"sequence": 2, "previous": <digest of 1>, "digest": <over this one>, …}}}
//! ```
//!
//! The operator writes such a line for every decision, among its other lines, which are passed over. It may write one
//! twice, the same to the letter. Each version has a chain of its own.
//!
//! What this cannot find: that the last records of a chain are missing. Compare the last digest with that in the
//! version's `status.decisions`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use windlass_api::AuditLine;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;

/// Problems that are named; the others are counted.
const NAMED: usize = 20;

/// Arguments of `windlass-agent audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says whether records were changed, left out or put in another order.
    Verify {
        /// The operator's log, such as `kubectl logs` gives it; `-` is standard input.
        file: PathBuf,
        /// The file begins in the midst: chains may lack their first records.
        #[arg(long)]
        partial: bool,
    },
}

/// Runs it.
///
/// # Errors
/// [`FailureReason::DigestMismatch`] with each line that is wrong; [`FailureReason::InputNotFound`] for a file that
/// cannot be read.
pub fn run(arguments: &Arguments) -> Result<(), FailureReport> {
    let Command::Verify { file, partial } = &arguments.command;
    let unreadable = |problem: std::io::Error| {
        let message = format!("{}: {problem}", file.display());
        failure(FailureReason::InputNotFound, message)
    };
    let lines: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).map_err(unreadable)?))
    };
    let mut chains = Chains::new(*partial);
    for (at, line) in lines.split(b'\n').enumerate() {
        chains.take(at + 1, &line.map_err(unreadable)?);
    }
    match chains.conclude() {
        Ok(said) => {
            println!("{said}");
            Ok(())
        }
        Err(problems) => {
            problems
                .iter()
                .take(NAMED)
                .for_each(|one| println!("{one}"));
            let message = match problems.len() {
                count if count > NAMED => format!(
                    "{count} records are not as they were written; the first {NAMED} were named"
                ),
                count => format!("{count} records are not as they were written"),
            };
            Err(failure(FailureReason::DigestMismatch, message))
        }
    }
}

/// A line of the log that is of interest.
#[derive(Deserialize)]
struct Marked {
    audit: AuditLine,
}

/// Whether a line wants to be a record, be it one that can be read or not.
#[derive(Deserialize)]
struct Mark {
    audit: Option<serde::de::IgnoredAny>,
}

/// What was read of a version.
struct Chain {
    name: String,
    /// The number of the first record.
    first: i64,
    /// The digests from there on.
    digests: Vec<String>,
}

/// The chains of all versions, by their uids.
struct Chains {
    partial: bool,
    all: BTreeMap<String, Chain>,
    repeated: usize,
    problems: Vec<String>,
}

impl Chains {
    fn new(partial: bool) -> Self {
        Self {
            partial,
            all: BTreeMap::new(),
            repeated: 0,
            problems: Vec::new(),
        }
    }

    /// Takes a line of the log.
    fn take(&mut self, number: usize, line: &[u8]) {
        match serde_json::from_slice::<Mark>(line) {
            Ok(Mark { audit: Some(_) }) => {}
            // Not a record.
            Ok(_) | Err(_) => return,
        }
        match serde_json::from_slice::<Marked>(line) {
            Ok(Marked { audit }) => {
                if let Some(problem) = self.follow(&audit) {
                    let AuditLine {
                        namespace,
                        name,
                        decision,
                        ..
                    } = &audit;
                    let record = format!("{namespace}/{name}, record {}", decision.sequence);
                    self.problems
                        .push(format!("line {number}: {record}: {problem}"));
                }
            }
            Err(problem) => self.problems.push(format!(
                "line {number}: a record that cannot be read: {problem}"
            )),
        }
    }

    /// Puts a record where it belongs; what is wrong with it.
    fn follow(&mut self, line: &AuditLine) -> Option<String> {
        let decision = &line.decision;
        let computed = line.digest();
        if computed != decision.digest {
            return Some(format!(
                "it was changed: it says that its digest is {}, and what it says has {computed}",
                decision.digest
            ));
        }
        let Some(chain) = self.all.get_mut(&line.uid) else {
            self.all.insert(
                line.uid.clone(),
                Chain {
                    name: format!("{}/{}", line.namespace, line.name),
                    first: decision.sequence,
                    digests: vec![decision.digest.clone()],
                },
            );
            let is_first = decision.sequence == 1 && decision.previous.is_none();
            return (!is_first && !self.partial).then(|| {
                "it is the first that is there: those before it are missing, or come later"
                    .to_owned()
            });
        };
        let place = decision.sequence - chain.first;
        let known = usize::try_from(place)
            .ok()
            .and_then(|at| chain.digests.get(at));
        match known {
            Some(known) if *known == decision.digest => {
                self.repeated += 1;
                return None;
            }
            Some(known) => {
                return Some(format!(
                    "another record of this number was there before, {known}"
                ));
            }
            None => {}
        }
        if place < 0 {
            return Some("it comes after records that follow it".to_owned());
        }
        let (last, missing) = (
            chain.digests.last(),
            usize::try_from(place).unwrap_or(0) - chain.digests.len(),
        );
        if missing > 0 {
            let problem = format!("{missing} records before it are missing, or come later");
            // What follows is held against this one.
            chain.first = decision.sequence;
            chain.digests = vec![decision.digest.clone()];
            return Some(problem);
        }
        if decision.previous.as_ref() != last {
            return Some(format!(
                "it follows {}, and the record before it is {}",
                decision.previous.as_deref().unwrap_or("nothing"),
                last.map_or("nothing", String::as_str)
            ));
        }
        chain.digests.push(decision.digest.clone());
        None
    }

    /// What is to be said of it all.
    fn conclude(self) -> Result<String, Vec<String>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let records: usize = self.all.values().map(|chain| chain.digests.len()).sum();
        let mut said = vec![format!(
            "{records} records of {} versions are as they were written ({} lines were there twice)",
            self.all.len(),
            self.repeated
        )];
        said.extend(self.all.values().map(|chain| {
            let last = chain.first + i64::try_from(chain.digests.len()).unwrap_or(0) - 1;
            let digest = chain.digests.last().map_or("", String::as_str);
            format!(
                "{}: records {} to {last}, the last is {digest}",
                chain.name, chain.first
            )
        }));
        Ok(said.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use windlass_api::{Action, Decision};

    use super::*;

    /// The lines of a version with so many records.
    fn chain(name: &str, records: i64) -> Vec<String> {
        let mut previous = None;
        (1..=records)
            .map(|sequence| {
                let mut line = AuditLine {
                    namespace: "growth".to_owned(),
                    name: name.to_owned(),
                    uid: format!("uid of {name}"),
                    decision: Decision {
                        sequence,
                        action: Action::Promoted,
                        time: format!("2026-11-01T00:00:{sequence:02}Z")
                            .parse()
                            .expect("a time"),
                        actor: "windlass".to_owned(),
                        deployment: None,
                        reason: "all is well".to_owned(),
                        evidence: None,
                        previous: previous.take(),
                        digest: String::new(),
                    },
                };
                line.decision.digest = line.digest();
                previous = Some(line.decision.digest.clone());
                serde_json::json!({"audit": line}).to_string()
            })
            .collect()
    }

    fn verify(lines: &[String], partial: bool) -> Result<String, String> {
        let mut chains = Chains::new(partial);
        for (at, line) in lines.iter().enumerate() {
            chains.take(at + 1, line.as_bytes());
        }
        chains.conclude().map_err(|problems| problems.join("\n"))
    }

    #[test]
    fn what_was_written_is_whole_also_among_other_lines_and_twice() {
        let (one, two) = (chain("churn-1", 3), chain("churn-2", 2));
        let other = |text: &str| text.to_owned();
        let lines = [
            other("I am no JSON"),
            one[0].clone(),
            two[0].clone(),
            other("{\"level\": \"INFO\", \"audit\": null}"),
            one[1].clone(),
            one[0].clone(),
            one[1].clone(),
            one[2].clone(),
            two[1].clone(),
        ];
        let said = verify(&lines, false).expect("whole");
        assert!(said.starts_with("5 records of 2 versions"), "{said}");
        assert!(said.contains("(2 lines were there twice)"), "{said}");
        assert!(said.contains("growth/churn-1: records 1 to 3"), "{said}");
    }

    #[test]
    fn a_change_a_gap_and_another_order_are_found_and_named() {
        let whole = chain("churn-1", 4);
        let changed = |at: usize, from: &str, to: &str| {
            let mut lines = whole.clone();
            lines[at] = lines[at].replace(from, to);
            assert_ne!(lines, whole);
            lines
        };
        let without = |at: usize| {
            let mut lines = whole.clone();
            lines.remove(at);
            lines
        };
        let swapped = |one: usize, two: usize| {
            let mut lines = whole.clone();
            lines.swap(one, two);
            lines
        };
        // A record that was made anew, and whose digest is right.
        let mut forged = whole.clone();
        let mut line: Marked = serde_json::from_str(&forged[1]).expect("a record");
        line.audit.decision.actor = "mallory".to_owned();
        line.audit.decision.digest = line.audit.digest();
        forged[1] = serde_json::json!({"audit": line.audit}).to_string();
        for (what, lines, said) in [
            (
                "a reason",
                changed(1, "all is well", "all is good"),
                "line 2: growth/churn-1, record 2: it was changed",
            ),
            (
                "an actor",
                changed(0, "\"windlass\"", "\"ann\""),
                "line 1: growth/churn-1, record 1: it was changed",
            ),
            ("a name", changed(2, "churn-1", "churn-9"), "line 3"),
            (
                "a number",
                changed(3, "\"sequence\":4", "\"sequence\":5"),
                "it was changed",
            ),
            (
                "a field too few",
                changed(3, "\"actor\":\"windlass\",", ""),
                "line 4: a record that cannot be read",
            ),
            (
                "the first is missing",
                without(0),
                "line 1: growth/churn-1, record 2: it is the first that is there",
            ),
            (
                "one is missing",
                without(1),
                "line 2: growth/churn-1, record 3: 1 records before it are missing",
            ),
            (
                "another order",
                swapped(1, 2),
                "line 2: growth/churn-1, record 3: 1 records before it are missing",
            ),
            (
                "the first comes last",
                swapped(0, 3),
                "record 4: it is the first that is there",
            ),
            (
                "one made anew",
                forged,
                "line 3: growth/churn-1, record 3: it follows",
            ),
        ] {
            let found = verify(&lines, false).expect_err(what);
            assert!(found.contains(said), "{what}: {found}");
        }
    }

    #[test]
    fn a_file_that_begins_in_the_midst_is_taken_where_that_is_said() {
        let lines = chain("churn-1", 4).split_off(2);
        assert!(verify(&lines, false).is_err());
        let said = verify(&lines, true).expect("whole");
        assert!(said.contains("records 3 to 4"), "{said}");
        assert!(verify(&[lines[1].clone(), lines[0].clone()], true).is_err());
    }
}
