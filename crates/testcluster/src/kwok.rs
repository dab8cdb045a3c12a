//! Nodes and pods that do not exist: for tests of scale.
//!
//! kwok has no behaviour of its own: `assets/stages.yaml` is what it plays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::paths;
use crate::process::{Component, wait_for};
use crate::programs::Program;
use crate::record::Options;

const STAGES: &str = include_str!("../assets/stages.yaml");
/// What stands between two of them.
const NEXT: &str = "---\n";
/// The one that ends the pods of Jobs.
const ENDS_JOBS: &str = "name: job-pod-succeeds\n";

/// What it plays in a cluster.
fn stages(options: &Options) -> String {
    let is_played = |stage: &&str| !(options.jobs_stay && stage.contains(ENDS_JOBS));
    let played: Vec<&str> = STAGES.split(NEXT).filter(is_played).collect();
    played.join(NEXT)
}

/// kwok itself, for every node that says it is kwok's.
pub fn component(
    folder: &Path,
    programs: &BTreeMap<Program, PathBuf>,
    options: &Options,
) -> Result<Component> {
    let pods = if options.pods_on_loopback {
        "127.64.0.0/10"
    } else {
        "10.0.0.0/8"
    };
    let stages = folder.join("stages.yaml");
    paths::write(&stages, self::stages(options))?;
    Ok(Component::new(
        "kwok",
        &programs[&Program::Kwok],
        [
            format!(
                "--kubeconfig={}",
                folder.join("inside.kubeconfig").display()
            ),
            format!("--config={}", stages.display()),
            "--manage-all-nodes=false".to_owned(),
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake".to_owned(),
            "--node-lease-duration-seconds=40".to_owned(),
            "--node-ip=10.0.0.1".to_owned(),
            format!("--cidr={pods}"),
        ],
    ))
}

/// Makes the nodes `fake-0000`, `fake-0001` and so on.
pub fn make_nodes(kubectl: &Kubectl, options: &Options) -> Result<()> {
    let mut manifests = String::new();
    for number in 0..options.fake_nodes {
        let gpus = options.gpus;
        let capacity = format!(
            "{{cpu: \"64\", memory: 512Gi, ephemeral-storage: 1Ti, pods: \"250\", nvidia.com/gpu: \"{gpus}\"}}"
        );
        // Writing to a String cannot fail.
        let _ = write!(
            manifests,
            "---\napiVersion: v1\nkind: Node\n\
             metadata:\n  name: fake-{number:04}\n  annotations: {{kwok.x-k8s.io/node: fake}}\n\
             \x20 labels: {{kubernetes.io/hostname: fake-{number:04}, kubernetes.io/os: linux, \
             kubernetes.io/arch: amd64, type: kwok, topology.kubernetes.io/zone: zone-{zone}}}\n\
             status:\n  capacity: {capacity}\n  allocatable: {capacity}\n",
            zone = number % 3,
        );
    }
    if manifests.is_empty() {
        Ok(())
    } else {
        kubectl.create(&manifests)
    }
}

/// Waits until every fake node is ready.
pub fn wait_until_ready(kubectl: &Kubectl, nodes: u32) -> Result<()> {
    let wanted = usize::try_from(nodes)?;
    wait_for(
        "the fake nodes' readiness",
        Duration::from_secs(60 + u64::from(nodes) / 10),
        || {
            let ready = kubectl.run(&[
            "get",
            "nodes",
            "-o",
            "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status}{'\\n'}{end}",
        ])?;
            Ok(ready.lines().filter(|line| *line == "True").count() >= wanted)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Shape;

    #[test]
    fn pods_of_jobs_are_ended_unless_they_are_to_stay() {
        let options = Options::new("dev", Shape::Kwok);
        assert_eq!(stages(&options), STAGES);
        let without = stages(&options.with_jobs_that_stay());
        assert!(!without.contains(ENDS_JOBS));
        let count = |text: &str| text.matches("kind: Stage\n").count();
        assert_eq!(count(&without) + 1, count(STAGES));
    }
}
