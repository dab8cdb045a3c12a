//! `windlass-agent run --checkpoint` on local files: what is kept, when, and what is gone on from.

#[path = "../common/mod.rs"]
mod common;
mod end;
mod resume;
mod upload;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ended, Place, names};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use windlass_api::agent::{FailureReason, Resumed};

/// Where the checkpoints lie below the place.
const STORE: &str = "volumes/claim/job";

/// What every trainer here begins with: `save NAME CONTENT` makes a checkpoint of one file, `kept PATTERN` waits
/// until one is whole in the store, and `until_true` for any condition; both end the trainer when it never comes.
const LIBRARY: &str = r#"
C=$WINDLASS_CHECKPOINTS
save() { echo "$2" > "$C/$1.tmp" && mv "$C/$1.tmp" "$C/$1"; }
until_true() { for i in $(seq 2000); do if eval "$1"; then return; fi; sleep 0.01; done; echo "never: $1" >&2; exit 99; }
kept() { until_true "ls STORE/$1/manifest.json > /dev/null 2>&1"; }
"#;

/// An attempt as a pod makes it: with a work folder of its own.
fn attempt(place: &Place, number: u32, arguments: &[&str], script: &str) -> Command {
    let work = place.path(&format!("work-{number}"));
    let script = format!("{LIBRARY}{script}")
        .replace("STORE", &place.path(STORE).to_string_lossy())
        .replace("READY", &place.path("READY").to_string_lossy());
    let mut command = place.command(&["run", "--checkpoint", "pvc://claim/job"]);
    command
        .args(["--attempt", &number.to_string(), "--work-dir"])
        .arg(work)
        .args(arguments)
        .args(["--", "sh", "-c", &script]);
    command
}

/// Runs an attempt to its end.
fn run(place: &Place, number: u32, arguments: &[&str], script: &str) -> Ended {
    place.ended(&mut attempt(place, number, arguments, script))
}

const NEVER: [&str; 2] = ["--checkpoint-every", "1h"];
const OFTEN: [&str; 2] = ["--checkpoint-every", "20ms"];

fn start(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id")
}

/// Tells an agent to stop; how it ended, and how long that took.
fn stopped(place: &Place, child: Child) -> (Ended, Duration) {
    let told = Instant::now();
    kill_process(pid(&child), Signal::TERM).expect("told");
    let output = child.wait_with_output().expect("ended");
    let report = place.report(&output);
    (Ended { output, report }, told.elapsed())
}

/// The checkpoints that have a manifest.
fn whole(place: &Place) -> Vec<String> {
    names(&place.path(STORE))
        .iter()
        .filter_map(|name| name.strip_suffix("/manifest.json").map(str::to_owned))
        .collect()
}

fn resumed(ended: &Ended) -> &Resumed {
    let resumed = match &ended.report {
        windlass_api::agent::Report::Failure(failure) => &failure.resumed,
        windlass_api::agent::Report::Training(training) => &training.resumed,
        other => panic!("{other:?}"),
    };
    resumed.as_ref().expect("it was asked to go on")
}

/// Two checkpoints of the first attempt: `step-1`, and `step-2`, which is a folder.
fn two_checkpoints(place: &Place) {
    let script = "save step-1 one; kept '*/*-step-1'
        mkdir -p $C/step-2.tmp/deep; echo two > $C/step-2.tmp/deep/state; echo b > $C/step-2.tmp/b; touch $C/step-2.tmp/empty
        mv $C/step-2.tmp $C/step-2; kept '*/*-step-2'; exit 3";
    let ended = run(place, 1, &OFTEN, script);
    assert_eq!(ended.failure().exit_code, Some(3));
    assert_eq!(
        whole(place),
        ["000001/000001-step-1", "000001/000002-step-2"]
    );
}
