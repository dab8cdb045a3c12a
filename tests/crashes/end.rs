//! All that is in a namespace in the end, less what no two runs have alike: times, versions and uids of objects, numbers of
//! requests, names that Kubernetes makes up, and the name of the namespace.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::{Map, Value, json};
use windlass_api::labels;

use super::accounts;

/// Kinds that are compared as they are: our own, and what is made of them.
const WHOLE: [(&str, &str, &str); 11] = [
    ("windlass.dev", "v1alpha1", "TrainingJob"),
    ("windlass.dev", "v1alpha1", "DriftMonitor"),
    ("scheduling.k8s.io", "v1beta1", "PodGroup"),
    ("windlass.dev", "v1alpha1", "ModelDeployment"),
    ("windlass.dev", "v1alpha1", "ModelVersion"),
    ("apps", "v1", "Deployment"),
    ("", "v1", "Service"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("batch", "v1", "Job"),
    ("", "v1", "Secret"),
];
/// Kinds whose names Kubernetes makes up: they are counted.
const COUNTED: [(&str, &str, &str); 2] = [("apps", "v1", "ReplicaSet"), ("", "v1", "Pod")];
/// What is another in every run.
const DROPPED: [&str; 12] = [
    // When all workers of an attempt ran: an operator that was away while they did has not seen it.
    "running",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "clusterIP",
    "clusterIPs",
    "lastTransitionTime",
    "kubernetes.io/metadata.name",
    // Where the scheduler put a worker.
    "node",
    // What was counted when a decision fell.
    "seen",
];

/// Texts that are others in every run.
struct Hidden {
    namespace: String,
    uids: Vec<String>,
}

impl Hidden {
    fn of(namespace: &str, found: &[(&str, Value)]) -> Self {
        let uids = found
            .iter()
            .map(|(_, object)| text(&object["metadata"]["uid"]));
        Self {
            namespace: namespace.to_owned(),
            uids: uids.map(str::to_owned).collect(),
        }
    }

    fn hide(&self, said: &str) -> String {
        let said = said.replace(&self.namespace, "(the namespace)");
        self.uids.iter().fold(said, |said, uid| {
            // Addresses have the beginning of one.
            let begins = &uid[..uid.floor_char_boundary(8)];
            said.replace(uid, "(a uid)").replace(begins, "(a uid)")
        })
    }
}

/// Whether something was made for a window of a monitor's.
fn is_of_window(object: &Value) -> bool {
    text(&object["metadata"]["labels"][labels::ROLE]) == "drift"
}

/// The objects of a namespace, by kind and name.
pub type End = BTreeMap<String, Value>;

/// All that is there now.
pub async fn end(client: &Client, namespace: &str) -> Result<End> {
    let mut found = Vec::new();
    for kind in WHOLE {
        let objects = list(client, namespace, kind).await?.into_iter();
        found.extend(objects.map(|object| (kind.2, object)));
    }
    accounts::settle(&mut found);
    let hidden = Hidden::of(namespace, &found);
    // What windows found is in the monitor's status: how many there are is told by the clock.
    found.retain(|(_, object)| !is_of_window(object));
    let mut all = End::new();
    for (kind, object) in found {
        let name = format!("{kind} {}", text(&object["metadata"]["name"]));
        all.insert(name, whole(object, kind, &hidden));
    }
    for kind in COUNTED {
        let mut counts = BTreeMap::<String, i64>::new();
        let objects = list(client, namespace, kind).await?;
        for object in objects.iter().filter(|object| !is_of_window(object)) {
            *counts.entry(told(object)).or_default() += 1;
        }
        all.insert(format!("{}s", kind.2), json!(counts));
    }
    Ok(all)
}

async fn list(
    client: &Client,
    namespace: &str,
    (group, version, kind): (&str, &str, &str),
) -> Result<Vec<Value>> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    // From the API server's cache: this is asked often.
    let list = api.list(&ListParams::default().match_any()).await?;
    let items = list.items.into_iter().map(serde_json::to_value);
    Ok(items.collect::<Result<_, _>>()?)
}

