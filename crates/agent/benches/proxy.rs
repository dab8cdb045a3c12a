//! What the proxy costs: `windlass-agent proxy` in front of an echo server, of one that reads what it is asked and of
//! MLServer, on two processors at most, which the server, the proxy and the clients share.
//!
//! `make bench-proxy` runs it and writes `target/bench/proxy.json`; `memory`, `echo`, `sums` and `mlserver` as arguments
//! leave the other parts out. In the same run, under the same load: the server without a proxy, a thread that passes bytes on unread,
//! which is what a proxy costs at least, and KServe's agent, where it can be had. A rate is what 64 connections get through,
//! each with one request at a time, the best of three runs. An added latency is the difference between two such
//! distributions at one rate, half of what the proxy gets through: through the proxy, and straight to the server.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rates and times, for people"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::support::load::{Latencies, as_fast_as_it_goes, at_rate};
use self::support::processors;
use self::support::servers::{Agent, KserveAgent, MlServer, echo, forwarder, sums};

/// How long one run is.
const RUN: Duration = Duration::from_secs(4);
/// Runs, of which the best counts.
const RUNS: usize = 3;
/// Bytes of the bodies that fill the log's buffer.
const LARGE: usize = 64 << 10;

fn main() {
    processors::take_two();
    let folder = tempfile::tempdir().expect("a folder is made");
    let mut figures = Figures::default();
    let echo = echo();
    if is_asked_for("echo") {
        figures.table(folder.path(), "echo server", echo, true);
    }
    if is_asked_for("sums") {
        figures.table(folder.path(), "server that reads JSON", sums(), false);
    }
    if is_asked_for("mlserver") {
        match MlServer::start(folder.path()) {
            Ok(server) => figures.table(folder.path(), "MLServer", server.address(), false),
            Err(why) => figures.skip("MLServer", &why),
        }
    }
    if is_asked_for("memory") {
        figures.memory(folder.path(), echo);
    }
    figures.write();
}

