//! Bringing a cluster up: what is there already, what of it can be used, and in which order the
//! rest is started.
//!
//! ```text
//! up ──> lock(name) ──> is it up? ──yes──> start again what has died ──> ready? ──> done
//!                          │no, or not as it was asked for                │no
//!                          v                                              │
//!                       demolish <────────────────────────────────────────┘
//!                          v
//!                       prepare, start one after the other ──> ready ──> done
//! ```

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::control_plane::{Place, free_ports};
use crate::down::{demolish, down_orphan, lock};
use crate::kubectl::Kubectl;
use crate::process::{Component, Identity, wait_for};
use crate::programs;
use crate::record::{self, Addition, Options, Record, Shape};
use crate::{gateway, jobset, kueue, kwok, node, paths, supervisor};

/// How long to wait for a cluster of the same name that another living process uses.
const PATIENCE_FOR_OTHERS: Duration = Duration::from_mins(15);

/// What the other components cannot start without.
const FIRST: [&str; 4] = ["supervisor", "etcd", "kube-apiserver", "containerd"];

/// Brings a cluster up, for the owner alone or for whoever wants it.
pub fn bring_up(options: &Options, owner: Option<Identity>) -> Result<Record> {
    options.check()?;
    if options.shape == Shape::Node {
        node::check_machine()?;
    }
    programs::ensure(&options.programs())?;
    sweep(&options.name)?;

    let name = options.name.as_str();
    let folder = paths::cluster(name)?;
    let (_lock, found) = claim(options, owner)?;
    if let Some(mut record) = found {
        match mend(&mut record, &folder) {
            Ok(()) => return Ok(record),
            Err(error) => eprintln!("'{name}' cannot be mended, and is made anew: {error:#}"),
        }
    }
    demolish(name)?;
    let record = Record {
        options: options.clone(),
        owner,
        boot: record::boot(),
        port: 0,
        gateway_port: None,
        is_complete: false,
        components: Vec::new(),
    };
    create(record, &folder).map_err(|error| {
        let logs = keep_logs(&folder);
        let error = match demolish(name) {
            Ok(()) => error,
            Err(second) => error.context(format!("then, taking it down again: {second:#}")),
        };
        match logs {
            Ok(logs) => error.context(format!(
                "bringing up '{name}' (its logs: {})",
                logs.display()
            )),
            Err(_) => error.context(format!("bringing up '{name}'")),
        }
    })
}

/// Takes the name: its lock, and the cluster that is up under it and can be used.
fn claim(options: &Options, owner: Option<Identity>) -> Result<(File, Option<Record>)> {
    let name = options.name.as_str();
    let started = Instant::now();
    loop {
        let lock = lock(name)?;
        // A record that cannot be read is as good as none: what it was about is taken down.
        let Some(record) = Record::read(name).unwrap_or_default() else {
            return Ok((lock, None));
        };
        let was_up = record.is_complete && record.boot == record::boot();
        let is_used = record.components.iter().any(Component::is_alive);
        match record.owner {
            None if was_up && owner.is_none() && record.options == *options => {
                return Ok((lock, Some(record)));
            }
            None if was_up && is_used && owner.is_none() => {
                bail!(
                    "'{name}' is up as something else ({:?}): take it down first",
                    record.options
                )
            }
            None if was_up && is_used => {
                bail!("a cluster '{name}' is up that stays: take it down, or choose another name")
            }
            Some(other) if Some(other) == owner => {
                bail!("this process has a cluster '{name}' already")
            }
            Some(other) if other.is_alive() => {
                drop(lock);
                if started.elapsed() > PATIENCE_FOR_OTHERS {
                    bail!(
                        "process {} has had a cluster '{name}' for too long",
                        other.pid
                    );
                }
                thread::sleep(Duration::from_millis(200));
            }
            _ => return Ok((lock, None)),
        }
    }
}

/// Moves the logs of a cluster that did not come up to where they stay.
fn keep_logs(folder: &Path) -> Result<PathBuf> {
    let name = folder
        .file_name()
        .context("a cluster's folder has a name")?;
    let kept = paths::cache()?.join("failed").join(name);
    let _ = fs::remove_dir_all(&kept);
    paths::create(&kept)?;
    fs::rename(folder.join("logs"), kept.join("logs")).context("keeping the logs")?;
    Ok(kept)
}

/// Takes down clusters whose owner has ended without a word.
fn sweep(except: &str) -> Result<()> {
    for name in record::names()?.iter().filter(|name| *name != except) {
        if Record::read(name).is_ok_and(|record| record.is_some_and(|record| record.is_orphan())) {
            down_orphan(name)?;
        }
    }
    Ok(())
}

