//! Kueue's own manager, outside of the cluster whose Jobs it admits.
//!
//! ```text
//! API server ──webhooks──> Service kueue-webhook-service (ExternalName) ──> 127.0.0.1:PORT
//!      ^                                                                          │
//!      └───────────────── the manager, as the administrator <─────────────────────┘
//! ```
//!
//! The program, its CRDs and its webhooks are the module's, as they are. A Service that names
//! loopback stands for what kube-proxy and a pod would do, so that each webhook keeps its
//! certificate's name. Kueue makes the certificates itself: told not to, it would read those of
//! its metrics from `/etc`, whatever the configuration says. [`wait_until_ready`] does then the
//! kubelet's part, and puts the Secret's files where the manager reads them.
//!
//! Deliberately absent: Kueue's roles (it acts as the administrator), the webhooks of kinds that
//! it is not told to manage, and the API of pending workloads (`visibility.kueue.x-k8s.io`),
//! which would write to `/visibility`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::control_plane::free_ports;
use crate::kubectl::Kubectl;
use crate::paths;
use crate::process::{Component, wait_for};
use crate::programs::Program;
use crate::record::Record;

/// Also the manager's own default.
const NAMESPACE: &str = "kueue-system";
/// The manager looks for its webhooks under names with the same beginning.
const SERVICE: &str = "kueue-webhook-service";
const SECRET: &str = "kueue-webhook-server-cert";
/// The API groups whose webhooks are installed: Kueue's own, and what it manages.
const GROUPS: [&str; 2] = ["kueue.x-k8s.io", "batch"];
/// The CRDs that the manager converts, as the module's `crd/kustomization.yaml` lists them; it
/// does not become ready before it could put its authority into each.
const CONVERTED: [&str; 5] = [
    "clusterqueues",
    "cohorts",
    "localqueues",
    "multikueueclusters",
    "workloads",
];

/// Makes what the manager needs before it starts, and writes its configuration.
pub fn install(
    kubectl: &Kubectl,
    folder: &Path,
    programs: &BTreeMap<Program, PathBuf>,
) -> Result<()> {
    let [health, metrics, webhook] = free_ports()?;
    let configuration = json!({
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
        "metrics": {"bindAddress": format!("127.0.0.1:{metrics}")},
        "webhook": {"host": "127.0.0.1", "port": webhook, "certDir": certificates(folder)},
        "leaderElection": {"leaderElect": false},
        "internalCertManagement": {
            "enable": true,
            "webhookServiceName": SERVICE,
            "webhookSecretName": SECRET,
        },
        "manageJobsWithoutQueueName": false,
        "integrations": {"frameworks": ["batch/job"]},
        "featureGates": {"VisibilityOnDemand": false},
        "clientConnection": {"qps": 500, "burst": 1000},
    });
    paths::write(
        &configuration_path(folder),
        serde_json::to_vec_pretty(&configuration)?,
    )?;
    let program = &programs[&Program::Kueue];
    let module = program.parent().context("a program lies in a folder")?;
    let objects = json!({
        "apiVersion": "v1",
        "kind": "List",
        "items": objects(kubectl, module, webhook)?,
    });
    kubectl.create(&objects.to_string())?;
    // The API server writes to new CRDs itself; the manager's own writes would be refused.
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all"])?;
    Ok(())
}

/// The manager.
pub fn component(folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    Component::new(
        "kueue",
        &programs[&Program::Kueue],
        [
            format!("--config={}", configuration_path(folder).display()),
            format!(
                "--kubeconfig={}",
                folder.join("inside.kubeconfig").display()
            ),
        ],
    )
}

