//! The flags of Ballista clusters, which count windows of traffic for DriftMonitors of `spec.engine: Ballista`.
//!
//! Each is of one namespace: its executors read with keys of their own, and ask nobody who they are.

use std::collections::BTreeMap;

use windlass_plan::driftmonitor::Engine;

/// Which namespaces have a cluster, and where.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Arguments {
    /// The Ballista clusters of namespaces, with commas: growth=ballista://windlass-ballista.growth:50050. DriftMonitors of a
    /// namespace that is not named cannot have one.
    #[arg(long = "ballista", env = "WINDLASS_BALLISTA", value_name = "NAMESPACE=ballista://HOST:PORT", value_delimiter = ',', value_parser = cluster, requires = "ballista_image")]
    ballista: Vec<(String, String)>,
    /// The image of windlass-ballista, of the version of those clusters; it has the agent too.
    #[arg(
        long = "ballista-image",
        env = "WINDLASS_BALLISTA_IMAGE",
        value_name = "IMAGE"
    )]
    ballista_image: Option<String>,
}

/// The Ballista clusters of namespaces.
#[derive(Clone, Debug, Default)]
pub struct Engines {
    image: String,
    addresses: BTreeMap<String, String>,
}

impl Arguments {
    /// Those that are named.
    pub fn engines(&self) -> Engines {
        Engines {
            image: self.ballista_image.clone().unwrap_or_default(),
            addresses: self.ballista.iter().cloned().collect(),
        }
    }
}

impl Engines {
    /// That of a namespace.
    pub fn of(&self, namespace: &str) -> Option<Engine> {
        let address = self.addresses.get(namespace)?.clone();
        let image = self.image.clone();
        Some(Engine { address, image })
    }
}

/// A namespace and the scheduler of its cluster, as the agent takes it.
fn cluster(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').and_then(|(namespace, address)| {
        let (host, port) = address.strip_prefix("ballista://")?.split_once(':')?;
        let is_name = |name: &str| {
            let mut letters = name.bytes();
            !name.is_empty()
                && letters.all(|one| one.is_ascii_alphanumeric() || b"-.".contains(&one))
        };
        let is_whole = is_name(namespace) && is_name(host) && port.parse::<u16>().is_ok();
        is_whole.then(|| (namespace.to_owned(), address.to_owned()))
    });
    named.ok_or_else(|| {
        format!(
            "'{text}' is no cluster of a namespace, such as growth=ballista://windlass-ballista.growth:50050"
        )
    })
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

    fn parsed(line: &[&str]) -> Result<Engines, String> {
        let line = [&["windlass"], line].concat();
        match Line::try_parse_from(line) {
            Ok(line) => Ok(line.arguments.engines()),
            Err(problem) => Err(problem.to_string()),
        }
    }

    #[test]
    fn a_namespace_has_the_cluster_that_is_named_for_it_and_no_other_has() {
        let none = parsed(&[]).expect("there need be none");
        assert_eq!(none.of("growth"), None);
        let both = "growth=ballista://ballista.growth:50050,risk=ballista://10.0.0.1:5";
        let problem = parsed(&["--ballista", both]).expect_err("what would ask it?");
        assert!(problem.contains("--ballista-image"), "{problem}");
        let image = ["--ballista-image", "windlass-ballista:1"];
        let engines = parsed(&[&["--ballista", both], &image[..]].concat());
        let engines = engines.expect("whole");
        let of = |namespace, address: &str| {
            let image = "windlass-ballista:1".to_owned();
            let address = address.to_owned();
            assert_eq!(engines.of(namespace), Some(Engine { address, image }));
        };
        of("growth", "ballista://ballista.growth:50050");
        of("risk", "ballista://10.0.0.1:5");
        assert_eq!(engines.of("other"), None);
    }

    #[test]
    fn what_names_no_cluster_of_a_namespace_is_refused() {
        for wrong in [
            "",
            "growth",
            "ballista://host:1",
            "growth=host:1",
            "growth=http://host:1",
            "growth=ballista://host",
            "growth=ballista://:1",
            "growth=ballista://host:port",
            "growth=ballista://host:1/path",
            "=ballista://host:1",
        ] {
            let problem = cluster(wrong).expect_err("no cluster of a namespace");
            assert!(problem.contains("such as growth="), "{wrong}: {problem}");
        }
    }
}
