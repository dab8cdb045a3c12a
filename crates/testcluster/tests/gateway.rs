//! A real Gateway beside a real node: what a roll-out relies on when it moves requests by an HTTPRoute.

mod common;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::assert_nothing_is_left_of;
use serde_json::{Value, json};
use windlass_testcluster::process::wait_for;
use windlass_testcluster::{
    Addition, Cluster, Kubectl, Options, Shape, check_machine_for_node, image,
};

/// One real node at a time: a small machine has no room for more.
static MACHINE: Mutex<()> = Mutex::new(());

/// Says why, and gives nothing, where no real node can run.
fn machine() -> Option<MutexGuard<'static, ()>> {
    match check_machine_for_node() {
        Ok(()) => Some(MACHINE.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => {
            println!("skipped: {error:#}");
            None
        }
    }
}

/// A node with a gateway and two servers, each of which answers with its own name.
fn up(name: &str) -> (Cluster, Kubectl, SocketAddr) {
    let options = Options::new(name, Shape::Node)
        .with_gpus(0)
        .with(Addition::Gateway);
    let cluster = Cluster::up(&options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tar = folder.path().join("busybox.tar");
    image::busybox("localhost/busybox:test")
        .unwrap()
        .write(&tar)
        .unwrap();
    cluster.load_image(&tar).unwrap();
    let kubectl = cluster.kubectl().unwrap();
    for server in ["first", "second"] {
        kubectl.apply(&deployment(server, 1)).unwrap();
        kubectl.apply(&service(server)).unwrap();
    }
    let available = ["wait", "--for=condition=Available", "deployment", "--all"];
    kubectl
        .run(&[&available[..], &["--timeout=60s"]].concat())
        .unwrap();
    let gateway = cluster.gateway().unwrap();
    (cluster, kubectl, gateway)
}

fn deployment(server: &str, replicas: u32) -> String {
    let script =
        format!("echo {server} > /www/index.html && exec busybox httpd -f -p 8080 -h /www");
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": server, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": server}},
            "template": {
                "metadata": {"labels": {"app": server}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "containers": [{
                        "name": "web",
                        "image": "localhost/busybox:test",
                        "args": ["-c", script],
                        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                        "volumeMounts": [{"name": "www", "mountPath": "/www"}],
                    }],
                    "volumes": [{"name": "www", "emptyDir": {}}],
                },
            },
        },
    })
    .to_string()
}

fn service(server: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": server, "namespace": "default"},
        "spec": {"selector": {"app": server}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
    .to_string()
}

fn backend(server: &str, weight: u32) -> Value {
    json!({"name": server, "port": 80, "weight": weight})
}

/// The route `models` with these rules.
fn route(rules: &Value) -> String {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "models", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "windlass", "namespace": "gateway-system"}],
            "hostnames": ["models.test"],
            "rules": rules,
        },
    })
    .to_string()
}

/// Status and body of the answer to one request, on a connection of its own.
fn ask(gateway: SocketAddr, header: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: models.test\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no answer: {answer:?}")))?;
    Ok((status, body.trim().to_owned()))
}

/// Asks until the answer is this.
fn wait_for_answer(gateway: SocketAddr, header: &str, wanted: (u16, &str)) {
    let mut last = None;
    wait_for(&format!("{wanted:?}"), Duration::from_secs(30), || {
        let answer = ask(gateway, header)?;
        let is_wanted = (answer.0, answer.1.as_str()) == wanted;
        last = Some(answer);
        Ok(is_wanted)
    })
    .unwrap_or_else(|error| panic!("{error:#}; the last answer: {last:?}"));
}

/// `status` of a condition that the gateway wrote about the route's newest generation; empty without one.
fn condition(kubectl: &Kubectl, kind: &str) -> String {
    let text = kubectl
        .run(&["get", "httproute", "models", "-o", "json"])
        .unwrap();
    let route: Value = serde_json::from_str(&text).unwrap();
    let conditions = route["status"]["parents"][0]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| {
        condition["type"] == kind
            && condition["observedGeneration"] == route["metadata"]["generation"]
    });
    found.map_or_else(String::new, |condition| {
        condition["status"].as_str().unwrap_or_default().to_owned()
    })
}

