//! The chains of records, a version's each: what is wrong with them.
//!
//! Of one log that is whole, records come in their order. Where there are several, or it begins in the midst, only what the
//! records say of each other counts: each has its number, and the digest of the one before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;
use windlass_api::{AuditLine, Decision, ModelVersion};

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
}

/// What the logs hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One log, from the first record on.
    Whole,
    /// Several that together have all from the first record on.
    Several,
    /// They begin in the midst; where it is known, at this time.
    Since(Option<Timestamp>),
}

/// What was read of a version.
#[derive(Default)]
struct Chain {
    name: String,
    /// By their numbers.
    records: BTreeMap<i64, Decision>,
}

impl Chain {
    fn last(&self) -> i64 {
        self.records
            .last_key_value()
            .map_or(0, |(number, _)| *number)
    }
}

/// The chains of all versions, by their uids.
pub struct Chains {
    extent: Extent,
    all: BTreeMap<String, Chain>,
    repeated: usize,
    /// The versions that were there to compare with, where that was asked for.
    compared: Option<BTreeSet<String>>,
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
    pub fn new(extent: Extent) -> Self {
        Self {
            extent,
            all: BTreeMap::new(),
            repeated: 0,
            compared: None,
            problems: Vec::new(),
        }
    }

    /// Takes the records of a file.
    pub fn take_all(&mut self, log: Log) {
        for (number, record) in log.records {
            let place = format!("{}, line {number}", log.file);
            match record {
                Ok(line) => {
                    let record = named(&line);
                    if let Some(problem) = self.follow(line) {
                        self.problems.push(format!("{place}: {record}: {problem}"));
                    }
                }
                Err(problem) => self
                    .problems
                    .push(format!("{place}: a record that cannot be read: {problem}")),
            }
        }
    }

    /// Puts a record where it belongs; what is wrong with it.
    fn follow(&mut self, line: AuditLine) -> Option<String> {
        let computed = line.digest();
        if computed != line.decision.digest {
            return Some(format!(
                "it was changed: it says that its digest is {}, and what it says has {computed}",
                line.decision.digest
            ));
        }
        let chain = self.all.entry(line.uid.clone()).or_insert_with(|| Chain {
            name: format!("{}/{}", line.namespace, line.name),
            ..Chain::default()
        });
        let (decision, last) = (line.decision, chain.last());
        let number = decision.sequence;
        if let Some(known) = chain.records.get(&number) {
            if known.digest == decision.digest {
                self.repeated += 1;
                return None;
            }
            return Some(format!(
                "another record of this number was there before, {}",
                known.digest
            ));
        }
        let problem = (self.extent == Extent::Whole && number < last)
            .then(|| "it comes after records that follow it".to_owned());
        chain.records.insert(number, decision);
        problem
    }

    /// Holds the chains against the versions, as they were listed before the logs were taken.
    pub fn compare(&mut self, versions: &[ModelVersion]) {
        let mut compared = BTreeSet::new();
        for version in versions {
            let uid = version.uid().unwrap_or_default();
            let (namespace, name) = (version.namespace().unwrap_or_default(), version.name_any());
            let decisions = version.status.as_ref();
            let decisions = decisions.map_or(&[][..], |status| &status.decisions);
            // Its status has the newest records alone.
            let mut recorded = Self::new(Extent::Since(None));
            for decision in decisions {
                let line = AuditLine {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    uid: uid.clone(),
                    decision: decision.clone(),
                };
                let record = named(&line);
                if let Some(problem) = recorded.follow(line) {
                    recorded.problems.push(format!("{record}: {problem}"));
                }
            }
            let of_status = recorded.conclude().err().into_iter().flatten();
            self.problems
                .extend(of_status.map(|problem| format!("status.decisions: {problem}")));
            self.hold_against(&uid, &format!("{namespace}/{name}"), decisions);
            compared.insert(uid);
        }
        self.compared = Some(compared);
    }

