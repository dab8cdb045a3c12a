//! The runtime presets of the chart: how a model server of a kind is started, and which formats it serves.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_api::PodTemplate;

use crate::Problem;

/// All presets, by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Presets {
    /// The presets.
    #[serde(default)]
    pub presets: BTreeMap<String, Preset>,
}

/// One way to run a model server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Preset {
    /// Formats that it serves, and the environment that the server needs for each.
    pub formats: BTreeMap<String, BTreeMap<String, String>>,
    /// The pod; its first container is the server.
    pub template: PodTemplate,
}

impl Presets {
    /// The pod template for a format: of the preset that is named, or of the first that lists the format.
    ///
    /// # Errors
    /// When no preset has the name, or the one that has does not serve the format, or none does.
    pub fn template(
        &self,
        field: &str,
        name: Option<&str>,
        format: &str,
    ) -> Result<PodTemplate, Problem> {
        let names = || {
            self.presets
                .keys()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let preset = match name {
            Some(name) => self.presets.get(name).ok_or_else(|| {
                Problem::new("RuntimeNotFound", format!("{field}: there is no runtime preset {name:?}; the presets are: {}. Name one of them, or add it to the chart's values.", names()))
            })?,
            None => self.presets.values().find(|preset| preset.formats.contains_key(format)).ok_or_else(|| {
                Problem::new("RuntimeNotFound", format!("{field}: no runtime preset serves the format {format:?}; the presets are: {}. Add the format to a preset in the chart's values, or name a runtime.", names()))
            })?,
        };
        let environment = preset.formats.get(format).ok_or_else(|| {
            let formats = preset.formats.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            Problem::new("FormatNotServed", format!("{field}: the runtime preset {:?} does not serve the format {format:?}; it serves: {formats}", name.unwrap_or_default()))
        })?;
        let mut template = preset.template.clone();
        if let Some(container) = template
            .0
            .pointer_mut("/spec/containers/0")
            .and_then(serde_json::Value::as_object_mut)
        {
            let variables = container
                .entry("env")
                .or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let Some(variables) = variables.as_array_mut() {
                variables.extend(
                    environment
                        .iter()
                        .map(|(name, value)| serde_json::json!({"name": name, "value": value})),
                );
            }
        }
        Ok(template)
    }
}