fn wait_for_condition(kubectl: &Kubectl, kind: &str, wanted: &str) {
    wait_for(&format!("{kind} {wanted}"), Duration::from_secs(30), || {
        Ok(condition(kubectl, kind) == wanted)
    })
    .unwrap();
}

/// Returns when 20 answers in a row are the second's: at one in four that comes once in 10^12.
fn wait_until_all_go_to_second(gateway: SocketAddr) -> anyhow::Result<()> {
    let mut in_a_row = 0;
    wait_for(
        "all requests at the second",
        Duration::from_secs(30),
        || {
            let (_, body) = ask(gateway, "")?;
            in_a_row = if body == "second" { in_a_row + 1 } else { 0 };
            Ok(in_a_row == 20)
        },
    )
}

#[test]
fn requests_are_split_by_weight_and_all_are_moved_without_one_that_fails() {
    let Some(_machine) = machine() else { return };
    let name = "test-gateway";
    let (cluster, kubectl, gateway) = up(name);
    let split = json!([{"backendRefs": [backend("first", 75), backend("second", 25)]}]);
    kubectl.apply(&route(&split)).unwrap();
    for kind in ["Accepted", "ResolvedRefs"] {
        wait_for_condition(&kubectl, kind, "True");
    }
    // The gateway says so a little before it is so.
    wait_for_answer(gateway, "", (200, "second"));

    let mut to_second = 0;
    for _ in 0..400 {
        let (status, body) = ask(gateway, "").unwrap();
        assert_eq!(status, 200);
        to_second += u32::from(body == "second");
    }
    // Of 400 requests 100, give or take four standard deviations of a binomial's.
    assert!((65..=135).contains(&to_second), "{to_second} of 400");

    let is_over = AtomicBool::new(false);
    let (answers, moved, since) = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut answers = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                answers.push((Instant::now(), ask(gateway, "")));
                thread::sleep(Duration::from_millis(5));
            }
            answers
        });
        let all = json!([{"backendRefs": [backend("first", 0), backend("second", 100)]}]);
        let moved = kubectl
            .apply(&route(&all))
            .and_then(|()| wait_until_all_go_to_second(gateway));
        let since = Instant::now();
        // So that the load asks some more after it is known.
        thread::sleep(Duration::from_secs(1));
        is_over.store(true, Ordering::Relaxed);
        (load.join().unwrap(), moved, since)
    });
    moved.unwrap();
    let mut after = 0;
    for (asked, answer) in answers {
        let (status, body) = answer.unwrap();
        assert_eq!(status, 200);
        if asked > since {
            after += 1;
            assert_eq!(body, "second", "a weight of 0 gets nothing");
        }
    }
    assert!(after > 50, "{after} requests after the move");

    drop(cluster);
    assert_nothing_is_left_of(name);
}

#[test]
fn a_header_or_a_cookie_chooses_the_second_also_after_the_gateway_was_killed() {
    let Some(_machine) = machine() else { return };
    let (mut cluster, kubectl, gateway) = up("test-gateway-headers");
    let version = json!({"name": "x-version", "value": "second"});
    let cookie = json!({
        "type": "RegularExpression",
        "name": "cookie",
        "value": "(^|; )version=second(;|$)",
    });
    let rules = json!([
        {
            "matches": [{"headers": [version]}, {"headers": [cookie]}],
            "backendRefs": [backend("second", 1)],
        },
        {"backendRefs": [backend("first", 1)]},
    ]);
    kubectl.apply(&route(&rules)).unwrap();
    wait_for_condition(&kubectl, "Accepted", "True");

    let chosen = || {
        // A Gateway that has just started may know a Service and none of its pods yet.
        wait_for_answer(gateway, "", (200, "first"));
        wait_for_answer(gateway, "X-Version: second\r\n", (200, "second"));
        for (header, wanted) in [
            ("X-Version: second\r\n", "second"),
            ("X-Version: seconds\r\n", "first"),
            ("Cookie: theme=dark; version=second\r\n", "second"),
            ("Cookie: version=secondary\r\n", "first"),
            ("", "first"),
        ] {
            for _ in 0..5 {
                let answer = ask(gateway, header).unwrap();
                assert_eq!(answer, (200, wanted.to_owned()), "{header:?}");
            }
        }
    };
    chosen();
    cluster.kill("traefik").unwrap();
    assert!(ask(gateway, "").is_err(), "nobody listens");
    cluster.mend().unwrap();
    chosen();
}
