//! etcd, the API server, the controller manager and the scheduler: how each is called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::certificates::{Authority, Subject};
use crate::paths;
use crate::process::Component;
use crate::programs::Program;
use crate::record::Options;

/// Native gang scheduling is beta in 1.37, and off by default.
const NATIVE_GANGS: &str = "GenericWorkload";
/// The first address of the Services' range is the API server's own.
const SERVICES: &str = "10.96.0.0/16";
const SERVICE_OF_API_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));

/// Where a control plane lives.
pub struct Place<'a> {
    /// The cluster's folder.
    pub folder: &'a Path,
    /// What `nsenter` is told of its namespaces; nothing is the caller's own, where only loopback is used.
    pub entering: Vec<String>,
    /// The address under which the cluster's own programs reach it.
    pub address: Ipv4Addr,
    /// The API server's port on that address.
    pub port: u16,
    /// The port by which a process outside of the namespace reaches it on loopback.
    pub outside_port: u16,
    /// etcd's ports, for clients and for itself.
    pub etcd: (u16, u16),
    /// Whether the API server writes down every write.
    pub audit_log: bool,
    /// Whether reads are in it.
    pub audits_reads: bool,
    /// Feature gates that are on, beside that of native gang scheduling.
    pub feature_gates: &'a BTreeSet<String>,
}

/// Ports of loopback that are free now, all different.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