    /// What the status of a version has, and the logs do not.
    fn hold_against(&mut self, uid: &str, name: &str, decisions: &[Decision]) {
        let nothing = Chain::default();
        let chain = self.all.get(uid).unwrap_or(&nothing);
        let first = chain.records.first_key_value().map(|(number, _)| *number);
        let mut missing = Vec::new();
        for decision in decisions {
            let number = decision.sequence;
            match chain.records.get(&number) {
                Some(known) if known.digest != decision.digest => self.problems.push(format!(
                    "{name}, record {number}: it is {} in its status, and {} in the log",
                    decision.digest, known.digest
                )),
                Some(_) => {}
                None => {
                    let should_be_there = match self.extent {
                        Extent::Whole | Extent::Several => true,
                        Extent::Since(since) => {
                            since.is_some_and(|since| decision.time >= since)
                                || first.is_some_and(|first| number > first)
                        }
                    };
                    missing.extend(should_be_there.then_some(number));
                }
            }
        }
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            self.problems.push(format!(
                "{name}: its status has records that the log has not: {} from {first} to {last}",
                missing.len()
            ));
        }
    }

    /// Whether there was no record at all.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.problems.is_empty()
    }

    /// What is to be said of it all.
    pub fn conclude(mut self) -> Result<String, Vec<String>> {
        for chain in self.all.values() {
            let mut before: Option<(i64, &str)> = None;
            for (number, decision) in &chain.records {
                let says = decision.previous.as_deref();
                let problem = match before {
                    None if *number == 1 && says.is_none() => None,
                    None if matches!(self.extent, Extent::Since(_)) && *number > 1 => None,
                    None => Some(
                        "it is the first that is there: those before it are missing".to_owned(),
                    ),
                    Some((last, _)) if last + 1 < *number => Some(format!(
                        "{} records before it are missing",
                        number - last - 1
                    )),
                    Some((_, digest)) if says == Some(digest) => None,
                    Some((_, digest)) => Some(format!(
                        "it follows {}, and the record before it is {digest}",
                        says.unwrap_or("nothing")
                    )),
                };
                let named = format!("{}, record {number}", chain.name);
                self.problems
                    .extend(problem.map(|problem| format!("{named}: {problem}")));
                before = Some((*number, &decision.digest));
            }
        }
        if self.problems.is_empty() {
            Ok(self.said())
        } else {
            Err(self.problems)
        }
    }

    fn said(&self) -> String {
        let records: usize = self.all.values().map(|chain| chain.records.len()).sum();
        let mut said = vec![format!(
            "{records} records of {} versions are as they were written ({} lines were there twice)",
            self.all.len(),
            self.repeated
        )];
        if let Some(compared) = &self.compared {
            said.push(format!(
                "none is missing that the status of one of {} versions has",
                compared.len()
            ));
        }
        said.extend(self.all.iter().map(|(uid, chain)| {
            let (first, digest) = (
                chain
                    .records
                    .first_key_value()
                    .map_or(0, |(number, _)| *number),
                chain
                    .records
                    .last_key_value()
                    .map_or("", |(_, last)| last.digest.as_str()),
            );
            let compared = self.compared.as_ref();
            let is_gone = compared.is_some_and(|compared| !compared.contains(uid));
            format!(
                "{}: records {first} to {}, the last is {digest}{}",
                chain.name,
                chain.last(),
                if is_gone {
                    "; the version is no longer there"
                } else {
                    ""
                }
            )
        }));
        said.join("\n")
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
        let extent = if partial {
            Extent::Since(None)
        } else {
            Extent::Whole
        };
        let mut chains = Chains::new(extent);
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
                "growth/churn-1, record 2: it is the first that is there",
            ),
            (
                "one is missing",
                without(1),
                "growth/churn-1, record 3: 1 records before it are missing",
            ),
            (
                "another order",
                swapped(1, 2),
                "line 3: growth/churn-1, record 2: it comes after records that follow it",
            ),
            (
                "the first comes last",
                swapped(0, 3),
                "line 2: growth/churn-1, record 2: it comes after records that follow it",
            ),
            (
                "one made anew",
                forged,
                "growth/churn-1, record 3: it follows",
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
    fn what_the_logs_lack_is_seen_by_the_versions() {
        let whole = chain("churn-1", 4);
        let compare = |lines: &[String], versions: &[ModelVersion], extent| {
            let mut chains = Chains::new(extent);
            chains.take_all(log(lines));
            chains.compare(versions);
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
        let second = version("churn-2", &other);
        let late = Extent::Since(None);
        for (lines, versions, extent, said) in [
            (
                &forged[..],
                vec![newest.clone()],
                Extent::Whole,
                "growth/churn-1, record 4: it is sha256:",
            ),
            (
                &whole[..3],
                vec![newest.clone()],
                Extent::Whole,
                "growth/churn-1: its status has records that the log has not: 1 from 4 to 4",
            ),
            (
                &whole,
                vec![newest.clone(), second.clone()],
                Extent::Several,
                "growth/churn-2: its status has records that the log has not: 2 from 1 to 2",
            ),
            (
                &whole,
                vec![version("churn-1", &[whole[1].clone(), whole[3].clone()])],
                Extent::Whole,
                "status.decisions: growth/churn-1, record 4: 1 records before it are missing",
            ),
            // A log that begins with record 2 has to have what comes after it.
            (&whole[1..3], vec![newest.clone()], late, "1 from 4 to 4"),
            // One that is known to begin then has to have what was decided later.
            (
                &whole[3..],
                vec![newest.clone(), second.clone()],
                Extent::Since(Some("2026-11-01T00:00:02Z".parse().expect("a time"))),
                "growth/churn-2: its status has records that the log has not: 1 from 2 to 2",
            ),
        ] {
            let found = compare(lines, &versions, extent).expect_err(said);
            assert!(found.contains(said), "{said}: {found}");
        }
        assert!(verify(&forged, false).is_ok());
        let said = compare(&both, &[newest.clone(), second.clone()], Extent::Whole).expect("whole");
        assert!(
            said.contains("one of 2 versions") && !said.contains("no longer there"),
            "{said}"
        );
        // What was decided after the versions were listed is in the log alone; one that was deleted since is told of.
        let said =
            compare(&both, &[version("churn-1", &whole[..2])], Extent::Whole).expect("whole");
        assert!(
            said.contains("churn-2: records 1 to 2") && said.ends_with("no longer there"),
            "{said}"
        );
        // What was decided before the log begins is not in it.
        assert!(compare(&whole[3..], &[newest, second], late).is_ok());
    }

    #[test]
    fn several_logs_are_one_in_whatever_order() {
        let whole = chain("churn-1", 6);
        // One led, then the other, then the first again; each begins by what the one before may not have written.
        let one = log(&[&whole[..2], &whole[1..], &whole[5..]].concat());
        let other = log(&whole[1..5]);
        let mut chains = Chains::new(Extent::Several);
        chains.take_all(other);
        chains.take_all(one);
        let said = chains.conclude().expect("whole");
        assert!(said.contains("records 1 to 6"), "{said}");
        // A gap in all of them stays one.
        let mut chains = Chains::new(Extent::Several);
        chains.take_all(log(&whole[3..]));
        chains.take_all(log(&whole[..2]));
        let problems = chains.conclude().expect_err("one is missing").join(" ");
        assert!(
            problems.contains("record 4: 1 records before it are missing"),
            "{problems}"
        );
        // Nor may they have two of a number.
        let mut line: Marked = serde_json::from_str(&whole[5]).expect("a record");
        line.audit.decision.actor = "mallory".to_owned();
        line.audit.decision.digest = line.audit.digest();
        let mut chains = Chains::new(Extent::Several);
        chains.take_all(log(&whole));
        chains.take_all(log(&[serde_json::json!({"audit": line.audit}).to_string()]));
        let problems = chains.conclude().expect_err("another one").join(" ");
        assert!(
            problems.contains("another record of this number"),
            "{problems}"
        );
        assert!(Chains::new(Extent::Whole).is_empty());
    }

    #[test]
    fn a_file_that_begins_in_the_midst_is_taken_where_that_is_said() {
        let lines = chain("churn-1", 4).split_off(2);
        assert!(verify(&lines, false).is_err());
        let said = verify(&lines, true).expect("whole");
        assert!(said.contains("records 3 to 4"), "{said}");
        // What is written again may be older than what was there before.
        assert!(verify(&[lines[1].clone(), lines[0].clone()], true).is_ok());
    }
}
