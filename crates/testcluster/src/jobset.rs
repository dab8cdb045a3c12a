//! JobSet's own manager, outside of the cluster whose JobSets it runs: a peer to measure beside.
//!
//! ```text
//! API server ──webhooks──> https://127.0.0.1:PORT, the manager, as the administrator
//! ```
//!
//! The program, its CRD and its webhooks are the module's, as they are; of its kustomization the patches are done here
//! that narrow the webhooks of pods to those of JobSets. The cluster's authority signs the webhooks' certificate.
//!
//! Deliberately absent: JobSet's roles (it acts as the administrator), its metrics, its leader election.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::certificates::{Authority, Subject};
use crate::control_plane::free_ports;
use crate::kubectl::Kubectl;
use crate::paths;
use crate::process::{Component, wait_for};
use crate::programs::Program;
use crate::record::Record;

/// Makes what the manager needs before it starts, and writes its configuration.
pub fn install(
    kubectl: &Kubectl,
    folder: &Path,
    authority: &Authority,
    programs: &BTreeMap<Program, PathBuf>,
) -> Result<()> {
    let [health, webhook] = free_ports()?;
    authority.issue(&Subject {
        file: "jobset/tls",
        user: "jobset-webhook",
        group: None,
        names: &["localhost"],
        addresses: &[Ipv4Addr::LOCALHOST.into()],
    })?;
    let configuration = json!({
        "apiVersion": "config.jobset.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": folder.join("pki/jobset")},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {"enable": false},
        "clientConnection": {"qps": 500, "burst": 1000},
    });
    paths::write(
        &configuration_path(folder),
        serde_json::to_vec_pretty(&configuration)?,
    )?;
    let module = programs[&Program::Jobset]
        .parent()
        .context("a program lies in a folder")?;
    let components = module.join("config/components");
    let authority = kubectl.base64(&folder.join("pki/ca.crt"))?;
    let mut objects = kubectl.manifests(&[
        components.join("crd/bases"),
        components.join("webhook/manifests.yaml"),
    ])?;
    for object in &mut objects {
        match object["kind"].as_str() {
            Some("CustomResourceDefinition") => {}
            Some("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
                call_here(object, webhook, &authority)?;
            }
            kind => bail!("jobset's configuration has an object of an unexpected kind: {kind:?}"),
        }
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    kubectl.create(&list.to_string())?;
    // A CRD that was made this moment has no conditions yet, of which kubectl complains.
    wait_for("jobset's CRD", Duration::from_mins(1), || {
        Ok(kubectl
            .run(&["wait", "--for=condition=Established", "crd", "--all"])
            .is_ok())
    })
}

/// The manager.
pub fn component(folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    Component::new(
        "jobset",
        &programs[&Program::Jobset],
        [
            format!("--config={}", configuration_path(folder).display()),
            format!(
                "--kubeconfig={}",
                folder.join("inside.kubeconfig").display()
            ),
            "--zap-devel=false".to_owned(),
        ],
    )
}

/// Waits until the manager's webhooks answer.
pub fn wait_until_ready(record: &Record, folder: &Path, kubectl: &Kubectl) -> Result<()> {
    wait_for("jobset's webhooks", Duration::from_mins(1), || {
        for component in &record.components {
            if component.name == "jobset" {
                component.check(folder)?;
            }
        }
        Ok(kubectl.would_create(PROBE))
    })
}

/// One webhook changes it, another one checks it; it is never written.
const PROBE: &str = "\
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: probe, namespace: default}
spec:
  replicatedJobs:
  - name: probe
    template:
      spec: {template: {spec: {restartPolicy: Never, containers: [{name: probe, image: none}]}}}
";

fn configuration_path(folder: &Path) -> PathBuf {
    folder.join("jobset.yaml")
}

/// Has webhooks call the manager, those of pods only for the pods of JobSets.
fn call_here(configuration: &mut Value, port: u16, authority: &str) -> Result<()> {
    let name = configuration["metadata"]["name"]
        .as_str()
        .context("a webhook configuration has a name")?;
    configuration["metadata"]["name"] = format!("jobset-{name}").into();
    let webhooks = configuration["webhooks"]
        .as_array_mut()
        .context("a webhook configuration has webhooks")?;
    for webhook in webhooks {
        let path = webhook["clientConfig"]["service"]["path"]
            .as_str()
            .context("a webhook has a path")?;
        let url = format!("https://127.0.0.1:{port}{path}");
        webhook["clientConfig"] = json!({"url": url, "caBundle": authority});
        if webhook["rules"][0]["resources"][0] == "pods" {
            webhook["objectSelector"] = json!({"matchExpressions": [{
                "key": "jobset.sigs.k8s.io/jobset-name",
                "operator": "Exists",
            }]});
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_call_the_manager_and_pods_of_others_do_not_wait_for_it() {
        let webhook = |path: &str, resource: &str| {
            json!({
                "clientConfig": {"service": {"name": "webhook-service", "namespace": "system", "path": path}},
                "rules": [{"resources": [resource]}],
            })
        };
        let mut configuration = json!({
            "metadata": {"name": "mutating-webhook-configuration"},
            "webhooks": [webhook("/mutate-jobset", "jobsets"), webhook("/mutate--v1-pod", "pods")],
        });
        call_here(&mut configuration, 1234, "Y2E=").unwrap();
        assert_eq!(
            configuration["metadata"]["name"],
            "jobset-mutating-webhook-configuration"
        );
        let webhooks = configuration["webhooks"].as_array().unwrap();
        assert_eq!(
            webhooks[0]["clientConfig"],
            json!({"url": "https://127.0.0.1:1234/mutate-jobset", "caBundle": "Y2E="})
        );
        assert!(webhooks[0]["objectSelector"].is_null());
        assert!(webhooks[1]["objectSelector"].is_object());
    }
}