impl Place<'_> {
    fn server(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    fn gates(&self) -> String {
        let more = self.feature_gates.iter().map(String::as_str);
        let all: Vec<String> = [NATIVE_GANGS]
            .into_iter()
            .chain(more)
            .map(|gate| format!("{gate}=true"))
            .collect();
        format!("--feature-gates={}", all.join(","))
    }

    fn pki(&self, file: &str) -> PathBuf {
        self.folder.join("pki").join(file)
    }

    /// Makes every certificate and kubeconfig, and the files that the programs read.
    pub fn prepare(&self) -> Result<Authority> {
        let authority = Authority::new(self.folder)?;
        authority.issue(&Subject {
            file: "apiserver",
            user: "kube-apiserver",
            group: None,
            names: &[
                "localhost",
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
            ],
            addresses: &[
                Ipv4Addr::LOCALHOST.into(),
                self.address.into(),
                SERVICE_OF_API_SERVER,
            ],
        })?;
        authority.issue(&Subject {
            file: "apiserver-kubelet",
            user: "kube-apiserver-kubelet-client",
            group: Some("system:masters"),
            names: &[],
            addresses: &[],
        })?;
        let server = self.server();
        let outside = format!("https://127.0.0.1:{}", self.outside_port);
        authority.kubeconfig("admin", "admin", Some("system:masters"), &outside)?;
        authority.kubeconfig("inside", "admin", Some("system:masters"), &server)?;
        authority.kubeconfig(
            "controller-manager",
            "system:kube-controller-manager",
            None,
            &server,
        )?;
        let scheduler =
            authority.kubeconfig("scheduler", "system:kube-scheduler", None, &server)?;
        let policy = if self.audits_reads {
            AUDIT_POLICY_WITH_READS
        } else {
            AUDIT_POLICY
        };
        paths::write(&self.folder.join("audit-policy.yaml"), policy)?;
        paths::write(
            &self.folder.join("scheduler.yaml"),
            format!(
                "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
                 leaderElection: {{leaderElect: false}}\n\
                 clientConnection: {{kubeconfig: {}, qps: 2000, burst: 4000}}\n",
                scheduler.display()
            ),
        )?;
        Ok(authority)
    }

    pub fn etcd(&self, programs: &BTreeMap<Program, PathBuf>) -> Component {
        let client = format!("http://{}:{}", self.address, self.etcd.0);
        let peer = format!("http://{}:{}", self.address, self.etcd.1);
        Component::new(
            "etcd",
            &programs[&Program::Etcd],
            [
                "--name=windlass".to_owned(),
                format!("--data-dir={}", self.folder.join("etcd").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=windlass={peer}"),
                // A test's data need not outlive the machine.
                "--unsafe-no-fsync".to_owned(),
                "--quota-backend-bytes=8589934592".to_owned(),
                "--log-level=warn".to_owned(),
            ],
        )
        .within(self.entering.clone())
    }

    pub fn api_server(&self, programs: &BTreeMap<Program, PathBuf>) -> Component {
        let pki = |flag: &str, file: &str| format!("--{flag}={}", self.pki(file).display());
        let mut arguments = vec![
            format!("--etcd-servers=http://{}:{}", self.address, self.etcd.0),
            format!(
                "--bind-address={}",
                if self.entering.is_empty() {
                    self.address
                } else {
                    Ipv4Addr::UNSPECIFIED
                }
            ),
            format!("--advertise-address={}", self.address),
            format!("--secure-port={}", self.port),
            pki("tls-cert-file", "apiserver.crt"),
            pki("tls-private-key-file", "apiserver.key"),
            pki("client-ca-file", "ca.crt"),
            pki("kubelet-certificate-authority", "ca.crt"),
            pki("kubelet-client-certificate", "apiserver-kubelet.crt"),
            pki("kubelet-client-key", "apiserver-kubelet.key"),
            // Else `kubectl logs` would resolve the node's name.
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            pki("service-account-key-file", "tokens.pub"),
            pki("service-account-signing-key-file", "tokens.key"),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            self.gates(),
            "--runtime-config=scheduling.k8s.io/v1beta1=true".to_owned(),
            "--profiling=false".to_owned(),
            // In seconds. By default a watch ends after half an hour to an hour, and `kubectl get --watch` with it.
            "--min-request-timeout=86400".to_owned(),
        ];
        if self.entering.is_empty() {
            // The API server refuses to publish a loopback address in its own Service.
            arguments.push("--endpoint-reconciler-type=none".to_owned());
        }
        if self.audit_log {
            arguments.extend([
                format!(
                    "--audit-policy-file={}",
                    self.folder.join("audit-policy.yaml").display()
                ),
                format!(
                    "--audit-log-path={}",
                    self.folder.join("audit.log").display()
                ),
                // Written before the answer is sent: who has the answer can count the write.
                "--audit-log-mode=blocking".to_owned(),
                // In megabytes. By default it is begun anew after a hundred, and who reads it from a place on loses that.
                "--audit-log-maxsize=10000".to_owned(),
            ]);
        }
        Component::new(
            "kube-apiserver",
            &programs[&Program::KubeApiserver],
            arguments,
        )
        .within(self.entering.clone())
    }

    pub fn controller_manager(
        &self,
        programs: &BTreeMap<Program, PathBuf>,
        options: &Options,
    ) -> Component {
        // An endpoint of loopback is refused, and would be tried again and again.
        let controllers = if options.pods_on_loopback {
            "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller"
        } else {
            "--controllers=*"
        };
        let kubeconfig = self.folder.join("controller-manager.kubeconfig");
        let kubeconfig = kubeconfig.display();
        let pki = |flag: &str, file: &str| format!("--{flag}={}", self.pki(file).display());
        Component::new(
            "kube-controller-manager",
            &programs[&Program::KubeControllerManager],
            [
                format!("--kubeconfig={kubeconfig}"),
                pki("root-ca-file", "ca.crt"),
                pki("service-account-private-key-file", "tokens.key"),
                pki("cluster-signing-cert-file", "ca.crt"),
                pki("cluster-signing-key-file", "ca.key"),
                "--use-service-account-credentials=true".to_owned(),
                "--leader-elect=false".to_owned(),
                "--secure-port=0".to_owned(),
                controllers.to_owned(),
                self.gates(),
                "--kube-api-qps=500".to_owned(),
                "--kube-api-burst=1000".to_owned(),
                "--profiling=false".to_owned(),
            ],
        )
        .within(self.entering.clone())
    }

    pub fn scheduler(&self, programs: &BTreeMap<Program, PathBuf>) -> Component {
        Component::new(
            "kube-scheduler",
            &programs[&Program::KubeScheduler],
            [
                format!("--config={}", self.folder.join("scheduler.yaml").display()),
                self.gates(),
                "--secure-port=0".to_owned(),
            ],
        )
        .within(self.entering.clone())
    }
}

/// Every write once, when it is answered; no read.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
";

/// Every request, when it is answered.
const AUDIT_POLICY_WITH_READS: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";
