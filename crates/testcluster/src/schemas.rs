//! What versions of Kubernetes take, as JSON schemas for `kubeconform`.
//!
//! ```text
//!   k8s.io/kubernetes' api/openapi-spec/v3 ──┐
//!                                            ├──> FOLDER/1.33.13/deployment_apps_v1.json, …
//!   CustomResourceDefinitions ───────────────┘
//! ```
//!
//! Each file holds all that it refers to. They are strict: a field that a schema does not name is wrong. Deliberately
//! absent: rules in CEL, which no schema can say; a real API server tests these.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::paths;
use crate::programs::{Source, download};

/// The versions of Kubernetes that Windlass is for, each in its newest patch.
pub const KUBERNETES: [Source; 5] = [
    kubernetes(
        "v1.33.13",
        "h1:bmH31xUdSzeA5vk0wZAK9MZp11mdLuzUSeKk0qN3hPQ=",
    ),
    kubernetes("v1.34.4", "h1:Yy6R4QB8C9kJPp25GFqEvX5XQwY5qzKeqD0Xx6oAcmk="),
    kubernetes("v1.35.4", "h1:o/8dBC/pHVpYoGV4OAIytAlNPZbdYVTXJHoYvXC4qzM="),
    kubernetes("v1.36.3", "h1:qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="),
    kubernetes("v1.37.2", "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE="),
];

/// What `kubeconform -schema-location` is told, below the folder.
pub const LOCATION: &str = "{{ .NormalizedKubernetesVersion }}/{{ .ResourceKind }}_{{ .Group }}_{{ .ResourceAPIVersion }}.json";

/// Where OpenAPI's schemas are, and where those of a JSON schema are.
const FROM: &str = "#/components/schemas/";
const TO: &str = "#/definitions/";
const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

const fn kubernetes(version: &'static str, sum: &'static str) -> Source {
    Source {
        module: "k8s.io/kubernetes",
        version,
        sum,
    }
}

/// Writes the schemas of one version of Kubernetes and of these CustomResourceDefinitions, and returns how many.
///
/// # Errors
/// When the version's source cannot be had, or is not as is thought here.
pub fn write(folder: &Path, version: &Source, crds: &[Value]) -> Result<usize> {
    let definitions = definitions(&download(version)?.join("api/openapi-spec/v3"))?;
    let folder = folder.join(version.version);
    let mut written = 0;
    for (name, definition) in &definitions {
        // What can be in a manifest has metadata.
        if definition.pointer("/properties/metadata").is_none() {
            continue;
        }
        let kinds = definition.get("x-kubernetes-group-version-kind");
        for kind in kinds.and_then(Value::as_array).into_iter().flatten() {
            let schema = json!({"$ref": format!("{TO}{name}")});
            let path = folder.join(file_name(kind, text(kind, "version")));
            write_one(&path, schema, &definitions)?;
            written += 1;
        }
    }
    for crd in crds {
        let spec = &crd["spec"];
        let kind = json!({"group": spec["group"], "kind": spec["names"]["kind"]});
        for version in spec["versions"].as_array().into_iter().flatten() {
            let mut schema = version["schema"]["openAPIV3Schema"].clone();
            // An API server adds these to each.
            schema["properties"]["apiVersion"] = json!({"type": "string"});
            schema["properties"]["kind"] = json!({"type": "string"});
            schema["properties"]["metadata"] = json!({"$ref": format!("{FROM}{METADATA}")});
            let path = folder.join(file_name(&kind, text(version, "name")));
            write_one(&path, converted(&schema, Strictness::Strict), &definitions)?;
            written += 1;
        }
    }
    Ok(written)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// `deployment_apps_v1.json`; where there is no group, kubeconform has the version in its place.
fn file_name(kind: &Value, version: &str) -> String {
    let (group, kind) = (text(kind, "group"), text(kind, "kind"));
    let group = if group.is_empty() { version } else { group };
    format!("{}_{group}_{version}.json", kind.to_lowercase())
}

/// All that a version's documents define, by name.
fn definitions(folder: &Path) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let document: Value = serde_json::from_slice(&fs::read(&path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        let defined = document.pointer("/components/schemas");
        for (name, definition) in defined.and_then(Value::as_object).into_iter().flatten() {
            all.entry(name.clone())
                .or_insert_with(|| definition.clone());
        }
    }
    ensure!(
        all.contains_key(METADATA),
        "{} does not define {METADATA}: is it Kubernetes' own?",
        folder.display()
    );
    Ok(all)
}

/// A schema with all that it refers to, directly or not.
fn write_one(path: &Path, mut schema: Value, all: &BTreeMap<String, Value>) -> Result<()> {
    let mut found = Map::new();
    let mut wanted = BTreeSet::new();
    references(&schema, &mut wanted);
    while let Some(name) = wanted.pop_first() {
        if found.contains_key(&name) {
            continue;
        }
        let definition = all
            .get(&name)
            .with_context(|| format!("{name} is referred to and not defined"))?;
        let definition = converted(definition, Strictness::Strict);
        references(&definition, &mut wanted);
        found.insert(name, definition);
    }
    schema["definitions"] = Value::Object(found);
    paths::write(path, schema.to_string())
}

fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix(TO)) {
                    Some(referred) if name == "$ref" => {
                        into.insert(referred.to_owned());
                    }
                    _ => references(value, into),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                references(value, into);
            }
        }
        _ => {}
    }
}

