//! The programs that a cluster is made of: which, in which version, and how each is built.
//!
//! They are ordinary Go modules. One `go.mod` for each family lies in `go/`, is part of this
//! crate's program, and pins every dependency by checksum. Nothing is downloaded as a binary.

mod build;
mod download;

use std::path::PathBuf;

use anyhow::Result;

use crate::{Shape, paths};

pub use build::ensure;
pub use download::{Source, download};

/// The version of Kubernetes that the clusters run.
pub const KUBERNETES: &str = "v1.37.2";

const KUBERNETES_LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.37.2 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=37";

/// A program that testcluster builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// The store behind the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Jobs, Deployments, garbage collection, service account tokens.
    KubeControllerManager,
    /// The terminal's client; this crate itself speaks to the API server through it.
    Kubectl,
    /// Assigns pods to nodes, whole gangs at once.
    KubeScheduler,
    /// Plays nodes and pods that do not exist.
    Kwok,
    /// The container runtime.
    Containerd,
    /// Runs one pod's containers for containerd.
    ContainerdShim,
    /// Loads images into containerd.
    Ctr,
    /// The node's agent.
    Kubelet,
    /// Makes Service addresses work on the node.
    KubeProxy,
    /// Makes Service names resolve.
    Coredns,
    /// Installs charts.
    Helm,
    /// S3 over a folder.
    Versitygw,
    /// Queues Jobs for quota.
    Kueue,
    /// Runs sets of Jobs: a peer.
    Jobset,
    /// Sends requests to pods as HTTPRoutes say.
    Traefik,
    /// Stands before a model server and logs what it is asked: a peer.
    KserveAgent,
    /// Holds manifests against schemas.
    Kubeconform,
    /// Says what is unwise in manifests.
    KubeScore,
}

/// How a program is built.
pub(crate) struct Recipe {
    pub name: &'static str,
    pub version: &'static str,
    pub module: &'static Module,
    pub package: &'static str,
    pub cgo: bool,
    pub tags: &'static str,
    pub ldflags: &'static str,
    /// What is kept beside the program, if anything.
    pub beside: Option<Beside>,
    /// From an empty build cache on two cores, measured.
    pub minutes: f64,
}

/// Files and folders of a Go module that `go.mod` requires: the program's own, or another.
pub(crate) struct Beside {
    pub module: &'static str,
    pub paths: &'static [&'static str],
}

/// One Go module of `go/`.
pub(crate) struct Module {
    pub name: &'static str,
    pub go_mod: &'static str,
    pub go_sum: &'static str,
}

macro_rules! module {
    ($constant:ident, $name:literal) => {
        static $constant: Module = Module {
            name: $name,
            go_mod: include_str!(concat!("../../go/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../go/", $name, "/go.sum")),
        };
    };
}

module!(ETCD, "etcd");
module!(KUBERNETES_MODULE, "kubernetes");
module!(CONTAINERD, "containerd");
module!(COREDNS, "coredns");
module!(KWOK, "kwok");
module!(HELM, "helm");
module!(VERSITYGW, "versitygw");
module!(KUEUE, "kueue");
module!(JOBSET, "jobset");
module!(TRAEFIK, "traefik");
module!(KSERVE, "kserve");
module!(KUBECONFORM, "kubeconform");
module!(KUBE_SCORE, "kube-score");

