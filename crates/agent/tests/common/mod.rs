//! Runs the real program, as a pod or a person would.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod gateway;
pub mod installed;
pub mod mlflow;
pub mod proxy;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use windlass_api::agent::{FailureReport, Report, TrainingReport};

/// A folder for one test, with the volumes and the work folder of a pod.
pub struct Place {
    folder: tempfile::TempDir,
}

/// What a run left.
#[derive(Debug)]
pub struct Ended {
    /// Exit code and output.
    pub output: Output,
    /// The termination message.
    pub report: Report,
}

impl Place {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        std::fs::read_to_string(&path)
            .unwrap_or_else(|problem| panic!("{}: {problem}", path.display()))
    }

    /// The program with this place's volumes and message file.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
        command
            .args([
                "--termination-message",
                &self.path("message").to_string_lossy(),
            ])
            .args(arguments)
            .env("WINDLASS_VOLUMES", self.path("volumes"));
        command
    }

    /// Runs the program to its end.
    pub fn agent(&self, arguments: &[&str]) -> Ended {
        self.ended(&mut self.command(arguments))
    }

    pub fn ended(&self, command: &mut Command) -> Ended {
        let _ = std::fs::remove_file(self.path("message"));
        let output = command.output().expect("the program starts");
        Ended {
            report: self.report(&output),
            output,
        }
    }

    /// What the kubelet would read.
    pub fn report(&self, output: &Output) -> Report {
        let message = std::fs::read(self.path("message")).unwrap_or_else(|problem| {
            panic!(
                "no message ({problem}): {}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        assert!(
            message.len() <= windlass_api::agent::MAX_REPORT_BYTES,
            "{} bytes",
            message.len()
        );
        serde_json::from_slice(&message).expect("a report")
    }

    /// Runs `windlass-agent run` with a shell script as the trainer.
    pub fn train(&self, arguments: &[&str], script: &str) -> Ended {
        let work = self.path("work");
        let work = work.to_string_lossy();
        let mut all = vec!["run", "--work-dir", &work];
        all.extend(arguments);
        all.extend(["--", "sh", "-c", script]);
        self.agent(&all)
    }
}

impl Ended {
    pub fn failure(&self) -> &FailureReport {
        let Report::Failure(failure) = &self.report else {
            panic!("no failure: {:?}", self.report)
        };
        assert_ne!(self.output.status.code(), Some(0));
        failure
    }

    pub fn training(&self) -> &TrainingReport {
        let Report::Training(training) = &self.report else {
            panic!("no training: {:?}", self.report)
        };
        assert_eq!(self.output.status.code(), Some(0));
        training
    }
}

/// The names of all files below a folder, those with a dot too.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = walkdir::WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            entry
                .path()
                .strip_prefix(folder)
                .expect("below")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
