//! The operator's role against what was asked for in whole runs: nothing was denied, and no permission was never used.
//!
//! `make test-permissions` runs the tests of the operator on a real API server, which keep their audit log for this one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The group that the operators of those tests are in.
const GROUP: &str = "windlass-operators";

/// What is used where those tests do not come, and where that is: on a cluster with more in it, or with pods that run.
const ELSEWHERE: [(&str, &str); 11] = [
    (
        "list httproutes",
        "tests/rollouts and tests/crashes: with a Gateway",
    ),
    ("watch httproutes", "the same"),
    ("create httproutes", "the same"),
    ("patch httproutes", "the same"),
    (
        "delete httproutes",
        "the same, once spec.rollout.traffic is gone",
    ),
    (
        "delete services",
        "the same: the Service of a canary that was stopped",
    ),
    ("list workloads", "tests/queues.rs: with Kueue"),
    ("watch workloads", "the same"),
    (
        "list nodes",
        "tests/training and tests/devices.rs: workers that find no room",
    ),
    (
        "delete podgroups",
        "tests/training: a gang that is started again",
    ),
    (
        "patch events",
        "an Event that comes again within minutes is counted up",
    ),
];

/// `create jobs.batch`.
type Permission = String;

/// Which group of the API has a resource that the role names.
fn group_of(resource: &str) -> &'static str {
    match resource.split('/').next().unwrap_or(resource) {
        "trainingjobs" | "modelversions" | "modeldeployments" | "driftmonitors" => "windlass.dev",
        "jobs" => "batch",
        "deployments" => "apps",
        "services" | "pods" | "persistentvolumeclaims" | "serviceaccounts" | "nodes" => "",
        "horizontalpodautoscalers" => "autoscaling",
        "httproutes" => "gateway.networking.k8s.io",
        "scaledobjects" => "keda.sh",
        // Volcano's are of another group, and counted with these.
        "podgroups" => "scheduling.k8s.io",
        "poddisruptionbudgets" => "policy",
        "resourceclaimtemplates" => "resource.k8s.io",
        "workloads" => "kueue.x-k8s.io",
        "events" => "events.k8s.io",
        "leases" => "coordination.k8s.io",
        other => panic!("which group is {other} of?"),
    }
}

fn permission(verb: &str, resource: &str) -> Permission {
    format!("{verb} {resource}")
}

/// What the chart gives.
fn given() -> BTreeSet<Permission> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/default/rbac.yaml");
    let roles: Vec<Value> =
        serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
    let words = |rule: &Value, name: &str| -> Vec<String> {
        let words = rule[name].as_array().into_iter().flatten();
        words
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let mut all = BTreeSet::new();
    for rule in roles
        .iter()
        .flat_map(|role| role["rules"].as_array().into_iter().flatten())
    {
        for resource in words(rule, "resources") {
            let group = group_of(&resource);
            assert!(
                words(rule, "apiGroups").iter().any(|one| one == group),
                "{resource}: {rule}"
            );
            for verb in words(rule, "verbs") {
                all.insert(permission(&verb, &resource));
            }
        }
    }
    // Asked for by a policy, which is no request of its own; `tests/operator/approval.rs` shows that it takes it.
    assert!(all.remove("record modelversions"));
    all
}

/// What was used, and what was denied.
fn used(folder: &Path) -> (BTreeSet<Permission>, Vec<String>) {
    let (mut used, mut denied) = (BTreeSet::new(), Vec::new());
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.contains(GROUP)) {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                // The one that was being written as it was copied.
                continue;
            };
            let groups = line["impersonatedUser"]["groups"].as_array();
            if !groups.is_some_and(|groups| groups.contains(&GROUP.into())) {
                continue;
            }
            let object = &line["objectRef"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let mut resource = text(&object["resource"]);
            if let Some(subresource) = object["subresource"].as_str() {
                resource = format!("{resource}/{subresource}");
            }
            let (verb, code) = (text(&line["verb"]), line["responseStatus"]["code"].as_u64());
            if line["annotations"]["authorization.k8s.io/decision"] == "forbid" {
                denied.push(format!(
                    "{verb} {resource} as {}",
                    text(&line["impersonatedUser"]["username"])
                ));
            }
            if code == Some(201) {
                // Who applies what is not there is asked whether he may create it.
                used.insert(permission("create", &resource));
            }
            used.insert(permission(&verb, &resource));
        }
    }
    (used, denied)
}

#[test]
fn no_permission_was_never_used_and_nothing_was_denied() {
    let Some(folder) = std::env::var_os("WINDLASS_AUDIT").map(PathBuf::from) else {
        println!("skipped: WINDLASS_AUDIT is not set; `make test-permissions` sets it");
        return;
    };
    let (used, denied) = used(&folder);
    assert!(used.contains("patch jobs"), "nothing was run: {used:?}");
    assert!(denied.is_empty(), "{denied:#?}");
    let given = given();
    let more: Vec<_> = used
        .iter()
        // What the cluster serves, which all may ask.
        .filter(|one| !one.ends_with(' ') && !given.contains(*one))
        .collect();
    assert!(more.is_empty(), "used by another role's leave: {more:#?}");
    let elsewhere: BTreeSet<_> = ELSEWHERE.iter().map(|(one, _)| (*one).to_owned()).collect();
    let never: Vec<_> = given
        .difference(&used)
        .filter(|one| !elsewhere.contains(*one))
        .collect();
    assert!(never.is_empty(), "never used: {never:#?}");
    let both: Vec<_> = elsewhere.intersection(&used).collect();
    assert!(both.is_empty(), "used here after all: {both:#?}");
}