fn create(mut record: Record, folder: &Path) -> Result<Record> {
    let options = record.options.clone();
    let name = options.name.as_str();
    paths::create(&folder.join("logs"))?;
    let programs = programs::ensure(&options.programs())?;
    let [outside_port, gateway_port, etcd, etcd_peer] = free_ports()?;
    record.port = outside_port;
    let has_gateway = options.with.contains(&Addition::Gateway);
    record.gateway_port = has_gateway.then_some(gateway_port);
    record.write()?;

    let mut place = Place {
        folder,
        entering: Vec::new(),
        address: Ipv4Addr::LOCALHOST,
        port: outside_port,
        outside_port,
        etcd: (etcd, etcd_peer),
        audit_log: options.audit_log,
        audits_reads: options.audits_reads,
        feature_gates: &options.feature_gates,
    };
    if options.shape == Shape::Node {
        place = Place {
            entering: node::entering(name),
            address: node::ADDRESS,
            port: node::API_PORT,
            etcd: (2379, 2380),
            ..place
        };
    }
    let authority = place.prepare()?;
    if options.shape == Shape::Node {
        node::prepare(name, folder, &authority)?;
    }
    if let Some(component) = supervisor(&record)? {
        start(&mut record, folder, component)?;
    }
    start(&mut record, folder, place.etcd(&programs))?;
    start(&mut record, folder, place.api_server(&programs))?;
    if options.shape == Shape::Node {
        start(
            &mut record,
            folder,
            node::containerd(name, folder, &programs),
        )?;
    }
    wait_until_ready(&record, folder)?;
    start(
        &mut record,
        folder,
        place.controller_manager(&programs, &options),
    )?;
    match options.shape {
        Shape::Api => {}
        Shape::Kwok => {
            start(&mut record, folder, place.scheduler(&programs))?;
            start(
                &mut record,
                folder,
                kwok::component(folder, &programs, &options)?,
            )?;
            kwok::make_nodes(&admin(folder)?, &options)?;
        }
        Shape::Node => {
            start(&mut record, folder, place.scheduler(&programs))?;
            for component in node::late_components(name, folder, &programs) {
                start(&mut record, folder, component)?;
            }
            node::furnish(&record, folder)?;
        }
    }
    for addition in &options.with {
        match addition {
            Addition::Kueue => {
                kueue::install(&admin(folder)?, folder, &programs)?;
                let component = kueue::component(folder, &programs).within(place.entering.clone());
                start(&mut record, folder, component)?;
            }
            Addition::Jobset => {
                jobset::install(&admin(folder)?, folder, &authority, &programs)?;
                let component = jobset::component(folder, &programs).within(place.entering.clone());
                start(&mut record, folder, component)?;
            }
            Addition::Gateway => {
                gateway::install(&admin(folder)?, &programs)?;
                let component =
                    gateway::component(folder, &programs).within(place.entering.clone());
                start(&mut record, folder, component)?;
            }
        }
    }
    wait_until_usable(&record, folder)?;
    record.is_complete = true;
    record.write()?;
    Ok(record)
}

/// The supervisor relays to a real node's API server, and ends a cluster with its owner.
fn supervisor(record: &Record) -> Result<Option<Component>> {
    let component = supervisor::component(&record.options.name);
    match (record.options.shape, record.owner) {
        (Shape::Node, _) => component.map(Some),
        (_, None) => Ok(None),
        // Without it, what a killed test leaves behind waits for the next `up`.
        (_, Some(_)) => Ok(component
            .inspect_err(|error| {
                eprintln!("nothing watches over '{}': {error:#}", record.options.name);
            })
            .ok()),
    }
}

fn admin(folder: &Path) -> Result<Kubectl> {
    Kubectl::new(&folder.join("admin.kubeconfig"))
}

/// Starts a component and writes down that it runs.
fn start(record: &mut Record, folder: &Path, mut component: Component) -> Result<()> {
    component.start(folder)?;
    record.components.push(component);
    record.write()
}

/// Starts again those components that have ended.
pub fn mend(record: &mut Record, folder: &Path) -> Result<()> {
    for is_first in [true, false] {
        for at in 0..record.components.len() {
            let component = &mut record.components[at];
            if FIRST.contains(&component.name.as_str()) == is_first && !component.is_alive() {
                component.start(folder)?;
                record.write()?;
            }
        }
        wait_until_ready(record, folder)?;
    }
    wait_until_usable(record, folder)
}

/// The API server answers that it is ready.
fn wait_until_ready(record: &Record, folder: &Path) -> Result<()> {
    let kubectl = admin(folder)?;
    wait_for("the API server's readiness", Duration::from_mins(2), || {
        for component in &record.components {
            if FIRST.contains(&component.name.as_str()) {
                component.check(folder)?;
            }
        }
        let is_listening = TcpStream::connect((Ipv4Addr::LOCALHOST, record.port)).is_ok();
        let question = ["get", "--raw=/readyz", "--request-timeout=5s"];
        Ok(is_listening && kubectl.run(&question).is_ok())
    })
}

/// Pods can be made: the controller manager has made their service account. A node is ready.
fn wait_until_usable(record: &Record, folder: &Path) -> Result<()> {
    let kubectl = admin(folder)?;
    wait_for(
        "the default service account",
        Duration::from_mins(1),
        || {
            for component in &record.components {
                component.check(folder)?;
            }
            let question = ["get", "serviceaccount", "default", "--namespace=default"];
            Ok(kubectl.run(&question).is_ok())
        },
    )?;
    match record.options.shape {
        Shape::Api => {}
        Shape::Kwok => kwok::wait_until_ready(&kubectl, record.options.fake_nodes)?,
        Shape::Node => node::wait_until_ready(record, folder, &kubectl)?,
    }
    for addition in &record.options.with {
        match addition {
            Addition::Kueue => kueue::wait_until_ready(record, folder, &kubectl)?,
            Addition::Jobset => jobset::wait_until_ready(record, folder, &kubectl)?,
            Addition::Gateway => gateway::wait_until_ready(record, folder)?,
        }
    }
    Ok(())
}
