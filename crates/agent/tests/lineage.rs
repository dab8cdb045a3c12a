//! `windlass-agent lineage` and `card` on what `kubectl get tj,mv,md,dm -o json` prints.

mod common;

use std::io::{BufRead as _, Write as _};
use std::process::{Command, Output, Stdio};

use common::Place;
use windlass_api::{DriftMonitor, ModelDeployment, ModelVersion, TrainingJob};

const GROWTH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lineage/growth.json");
const REPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lineage/report.json");
const NOTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lineage/notes.yaml");

fn agent(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// The program without a cluster and without a store that it could ask.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
    command
        .args(arguments)
        .env("KUBECONFIG", "/nowhere/config")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("RUST_LOG", "warn");
    command
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("it ends by itself");
    (code, text(&output.stdout), text(&output.stderr))
}

/// Each object of the fixture is what the API server would have, field by field: nothing in it is unknown.
#[test]
fn the_fixture_is_of_the_types() {
    fn same<K: serde::Serialize + serde::de::DeserializeOwned>(item: &serde_json::Value) {
        let read: K = serde_json::from_value(item.clone()).expect("the type");
        let written = serde_json::to_value(&read).expect("JSON");
        is_within(item, &written, "");
    }
    /// What was read holds all that was written, and maybe defaults.
    fn is_within(part: &serde_json::Value, whole: &serde_json::Value, path: &str) {
        match (part, whole) {
            (serde_json::Value::Object(fields), serde_json::Value::Object(all)) => {
                for (name, value) in fields {
                    let at = format!("{path}.{name}");
                    let found = all.get(name).unwrap_or_else(|| panic!("{at} is no field"));
                    is_within(value, found, &at);
                }
            }
            (serde_json::Value::Array(items), serde_json::Value::Array(all)) => {
                assert_eq!(items.len(), all.len(), "{path}");
                for (at, (one, other)) in items.iter().zip(all).enumerate() {
                    is_within(one, other, &format!("{path}[{at}]"));
                }
            }
            _ => assert_eq!(part, whole, "{path}"),
        }
    }
    let text = std::fs::read_to_string(GROWTH).expect("the fixture");
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut kinds = std::collections::BTreeMap::new();
    for item in list["items"].as_array().expect("items") {
        let kind = item["kind"].as_str().expect("a kind");
        *kinds.entry(kind).or_insert(0) += 1;
        match kind {
            "TrainingJob" => same::<TrainingJob>(item),
            "ModelVersion" => same::<ModelVersion>(item),
            "ModelDeployment" => same::<ModelDeployment>(item),
            "DriftMonitor" => same::<DriftMonitor>(item),
            other => panic!("{other}"),
        }
    }
    assert_eq!(kinds.into_values().collect::<Vec<_>>(), [1, 1, 4, 4]);
}

#[test]
fn a_lineage_is_told_from_a_file_in_three_ways() {
    for (format, file) in [("text", "churn-3.txt"), ("mermaid", "churn-3.mmd")] {
        let ended = agent(&["lineage", "churn-3", "--from", GROWTH, "--output", format]);
        let (code, printed, log) = said(&ended);
        assert_eq!(code, 0, "{log}");
        let path = format!("{}/tests/lineage/{file}", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(
            printed,
            std::fs::read_to_string(path).expect("the expected text")
        );
    }
    let ended = agent(&[
        "lineage",
        "churn-3",
        "-n",
        "growth",
        "--from",
        GROWTH,
        "--output",
        "openlineage",
    ]);
    let (code, printed, log) = said(&ended);
    assert_eq!(code, 0, "{log}");
    assert_eq!(printed.lines().count(), 7);
    for line in printed.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event a line");
        assert!(event["run"]["runId"].is_string());
    }
}

#[test]
fn objects_come_through_a_pipe_as_well() {
    let mut child = command(&["lineage", "churn-4", "--from", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let objects = std::fs::read(GROWTH).expect("the fixture");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(&objects).expect("it reads all");
    drop(input);
    let (code, printed, log) = said(&child.wait_with_output().expect("it ends"));
    assert_eq!(code, 0, "{log}");
    assert!(
        printed.contains("was taken back in ModelDeployment churn"),
        "{printed}"
    );
}

/// An API server that has the fixture's objects: what it was asked, once so many requests have come.
fn cluster(requests: usize) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let text = std::fs::read_to_string(GROWTH).expect("the fixture");
    let list: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let answers = std::thread::spawn(move || {
        let asked = (0..requests).map(|_| {
            let (stream, _) = listener.accept().expect("a client");
            answer(&stream, &list)
        });
        let mut asked: Vec<String> = asked.collect();
        asked.sort();
        asked
    });
    (format!("http://{address}"), answers)
}

/// Answers a request for a list of one kind, as the API server does: its items do not say what they are.
fn answer(mut stream: &std::net::TcpStream, list: &serde_json::Value) -> String {
    let mut lines = std::io::BufReader::new(stream).lines();
    let asked = lines.next().expect("a request").expect("text");
    for line in lines {
        if line.expect("text").is_empty() {
            break;
        }
    }
    let path = asked.split('?').next().expect("a path");
    let plural = path.rsplit('/').next().expect("a kind").to_owned();
    let items = list["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| {
            let kind = item["kind"].as_str().expect("a kind").to_lowercase();
            format!("{kind}s") == plural
        });
    let bare = items.cloned().map(|mut item| {
        let fields = item.as_object_mut().expect("an object");
        fields.remove("kind");
        fields.remove("apiVersion");
        item
    });
    let body =
        serde_json::json!({"kind": "List", "metadata": {}, "items": bare.collect::<Vec<_>>()});
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("written");
    stream.write_all(body.as_bytes()).expect("written");
    asked
}

