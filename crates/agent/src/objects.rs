//! The objects of the four kinds in a namespace: as a cluster has them, or as `kubectl get -o json` printed them.
//!
//! ```text
//!   --from FILE ── a List, JSON ────────────┐
//!                                           ├──> Objects ──> lineage, card
//!   kubeconfig ── four lists, each once ────┘
//! ```
//!
//! Absent on purpose: watches, other kinds, and any write.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use kube::api::ListParams;
use kube::core::Request;
use kube::{Client, Config, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use windlass_api::agent::{FailureReason, FailureReport};
use windlass_api::{DriftMonitor, GROUP, ModelDeployment, ModelVersion, TrainingJob};

use crate::report::{chain, failure};

/// How many names a message lists.
const NAMED: usize = 10;

/// Which ModelVersion, and where the objects come from.
#[derive(Clone, Debug, clap::Args)]
pub struct Selection {
    /// Name of the ModelVersion, such as churn-7.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Its namespace; without it, that of the kubeconfig's context, or the one in the file that has such a version.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// What `kubectl get tj,mv,md,dm -o json` printed; `-` is standard input. Without it, the cluster of the kubeconfig
    /// is asked.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

/// The objects of one namespace, each kind by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// The namespace; empty for objects that say none.
    pub namespace: String,
    /// The trainings.
    pub jobs: BTreeMap<String, TrainingJob>,
    /// The versions.
    pub versions: BTreeMap<String, ModelVersion>,
    /// What serves them.
    pub deployments: BTreeMap<String, ModelDeployment>,
    /// What watches those.
    pub monitors: BTreeMap<String, DriftMonitor>,
}

impl Selection {
    /// The objects of the namespace that the version is in, which has it.
    ///
    /// # Errors
    /// [`FailureReason::InputNotFound`] where there is no such version, or the file or the cluster cannot be reached;
    /// [`FailureReason::InputUnreadable`] for what is no list of objects; [`FailureReason::InvalidArguments`] where the
    /// name alone does not say which version is meant.
    pub async fn read(&self) -> Result<Objects, FailureReport> {
        match &self.from {
            Some(path) => {
                let text = read_text(path)?;
                let mut all = All::default();
                all.take_document(&text, path)?;
                all.choose(&self.name, self.namespace.as_deref())
            }
            None => from_cluster(&self.name, self.namespace.as_deref()).await,
        }
    }
}

/// The versions of all namespaces in what `kubectl get modelversions -A -o json` printed; `-` is standard input.
///
/// # Errors
/// [`FailureReason::InputNotFound`] where the file cannot be read; [`FailureReason::InputUnreadable`] for what is no list
/// of objects.
pub fn versions_of(path: &Path) -> Result<Vec<ModelVersion>, FailureReport> {
    let mut all = All::default();
    all.take_document(&read_text(path)?, path)?;
    let objects = all.0.into_values();
    Ok(objects
        .flat_map(|objects| objects.versions.into_values())
        .collect())
}

impl Objects {
    /// Reads a document that `kubectl get -o json` printed, and takes the namespace that has the version.
    ///
    /// # Errors
    /// As [`Selection::read`].
    pub fn parse(text: &str, name: &str, namespace: Option<&str>) -> Result<Self, FailureReport> {
        let mut all = All::default();
        all.take_document(text, Path::new("the document"))?;
        all.choose(name, namespace)
    }

    /// A version by its name.
    ///
    /// # Errors
    /// [`FailureReason::InputNotFound`], with names that are there.
    pub fn version(&self, name: &str) -> Result<&ModelVersion, FailureReport> {
        let place = format!("in namespace '{}'", self.namespace);
        self.versions
            .get(name)
            .ok_or_else(|| no_such_version(name, &place, self.versions.keys()))
    }

    fn merge(&mut self, other: Self) {
        self.jobs.extend(other.jobs);
        self.versions.extend(other.versions);
        self.deployments.extend(other.deployments);
        self.monitors.extend(other.monitors);
    }
}

/// Objects of all namespaces, by namespace.
#[derive(Default)]
struct All(BTreeMap<String, Objects>);

impl All {
    /// Takes a List, a list of one kind, or a single object.
    fn take_document(&mut self, text: &str, from: &Path) -> Result<(), FailureReport> {
        let unreadable = |problem: &dyn Display| {
            let message = format!(
                "{} is not what `kubectl get tj,mv,md,dm -o json` prints: {problem}",
                from.display()
            );
            failure(FailureReason::InputUnreadable, message)
        };
        let document: Value = serde_json::from_str(text).map_err(|problem| unreadable(&problem))?;
        let Some(kind) = document["kind"].as_str() else {
            return Err(unreadable(&"it has no kind"));
        };
        let kind = kind.to_owned();
        match document {
            Value::Object(mut fields) if kind.ends_with("List") => match fields.remove("items") {
                Some(Value::Array(items)) => self.take_items(items, &kind),
                Some(_) | None => Err(unreadable(&"the list has no items")),
            },
            object => self.take_items(vec![object], ""),
        }
    }

    /// Takes the items of a list. Those of a list of one kind need not say it again.
    fn take_items(&mut self, items: Vec<Value>, list: &str) -> Result<(), FailureReport> {
        let of_list = list.strip_suffix("List").unwrap_or_default();
        for item in items {
            let group = item["apiVersion"].as_str().map(str::to_owned);
            let is_ours = group.is_none_or(|group| group.starts_with(&format!("{GROUP}/")));
            let kind = item["kind"].as_str().unwrap_or(of_list).to_owned();
            if is_ours {
                self.take(item, &kind)?;
            }
        }
        Ok(())
    }

    /// Takes an object of one of our kinds; others are passed over.
    fn take(&mut self, item: Value, kind: &str) -> Result<(), FailureReport> {
        let namespace = item["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let place = self.0.entry(namespace.clone()).or_default();
        place.namespace = namespace;
        match kind {
            "TrainingJob" => insert(&mut place.jobs, item, kind),
            "ModelVersion" => insert(&mut place.versions, item, kind),
            "ModelDeployment" => insert(&mut place.deployments, item, kind),
            "DriftMonitor" => insert(&mut place.monitors, item, kind),
            _ => Ok(()),
        }
    }

    /// The objects of the namespace that is asked for, or that alone has the version. What says no namespace, as a
    /// manifest may, belongs to all.
    fn choose(mut self, name: &str, namespace: Option<&str>) -> Result<Objects, FailureReport> {
        let having: Vec<String> = self
            .0
            .iter()
            .filter(|(_, objects)| objects.versions.contains_key(name))
            .map(|(namespace, _)| namespace.clone())
            .collect();
        let namespace = match (namespace, having.as_slice()) {
            (Some(namespace), _) => namespace.to_owned(),
            (None, [one]) => one.clone(),
            (None, []) => {
                let known = self.0.values().flat_map(|objects| objects.versions.keys());
                return Err(no_such_version(name, "among the objects", known));
            }
            (None, several) => {
                let message = format!(
                    "there is a ModelVersion '{name}' in each of the namespaces {}: say which is meant with -n",
                    several.join(", ")
                );
                return Err(failure(FailureReason::InvalidArguments, message));
            }
        };
        let anywhere = self.0.remove("").unwrap_or_default();
        let mut objects = self.0.remove(&namespace).unwrap_or_default();
        objects.merge(anywhere);
        objects.namespace = namespace;
        objects.version(name)?;
        Ok(objects)
    }
}

/// Reads an object into its type, by its name.
fn insert<K: Resource + DeserializeOwned>(
    objects: &mut BTreeMap<String, K>,
    item: Value,
    kind: &str,
) -> Result<(), FailureReport> {
    let name = item["metadata"]["name"]
        .as_str()
        .unwrap_or("without a name")
        .to_owned();
    let object: K = serde_json::from_value(item).map_err(|problem| {
        let message = format!("{kind} {name} is not as its definition says: {problem}");
        failure(FailureReason::InputUnreadable, message)
    })?;
    objects.insert(object.name_any(), object);
    Ok(())
}

fn no_such_version<'a>(
    name: &str,
    place: &str,
    known: impl Iterator<Item = &'a String>,
) -> FailureReport {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let there = match known.as_slice() {
        [] => "there is none at all; `kubectl get modelversions -A` lists those of all namespaces"
            .to_owned(),
        few if few.len() <= NAMED => format!("there are: {}", few.join(", ")),
        many => format!(
            "there are: {} and {} more",
            many[..NAMED].join(", "),
            many.len() - NAMED
        ),
    };
    let message = format!("there is no ModelVersion '{name}' {place}; {there}");
    failure(FailureReason::InputNotFound, message)
}

fn read_text(path: &Path) -> Result<String, FailureReport> {
    let read = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|problem| {
        let message = format!("{} cannot be read: {problem}", path.display());
        failure(FailureReason::InputNotFound, message)
    })
}

