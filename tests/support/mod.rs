//! What the tests of the operator and its benchmark share: a cluster with Windlass' objects in it, the operator as
//! a process of its own with no more than the shipped rights, and what it wrote, by the API server's audit log.

#![allow(
    dead_code,
    reason = "not every program that includes this module uses all of it"
)]

pub mod audit;
pub mod befall;
pub mod between;
pub mod operator;
pub mod prometheus;
pub mod said;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use windlass_testcluster::{Cluster, Options};

/// The namespace of the operator and its Lease.
pub const NAMESPACE: &str = "windlass-system";
/// The group that the operators of a test are in; it has the rights of the chart's service account.
pub const GROUP: &str = "windlass-operators";

/// A cluster with Windlass' CRDs, roles and presets in it; operators are started beside it.
pub struct Bed {
    /// The cluster.
    pub cluster: Cluster,
    /// Where kubeconfigs and logs of operators go.
    pub folder: PathBuf,
}

impl Bed {
    /// Brings a cluster up, and puts Windlass' objects into it.
    pub async fn up(options: Options) -> Result<Self> {
        let cluster = tokio::task::spawn_blocking(move || Cluster::up(&options)).await??;
        Self::new(cluster)
    }

    /// Makes a namespace.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.cluster
            .kubectl()?
            .run(&["create", "namespace", name])?;
        Ok(())
    }

    /// Puts what `deploy/windlass.yaml` holds into a cluster, the operator's own Deployment apart.
    pub fn new(cluster: Cluster) -> Result<Self> {
        let folder = cluster.folder().join("operators");
        std::fs::create_dir_all(&folder)?;
        let kubectl = cluster.kubectl()?;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/windlass.yaml");
        kubectl.run(&[
            "apply",
            "--server-side",
            "-f",
            &manifest.display().to_string(),
        ])?;
        kubectl.run(&[
            "delete",
            "deployment,poddisruptionbudget",
            "--all",
            "-n",
            NAMESPACE,
        ])?;
        kubectl.run(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "crd",
            "--all",
        ])?;
        kubectl.apply(&rights())?;
        let presets = kubectl.run(&[
            "get",
            "configmap",
            "windlass-presets",
            "-n",
            NAMESPACE,
            "-o",
            r"jsonpath={.data.presets\.yaml}",
        ])?;
        std::fs::write(folder.join("presets.yaml"), presets)?;
        Ok(Self { cluster, folder })
    }

    /// A client with all rights. It belongs to the runtime that it is made in.
    pub async fn client(&self) -> Result<Client> {
        client(&self.cluster.kubeconfig_path()).await
    }

    /// A client with all rights, under a name by which the audit log knows it.
    pub async fn client_as(&self, user: &str) -> Result<Client> {
        client(&self.kubeconfig(user, "system:masters")?).await
    }

    /// A client of a user who has the rights that were given to it, and no others.
    pub async fn client_of(&self, user: &str) -> Result<Client> {
        client(&self.kubeconfig_of_user(user)?).await
    }

    /// A kubeconfig of a user who has the rights that were given to it, and no others.
    pub fn kubeconfig_of_user(&self, user: &str) -> Result<PathBuf> {
        self.kubeconfig(user, "system:authenticated")
    }

    /// A kubeconfig of a user who has the operator's rights.
    fn kubeconfig_of(&self, user: &str) -> Result<PathBuf> {
        self.kubeconfig(user, GROUP)
    }

    /// The same, by way of another address than the API server's own.
    fn kubeconfig_by(&self, user: &str, server: &str) -> Result<PathBuf> {
        let path = self.kubeconfig_of(user)?;
        let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let cluster = file
            .pointer_mut("/clusters/0/cluster")
            .context("a kubeconfig with a cluster")?;
        *cluster = serde_json::json!({"server": server});
        std::fs::write(&path, file.to_string())?;
        Ok(path)
    }

    fn kubeconfig(&self, user: &str, group: &str) -> Result<PathBuf> {
        let mut file: serde_json::Value =
            serde_json::from_slice(&std::fs::read(self.cluster.kubeconfig_path())?)?;
        let identity = file
            .pointer_mut("/users/0/user")
            .context("a kubeconfig with a user")?;
        identity["as"] = user.into();
        identity["as-groups"] = serde_json::json!([group]);
        let path = self.folder.join(format!("{user}.kubeconfig"));
        std::fs::write(&path, file.to_string())?;
        Ok(path)
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// What lets an operator lead in a namespace other than its own.
pub fn lets_lead_in(namespace: &str) -> String {
    let group = "rbac.authorization.k8s.io";
    format!(
        "apiVersion: {group}/v1\nkind: Role\nmetadata: {{name: test-leases, namespace: {namespace}}}\n\
         rules: [{{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, patch]}}]\n---\n\
         apiVersion: {group}/v1\nkind: RoleBinding\nmetadata: {{name: test-leases, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: {group}, kind: Role, name: test-leases}}\n\
         subjects: [{{kind: Group, name: {GROUP}, apiGroup: {group}}}]\n"
    )
}

/// The group gets what the chart gives to the operator's service account.
fn rights() -> String {
    let subjects = format!("[{{kind: Group, name: {GROUP}, apiGroup: rbac.authorization.k8s.io}}]");
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: test-operators}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: windlass}}\nsubjects: {subjects}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: test-operators, namespace: {NAMESPACE}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: windlass}}\nsubjects: {subjects}\n"
    )
}

/// Waits until a question has an answer; `what` is for the person who reads that it had none.
pub async fn wait<T>(what: &str, within: Duration, question: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + within;
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited {within:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a value does not change for a while, and returns it.
pub async fn settled<T: PartialEq + Debug>(
    still: Duration,
    within: Duration,
    value: impl AsyncFn() -> T,
) -> T {
    let end = Instant::now() + within;
    let (mut last, mut since) = (value().await, Instant::now());
    while since.elapsed() < still {
        assert!(
            Instant::now() < end,
            "does not settle within {within:?}: {last:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = value().await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}