fn whole(mut object: Value, kind: &str, hidden: &Hidden) -> Value {
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    if ![
        "ModelDeployment",
        "ModelVersion",
        "TrainingJob",
        "DriftMonitor",
    ]
    .contains(&kind)
    {
        // What Kubernetes and the Gateway say; of that, how many pods there are.
        let status = fields.remove("status").unwrap_or_default();
        for count in ["replicas", "readyReplicas", "succeeded", "failed"] {
            fields.insert(format!("status.{count}"), status[count].clone());
        }
    }
    scrubbed(object, hidden)
}

/// A ReplicaSet or a pod, by what it is.
fn told(object: &Value) -> String {
    let labelled = &object["metadata"]["labels"];
    let job = &labelled["batch.kubernetes.io/job-name"];
    let version = if job.is_null() {
        &labelled[labels::VERSION]
    } else {
        job
    };
    let (asked, phase) = (&object["spec"]["replicas"], &object["status"]["phase"]);
    let goes = if object["metadata"]["deletionTimestamp"].is_null() {
        ""
    } else {
        ", goes"
    };
    format!("of {} ({asked}, {phase}{goes})", text(version))
}

fn scrubbed(value: Value, hidden: &Hidden) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields
                .into_iter()
                .filter(|(key, _)| !DROPPED.contains(&key.as_str()));
            let scrubbed = kept.map(|(key, value)| (key, scrubbed(value, hidden)));
            Value::Object(scrubbed.collect::<Map<_, _>>())
        }
        Value::Array(all) => {
            let all = all.into_iter();
            Value::Array(all.map(|one| scrubbed(one, hidden)).collect())
        }
        Value::String(text) => Value::String(scrubbed_text(&text, hidden)),
        other => other,
    }
}

fn scrubbed_text(text: &str, hidden: &Hidden) -> String {
    let is_digest = text.len() >= 32
        && text
            .trim_start_matches("sha256:")
            .chars()
            .all(|letter| letter.is_ascii_hexdigit());
    if is_digest {
        return "(a digest)".to_owned();
    }
    if text.parse::<Timestamp>().is_ok() {
        return "(a time)".to_owned();
    }
    let text = hidden.hide(text);
    if !text.contains(' ') {
        return text;
    }
    // What is said to people has numbers of requests, and is said of the roll-out, of its step, or of what came late in it,
    // whichever is known first.
    let text: String = text
        .chars()
        .filter(|letter| !letter.is_ascii_digit() && *letter != '.')
        .collect();
    text.replace(" in this step", "")
        .replace("has become higher", "is higher")
        // Whoever comes later may find the old pods gone already, and waits for the new ones.
        .replace("the pods of churn- are gone", " pods are ready")
}

/// A text, or nothing.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The actions in the chain of records of a version, in order; none of a record that does not follow the one before.
pub fn records(end: &End, version: &str) -> Vec<String> {
    let object = end.get(&format!("ModelVersion {version}"));
    let decisions = object.and_then(|object| object.pointer("/status/decisions")?.as_array());
    let follows = |(at, decision): (usize, &Value)| {
        let is_next = decision["sequence"].as_u64() == u64::try_from(at + 1).ok();
        is_next.then(|| text(&decision["action"]).to_owned())
    };
    decisions
        .into_iter()
        .flatten()
        .enumerate()
        .map_while(follows)
        .collect()
}

/// How two ends differ, for people; nothing where they do not.
pub fn differences(expected: &End, found: &End) -> Option<String> {
    if expected == found {
        return None;
    }
    let mut said = String::new();
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    for name in names {
        let (expected, found) = (expected.get(name), found.get(name));
        if expected != found {
            let _ = writeln!(said, "  {name}:");
            let lines = |value: Option<&Value>| {
                let text =
                    value.map_or_else(|| "(not there)".to_owned(), |value| format!("{value:#}"));
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let (expected, found) = (lines(expected), lines(found));
            for (mark, these, others) in [("-", &expected, &found), ("+", &found, &expected)] {
                for line in these.iter().filter(|line| !others.contains(line)).take(12) {
                    let _ = writeln!(said, "    {mark} {line}");
                }
            }
        }
    }
    Some(said)
}