impl Program {
    /// Every program, in the order in which they are built: what is needed soonest comes first,
    /// what is built only when it is asked for comes last.
    pub const ALL: [Self; 20] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Kubectl,
        Self::KubeScheduler,
        Self::Kwok,
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Coredns,
        Self::Helm,
        Self::Versitygw,
        Self::Kueue,
        Self::Jobset,
        Self::Traefik,
        Self::KserveAgent,
        Self::Kubeconform,
        Self::KubeScore,
    ];

    /// Every program but what an [`Addition`](crate::Addition) is, peers, and what reads manifests.
    pub fn of_every_shape() -> &'static [Self] {
        &Self::ALL[..14]
    }

    /// What a cluster of this shape needs.
    pub fn of(shape: Shape) -> &'static [Self] {
        match shape {
            Shape::Api => &Self::ALL[..4],
            Shape::Kwok => &Self::ALL[..6],
            Shape::Node => &[
                Self::Etcd,
                Self::KubeApiserver,
                Self::KubeControllerManager,
                Self::Kubectl,
                Self::KubeScheduler,
                Self::Containerd,
                Self::ContainerdShim,
                Self::Ctr,
                Self::Kubelet,
                Self::KubeProxy,
                Self::Coredns,
            ],
        }
    }

    /// The program's own name.
    pub fn name(self) -> &'static str {
        self.recipe().name
    }

    /// The program with this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|program| program.name() == name)
    }

    /// Where the built program lies, or will lie.
    pub fn path(self) -> Result<PathBuf> {
        let recipe = self.recipe();
        Ok(paths::cache()?
            .join("bin")
            .join(format!("{}-{}", recipe.name, recipe.version))
            .join(recipe.name))
    }

    pub(crate) fn recipe(self) -> Recipe {
        match self {
            Self::Etcd => plain("etcd", "v3.7.3", &ETCD, "go.etcd.io/etcd/server/v3", 1.6),
            Self::KubeApiserver => kubernetes(
                "kube-apiserver",
                "k8s.io/kubernetes/cmd/kube-apiserver",
                6.5,
            ),
            Self::KubeControllerManager => kubernetes(
                "kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                2.0,
            ),
            Self::Kubectl => kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl", 0.5),
            Self::KubeScheduler => kubernetes(
                "kube-scheduler",
                "k8s.io/kubernetes/cmd/kube-scheduler",
                0.2,
            ),
            Self::Kwok => plain("kwok", "v0.8.0", &KWOK, "sigs.k8s.io/kwok/cmd/kwok", 1.3),
            Self::Containerd => containerd(
                "containerd",
                "github.com/containerd/containerd/v2/cmd/containerd",
                1.0,
            ),
            Self::ContainerdShim => containerd(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                0.2,
            ),
            Self::Ctr => containerd("ctr", "github.com/containerd/containerd/v2/cmd/ctr", 0.3),
            Self::Kubelet => Recipe {
                cgo: true,
                ..kubernetes("kubelet", "k8s.io/kubernetes/cmd/kubelet", 5.0)
            },
            Self::KubeProxy => kubernetes("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", 0.3),
            Self::Coredns => plain(
                "coredns",
                "v1.15.0",
                &COREDNS,
                "github.com/coredns/coredns",
                2.0,
            ),
            Self::Helm => plain("helm", "v4.3.1", &HELM, "helm.sh/helm/v4/cmd/helm", 2.4),
            Self::Versitygw => plain(
                "versitygw",
                "v1.8.0",
                &VERSITYGW,
                "github.com/versity/versitygw/cmd/versitygw",
                1.0,
            ),
            Self::Kueue => Recipe {
                beside: Some(Beside {
                    module: "sigs.k8s.io/kueue",
                    paths: CRDS_AND_WEBHOOKS,
                }),
                ..plain(
                    "kueue",
                    "v0.18.3",
                    &KUEUE,
                    "sigs.k8s.io/kueue/cmd/kueue",
                    3.5,
                )
            },
            Self::Jobset => Recipe {
                beside: Some(Beside {
                    module: "sigs.k8s.io/jobset",
                    paths: CRDS_AND_WEBHOOKS,
                }),
                ..plain("jobset", "v0.12.0", &JOBSET, "sigs.k8s.io/jobset", 2.0)
            },
            Self::Traefik => Recipe {
                beside: Some(Beside {
                    module: "sigs.k8s.io/gateway-api",
                    paths: &["config/crd/standard"],
                }),
                ..plain(
                    "traefik",
                    "v3.6.12",
                    &TRAEFIK,
                    "github.com/traefik/traefik/v3/cmd/traefik",
                    5.0,
                )
            },
            Self::KserveAgent => plain(
                "kserve-agent",
                "v0.20.0",
                &KSERVE,
                "github.com/kserve/kserve/cmd/agent",
                2.0,
            ),
            Self::Kubeconform => plain("kubeconform", "v0.8.0", &KUBECONFORM, CONFORMS, 0.2),
            Self::KubeScore => plain("kube-score", "v1.20.0", &KUBE_SCORE, SCORES, 0.8),
        }
    }
}

const CONFORMS: &str = "github.com/yannh/kubeconform/cmd/kubeconform";
const SCORES: &str = "github.com/zegl/kube-score/cmd/kube-score";

/// Where Kueue and JobSet alike have them.
const CRDS_AND_WEBHOOKS: &[&str] = &[
    "config/components/crd/bases",
    "config/components/webhook/manifests.yaml",
];

fn plain(
    name: &'static str,
    version: &'static str,
    module: &'static Module,
    package: &'static str,
    minutes: f64,
) -> Recipe {
    Recipe {
        name,
        version,
        module,
        package,
        cgo: false,
        tags: "",
        ldflags: "-s -w",
        beside: None,
        minutes,
    }
}

fn kubernetes(name: &'static str, package: &'static str, minutes: f64) -> Recipe {
    Recipe {
        ldflags: KUBERNETES_LDFLAGS,
        ..plain(name, KUBERNETES, &KUBERNETES_MODULE, package, minutes)
    }
}

fn containerd(name: &'static str, package: &'static str, minutes: f64) -> Recipe {
    Recipe {
        tags: "no_btrfs no_devmapper no_zfs",
        ..plain(name, "v2.4.2", &CONTAINERD, package, minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_go_mod_pins_the_version_that_the_recipe_names() {
        for program in Program::ALL {
            let recipe = program.recipe();
            let pinned = recipe.module.go_mod.lines().any(|line| {
                let mut words = line.split_whitespace().filter(|word| *word != "require");
                words
                    .next()
                    .is_some_and(|module| recipe.package.starts_with(module))
                    && words.next() == Some(recipe.version)
            });
            assert!(
                pinned,
                "{} {} is not what go/{}/go.mod requires",
                recipe.name, recipe.version, recipe.module.name
            );
        }
    }

    #[test]
    fn what_is_kept_beside_a_program_is_of_a_module_that_its_go_mod_requires() {
        for program in Program::ALL {
            let recipe = program.recipe();
            let Some(beside) = recipe.beside else {
                continue;
            };
            let is_required = recipe.module.go_mod.lines().any(|line| {
                let mut words = line.split_whitespace().filter(|word| *word != "require");
                words.next() == Some(beside.module)
                    && words.next().is_some_and(|version| version.starts_with('v'))
            });
            assert!(
                is_required,
                "{} of {} is not what go/{}/go.mod requires",
                beside.module, recipe.name, recipe.module.name
            );
        }
    }

    #[test]
    fn the_server_reports_the_version_that_was_built() {
        assert!(KUBERNETES_LDFLAGS.contains(&format!("gitVersion={KUBERNETES} ")));
    }
}
