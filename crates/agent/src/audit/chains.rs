//! The chains of records, a version's each: what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;
use windlass_api::{AuditLine, ModelVersion};

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

/// The records of a file.
pub struct Log {
    file: String,
    /// Each with the number of its line; what does not read as one, with why.
    records: Vec<(usize, Result<AuditLine, String>)>,
}

impl Log {
    pub const fn new(file: String) -> Self {
        let records = Vec::new();
        Self { file, records }
    }

    /// Takes a line of the log.
    pub fn take(&mut self, number: usize, line: &[u8]) {
        match serde_json::from_slice::<Mark>(line) {
            Ok(Mark { audit: Some(_) }) => {}
            // Not a record.
            Ok(_) | Err(_) => return,
        }
        let record = serde_json::from_slice::<Marked>(line);
        let record = record.map(|marked| marked.audit);
        self.records
            .push((number, record.map_err(|problem| problem.to_string())));
    }

    /// The times of its last and its first decision.
    pub fn span(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let times = || {
            let records = self.records.iter();
            records.filter_map(|(_, record)| record.as_ref().ok().map(|line| line.decision.time))
        };
        (times().max(), times().min())
    }
}

/// What was read of a version.
struct Chain {
    name: String,
    /// The number of the first record.
    first: i64,
    /// The digests from there on.
    digests: Vec<String>,
}

impl Chain {
    /// The number of the last record.
    fn last(&self) -> i64 {
        self.first + i64::try_from(self.digests.len()).unwrap_or(0) - 1
    }

    fn digest_of(&self, sequence: i64) -> Option<&String> {
        let at = usize::try_from(sequence - self.first).ok()?;
        self.digests.get(at)
    }
}

/// The chains of all versions, by their uids.
pub struct Chains {
    partial: bool,
    all: BTreeMap<String, Chain>,
    repeated: usize,
    /// When the first decision of all was made.
    earliest: Option<Timestamp>,
    /// The versions that were there to compare with.
    compared: BTreeSet<String>,
    problems: Vec<String>,
}

fn named(line: &AuditLine) -> String {
    let AuditLine {
        namespace,
        name,
        decision,
        ..
    } = line;
    format!("{namespace}/{name}, record {}", decision.sequence)
}

impl Chains {
    pub fn new(partial: bool) -> Self {
        Self {
            partial,
            all: BTreeMap::new(),
            repeated: 0,
            earliest: None,
            compared: BTreeSet::new(),
            problems: Vec::new(),
        }
    }

    /// Takes the records of a file.
    pub fn take_all(&mut self, log: Log) {
        for (number, record) in log.records {
            let place = format!("{}, line {number}", log.file);
            match record {
                Ok(line) => {
                    let earliest = self.earliest.get_or_insert(line.decision.time);
                    *earliest = line.decision.time.min(*earliest);
                    if let Some(problem) = self.follow(&line) {
                        let record = named(&line);
                        self.problems.push(format!("{place}: {record}: {problem}"));
                    }
                }
                Err(problem) => self
                    .problems
                    .push(format!("{place}: a record that cannot be read: {problem}")),
            }
        }
    }

    /// Holds the chains against what a version's status has.
    pub fn compare(&mut self, version: &ModelVersion) {
        let uid = version.uid().unwrap_or_default();
        let decisions = version
            .status
            .as_ref()
            .map_or(&[][..], |status| &status.decisions);
        // Its status has the newest records alone.
        let mut recorded = Self::new(true);
        for decision in decisions {
            let line = AuditLine {
                namespace: version.namespace().unwrap_or_default(),
                name: version.name_any(),
                uid: uid.clone(),
                decision: decision.clone(),
            };
            if let Some(problem) = recorded.follow(&line) {
                let record = named(&line);
                self.problems
                    .push(format!("status.decisions: {record}: {problem}"));
            }
        }
        self.compared.insert(uid.clone());
        let name = format!(
            "{}/{}",
            version.namespace().unwrap_or_default(),
            version.name_any()
        );
        let problem = match (self.all.get(&uid), decisions.last()) {
            (None, None) => return,
            (None, Some(last)) => {
                let is_before = self.earliest.is_none_or(|earliest| last.time < earliest);
                if self.partial && is_before {
                    return;
                }
                format!(
                    "its status has records up to number {}, and the log none",
                    last.sequence
                )
            }
            (Some(chain), None) => format!(
                "the log has records up to number {}, and its status none",
                chain.last()
            ),
            (Some(chain), Some(last)) => match chain.digest_of(last.sequence) {
                Some(digest) if *digest != last.digest => format!(
                    "record {} is {} in its status, and {digest} in the log",
                    last.sequence, last.digest
                ),
                Some(_) if chain.last() > last.sequence => format!(
                    "its status ends with record {}, and the log with {}: was the log taken after the versions?",
                    last.sequence,
                    chain.last()
                ),
                Some(_) => return,
                None => format!(
                    "its status ends with record {}, and the log with {}",
                    last.sequence,
                    chain.last()
                ),
            },
        };
        self.problems.push(format!("{name}: {problem}"));
    }

