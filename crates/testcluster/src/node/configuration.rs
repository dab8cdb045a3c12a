//! How the node's programs are called, and the files that they read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;

use super::{ADDRESS, CNI_PLUGINS, NAME, cgroups, entering, network_name};
use crate::paths;
use crate::process::Component;
use crate::programs::Program;

/// Writes every file that they read.
pub fn write(name: &str, folder: &Path) -> Result<()> {
    let state = paths::run_time(name);
    paths::write(
        &folder.join("containerd.toml"),
        containerd_toml(folder, &state),
    )?;
    paths::write(
        &folder.join("cni/10-windlass.conflist"),
        serde_json::to_vec_pretty(&cni(name))?,
    )?;
    paths::write(
        &folder.join("kubelet.yaml"),
        serde_json::to_vec_pretty(&kubelet_configuration(name, folder, &state))?,
    )?;
    paths::write(&folder.join("Corefile"), corefile(folder))
}

pub fn containerd(name: &str, folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    let arguments = [format!(
        "--config={}",
        folder.join("containerd.toml").display()
    )];
    let mut component = Component::new("containerd", &programs[&Program::Containerd], arguments)
        .within(entering(name));
    // It looks for the shim on its PATH, and the shim for runc.
    let shim = programs[&Program::ContainerdShim]
        .parent()
        .unwrap_or(Path::new("/"));
    let path = format!(
        "{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        shim.display()
    );
    component.environment.insert("PATH".to_owned(), path);
    component
}

pub fn kubelet(name: &str, folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    Component::new(
        "kubelet",
        &programs[&Program::Kubelet],
        [
            format!("--config={}", folder.join("kubelet.yaml").display()),
            format!(
                "--kubeconfig={}",
                folder.join("kubelet.kubeconfig").display()
            ),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={ADDRESS}"),
        ],
    )
    .within(entering(name))
}

pub fn kube_proxy(name: &str, folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    Component::new(
        "kube-proxy",
        &programs[&Program::KubeProxy],
        [
            format!("--kubeconfig={}", folder.join("proxy.kubeconfig").display()),
            "--proxy-mode=nftables".to_owned(),
            format!("--hostname-override={NAME}"),
            // These are the machine's, not the namespace's.
            "--conntrack-max-per-core=0".to_owned(),
            "--conntrack-tcp-timeout-established=0".to_owned(),
            "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        ],
    )
    .within(entering(name))
}

pub fn coredns(name: &str, folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    let arguments = [
        "-conf".to_owned(),
        folder.join("Corefile").display().to_string(),
    ];
    Component::new("coredns", &programs[&Program::Coredns], arguments).within(entering(name))
}

fn containerd_toml(folder: &Path, state: &Path) -> String {
    let (folder, state) = (folder.display(), state.display());
    format!(
        r#"version = 3
root = "{folder}/containerd"
state = "{state}/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri"]

[grpc]
address = "{state}/containerd.sock"

[ttrpc]
address = "{state}/containerd.sock.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/pause:1"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{CNI_PLUGINS}"]
conf_dir = "{folder}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
Root = "{state}/runc"
SystemdCgroup = false
"#
    )
}

fn cni(name: &str) -> serde_json::Value {
    json!({
        "cniVersion": "1.0.0",
        "name": network_name(name),
        "plugins": [{
            "type": "ptp",
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.202.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn kubelet_configuration(name: &str, folder: &Path, state: &Path) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": folder.join("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": folder.join("pki/kubelet-server.crt"),
        "tlsPrivateKeyFile": folder.join("pki/kubelet-server.key"),
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", state.display()),
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups::path(name),
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        // Tolerates what a container or a small machine forbids (/dev/kmsg, some sysctls).
        "featureGates": {"KubeletInUserNamespace": true},
        "localStorageCapacityIsolation": false,
        "failSwapOn": false,
        // A full disk of the machine is not this node's business.
        "evictionHard": {
            "memory.available": "1%", "nodefs.available": "1%", "nodefs.inodesFree": "1%",
            "imagefs.available": "1%", "imagefs.inodesFree": "1%",
        },
        // An image that was loaded cannot be pulled again: none is ever collected.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "maxPods": 250,
        "registryPullQPS": 0,
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
    })
}

fn corefile(folder: &Path) -> String {
    format!(
        ".:53 {{
    bind {ADDRESS}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {}
        ttl 1
    }}
}}
",
        folder.join("inside.kubeconfig").display()
    )
}