/// Lists the four kinds in a namespace, one request each.
async fn from_cluster(name: &str, namespace: Option<&str>) -> Result<Objects, FailureReport> {
    let unreachable = |doing: &str, problem: &dyn std::error::Error| {
        let message = format!(
            "{doing} failed: {}; without a cluster at hand, give what `kubectl get tj,mv,md,dm -o json` prints with --from",
            chain(problem)
        );
        failure(FailureReason::InputNotFound, message)
    };
    let config = Config::infer()
        .await
        .map_err(|problem| unreachable("finding the cluster", &problem))?;
    let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
    let client = Client::try_from(config)
        .map_err(|problem| unreachable("connecting to the cluster", &problem))?;
    let lists = futures::try_join!(
        list::<TrainingJob>(&client, &namespace),
        list::<ModelVersion>(&client, &namespace),
        list::<ModelDeployment>(&client, &namespace),
        list::<DriftMonitor>(&client, &namespace),
    );
    let (jobs, versions, deployments, monitors) = lists.map_err(|problem| {
        unreachable(
            &format!("listing the objects of namespace '{namespace}'"),
            &problem,
        )
    })?;
    let mut all = All::default();
    for (kind, items) in [
        ("TrainingJobList", jobs),
        ("ModelVersionList", versions),
        ("ModelDeploymentList", deployments),
        ("DriftMonitorList", monitors),
    ] {
        all.take_items(items, kind)?;
    }
    all.choose(name, Some(&namespace))
}

