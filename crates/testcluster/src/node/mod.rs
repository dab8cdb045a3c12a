//! A real node: kubelet, containerd, kube-proxy and CoreDNS, with the control plane, in a
//! network namespace of their own.
//!
//! ```text
//! loopback:PORT ──relay──┐            network namespace windlass-NAME
//!                        v
//!      ┌──────────── 10.201.0.1 (one end of a veth pair, both ends in here) ───────┐
//!      │ :6443 API server   :2379 etcd   :53 CoreDNS   :10250 kubelet   kube-proxy │
//!      │ 10.96.0.0/16 Services (nftables)   10.202.0.0/16 pods (a veth pair each)  │
//!      └───────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! No packet leaves the namespace: there is no device in it that leads out. Pods are joined by
//! routes (the CNI plugin `ptp`) and not by a bridge, so that Services work without the
//! kernel's bridge filter. Deliberately absent: host ports and image registries.

mod cgroups;
mod configuration;
mod mounts;
mod namespaces;
mod volumes;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::certificates::{Authority, Subject};
use crate::image;
use crate::kubectl::Kubectl;
use crate::paths;
use crate::process::{Component, end_all, output, wait_for};
use crate::programs::Program;
use crate::record::{Record, Shape};

pub use configuration::containerd;
pub use mounts::unmount_below;
pub use namespaces::{entering, network_name};
pub use volumes::host_path as volume_path;

/// The node's address, inside the namespace only.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 201, 0, 1);
/// The API server's port on it.
pub const API_PORT: u16 = 6443;
/// The node's name.
pub const NAME: &str = "node";
/// Where Debian's package has the CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Says why this machine cannot run a real node, if it cannot.
pub fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a real node needs root");
    }
    for (program, package) in [
        ("runc", "runc"),
        ("ip", "iproute2"),
        ("nft", "nftables"),
        ("nsenter", "util-linux"),
        ("busybox", "busybox-static"),
    ] {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()) {
            bail!("{program} is not there: scripts/install-packages.sh installs {package}");
        }
    }
    if !Path::new(CNI_PLUGINS).join("ptp").is_file() {
        bail!(
            "{CNI_PLUGINS}/ptp is not there: scripts/install-packages.sh installs containernetworking-plugins"
        );
    }
    output(
        Command::new("unshare").args(["--mount", "--net", "mount", "-t", "tmpfs", "none", "/mnt"]),
    )
    .context("this machine permits no mounts or no network namespaces")?;
    Ok(())
}

/// Makes what the node's programs need before they start.
pub fn prepare(name: &str, folder: &Path, authority: &Authority) -> Result<()> {
    raise_limits();
    cgroups::create(name)?;
    paths::create(&paths::run_time(name))?;
    namespaces::create(name, folder)?;
    let server = format!("https://{ADDRESS}:{API_PORT}");
    authority.kubeconfig(
        "kubelet",
        &format!("system:node:{NAME}"),
        Some("system:nodes"),
        &server,
    )?;
    authority.kubeconfig("proxy", "system:kube-proxy", None, &server)?;
    authority.issue(&Subject {
        file: "kubelet-server",
        user: &format!("system:node:{NAME}"),
        group: Some("system:nodes"),
        names: &[NAME],
        addresses: &[ADDRESS.into()],
    })?;
    configuration::write(name, folder)?;
    volumes::make_folders(folder)
}

/// What needs the API server.
pub fn late_components(
    name: &str,
    folder: &Path,
    programs: &BTreeMap<Program, PathBuf>,
) -> Vec<Component> {
    vec![
        configuration::kubelet(name, folder, programs),
        configuration::kube_proxy(name, folder, programs),
        configuration::coredns(name, folder, programs),
    ]
}

