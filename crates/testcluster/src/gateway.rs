//! Traefik as a real implementation of Gateway API, beside a node to whose pods it sends requests.
//!
//! ```text
//! loopback:PORT ──relay──> 10.201.0.1:8000 Traefik ──> pods, by their own addresses
//!                                             ^
//!                    API server ──HTTPRoutes──┘  (as the administrator)
//! ```
//!
//! The program is the module's, as it is; the CRDs are those of Gateway API's standard channel, in the version that
//! Traefik is built with. Routes of every namespace may name the one Gateway, `gateway-system/windlass`. One route is
//! there from the start, under a host name that nobody else has: Traefik listens before it has learnt any route, and
//! by this one [`wait_until_ready`] sees that it has learnt them all.
//!
//! Deliberately absent: TLS, Traefik's own kinds of routes, its dashboard, its roles, and a change of its defaults: it
//! takes up changes of routes at most every 2 s, as it does elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::node;
use crate::process::{Component, wait_for};
use crate::programs::Program;
use crate::record::Record;

/// The port of the Gateway's listener, on the node's address.
pub const PORT: u16 = 8000;
/// Where Traefik tells what it has learnt, on the node's address.
const API_PORT: u16 = 8001;
/// The host name of the route that is there from the start.
const PROBE: &str = "probe.windlass.invalid";

/// Makes the CRDs, the class, the Gateway and the route that tells when it is ready.
pub fn install(kubectl: &Kubectl, programs: &BTreeMap<Program, PathBuf>) -> Result<()> {
    let kept = programs[&Program::Traefik]
        .parent()
        .context("a program lies in a folder")?;
    let definitions = kubectl.manifests(&[kept.join("config/crd/standard")])?;
    for definition in &definitions {
        if definition["kind"] != "CustomResourceDefinition" {
            bail!(
                "Gateway API's CRDs have an object of an unexpected kind: {}",
                definition["kind"]
            );
        }
    }
    create(kubectl, &definitions)?;
    // A CRD that was made this moment has no conditions yet, of which kubectl complains.
    wait_for("Gateway API's CRDs", Duration::from_mins(1), || {
        Ok(kubectl
            .run(&["wait", "--for=condition=Established", "crd", "--all"])
            .is_ok())
    })?;
    create(kubectl, &objects())
}

/// Traefik.
pub fn component(folder: &Path, programs: &BTreeMap<Program, PathBuf>) -> Component {
    let address = node::ADDRESS;
    let mut component = Component::new(
        "traefik",
        &programs[&Program::Traefik],
        [
            "--providers.kubernetesgateway=true".to_owned(),
            // Without an address the Gateway's status would be an error.
            format!("--providers.kubernetesgateway.statusaddress.ip={address}"),
            format!("--entrypoints.web.address={address}:{PORT}"),
            format!("--entrypoints.traefik.address={address}:{API_PORT}"),
            "--api.insecure=true".to_owned(),
            "--api.dashboard=false".to_owned(),
            "--ping=true".to_owned(),
            "--global.checknewversion=false".to_owned(),
            "--global.sendanonymoususage=false".to_owned(),
            "--log.level=INFO".to_owned(),
            "--log.nocolor=true".to_owned(),
        ],
    );
    let kubeconfig = folder.join("inside.kubeconfig");
    component
        .environment
        .insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
    component
}

/// Waits until a request from outside of the namespace finds its route.
pub fn wait_until_ready(record: &Record, folder: &Path) -> Result<()> {
    let port = record
        .gateway_port
        .context("a cluster with a gateway has a port for it")?;
    wait_for("the gateway's first route", Duration::from_mins(1), || {
        for component in &record.components {
            if ["traefik", "supervisor"].contains(&component.name.as_str()) {
                component.check(folder)?;
            }
        }
        Ok(probe(port).is_ok_and(|answer| answer.starts_with("HTTP/1.1 302 ")))
    })
}

fn probe(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {PROBE}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn create(kubectl: &Kubectl, items: &[Value]) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    kubectl.create(&list.to_string())
}

fn objects() -> Vec<Value> {
    const VERSION: &str = "gateway.networking.k8s.io/v1";
    const NAMESPACE: &str = "gateway-system";
    const CLASS: &str = "traefik";
    const NAME: &str = "windlass";
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": VERSION,
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        }),
        json!({
            "apiVersion": VERSION,
            "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [{
                    "name": "web",
                    "protocol": "HTTP",
                    "port": PORT,
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }],
            },
        }),
        json!({
            "apiVersion": VERSION,
            "kind": "HTTPRoute",
            "metadata": {"name": "probe", "namespace": NAMESPACE},
            "spec": {
                "parentRefs": [{"name": NAME}],
                "hostnames": [PROBE],
                "rules": [{"filters": [{
                    "type": "RequestRedirect",
                    "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/ready"}},
                }]}],
            },
        }),
    ]
}