/// The objects of a kind, as the API server writes them: one that cannot be read is named, not lost.
async fn list<K: Resource<DynamicType = ()>>(
    client: &Client,
    namespace: &str,
) -> Result<Vec<Value>, kube::Error> {
    let request = Request::new(K::url_path(&(), Some(namespace)))
        .list(&ListParams::default())
        .map_err(kube::Error::BuildRequest)?;
    let mut list: Value = client.request(request).await?;
    match list.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        Some(_) | None => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(name: &str, namespace: &str) -> Value {
        let (model, number) = name.rsplit_once('-').expect("a version's name");
        let number: i64 = number.parse().expect("a number");
        json!({
            "apiVersion": "windlass.dev/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "model": model, "version": number,
                "artifact": {"uri": "pvc://models/a", "digest": format!("sha256:{}", "a".repeat(64)), "format": "ONNX"},
            },
        })
    }

    fn list(items: &[Value]) -> String {
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }

    fn message(problem: &FailureReport) -> String {
        format!("{:?}: {}", problem.reason, problem.message)
    }

    #[test]
    fn a_list_of_mixed_kinds_a_list_of_one_kind_and_a_single_object_are_read() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
        let other = json!({"apiVersion": "example.com/v1", "kind": "ModelVersion", "metadata": {"name": "b"}});
        let mixed = list(&[version("churn-1", "growth"), pod, other]);
        let objects = Objects::parse(&mixed, "churn-1", None).expect("objects");
        assert_eq!(objects.versions.len(), 1);
        assert_eq!(objects.namespace, "growth");

        let mut bare = version("churn-1", "growth");
        for field in ["kind", "apiVersion"] {
            bare.as_object_mut().expect("an object").remove(field);
        }
        let typed = json!({"kind": "ModelVersionList", "items": [bare]}).to_string();
        let single = version("churn-1", "growth").to_string();
        for text in [typed, single] {
            assert_eq!(
                Objects::parse(&text, "churn-1", None).expect("objects"),
                objects
            );
        }
    }

    #[test]
    fn the_namespace_is_the_one_that_has_the_version_or_has_to_be_said() {
        let text = list(&[
            version("churn-1", "growth"),
            version("churn-2", "growth"),
            version("churn-1", "other"),
        ]);
        let one = Objects::parse(&text, "churn-2", None).expect("objects");
        assert_eq!((one.namespace.as_str(), one.versions.len()), ("growth", 2));
        let said = Objects::parse(&text, "churn-1", Some("other")).expect("objects");
        assert_eq!(said.versions.len(), 1);
        let problem = Objects::parse(&text, "churn-1", None).map_err(|problem| message(&problem));
        let problem = problem.expect_err("which one?");
        assert!(problem.contains("growth, other"), "{problem}");
        assert!(problem.starts_with("InvalidArguments"), "{problem}");
    }

    #[test]
    fn a_manifest_without_a_namespace_belongs_to_any() {
        let mut bare = version("churn-1", "");
        bare["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("namespace");
        let text = list(&[bare, version("churn-2", "growth")]);
        let objects = Objects::parse(&text, "churn-2", None).expect("objects");
        assert_eq!(objects.versions.len(), 2);
    }

    #[test]
    fn what_is_not_there_or_cannot_be_read_is_named() {
        let all: Vec<Value> = (1..=12)
            .map(|number| version(&format!("churn-{number}"), "growth"))
            .collect();
        let mut wrong = version("churn-3", "growth");
        wrong["spec"]["artifact"] = json!("nowhere");
        for (text, name, namespace, said) in [
            (
                list(&all),
                "churn-13",
                None,
                "InputNotFound: there is no ModelVersion 'churn-13'",
            ),
            (list(&all), "churn-13", None, "and 2 more"),
            (
                list(&all),
                "churn-1",
                Some("other"),
                "in namespace 'other'; there is none at all",
            ),
            (
                list(&[wrong]),
                "churn-3",
                None,
                "InputUnreadable: ModelVersion churn-3 is not as its definition says",
            ),
            (
                "{".to_owned(),
                "churn-1",
                None,
                "InputUnreadable: the document is not what",
            ),
            ("{}".to_owned(), "churn-1", None, "it has no kind"),
            (
                "{\"kind\": \"List\"}".to_owned(),
                "churn-1",
                None,
                "the list has no items",
            ),
        ] {
            let found = Objects::parse(&text, name, namespace).map_err(|problem| message(&problem));
            let found = found.expect_err(said);
            assert!(found.contains(said), "{found}");
        }
    }
}
