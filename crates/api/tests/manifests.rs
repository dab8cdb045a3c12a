//! The CRDs as files, and what a real API server says to good and to wrong manifests.
//!
//! Each file of `wrong-manifests/` opens with lines `# expect: TEXT`: the field's path and what is allowed there. All of
//! them have to be in what kubectl prints. A file with two documents is an update: the first is made, the second refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use windlass_testcluster::{Cluster, Kubectl, Options, Shape};

/// Client-side `kubectl apply` keeps a copy in an annotation of at most 256 kB, and a large schema costs the API server time.
const LARGEST_CRD: usize = 100_000;
/// Programs of kubectl that run at once.
const AT_ONCE: usize = 4;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The YAML files below a folder, by path.
fn yaml_files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(yaml_files(&path));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = fs::read_to_string(&path).unwrap();
            files.insert(path, text);
        }
    }
    files
}

/// Does something with each file, a few at once, and returns what went wrong.
fn each(
    files: &BTreeMap<PathBuf, String>,
    check: impl Fn(&str) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let all: Vec<_> = files.iter().collect();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((path, text)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = check(text) {
                        wrong
                            .lock()
                            .unwrap()
                            .push(format!("{}:\n{why}", path.display()));
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    wrong
}

/// Whether a file is an object and what it must not become.
fn is_update(manifest: &str) -> bool {
    manifest.contains("\n---\n")
}

/// Runs kubectl with a manifest on its standard input.
fn feed(kubectl: &Kubectl, arguments: &[&str], manifest: &str) -> Output {
    let mut command = kubectl.command();
    command.args(arguments).args(["-f", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(manifest.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Applies a wrong manifest as most people do, and reads what they would.
fn is_refused(kubectl: &Kubectl, namespace: &str, manifest: &str) -> Result<(), String> {
    let expected: Vec<&str> = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("# expect: "))
        .collect();
    if expected.is_empty() {
        return Err("it does not say what is expected: open it with '# expect: TEXT'".to_owned());
    }
    let (first, wrong) = manifest
        .split_once("\n---\n")
        .map_or((None, manifest), |(first, second)| (Some(first), second));
    if let Some(first) = first {
        let output = feed(
            kubectl,
            &["apply", "--validate=strict", "-n", namespace],
            first,
        );
        if !output.status.success() {
            return Err(format!(
                "its first document has to be good: {}",
                said(&output)
            ));
        }
    }
    let output = feed(
        kubectl,
        &[
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-n",
            namespace,
        ],
        wrong,
    );
    if output.status.success() {
        return Err("it was accepted".to_owned());
    }
    let text = said(&output);
    let missing: Vec<String> = expected
        .iter()
        .filter(|part| !text.contains(**part))
        .map(|part| format!("{part:?} is not in: {text}"))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("\n"))
    }
}

#[test]
fn the_crds_are_those_of_the_types() {
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for crd in windlass_api::all_crds() {
        expected.insert(
            format!("{}.yaml", crd.spec.names.plural),
            windlass_api::crd_to_yaml(&crd).unwrap(),
        );
    }
    for folder in ["crds", "charts/windlass/files/crds"] {
        let found: BTreeMap<String, String> = yaml_files(&root().join(folder))
            .into_iter()
            .map(|(path, text)| (path.file_name().unwrap().to_str().unwrap().to_owned(), text))
            .collect();
        assert!(
            found == expected,
            "{folder}/ is out of date: run scripts/generate.sh"
        );
    }
}

#[test]
fn every_crd_is_small() {
    for crd in windlass_api::all_crds() {
        // What kubectl keeps and the server works with; in YAML, half of a deep schema is indentation.
        let size = serde_json::to_vec(&crd).unwrap().len();
        let name = &crd.spec.names.plural;
        assert!(
            size < LARGEST_CRD,
            "{name} has {size} bytes as JSON; {LARGEST_CRD} are allowed"
        );
    }
}

#[test]
fn every_crd_explains_every_field() {
    fn undescribed(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undescribed(&path, property, found);
            undescribed(&format!("{path}[]"), &property["items"], found);
        }
    }
    let mut found = Vec::new();
    for crd in windlass_api::all_crds() {
        let schema = serde_json::to_value(
            &crd.spec.versions[0]
                .schema
                .as_ref()
                .unwrap()
                .open_api_v3_schema,
        )
        .unwrap();
        undescribed(&crd.spec.names.kind, &schema, &mut found);
    }
    assert!(found.is_empty(), "without a description: {found:#?}");
}

/// Server-side apply that changes nothing and takes no field that is not known.
const DRY_RUN: [&str; 4] = [
    "apply",
    "--server-side",
    "--dry-run=server",
    "--validate=strict",
];

/// The CRDs, rule cost and all. Client-side, since that is what the size is kept small for.
fn crds_are_accepted(kubectl: &Kubectl) {
    for (path, _) in yaml_files(&root().join("crds")) {
        kubectl
            .run(&["apply", "--validate=strict", "-f", path.to_str().unwrap()])
            .unwrap();
    }
    kubectl
        .run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ])
        .unwrap();
}