#[test]
fn a_cluster_is_asked_for_four_lists_and_for_nothing_else() {
    let place = Place::new();
    let (server, answers) = cluster(4);
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "growth"}}],
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {}}],
    });
    let config = place.file("config", config.to_string());
    let mut asking = command(&["lineage", "churn-3"]);
    let output = asking
        .env("KUBECONFIG", &config)
        .output()
        .expect("the program starts");
    let (code, printed, log) = said(&output);
    assert_eq!(code, 0, "{log}");
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lineage/churn-3.txt");
    assert_eq!(
        printed,
        std::fs::read_to_string(expected).expect("the expected text")
    );
    let asked = answers.join().expect("it answered");
    let expected = [
        "driftmonitors",
        "modeldeployments",
        "modelversions",
        "trainingjobs",
    ]
    .map(|kind| format!("GET /apis/windlass.dev/v1alpha1/namespaces/growth/{kind}? HTTP/1.1"));
    assert_eq!(asked, expected);
}

#[test]
fn what_is_not_there_is_said_and_has_its_exit_code() {
    let place = Place::new();
    let broken = place.file("broken.json", "{\"kind\": \"List\"");
    let broken = broken.to_string_lossy();
    for (arguments, code, words) in [
        (
            vec!["lineage", "churn-9", "--from", GROWTH],
            66,
            "there is no ModelVersion 'churn-9'",
        ),
        (
            vec!["lineage", "churn-3", "-n", "other", "--from", GROWTH],
            66,
            "in namespace 'other'",
        ),
        (
            vec!["lineage", "churn-3", "--from", "/nowhere.json"],
            66,
            "/nowhere.json cannot be read",
        ),
        (
            vec!["lineage", "churn-3", "--from", &broken],
            65,
            "is not what `kubectl get tj,mv,md,dm -o json` prints",
        ),
        (vec!["lineage", "churn-3"], 66, "finding the cluster failed"),
        (
            vec!["card", "churn-3", "--from", GROWTH, "--output", "a.pdf"],
            64,
            "has to end in .html or .md",
        ),
        (
            vec![
                "card",
                "churn-2",
                "--from",
                GROWTH,
                "--output",
                "/nowhere/a.md",
            ],
            1,
            "/nowhere/a.md cannot be written",
        ),
        (
            vec![
                "card", "churn-3", "--from", GROWTH, "--report", GROWTH, "--output", "a.md",
            ],
            65,
            "is not the report that was recorded",
        ),
        (
            vec![
                "card", "churn-3", "--from", GROWTH, "--notes", GROWTH, "--output", "a.md",
            ],
            65,
            "they are no mapping of keys to texts",
        ),
    ] {
        let (found, _, log) = said(&agent(&arguments));
        assert_eq!(found, code, "{arguments:?}: {log}");
        assert!(log.contains(words), "{arguments:?}: {log}");
    }
}

#[test]
fn a_card_is_the_same_whenever_it_is_made_and_holds_the_notes() {
    let place = Place::new();
    for ending in ["html", "md"] {
        let path = place.path(&format!("card.{ending}"));
        let path = path.to_string_lossy();
        let arguments = [
            "card", "churn-3", "--from", GROWTH, "--report", REPORT, "--notes", NOTES, "--output",
            &path,
        ];
        let (code, printed, log) = said(&agent(&arguments));
        assert_eq!((code, printed.as_str()), (0, ""), "{log}");
        let first = place.read(&format!("card.{ending}"));
        assert_eq!(said(&agent(&arguments)).0, 0);
        assert_eq!(place.read(&format!("card.{ending}")), first);
        assert!(first.contains("Which customers are asked to stay."));
        assert!(first.contains("The risks are in our register."));
        assert!(!first.contains("<script"));
        assert_eq!(first.matches("To be written by a person").count(), 21);
    }
}

#[test]
fn a_report_in_a_volume_is_read_without_being_told_where() {
    let place = Place::new();
    let report = std::fs::read(REPORT).expect("the report");
    place.file("volumes/claim/report.json", report);
    let mut objects: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(GROWTH).expect("the fixture")).expect("JSON");
    let items = objects["items"].as_array_mut().expect("items");
    let version = items
        .iter_mut()
        .find(|item| item["metadata"]["name"] == "churn-3" && item["kind"] == "ModelVersion")
        .expect("there");
    version["status"]["validation"]["report"]["uri"] = "pvc://claim/report.json".into();
    let from = place.file("objects.json", objects.to_string());
    let card = place.path("card.md");
    let (from, card) = (from.to_string_lossy(), card.to_string_lossy());
    let mut command = place.command(&["card", "churn-3", "--from", &from, "--output", &card]);
    let output = command.output().expect("the program starts");
    assert_eq!(said(&output).0, 0, "{}", said(&output).2);
    assert!(
        place
            .read("card.md")
            .contains("From the validation's full report")
    );
}
