//! The flags of the cache of inputs on the nodes.

use windlass_plan::quantity::quantity;
use windlass_plan::trainingjob::InputCache;

/// Where nodes keep inputs, how much of them, and for whom.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Arguments {
    /// Folder on every node in which inputs from object stores are kept by digest; without it, none are.
    #[arg(long = "input-cache-host-path", env = "WINDLASS_INPUT_CACHE_HOST_PATH", value_name = "PATH", value_parser = host_path, requires = "namespaces")]
    host_path: Option<String>,
    /// How much of them a node keeps for a namespace, as a quantity of bytes.
    #[arg(long = "input-cache-size", env = "WINDLASS_INPUT_CACHE_SIZE", value_name = "QUANTITY", default_value = "100Gi", value_parser = bytes)]
    size: u64,
    /// The namespaces whose trainings read from there, with commas; their pods need a volume of the kind hostPath.
    #[arg(
        long = "input-cache-namespaces",
        env = "WINDLASS_INPUT_CACHE_NAMESPACES",
        value_name = "NAMES",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
}

impl Arguments {
    /// The cache, where there is to be one.
    pub fn cache(&self) -> Option<InputCache> {
        Some(InputCache {
            host_path: self.host_path.clone()?,
            bytes: self.size,
            namespaces: self.namespaces.iter().cloned().collect(),
        })
    }
}

/// A folder as the API server allows it in a volume, and not the node's root.
fn host_path(text: &str) -> Result<String, String> {
    let mut parts = text.split('/').filter(|part| !part.is_empty());
    if !text.starts_with('/') || parts.clone().next().is_none() || parts.any(|part| part == "..") {
        return Err(format!(
            "'{text}' is not the path of a folder on a node, such as /var/cache/windlass"
        ));
    }
    Ok(text.to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let bytes = quantity(text).filter(|bytes| *bytes >= 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // it saturates, and is positive
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| format!("'{text}' is not a quantity of bytes, such as 200Gi"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(line: &[&str]) -> Result<Option<InputCache>, String> {
        let line = [&["windlass"], line].concat();
        match Line::try_parse_from(line) {
            Ok(line) => Ok(line.arguments.cache()),
            Err(problem) => Err(problem.to_string()),
        }
    }

    #[test]
    fn there_is_a_cache_only_where_a_folder_and_namespaces_are_named() {
        assert_eq!(parsed(&[]), Ok(None));
        let namespaces = ["--input-cache-namespaces", "a,b"];
        assert_eq!(parsed(&namespaces), Ok(None));
        let folder = ["--input-cache-host-path", "/var/cache/windlass"];
        let problem = parsed(&folder).expect_err("it would break every namespace");
        assert!(problem.contains("--input-cache-namespaces"), "{problem}");
        let size = ["--input-cache-size", "2Gi"];
        let whole = [&folder[..], &namespaces, &size].concat();
        assert_eq!(
            parsed(&whole),
            Ok(Some(InputCache {
                host_path: "/var/cache/windlass".to_owned(),
                bytes: 2 << 30,
                namespaces: ["a", "b"].map(str::to_owned).into(),
            }))
        );
    }

    #[test]
    fn what_is_no_folder_or_no_size_is_refused() {
        for path in ["", "cache", "/", "//", "/var/../etc"] {
            assert!(host_path(path).is_err(), "{path}");
        }
        for size in ["", "0", "-1Gi", "much", "0.5"] {
            assert!(bytes(size).is_err(), "{size}");
        }
    }
}
