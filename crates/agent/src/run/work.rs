//! The folder that the agent and the trainer work in.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Deserializer};
use tracing::warn;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;
use crate::tree::TEMPORARY;

/// The work folder, made and empty of what an earlier start of the same container left.
#[derive(Clone, Debug)]
pub(super) struct Work {
    root: PathBuf,
}

/// What a trainer may report in its progress file. Numbers may be written as 3 or 3.0; what is none is passed over.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Said {
    #[serde(default, deserialize_with = "whole")]
    pub step: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    pub steps: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    pub epoch: Option<i64>,
    #[serde(default, deserialize_with = "whole")]
    pub epochs: Option<i64>,
    #[serde(default)]
    metrics: BTreeMap<String, serde_json::Value>,
}

impl Said {
    /// How much is done, and how much there is to do in all; in steps, or else in epochs.
    pub fn done(&self) -> Option<(f64, f64)> {
        #[allow(clippy::cast_precision_loss)] // no training has 2^52 steps
        let pair = |done: Option<i64>, all: Option<i64>| Some((done? as f64, all? as f64));
        pair(self.step, self.steps).or_else(|| pair(self.epoch, self.epochs))
    }

    /// The metrics that are numbers.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let metrics = self.metrics.iter();
        metrics
            .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
            .collect()
    }
}

fn whole<'de, D: Deserializer<'de>>(source: D) -> Result<Option<i64>, D::Error> {
    let value = serde_json::Value::deserialize(source)?;
    #[allow(clippy::cast_possible_truncation)] // it saturates
    let of_float = || value.as_f64().map(|number| number as i64);
    Ok(value.as_i64().or_else(of_float))
}

impl Work {
    /// Makes the folders. What an earlier run left is taken away; what is not an agent's is not touched.
    pub fn prepare(root: &Path) -> Result<Self, FailureReport> {
        let prepared = || -> io::Result<Result<Self, FailureReport>> {
            fs::create_dir_all(root)?;
            let work = Self {
                root: fs::canonicalize(root)?,
            };
            let mark = work.root.join(format!("{TEMPORARY}work"));
            for folder in [work.inputs(), work.output()] {
                if let Err(refused) = cleared(&folder, &mark)? {
                    return Ok(Err(refused));
                }
            }
            fs::write(&mark, "")?;
            match fs::remove_file(work.progress()) {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
                _ => {}
            }
            Ok(Ok(work))
        };
        prepared().unwrap_or_else(|problem| Err(not_prepared(root, &problem)))
    }

    /// Makes the folder for checkpoints. It has a mark of its own: a trainer that was run without checkpoints may
    /// have made a folder of this name.
    pub fn prepare_checkpoints(&self) -> Result<(), FailureReport> {
        let mark = self.root.join(format!("{TEMPORARY}checkpoints"));
        let prepared = || -> io::Result<Result<(), FailureReport>> {
            if let Err(refused) = cleared(&self.checkpoints(), &mark)? {
                return Ok(Err(refused));
            }
            fs::write(&mark, "").map(Ok)
        };
        prepared().unwrap_or_else(|problem| Err(not_prepared(&self.root, &problem)))
    }

    /// Where each input has its folder.
    pub fn inputs(&self) -> PathBuf {
        self.root.join("inputs")
    }

    /// The folder of an input.
    pub fn input(&self, name: &str) -> PathBuf {
        self.inputs().join(name)
    }

    /// Where the trainer writes the model.
    pub fn output(&self) -> PathBuf {
        self.root.join("output")
    }

    /// Where the trainer puts its checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Where the trainer reports.
    pub fn progress(&self) -> PathBuf {
        self.root.join("progress.json")
    }

    /// Where the trainer finds all parameters.
    pub fn parameters(&self) -> PathBuf {
        self.root.join("parameters.json")
    }

    /// When the trainer last reported.
    pub fn progress_changed(&self) -> Option<SystemTime> {
        fs::metadata(self.progress())
            .and_then(|file| file.modified())
            .ok()
    }

    /// What the trainer reports; nothing where its file cannot be read, since it may be being written.
    pub fn said(&self) -> Option<Said> {
        serde_json::from_slice(&fs::read(self.progress()).ok()?).ok()
    }

    /// The metrics that the trainer reported. Its file is a courtesy: one that cannot be read fails nothing.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let said = self.said();
        if said.is_none() && self.progress().exists() {
            warn!(
                "the trainer's progress file is not read: it is no JSON object of what is documented"
            );
        }
        said.unwrap_or_default().metrics()
    }
}

/// Makes a folder and takes away what an earlier run left in it, if the mark of one is there.
fn cleared(folder: &Path, mark: &Path) -> io::Result<Result<(), FailureReport>> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !mark.exists() {
            let message = format!(
                "{} already holds files that no earlier run left there; name another --work-dir",
                folder.display()
            );
            return Ok(Err(failure(FailureReason::InvalidArguments, message)));
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(Ok(()))
}

fn not_prepared(root: &Path, problem: &io::Error) -> FailureReport {
    let root = root.display();
    failure(
        FailureReason::Internal,
        format!("the work folder {root} cannot be prepared: {problem}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_somebodys_files_is_refused_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("output")).expect("made");
        fs::write(folder.path().join("output/thesis"), "").expect("written");
        let refused = Work::prepare(folder.path()).expect_err("refused");
        assert_eq!(refused.reason, FailureReason::InvalidArguments);
        assert!(folder.path().join("output/thesis").exists());
    }

    #[test]
    fn what_an_earlier_run_left_is_taken_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = Work::prepare(folder.path()).expect("prepared");
        fs::write(work.output().join("half a model"), "").expect("written");
        fs::write(work.progress(), "{}").expect("written");
        let work = Work::prepare(folder.path()).expect("prepared again");
        assert_eq!(fs::read_dir(work.output()).expect("listed").count(), 0);
        assert!(!work.progress().exists());
    }

    #[test]
    fn a_folder_of_checkpoints_is_cleared_only_when_a_run_made_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = Work::prepare(folder.path()).expect("prepared");
        fs::create_dir(work.checkpoints()).expect("made");
        fs::write(work.checkpoints().join("mine"), "").expect("written");
        let refused = work.prepare_checkpoints().expect_err("refused");
        assert_eq!(refused.reason, FailureReason::InvalidArguments);
        assert!(work.checkpoints().join("mine").exists());
        fs::remove_file(work.checkpoints().join("mine")).expect("removed");
        work.prepare_checkpoints().expect("prepared");
        fs::create_dir(work.checkpoints().join("step-1")).expect("made");
        work.prepare_checkpoints().expect("prepared again");
        assert_eq!(fs::read_dir(work.checkpoints()).expect("listed").count(), 0);
    }

    #[test]
    fn a_trainers_metrics_are_those_that_are_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let work = Work::prepare(folder.path()).expect("prepared");
        assert_eq!(work.metrics(), BTreeMap::new());
        fs::write(
            work.progress(),
            r#"{"step": 3, "metrics": {"loss": 0.5, "nothing": null}}"#,
        )
        .expect("written");
        assert_eq!(work.metrics(), BTreeMap::from([("loss".to_owned(), 0.5)]));
        fs::write(work.progress(), r#"{"step": 3, "metr"#).expect("written");
        assert_eq!(work.metrics(), BTreeMap::new());
    }
}