/// Returns how many there are.
fn examples_are_accepted(kubectl: &Kubectl) -> usize {
    let examples = yaml_files(&root().join("deploy/examples"));
    assert!(!examples.is_empty());
    for namespace in namespaces(&examples) {
        kubectl.run(&["create", "namespace", &namespace]).unwrap();
    }
    let wrong = each(&examples, |text| {
        let output = feed(kubectl, &DRY_RUN, text);
        if output.status.success() {
            Ok(())
        } else {
            Err(said(&output))
        }
    });
    assert!(
        wrong.is_empty(),
        "examples that are not accepted:\n{}",
        wrong.join("\n")
    );
    examples.len()
}

/// Returns how many there are.
fn wrong_manifests_are_refused(kubectl: &Kubectl) -> usize {
    let files = yaml_files(&root().join("crates/api/tests/wrong-manifests"));
    assert!(
        files.len() >= 60,
        "{} wrong manifests; there have to be at least 60",
        files.len()
    );

    // Each update has a namespace of its own, so that none meets what another one made.
    let updates = files.values().filter(|text| is_update(text)).count();
    let namespace = |number| {
        format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: update-{number}}}}}")
    };
    kubectl
        .create(
            &(0..updates)
                .map(namespace)
                .collect::<Vec<_>>()
                .join("\n---\n"),
        )
        .unwrap();
    let number = AtomicUsize::new(0);
    let wrong = each(&files, |text| {
        let namespace = if is_update(text) {
            format!("update-{}", number.fetch_add(1, Ordering::Relaxed))
        } else {
            "default".to_owned()
        };
        is_refused(kubectl, &namespace, text)
    });
    let (some, all) = (wrong.len(), files.len());
    assert!(
        wrong.is_empty(),
        "{some} of {all} wrong manifests are not refused as they should be:\n{}",
        wrong.join("\n")
    );

    // Git operators apply server-side; it says the same in other words. All in one call: kubectl goes on after an error.
    let single: Vec<&str> = files
        .values()
        .map(String::as_str)
        .filter(|text| !is_update(text))
        .collect();
    let output = feed(kubectl, &DRY_RUN, &single.join("\n---\n"));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "accepted by server-side apply"
    );
    all
}

#[test]
fn a_real_api_server_takes_what_is_good_and_says_what_is_wrong() {
    let cluster = Cluster::up(&Options::new("test-manifests", Shape::Api)).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    crds_are_accepted(&kubectl);
    let (examples, wrong) = (
        examples_are_accepted(&kubectl),
        wrong_manifests_are_refused(&kubectl),
    );
    println!("{examples} examples accepted, {wrong} wrong manifests refused");
}

/// The namespaces that manifests name.
fn namespaces(files: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut found: Vec<String> = files
        .values()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("namespace: "))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}