/// Whether fields that are not named are wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Strict,
    /// Below `anyOf` and its like: what is there says something more of fields that are named elsewhere.
    Besides,
}

/// OpenAPI's schema as a JSON schema.
fn converted(schema: &Value, strictness: Strictness) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let is_set = |name: &str| fields.get(name) == Some(&Value::Bool(true));
    let mut all = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "$ref" => text(schema, "$ref").replacen(FROM, TO, 1).into(),
            "properties" => each(value, |value| converted(value, strictness)),
            "items" | "additionalProperties" => converted(value, strictness),
            "allOf" | "anyOf" | "oneOf" => {
                let parts = value.as_array().into_iter().flatten();
                parts
                    .map(|part| converted(part, Strictness::Besides))
                    .collect()
            }
            "not" => converted(value, Strictness::Besides),
            "type" if is_set("x-kubernetes-int-or-string") => continue,
            // Words for people, and what only an API server does.
            "description" | "default" | "example" | "nullable" | "format" => continue,
            name if name.starts_with("x-kubernetes-") => continue,
            _ => value.clone(),
        };
        all.insert(name.clone(), value);
    }
    let is_closed = fields.contains_key("properties")
        && !fields.contains_key("additionalProperties")
        && !is_set("x-kubernetes-preserve-unknown-fields");
    if is_closed && strictness == Strictness::Strict {
        all.insert("additionalProperties".to_owned(), false.into());
    }
    if is_set("x-kubernetes-int-or-string") && !fields.contains_key("anyOf") {
        all.insert(
            "anyOf".to_owned(),
            json!([{"type": "integer"}, {"type": "string"}]),
        );
    }
    if is_set("nullable") {
        return json!({"anyOf": [all, {"type": "null"}]});
    }
    Value::Object(all)
}

fn each(fields: &Value, convert: impl Fn(&Value) -> Value) -> Value {
    let fields = fields.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| (name.clone(), convert(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_closed_where_it_names_fields_and_a_field_may_have_the_name_of_a_keyword() {
        let schema = json!({
            "type": "object",
            "description": "words",
            "properties": {
                "default": {"$ref": "#/components/schemas/io.k8s.JSON"},
                "description": {"type": "string", "description": "words"},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "string"}}}},
                "port": {"x-kubernetes-int-or-string": true, "type": "string"},
                "perhaps": {"type": "string", "nullable": true},
            },
            "anyOf": [{"properties": {"map": {"type": "object"}}, "required": ["map"]}],
        });
        assert_eq!(
            converted(&schema, Strictness::Strict),
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "default": {"$ref": "#/definitions/io.k8s.JSON"},
                    "description": {"type": "string"},
                    "open": {"type": "object", "properties": {"a": {"type": "string"}}},
                    "map": {"type": "object", "additionalProperties": {
                        "type": "object", "additionalProperties": false, "properties": {"b": {"type": "string"}}
                    }},
                    "port": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "perhaps": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                },
                "anyOf": [{"properties": {"map": {"type": "object"}}, "required": ["map"]}],
            })
        );
    }

    #[test]
    fn a_file_holds_all_that_it_refers_to_also_what_refers_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let refer = |name: &str| json!({"$ref": format!("{FROM}{name}")});
        let all = BTreeMap::from([
            ("a".to_owned(), json!({"properties": {"b": refer("b")}})),
            (
                "b".to_owned(),
                json!({"properties": {"again": {"items": refer("b")}}}),
            ),
            ("c".to_owned(), json!({})),
        ]);
        let path = folder.path().join("a.json");
        let schema = json!({"$ref": "#/definitions/a"});
        write_one(&path, schema.clone(), &all).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let names: Vec<_> = written["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["a", "b"]);
        let dangling = write_one(&path, json!({"$ref": "#/definitions/d"}), &all);
        assert!(dangling.unwrap_err().to_string().contains("d is referred"));
    }
}