/// The pause image, and the volumes.
pub fn furnish(record: &Record, folder: &Path) -> Result<()> {
    let socket = socket(&record.options.name);
    wait_for(
        "containerd",
        Duration::from_secs(30),
        || Ok(socket.exists()),
    )?;
    let tar = folder.join("pause.tar");
    image::pause()?.write(&tar)?;
    load_image(record, folder, &tar)?;
    let kubectl = Kubectl::new(&folder.join("admin.kubeconfig"))?;
    // The node's own authorizer learns of a pod's volumes a little after the kubelet asks for
    // them; a refusal would cost that pod some 13 s.
    kubectl.run(&[
        "create",
        "clusterrolebinding",
        "windlass-node",
        "--clusterrole=system:node",
        "--group=system:nodes",
    ])?;
    volumes::apply(&kubectl, folder)
}

/// The node is ready, offers its GPUs, and names resolve.
pub fn wait_until_ready(record: &Record, folder: &Path, kubectl: &Kubectl) -> Result<()> {
    let wanted = format!("True {}", record.options.gpus);
    wait_for("the node's readiness", Duration::from_mins(2), || {
        for component in &record.components {
            component.check(folder)?;
        }
        let status = kubectl.run(&[
            "get",
            "nodes",
            "-o",
            "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Ready')].status} {.status.allocatable.nvidia\\.com/gpu}{end}",
        ])?;
        Ok(if record.options.gpus == 0 {
            status.starts_with("True")
        } else {
            status == wanted
        })
    })
}

/// Loads an image's tar into containerd.
pub fn load_image(record: &Record, folder: &Path, tar: &Path) -> Result<()> {
    if record.options.shape != Shape::Node {
        bail!(
            "'{}' has no real node that an image could be loaded into",
            record.options.name
        );
    }
    let scratch = folder.join("scratch");
    paths::create(&scratch)?;
    output(
        Command::new(Program::Ctr.path()?)
            .env("TMPDIR", scratch)
            .arg("--address")
            .arg(socket(&record.options.name))
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(tar),
    )?;
    Ok(())
}

/// Makes an image that was loaded known by its digest too, as one that was pulled from a registry is; the name by which it
/// then is: `repository@sha256:…`.
pub fn name_by_digest(record: &Record, name: &str) -> Result<String> {
    let images = || {
        let mut command = Command::new(Program::Ctr.path().context("where ctr lies")?);
        command.arg("--address").arg(socket(&record.options.name));
        command.args(["--namespace", "k8s.io", "images"]);
        anyhow::Ok(command)
    };
    let listed = output(images()?.args(["list", &format!("name=={name}")]))?;
    let mut words = listed.split_whitespace();
    let digest = words
        .find(|word| word.starts_with("sha256:"))
        .with_context(|| format!("there is no image {name} on the node:\n{listed}"))?;
    let repository = name.rsplit_once(':').map_or(name, |(before, _)| before);
    let pinned = format!("{repository}@{digest}");
    output(images()?.args(["tag", "--force", name, &pinned]))?;
    Ok(pinned)
}

/// Takes down what the kernel holds for the node. Its own programs have ended already.
pub fn demolish(name: &str, folder: &Path) -> Result<()> {
    end_all(|| cgroups::processes(name), Duration::from_secs(20))?;
    // What somebody has brought in with `nsenter`.
    end_all(|| namespaces::processes(name), Duration::from_secs(20))?;
    let state = paths::run_time(name);
    for root in [folder, &state] {
        mounts::unmount_below(root)?;
    }
    namespaces::remove(name)?;
    cgroups::remove(name)?;
    Ok(())
}

fn socket(name: &str) -> PathBuf {
    paths::run_time(name).join("containerd.sock")
}

/// Many containers watch many files.
fn raise_limits() {
    for (file, least) in [
        ("max_user_instances", 8192_u64),
        ("max_user_watches", 524_288),
    ] {
        let path = format!("/proc/sys/fs/inotify/{file}");
        let now = fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        if now.is_some_and(|now| now < least) {
            // Where it may not be raised, most clusters still come up.
            let _ = fs::write(&path, least.to_string());
        }
    }
}