    /// Whether there was no record at all.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.problems.is_empty()
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
        match chain.digest_of(decision.sequence) {
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
    pub fn conclude(self) -> Result<String, Vec<String>> {
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let records: usize = self.all.values().map(|chain| chain.digests.len()).sum();
        let mut said = vec![format!(
            "{records} records of {} versions are as they were written ({} lines were there twice)",
            self.all.len(),
            self.repeated
        )];
        said.extend(self.all.iter().map(|(uid, chain)| {
            let digest = chain.digests.last().map_or("", String::as_str);
            let is_gone = !self.compared.is_empty() && !self.compared.contains(uid);
            format!(
                "{}: records {} to {}, the last is {digest}{}",
                chain.name,
                chain.first,
                chain.last(),
                if is_gone {
                    "; the version is no longer there"
                } else {
                    ""
                }
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

    fn log(lines: &[String]) -> Log {
        let mut log = Log::new("a.log".to_owned());
        for (at, line) in lines.iter().enumerate() {
            log.take(at + 1, line.as_bytes());
        }
        log
    }

    fn verify(lines: &[String], partial: bool) -> Result<String, String> {
        let mut chains = Chains::new(partial);
        chains.take_all(log(lines));
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

    /// The version whose status has the records of these lines.
    fn version(name: &str, lines: &[String]) -> ModelVersion {
        let decisions = lines.iter().map(|line| {
            let line: Marked = serde_json::from_str(line).expect("a record");
            line.audit.decision
        });
        let artifact = serde_json::json!({"uri": "pvc://data/m", "format": "ONNX"});
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "growth", "name": name, "uid": format!("uid of {name}")},
            "spec": {"model": "churn", "version": 1, "artifact": artifact},
            "status": {"decisions": decisions.collect::<Vec<_>>()},
        }))
        .expect("a version")
    }

    #[test]
    fn what_the_log_lacks_at_its_end_is_seen_by_the_versions() {
        let whole = chain("churn-1", 4);
        let compare = |lines: &[String], versions: &[ModelVersion], partial| {
            let mut chains = Chains::new(partial);
            chains.take_all(log(lines));
            versions.iter().for_each(|one| chains.compare(one));
            chains.conclude().map_err(|problems| problems.join("\n"))
        };
        // A last record that was made anew follows as it should; nothing but the status tells.
        let mut forged = whole.clone();
        let mut line: Marked = serde_json::from_str(&forged[3]).expect("a record");
        line.audit.decision.actor = "mallory".to_owned();
        line.audit.decision.digest = line.audit.digest();
        forged[3] = serde_json::json!({"audit": line.audit}).to_string();
        let other = chain("churn-2", 2);
        let both = [whole.clone(), other.clone()].concat();
        // The status has the newest hundred alone.
        let newest = version("churn-1", &whole[1..]);
        let cases = [
            (forged.clone(), vec![newest.clone()], "record 4 is sha256:"),
            (
                whole[..3].to_vec(),
                vec![newest.clone()],
                "growth/churn-1: its status ends with record 4, and the log with 3",
            ),
            (
                whole.clone(),
                vec![newest.clone(), version("churn-2", &other)],
                "growth/churn-2: its status has records up to number 2, and the log none",
            ),
            (
                whole.clone(),
                vec![version("churn-1", &whole[..2])],
                "growth/churn-1: its status ends with record 2, and the log with 4",
            ),
            (
                whole.clone(),
                vec![version("churn-1", &[])],
                "growth/churn-1: the log has records up to number 4, and its status none",
            ),
            (
                whole.clone(),
                vec![version("churn-1", &[whole[1].clone(), whole[3].clone()])],
                "status.decisions: growth/churn-1, record 4: 1 records before it are missing",
            ),
        ];
        for (lines, versions, said) in cases {
            let found = compare(&lines, &versions, false).expect_err(said);
            assert!(found.contains(said), "{said}: {found}");
        }
        assert!(verify(&forged, false).is_ok());
        let said = compare(&both, &[newest.clone(), version("churn-2", &other)], false);
        let said = said.expect("whole");
        assert!(!said.contains("no longer there"), "{said}");
        // A version that somebody deleted is told of.
        let said = compare(&both, std::slice::from_ref(&newest), false).expect("whole");
        assert!(
            said.contains("churn-2: records 1 to 2") && said.ends_with("no longer there"),
            "{said}"
        );
        // What was decided before the log begins is not in it.
        let late = &whole[3..];
        assert!(compare(late, &[newest.clone(), version("churn-2", &other)], true).is_ok());
        assert!(compare(late, &[version("churn-3", &chain("churn-3", 4))], true).is_err());
    }

    #[test]
    fn files_of_several_processes_are_read_in_the_order_in_which_they_led() {
        let whole = chain("churn-1", 4);
        // The second begins by what the first may not have written.
        let (first, second) = (log(&whole[..3]), log(&whole[2..]));
        let third = log(&whole[3..]);
        let mut logs = vec![third, second, first];
        logs.sort_by_key(Log::span);
        let mut chains = Chains::new(false);
        logs.into_iter().for_each(|log| chains.take_all(log));
        let said = chains.conclude().expect("whole");
        assert!(said.contains("records 1 to 4"), "{said}");
        assert!(Chains::new(false).is_empty());
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