/// Whether a part is among those that the command line names, if it names any.
fn is_asked_for(part: &str) -> bool {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

/// A request of the Open Inference Protocol, which is an answer, too, so that one that is echoed can be logged.
fn body(padding: usize) -> String {
    let pad = "x".repeat(padding);
    json!({
        "pad": pad,
        "inputs": [{"name": "predict", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}],
        "outputs": [{"name": "predict", "shape": [1], "datatype": "FP64", "data": [0.75]}],
    })
    .to_string()
}

fn best_rate(address: SocketAddr, body: &str) -> f64 {
    let rates = (0..RUNS).map(|_| as_fast_as_it_goes(address, body, RUN));
    rates.fold(0.0, f64::max)
}

#[derive(Default)]
struct Figures(Vec<Value>);

impl Figures {
    fn tell(&mut self, name: &str, value: f64, unit: &str, goal: Option<(&str, bool)>) {
        let said = match goal {
            Some((goal, true)) => format!("{goal} holds"),
            Some((goal, false)) => format!("{goal} MISSED"),
            None => String::new(),
        };
        println!("{name:66} {value:11.3} {unit:5} {said}");
        self.0.push(json!({
            "name": name, "value": value, "unit": unit,
            "goal": goal.map(|(goal, _)| goal), "holds": goal.map(|(_, holds)| holds),
        }));
    }

    fn skip(&mut self, name: &str, why: &str) {
        println!("{name:66} skipped: {why}");
        self.0.push(json!({
            "name": format!("{name}: skipped: {why}"), "value": null, "unit": "", "goal": null, "holds": null,
        }));
    }

    /// The same table for the server alone, for the agent and for its peer.
    fn table(&mut self, folder: &Path, server: &str, address: SocketAddr, has_goals: bool) {
        let body = body(0);
        let own = best_rate(address, &body);
        self.tell(&format!("{server}, alone: rate"), own, "1/s", None);
        let floor = best_rate(forwarder(address), &body);
        let name = format!("{server}, bytes passed on unread");
        self.tell(
            &format!("{name}: share of the server's own rate"),
            floor / own,
            "",
            None,
        );
        for (how, logs, share) in [
            ("metrics on", false, 0.8),
            ("every payload logged", true, 0.6),
        ] {
            let agent = Agent::start(folder, address, logs);
            let name = format!("{server}, windlass-agent, {how}");
            let goal = has_goals.then_some(share);
            self.compare(&name, agent.address(), address, own, goal);
            if logs {
                let (logged, dropped) = agent.rows();
                let all = (logged + dropped).max(1.0);
                self.tell(
                    &format!("{name}: rows that were logged"),
                    logged / all,
                    "",
                    None,
                );
            }
        }
        // It logs over HTTP alone: to a server that takes all.
        for (how, log) in [("no log", None), ("every payload logged", Some(echo()))] {
            let name = format!("{server}, KServe's agent, {how}");
            match KserveAgent::start(address, log) {
                Ok(peer) => self.compare(&name, peer.address(), address, own, None),
                Err(why) => self.skip(&name, &why),
            }
        }
    }

    /// A proxy's rate, as a share of the server's own, and what it adds to the latency at half of it.
    fn compare(
        &mut self,
        name: &str,
        proxy: SocketAddr,
        server: SocketAddr,
        own: f64,
        share: Option<f64>,
    ) {
        let body = body(0);
        let rate = best_rate(proxy, &body);
        self.tell(&format!("{name}: rate"), rate, "1/s", None);
        let goal = share.map(|share| format!(">= {share}"));
        let goal = goal.as_deref().zip(share.map(|share| rate / own >= share));
        self.tell(
            &format!("{name}: share of the server's own rate"),
            rate / own,
            "",
            goal,
        );
        let through = at_rate(proxy, &body, rate / 2.0, RUN);
        let straight = at_rate(server, &body, rate / 2.0, RUN);
        for (what, of, most) in [("p50", 0.5, 0.15), ("p99", 0.99, 1.0)] {
            let ms = |latencies: &Latencies| latencies.quantile(of).as_secs_f64() * 1000.0;
            let added = ms(&through) - ms(&straight);
            let goal = format!("<= {most}");
            let goal = share.map(|_| (goal.as_str(), added <= most));
            self.tell(
                &format!("{name}: added latency at half of it, {what}"),
                added,
                "ms",
                goal,
            );
        }
    }

    /// The most memory that the agent holds while its log cannot keep up.
    fn memory(&mut self, folder: &Path, server: SocketAddr) {
        let agent = Agent::start(folder, server, true);
        as_fast_as_it_goes(agent.address(), &body(LARGE), RUN);
        let (_, dropped) = agent.rows();
        self.tell(
            "windlass-agent, log buffer full: rows dropped",
            dropped,
            "",
            Some(("> 0", dropped > 0.0)),
        );
        let megabytes = |kind: &str| agent.memory(kind) as f64 / 1e6;
        let most = megabytes("VmHWM:");
        self.tell(
            "windlass-agent, log buffer full: memory",
            most,
            "MB",
            Some(("<= 40", most <= 40.0)),
        );
        for (what, kind) in [
            ("its own", "RssAnon:"),
            ("pages of the program", "RssFile:"),
        ] {
            let name = format!("windlass-agent, log buffer full: of that {what}, at the end");
            self.tell(&name, megabytes(kind), "MB", None);
        }
    }

    /// Writes them down, and fails where a goal is missed.
    fn write(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        std::fs::create_dir_all(&folder).expect("the folder is made");
        let text = serde_json::to_string_pretty(&self.0).expect("figures always serialize");
        std::fs::write(folder.join("proxy.json"), text).expect("the figures are written");
        if self.0.iter().any(|figure| figure["holds"] == json!(false)) {
            eprintln!("a goal is missed");
            std::process::exit(1);
        }
    }
}
