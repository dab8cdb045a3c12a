//! The limit, deadlines and the circuit.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;

use crate::common::Place;
use crate::common::proxy::{INFER, Proxy, request, upstream, upstream_at};

async fn slow(proxy: &Proxy, milliseconds: u64) -> reqwest::Response {
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-sleep", milliseconds);
    let sent = sent.body(request("", &[[1.0, 2.0]])).send();
    sent.await.expect("an answer")
}

async fn said(answer: reqwest::Response) -> String {
    let body: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    body["error"].as_str().expect("a sentence").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_queue_is_a_429_and_past_the_wait_a_503() {
    let place = Place::new();
    let limits = [
        "--concurrency",
        "1",
        "--queue",
        "1",
        "--queue-wait",
        "700ms",
    ];
    let proxy = Proxy::start(&place, upstream().await, &limits);
    let waits = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        slow(&proxy, 0).await
    };
    let refused = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let started = Instant::now();
        (slow(&proxy, 0).await, started.elapsed())
    };
    let probe = async {
        tokio::time::sleep(Duration::from_millis(450)).await;
        let ready = proxy.client.get(proxy.at("/v2/health/ready")).send();
        ready.await.expect("a probe is not held up").status()
    };
    let (first, waited, (refused, after), probe) =
        tokio::join!(slow(&proxy, 2000), waits, refused, probe);
    assert_eq!((first.status().as_u16(), probe.as_u16()), (200, 200));
    assert_eq!(refused.status(), 429);
    assert!(after < Duration::from_millis(400), "{after:?}");
    assert_eq!(refused.headers()["retry-after"], "1");
    let why = said(refused).await;
    assert!(why.contains("too many requests"), "{why}");
    assert_eq!(waited.status(), 503);
    let why = said(waited).await;
    assert!(why.contains("--queue-wait"), "{why}");
    // One that was never let in is no request of the model's; one whose wait was over is an error.
    let observations = proxy
        .observe(|observations| observations.requests == 2)
        .await;
    assert_eq!(observations.errors, 1);
    let metrics = proxy
        .client
        .get(format!("http://{}/metrics", proxy.metrics))
        .send();
    let text = metrics
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a body");
    assert!(
        text.contains("windlass_proxy_requests_refused_total 1"),
        "{text}"
    );
    assert_eq!(slow(&proxy, 0).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--timeout", "400ms"]);
    let started = Instant::now();
    let late = slow(&proxy, 60_000).await;
    assert_eq!(late.status(), 504);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "{took:?}"
    );
    let why = said(late).await;
    assert!(why.contains("has not begun after 4"), "{why}");

    // The client's own is shorter, and the server is told what is left of it.
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-request-timeout-ms", 200);
    let started = Instant::now();
    let late = sent
        .try_clone()
        .expect("no body")
        .header("x-sleep", 60_000)
        .send();
    assert_eq!(late.await.expect("an answer").status(), 504);
    assert!(
        started.elapsed() < Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    let answer = sent.body("{}").send().await.expect("an answer");
    let body: Value = serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    let left = body["headers"]["x-request-timeout-ms"]
        .as_str()
        .expect("there");
    assert!(
        (1..200).contains(&left.parse::<u64>().expect("a number")),
        "{left}"
    );
    // The server is not asked at all where nothing is left: it would be found to be away.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let elsewhere = Place::new();
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let away = Proxy::start(&elsewhere, address, &[]);
    let sent = away
        .client
        .post(away.at(INFER))
        .header("x-request-timeout-ms", 0);
    assert_eq!(sent.send().await.expect("an answer").status(), 504);
    let observations = proxy
        .observe(|observations| observations.requests == 3)
        .await;
    assert_eq!(observations.errors, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_that_tries_whether_a_server_is_back_waits_no_longer_than_its_deadline() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let proxy = Proxy::start(&place, address, &["--circuit-failures", "1"]);
    assert_eq!(slow(&proxy, 0).await.status(), 502);
    // Now somebody listens and takes no connection: those that wait for that are as many as may.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("the port");
    let _silent = socket.listen(1).expect("it listens");
    let mut waiting = Vec::new();
    let connect = || {
        let connect = tokio::net::TcpStream::connect(address);
        tokio::time::timeout(Duration::from_millis(200), connect)
    };
    while let Ok(stream) = connect().await {
        waiting.push(stream.expect("a connection"));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let sent = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-request-timeout-ms", 200);
    assert_eq!(sent.send().await.expect("an answer").status(), 504);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(800), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_connections_is_left_alone_and_found_again() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let proxy = Proxy::start(&place, address, &["--circuit-failures", "3"]);
    for _ in 0..3 {
        assert_eq!(slow(&proxy, 0).await.status(), 502);
    }
    let refused = slow(&proxy, 0).await;
    assert_eq!(refused.status(), 503);
    let why = said(refused).await;
    assert!(why.contains("is not answering"), "{why}");
    let metrics = proxy
        .client
        .get(format!("http://{}/metrics", proxy.metrics))
        .send();
    let text = metrics
        .await
        .expect("an answer")
        .text()
        .await
        .expect("a body");
    assert!(text.contains("windlass_proxy_circuit_open 1"), "{text}");
    // One that tries again a second later finds it gone still, and once it is there all are served.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(slow(&proxy, 0).await.status(), 502);
    assert_eq!(slow(&proxy, 0).await.status(), 503);
    upstream_at(TcpListener::bind(address).await.expect("the port"), 0.0);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..3 {
        assert_eq!(slow(&proxy, 0).await.status(), 200);
    }
    let observations = proxy
        .observe(|observations| observations.requests == 9)
        .await;
    assert_eq!(observations.errors, 6);
}
