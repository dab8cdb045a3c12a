//! The namespaces of a node: its network, and its view of the file system.
//!
//! The view of its own is needed because the kubelet, containerd and CNI have fixed places
//! (`/var/lib/kubelet/device-plugins`, `/run/containerd`, `/var/lib/cni`, `/var/log/pods`):
//! there each node sees folders of its cluster's. And whatever is mounted for a pod is mounted
//! in there alone, so nothing of it is left when the namespace is gone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::ADDRESS;
use crate::paths;
use crate::process::{Identity, output};

/// The fixed places, and the folder of the cluster's that is seen there.
const PLACES: [(&str, &str); 5] = [
    ("/var/lib/kubelet", "kubelet"),
    ("/var/lib/cni", "cni-state"),
    ("/var/log/pods", "pod-logs"),
    ("/var/log/containers", "container-logs"),
    ("/run/containerd", "shims"),
];

/// The network namespace's name, as `ip netns` shows it.
pub fn network_name(cluster: &str) -> String {
    format!("windlass-{cluster}")
}

fn mount_namespace(cluster: &str) -> PathBuf {
    paths::run_time(cluster).join("namespace/mount")
}

/// What `nsenter` is told in order to enter both.
pub fn entering(cluster: &str) -> Vec<String> {
    vec![
        format!("--net=/run/netns/{}", network_name(cluster)),
        format!("--mount={}", mount_namespace(cluster).display()),
    ]
}

/// Makes both namespaces, and the node's address.
///
/// The address sits on one end of a veth pair whose other end is in the same namespace: not
/// every kernel has `dummy` devices. The default route makes the kernel accept packets to
/// Services' addresses, which nftables then rewrites.
pub fn create(cluster: &str, folder: &Path) -> Result<()> {
    let network = network_name(cluster);
    output(Command::new("ip").args(["netns", "add", &network]))?;
    let mount = mount_namespace(cluster);
    let holder = paths::run_time(cluster).join("namespace");
    paths::create(&holder)?;
    // A mount namespace can be kept by a file only where mounts are private.
    output(
        Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "windlass"])
            .arg(&holder),
    )?;
    output(Command::new("mount").arg("--make-private").arg(&holder))?;
    paths::write(&mount, "")?;
    output(
        Command::new("unshare")
            .arg(format!("--mount={}", mount.display()))
            .args(["--propagation=private", "true"]),
    )?;

    let mut script = format!(
        "set -e
        ip link set lo up
        ip link add node0 type veth peer name node1
        ip address add {ADDRESS}/24 dev node0
        ip link set node0 up
        ip link set node1 up
        ip route add default via 10.201.0.2 dev node0
        echo 1 > /proc/sys/net/ipv4/ip_forward
        # Copies of others' namespaces would keep those alive.
        umount --lazy --recursive /run/netns
        for held in /run/windlass/*/namespace; do
            if mountpoint -q \"$held\"; then umount --lazy --recursive \"$held\"; fi
        done\n"
    );
    for (place, own) in PLACES {
        let own = folder.join(own);
        paths::create(&own)?;
        // Writing to a String cannot fail.
        let _ = writeln!(
            script,
            "mkdir -p {place}\nmount --bind '{}' {place}",
            own.display()
        );
    }
    // Not `ip netns exec`, which hides the cgroup mounts.
    output(
        Command::new("nsenter")
            .args(entering(cluster))
            .args(["sh", "-c", &script]),
    )?;
    Ok(())
}

/// The processes in the network namespace.
pub fn processes(cluster: &str) -> Vec<Identity> {
    let name = network_name(cluster);
    if !Path::new("/run/netns").join(&name).exists() {
        return Vec::new();
    }
    let pids = output(Command::new("ip").args(["netns", "pids", &name])).unwrap_or_default();
    pids.lines()
        .filter_map(|line| Identity::of(line.trim().parse().ok()?))
        .collect()
}

/// Removes the network namespace, and with it all of its devices and rules; the other goes with
/// the mount that holds it.
pub fn remove(cluster: &str) -> Result<()> {
    let name = network_name(cluster);
    let path = Path::new("/run/netns").join(&name);
    if path.exists() {
        // One that was made half has a file and no mount: then the file is all there is.
        let deleted = output(Command::new("ip").args(["netns", "delete", &name]));
        if path.exists() && fs::remove_file(&path).is_err() {
            deleted?;
        }
    }
    Ok(())
}