/// Gives the manager its certificate, and waits until its webhooks answer.
pub fn wait_until_ready(record: &Record, folder: &Path, kubectl: &Kubectl) -> Result<()> {
    let is_running = || {
        record
            .components
            .iter()
            .filter(|component| component.name == "kueue")
            .try_for_each(|component| component.check(folder))
    };
    wait_for("kueue's certificate", Duration::from_mins(1), || {
        is_running()?;
        // The manager looks for the certificate: the key has to be there first.
        for file in ["tls.key", "tls.crt"] {
            let template = format!("go-template={{{{index .data \"{file}\" | base64decode}}}}");
            let namespace = format!("--namespace={NAMESPACE}");
            match kubectl.run(&["get", "secret", SECRET, &namespace, "-o", &template]) {
                Ok(pem) if pem.contains("-----END") => {
                    paths::write(&certificates(folder).join(file), pem)?;
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    })?;
    wait_for("kueue's webhooks", Duration::from_mins(1), || {
        is_running()?;
        Ok(kubectl.would_create(PROBE))
    })
}

/// One webhook changes it, another one checks it; it is never written.
const PROBE: &str = "\
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: probe}
";

fn configuration_path(folder: &Path) -> PathBuf {
    folder.join("kueue.yaml")
}

fn certificates(folder: &Path) -> PathBuf {
    folder.join("pki/kueue")
}

/// The module's CRDs and webhooks, reached through our Service.
fn objects(kubectl: &Kubectl, module: &Path, port: u16) -> Result<Vec<Value>> {
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, "namespace": NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
        }),
        // The manager fills it.
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
        }),
    ];
    let components = module.join("config/components");
    for mut object in kubectl.manifests(&[
        components.join("crd/bases"),
        components.join("webhook/manifests.yaml"),
    ])? {
        match object["kind"].as_str() {
            Some("CustomResourceDefinition") => convert(&mut object, port),
            Some("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
                call_here(&mut object, port)?;
            }
            kind => bail!("kueue's configuration has an object of an unexpected kind: {kind:?}"),
        }
        objects.push(object);
    }
    Ok(objects)
}

/// Has the manager convert between a CRD's versions, if it can.
fn convert(definition: &mut Value, port: u16) {
    let plural = definition["spec"]["names"]["plural"]
        .as_str()
        .unwrap_or_default();
    if CONVERTED.contains(&plural) {
        definition["spec"]["conversion"] = json!({
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {"service": service("/convert", port)},
            },
        });
    }
}

/// Has webhooks call the manager, and leaves out those of kinds that it does not manage.
fn call_here(configuration: &mut Value, port: u16) -> Result<()> {
    let name = format!(
        "kueue-{}",
        configuration["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
    );
    configuration["metadata"]["name"] = name.into();
    let webhooks = configuration["webhooks"]
        .as_array_mut()
        .context("a webhook configuration has webhooks")?;
    webhooks.retain(|webhook| {
        GROUPS
            .iter()
            .any(|group| webhook["rules"][0]["apiGroups"][0] == *group)
    });
    for webhook in webhooks {
        let path = webhook["clientConfig"]["service"]["path"]
            .as_str()
            .context("a webhook has a path")?
            .to_owned();
        webhook["clientConfig"] = json!({"service": service(&path, port)});
        if webhook["rules"][0]["apiGroups"][0] != GROUPS[0] {
            webhook["namespaceSelector"] = json!({"matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", NAMESPACE],
            }]});
        }
    }
    Ok(())
}

fn service(path: &str, port: u16) -> Value {
    json!({"name": SERVICE, "namespace": NAMESPACE, "path": path, "port": port})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(group: &str, path: &str) -> Value {
        json!({
            "name": path,
            "clientConfig": {"service": {"name": "webhook-service", "namespace": "system", "path": path}},
            "rules": [{"apiGroups": [group]}],
        })
    }

    #[test]
    fn webhooks_of_what_is_managed_call_the_manager_and_others_are_left_out() {
        let mut configuration = json!({
            "metadata": {"name": "mutating-webhook-configuration"},
            "webhooks": [
                webhook("batch", "/mutate-batch-v1-job"),
                webhook("", "/mutate--v1-pod"),
                webhook("kueue.x-k8s.io", "/mutate-workload"),
            ],
        });
        call_here(&mut configuration, 1234).unwrap();
        assert_eq!(
            configuration["metadata"]["name"],
            "kueue-mutating-webhook-configuration"
        );
        let webhooks = configuration["webhooks"].as_array().unwrap();
        assert_eq!(webhooks.len(), 2, "no pod waits for it: {webhooks:?}");
        assert_eq!(
            webhooks[0]["clientConfig"]["service"],
            service("/mutate-batch-v1-job", 1234)
        );
        assert!(webhooks[0]["namespaceSelector"].is_object());
        assert!(
            webhooks[1]["namespaceSelector"].is_null(),
            "its own kinds are checked everywhere"
        );
    }

    #[test]
    fn only_what_the_manager_converts_is_sent_to_it() {
        for (plural, is_converted) in [("workloads", true), ("resourceflavors", false)] {
            let mut definition = json!({"spec": {"names": {"plural": plural}}});
            convert(&mut definition, 1234);
            assert_eq!(definition["spec"]["conversion"].is_object(), is_converted);
        }
    }
}
