//! The operator with the real scheduler on fake nodes: gangs take devices by DRA, or wait and hold none; gangs are
//! packed within a node label.
//!
//! The devices are ResourceSlices that a test publishes, as a driver does; the scheduler allocates from them, and kwok
//! plays the kubelet. What a driver's kubelet plugin does afterwards, preparing a device for a container, is not there.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::api::scheduling::v1beta1::PodGroup;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use windlass_api::{TrainingJob, TrainingJobStatus, labels};
use windlass_testcluster::{Options, Shape};

use support::operator::Operator;
use support::said::until_said;
use support::{Bed, wait};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const NAMESPACE: &str = "devices";
const ZONE: &str = "topology.kubernetes.io/zone";
const DRIVER: &str = "gpu.example.com";

/// What a test looks at.
struct Looking {
    client: Client,
    jobs: Api<TrainingJob>,
}

impl Looking {
    async fn new(bed: &Bed) -> Result<Self> {
        let client = bed.client().await?;
        let jobs = Api::namespaced(client.clone(), NAMESPACE);
        Ok(Self { client, jobs })
    }

    async fn status(&self, name: &str) -> Result<TrainingJobStatus> {
        Ok(self.jobs.get(name).await?.status.unwrap_or_default())
    }

    async fn pods(&self, job: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let of_job = ListParams::default().labels(&format!("{}={job}", labels::TRAINING_JOB));
        Ok(api.list(&of_job).await?.items)
    }

    /// The nodes that the pods of a job have; one that has none is left out.
    async fn nodes(&self, job: &str) -> Result<Vec<String>> {
        let pods = self.pods(job).await?.into_iter();
        Ok(pods.filter_map(|pod| pod.spec?.node_name).collect())
    }

    /// Waits until so many pods of a job have a node, and returns the zones of these.
    async fn until_placed(&self, job: &str, pods: usize) -> Result<BTreeSet<String>> {
        let nodes = wait(
            &format!("{pods} pods of {job} to be placed"),
            PATIENCE,
            async || {
                let nodes = self.nodes(job).await.ok()?;
                (nodes.len() == pods).then_some(nodes)
            },
        )
        .await;
        let api: Api<Node> = Api::all(self.client.clone());
        let mut zones = BTreeSet::new();
        for name in nodes {
            zones.insert(api.get(&name).await?.labels()[ZONE].clone());
        }
        Ok(zones)
    }

    /// The devices that the claims of a job's pods were given, as node and device.
    async fn devices(&self, job: &str) -> Result<BTreeSet<(String, String)>> {
        let pods: BTreeSet<String> = self.pods(job).await?.iter().map(Pod::name_any).collect();
        let claims: Api<ResourceClaim> = Api::namespaced(self.client.clone(), NAMESPACE);
        let claims = claims.list(&ListParams::default()).await?.items.into_iter();
        let of_job = claims.filter(|claim| {
            let mut owners = claim.owner_references().iter();
            owners.any(|owner| pods.contains(&owner.name))
        });
        let allocated = of_job.filter_map(|claim| claim.status?.allocation?.devices?.results);
        Ok(allocated
            .flatten()
            .map(|one| (one.pool, one.device))
            .collect())
    }
}

/// A gang whose pods run until they are deleted.
fn gang(name: &str, workers: u32, scheduling: &str, pod: &str) -> String {
    format!(
        "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {NAMESPACE}}}\nspec:\n  backoffLimit: 0\n\
         \x20 scheduling: {{{scheduling}}}\n  workers:\n    replicas: {workers}\n    template:\n      metadata: {{annotations: {{testcluster.windlass.dev/stays: \"yes\"}}}}\n      spec: {{{pod}}}\n"
    )
}

/// A worker that takes a whole node by its eight GPUs.
const WHOLE_NODE: &str = "containers: [{name: trainer, image: none, command: [train], resources: {limits: {nvidia.com/gpu: 8}}}]";
/// A worker that has a claim of its own.
const BY_CLAIM: &str = "containers: [{name: trainer, image: none, command: [train], resources: {claims: [{name: gpus}]}}], resourceClaims: [{name: gpus, resourceClaimTemplateName: pair}]";

/// Two devices for each pod that names it.
const PAIR: &str = "
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: pair, namespace: devices}
spec: {spec: {devices: {requests: [{name: gpus, exactly: {deviceClassName: gpu.example.com, count: 2}}]}}}
";

/// What a driver publishes: four devices of each node, and what its installation brings, the DeviceClass.
fn devices(nodes: u32) -> String {
    let class = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": DRIVER},
        "spec": {"selectors": [{"cel": {"expression": format!("device.driver == '{DRIVER}'")}}]},
    });
    let slices = (0..nodes).map(|number| {
        let node = format!("fake-{number:04}");
        let devices: Vec<_> = (0..4)
            .map(|device| json!({"name": format!("gpu-{device}")}))
            .collect();
        json!({
            "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": format!("{node}-gpus")},
            "spec": {
                "driver": DRIVER, "nodeName": node, "devices": devices,
                "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
            },
        })
    });
    let all: Vec<String> = [class]
        .into_iter()
        .chain(slices)
        .map(|one| one.to_string())
        .collect();
    all.join("\n---\n")
}

