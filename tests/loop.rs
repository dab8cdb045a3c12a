//! The loop in small: the demo at twice its pace, on a cluster of its own. It ends well only if the loop has closed.

use std::process::Command;

use windlass_testcluster::check_machine_for_node;

#[test]
fn the_loop_closes_without_a_person_and_no_request_fails() {
    let tools = [
        "TESTCLUSTER",
        "WINDLASS_BINARY",
        "WINDLASS_AGENT_BINARY",
        "IMAGES",
    ];
    if let Err(error) = check_machine_for_node() {
        println!("skipped: {error:#}");
        return;
    }
    if let Some(missing) = tools.iter().find(|name| std::env::var_os(name).is_none()) {
        println!("skipped: {missing} is not set; `make test` sets it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let summary = folder.path().join("summary.json");
    let demo = |action: &[&str]| {
        Command::new("python3")
            .args(["demo/demo.py", "--name", "loop-test"])
            .args(action)
            .status()
            .expect("python3 runs")
    };
    let ended = demo(&[
        "--quick",
        "--summary",
        summary.to_str().expect("a path"),
        "up",
    ]);
    demo(&["down"]);
    let figures: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&summary).expect("the summary is written"))
            .expect("the summary is JSON");
    let value = |name: &str| {
        figures
            .iter()
            .find(|figure| figure["name"] == name)
            .map(|figure| figure["value"].clone())
            .unwrap_or_default()
    };
    assert!(ended.success(), "the loop did not close: {figures:#?}");
    assert_eq!(value("loop_closed"), true);
    assert_eq!(
        value("requests_failed"),
        0,
        "of {} requests",
        value("requests_sent")
    );
    assert_eq!(
        value("changed_by_restart"),
        0,
        "a restart over the loop's objects changes nothing"
    );
    assert!(
        value("new_version_auc_gain")
            .as_f64()
            .is_some_and(|gain| gain > 0.0),
        "the new version is worse: {figures:#?}"
    );
}
