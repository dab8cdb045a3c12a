//! The crate of decisions has no way to do I/O: not by its code, and not by what it is built on.

use std::process::Command;

#[test]
fn nothing_that_does_io_or_waits_is_among_the_dependencies() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "-p",
            "windlass-plan",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).expect("text");
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        names.contains(&"windlass-api"),
        "the list is of this crate's dependencies: {names:?}"
    );
    for banned in [
        "tokio",
        "hyper",
        "kube-client",
        "kube-runtime",
        "reqwest",
        "async-std",
        "mio",
        "rand",
        "getrandom",
        "object_store",
        "datafusion",
        "futures",
    ] {
        assert!(
            !names.contains(&banned),
            "windlass-plan must not depend on {banned}"
        );
    }
}
