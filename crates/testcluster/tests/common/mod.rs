//! What the tests share: is anything left of a cluster?

use std::fs;
use std::path::Path;
use std::process::Command;

use walkdir::WalkDir;
use windlass_testcluster::{cache, process};

/// Fails if a process, a namespace, a mount, a cgroup or a file of the cluster is left.
pub fn assert_nothing_is_left_of(name: &str) {
    let folder = cache().unwrap().join("clusters").join(name);
    assert_eq!(process::marked(&folder), [], "processes are left");
    assert!(!folder.exists(), "{} is left", folder.display());
    let state = Path::new("/run/windlass").join(name);
    assert!(!state.exists(), "{} is left", state.display());
    let network = format!("windlass-{name}");
    assert!(
        !Path::new("/run/netns").join(&network).exists(),
        "the network namespace is left"
    );
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for place in [
        folder.display().to_string(),
        state.display().to_string() + "/",
        network.clone(),
    ] {
        assert!(!mounts.contains(&place), "a mount at {place} is left");
    }
    let cgroups = WalkDir::new("/sys/fs/cgroup")
        .max_depth(2)
        .into_iter()
        .flatten();
    let left: Vec<_> = cgroups
        .filter(|entry| entry.file_name() == network.as_str())
        .collect();
    assert!(left.is_empty(), "cgroups are left: {left:?}");
}

/// The machine's own network devices.
#[allow(dead_code, reason = "not every test that includes this module asks")]
pub fn devices() -> String {
    let said = Command::new("ip")
        .args(["-brief", "link"])
        .output()
        .unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect::<Vec<_>>()
        .join(" ")
}
