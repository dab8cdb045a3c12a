//! The runtime presets of the chart: how a model server of a kind is started, and which formats it serves.

use std::collections::BTreeMap;

use serde::Deserialize;
use windlass_api::{PodTemplate, Protocol};

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
    /// The inference protocols that it speaks; every one where none is named.
    #[serde(default)]
    pub protocols: Vec<Protocol>,
    /// The pod; its first container is the server.
    pub template: PodTemplate,
}

impl Preset {
    fn serves(&self, wanted: &Wanted<'_>) -> bool {
        self.formats.contains_key(wanted.format) && self.speaks(wanted.protocol)
    }

    fn speaks(&self, protocol: Protocol) -> bool {
        self.protocols.is_empty() || self.protocols.contains(&protocol)
    }

    fn spoken(&self) -> String {
        let all: Vec<&str> = self.protocols.iter().map(|one| one.as_str()).collect();
        all.join(", ")
    }
}

/// What a preset is looked for by.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The path of the object's part that asks, such as `spec`.
    pub field: &'a str,
    /// The preset's name, where one is named.
    pub name: Option<&'a str>,
    /// The model's format.
    pub format: &'a str,
    /// How it is to be asked.
    pub protocol: Protocol,
}

impl Presets {
    /// The preset that is named, or the first that serves the format over the protocol: its name, and its pod template.
    ///
    /// # Errors
    /// When no preset has the name, or the one that has does not serve the format or speak the protocol, or none does.
    pub fn template(&self, wanted: Wanted<'_>) -> Result<(String, PodTemplate), Problem> {
        let found = match wanted.name {
            Some(name) => self.named(name, &wanted)?,
            None => self.first(&wanted)?,
        };
        let (name, preset) = found;
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
                    preset
                        .formats
                        .get(wanted.format)
                        .into_iter()
                        .flatten()
                        .map(|(name, value)| serde_json::json!({"name": name, "value": value})),
                );
            }
        }
        Ok((name.to_owned(), template))
    }

    fn names(&self) -> String {
        let all: Vec<&str> = self.presets.keys().map(String::as_str).collect();
        all.join(", ")
    }

    fn named<'s>(
        &'s self,
        name: &'s str,
        wanted: &Wanted<'_>,
    ) -> Result<(&'s str, &'s Preset), Problem> {
        let Wanted {
            field,
            format,
            protocol,
            ..
        } = *wanted;
        let preset = self.presets.get(name).ok_or_else(|| {
            Problem::new(
                "RuntimeNotFound",
                format!(
                    "{field}.runtime: there is no runtime preset {name:?}; the presets are: {}. Name one of them, or add it to the chart's values.",
                    self.names()
                ),
            )
        })?;
        if !preset.formats.contains_key(format) {
            let formats: Vec<&str> = preset.formats.keys().map(String::as_str).collect();
            return Err(Problem::new(
                "FormatNotServed",
                format!(
                    "{field}.runtime: the runtime preset {name:?} does not serve the format {format:?}; it serves: {}",
                    formats.join(", ")
                ),
            ));
        }
        if !preset.speaks(protocol) {
            return Err(Problem::new(
                "ProtocolNotSpoken",
                format!(
                    "{field}.protocol: the runtime preset {name:?} does not speak {}; it speaks: {}",
                    protocol.as_str(),
                    preset.spoken()
                ),
            ));
        }
        Ok((name, preset))
    }

    fn first(&self, wanted: &Wanted<'_>) -> Result<(&str, &Preset), Problem> {
        let Wanted {
            field,
            format,
            protocol,
            ..
        } = *wanted;
        let mut all = self.presets.iter();
        if let Some((name, preset)) = all.find(|(_, preset)| preset.serves(wanted)) {
            return Ok((name, preset));
        }
        let mut of_format = self.presets.iter();
        let other = of_format.find(|(_, preset)| preset.formats.contains_key(format));
        Err(match other {
            Some((name, preset)) => Problem::new(
                "ProtocolNotSpoken",
                format!(
                    "{field}.protocol: no runtime preset serves the format {format:?} over {}; the preset {name:?} does over: {}. Say so in {field}.protocol.",
                    protocol.as_str(),
                    preset.spoken()
                ),
            ),
            None => Problem::new(
                "RuntimeNotFound",
                format!(
                    "{field}.runtime: no runtime preset serves the format {format:?}; the presets are: {}. Add the format to a preset in the chart's values, or name a runtime.",
                    self.names()
                ),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::object;

    fn presets() -> Presets {
        let pod =
            |image: &str| json!({"spec": {"containers": [{"name": "server", "image": image}]}});
        object(json!({"presets": {
            "mine": {"formats": {"Odd": {}}, "template": pod("mine:1")},
            "mlserver": {"formats": {"SKLearn": {"A": "1"}}, "protocols": ["OpenInference"], "template": pod("mlserver:1")},
            "onnx": {"formats": {"ONNX": {}}, "protocols": ["OpenInference"], "template": pod("onnx:1")},
            "triton": {"formats": {"ONNX": {}, "TensorRT": {}}, "protocols": ["OpenInference", "OpenInferenceGRPC"], "template": pod("triton:1")},
            "vllm": {"formats": {"HuggingFace": {}}, "protocols": ["OpenAI"], "template": pod("vllm:1")},
        }}))
    }

    #[test]
    fn the_first_preset_serves_that_knows_format_and_protocol() {
        use Protocol::{OpenAI, OpenInference, OpenInferenceGRPC, V1};
        let all = presets();
        for (name, format, protocol, expected) in [
            (None, "SKLearn", OpenInference, Ok("mlserver")),
            (None, "ONNX", OpenInference, Ok("onnx")),
            (None, "ONNX", OpenInferenceGRPC, Ok("triton")),
            (Some("triton"), "ONNX", OpenInference, Ok("triton")),
            (None, "HuggingFace", OpenAI, Ok("vllm")),
            (None, "Odd", V1, Ok("mine")),
            (
                None,
                "HuggingFace",
                OpenInference,
                Err(
                    "ProtocolNotSpoken: spec.protocol: no runtime preset serves the format \"HuggingFace\" over OpenInference; the preset \"vllm\" does over: OpenAI",
                ),
            ),
            (
                Some("vllm"),
                "HuggingFace",
                V1,
                Err(
                    "ProtocolNotSpoken: spec.protocol: the runtime preset \"vllm\" does not speak V1; it speaks: OpenAI",
                ),
            ),
            (
                Some("vllm"),
                "ONNX",
                OpenAI,
                Err(
                    "FormatNotServed: spec.runtime: the runtime preset \"vllm\" does not serve the format \"ONNX\"; it serves: HuggingFace",
                ),
            ),
            (
                Some("vlm"),
                "ONNX",
                OpenAI,
                Err(
                    "RuntimeNotFound: spec.runtime: there is no runtime preset \"vlm\"; the presets are: mine, mlserver",
                ),
            ),
            (
                None,
                "Prolog",
                OpenAI,
                Err(
                    "RuntimeNotFound: spec.runtime: no runtime preset serves the format \"Prolog\"",
                ),
            ),
        ] {
            let wanted = Wanted {
                field: "spec",
                name,
                format,
                protocol,
            };
            match (all.template(wanted), expected) {
                (Ok((found, template)), Ok(expected)) => {
                    assert_eq!(found, expected, "{wanted:?}");
                    let image = template.0.pointer("/spec/containers/0/image");
                    assert_eq!(image, Some(&json!(format!("{expected}:1"))));
                }
                (Err(Problem { reason, message }), Err(expected)) => {
                    let said = format!("{reason}: {message}");
                    assert!(said.starts_with(expected), "{said}");
                }
                (found, expected) => panic!("{wanted:?}: {found:?} instead of {expected:?}"),
            }
        }
    }
}