#[tokio::test]
async fn gangs_take_devices_by_dra_whole_or_wait_and_hold_none() -> Result<()> {
    let bed = Bed::up(Options::new("dra", Shape::Kwok).with_fake_nodes(3)).await?;
    let kubectl = bed.cluster.kubectl()?;
    bed.namespace(NAMESPACE)?;
    kubectl.apply(&devices(3))?;
    let operator = Operator::lead(&bed, "dra")?;
    let look = Looking::new(&bed).await?;

    // Without what it names, nothing is started; with it, it goes on.
    kubectl.apply(&gang("first", 4, "", BY_CLAIM))?;
    let missing = "spec.workers.template.spec.resourceClaims[0].resourceClaimTemplateName: the ResourceClaimTemplate \"pair\" does not exist";
    until_said(
        &look.jobs,
        "first",
        &["ClaimTemplateNotFound", missing],
        PATIENCE,
    )
    .await;
    assert!(look.pods("first").await?.is_empty());
    kubectl.apply(PAIR)?;

    // Eight of the twelve devices, each once.
    look.until_placed("first", 4).await?;
    assert_eq!(look.devices("first").await?.len(), 8);
    let first = look.status("first").await?;
    assert_eq!(
        first.scheduling.map(|one| one.gang).as_deref(),
        Some("PodGroup")
    );
    assert_eq!(first.attempts[0].gpus_per_worker, Some("2".into()));

    // Four are left: room for two of the next four workers, and so for none.
    kubectl.apply(&gang("second", 4, "", BY_CLAIM))?;
    let waits = "4 of 4 workers find no node, gpu.example.com: 8 asked by resource claims; the scheduler says";
    until_said(&look.jobs, "second", &["Unschedulable", waits], PATIENCE).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(look.nodes("second").await?, [""; 0]);
    assert_eq!(look.devices("second").await?, BTreeSet::new());
    // One that fits into what is left is not held up by it.
    kubectl.apply(&gang("small", 2, "", BY_CLAIM))?;
    look.until_placed("small", 2).await?;

    // Devices that are given back go to who waits.
    kubectl.run(&[
        "-n",
        NAMESPACE,
        "patch",
        "tj",
        "first",
        "--type=merge",
        "-p",
        "{\"spec\":{\"suspend\":true}}",
    ])?;
    look.until_placed("second", 4).await?;
    assert_eq!(look.devices("second").await?.len(), 8);
    until_said(
        &look.jobs,
        "second",
        &["Running: attempt 1 is under way"],
        PATIENCE,
    )
    .await;
    let first = look.status("first").await?;
    let seconds = first.attempts[0].gpu_seconds.unwrap_or(0);
    // Four workers for three seconds and more, with two devices each.
    assert!(seconds >= 4 * 3 * 2 && seconds % 2 == 0, "{seconds}");
    assert_eq!(first.gpu_seconds, Some(seconds));
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn gangs_are_packed_within_a_zone_by_the_scheduler_as_it_is_shipped() -> Result<()> {
    // Two nodes in each of three zones.
    let bed = Bed::up(Options::new("packed", Shape::Kwok).with_fake_nodes(6)).await?;
    let kubectl = bed.cluster.kubectl()?;
    bed.namespace(NAMESPACE)?;
    let operator = Operator::lead(&bed, "packed")?;
    let look = Looking::new(&bed).await?;
    let mut taken = BTreeSet::new();
    for name in ["one", "two", "three"] {
        kubectl.apply(&gang(
            name,
            2,
            &format!("topology: {{packWithin: {ZONE}}}"),
            WHOLE_NODE,
        ))?;
        let zones = look.until_placed(name, 2).await?;
        assert_eq!(zones.len(), 1, "{name}");
        taken.extend(zones);
    }
    assert_eq!(taken.len(), 3, "each has a zone of its own");
    assert!(operator.stop()?.success());
    Ok(())
}

#[tokio::test]
async fn with_its_feature_gate_the_scheduler_finds_the_zone_that_has_room_for_all() -> Result<()> {
    // Ten nodes in three zones: four, three and three.
    let options = Options::new("topology", Shape::Kwok).with_fake_nodes(10);
    let bed = Bed::up(options.with_feature_gate("TopologyAwareWorkloadScheduling")).await?;
    let kubectl = bed.cluster.kubectl()?;
    bed.namespace(NAMESPACE)?;
    let operator = Operator::lead(&bed, "topology")?;
    let look = Looking::new(&bed).await?;
    let required = format!("topology: {{packWithin: {ZONE}}}");

    kubectl.apply(&gang("first", 4, &required, WHOLE_NODE))?;
    let zones = look.until_placed("first", 4).await?;
    assert_eq!(zones, ["zone-0".to_owned()].into());
    let groups: Api<PodGroup> = Api::namespaced(look.client.clone(), NAMESPACE);
    let constraints = groups.get("first-1").await?.spec.scheduling_constraints;
    let keys = constraints.and_then(|all| all.topology).unwrap_or_default();
    assert_eq!(keys.iter().map(|one| &one.key).collect::<Vec<_>>(), [ZONE]);

    // Six nodes are free, and no zone has four of them.
    kubectl.apply(&gang("second", 4, &required, WHOLE_NODE))?;
    until_said(
        &look.jobs,
        "second",
        &["Unschedulable: 4 of 4 workers find no node"],
        PATIENCE,
    )
    .await;
    assert_eq!(look.nodes("second").await?, [""; 0]);

    // Who only prefers to be packed starts.
    let preferred = format!("topology: {{packWithin: {ZONE}, mode: Preferred}}");
    kubectl.apply(&gang("third", 4, &preferred, WHOLE_NODE))?;
    let zones = look.until_placed("third", 4).await?;
    assert_eq!(zones, ["zone-1".to_owned(), "zone-2".to_owned()].into());
    assert!(operator.stop()?.success());
    Ok(())
}
