//! The traffic through `windlass-agent proxy`.

#[path = "../common/mod.rs"]
mod common;
mod grpc;
mod limits;
mod mirror;
mod tokens;
mod traces;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::Place;
use common::proxy::{INFER, Proxy, logged, request, upstream};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_stream_through_and_everything_else_is_as_it_was() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let started = Instant::now();
    let mut parts = proxy
        .client
        .post(proxy.at("/stream"))
        .send()
        .await
        .expect("an answer")
        .bytes_stream();
    let first = parts.next().await.expect("a part").expect("a part");
    assert_eq!(first, "part 0;");
    assert!(
        started.elapsed() < Duration::from_millis(350),
        "the first part waited for the rest: {:?}",
        started.elapsed()
    );
    let rest: Vec<Bytes> = parts.map(|part| part.expect("a part")).collect().await;
    assert_eq!(rest.concat(), b"part 1;part 2;");

    // A body past what is kept for the log passes, too.
    let large = vec![b'x'; 20 << 20];
    let answer = proxy.infer(large).await.text().await.expect("a body");
    assert!(
        answer.contains(&format!("\"bytes\": {}", 20 << 20)),
        "{answer}"
    );
    let answer = proxy
        .client
        .get(proxy.at("/v2/health/ready?x=%20y"))
        .send()
        .await
        .expect("an answer");
    assert!(
        answer
            .text()
            .await
            .expect("a body")
            .contains("/v2/health/ready?x=%20y")
    );
    // Probes are not requests to the model.
    assert_eq!(
        proxy
            .observe(|observations| observations.requests == 2)
            .await
            .errors,
        0
    );
    let text = proxy
        .client
        .get(format!("http://{}/metrics", proxy.metrics))
        .send()
        .await
        .expect("an answer");
    assert!(
        text.text()
            .await
            .expect("a body")
            .contains("windlass_proxy_requests_total{code_class=\"2xx\"} 2")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_a_502_that_says_so() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let proxy = Proxy::start(&place, nobody, &["--log-uri", "pvc://logs/x"]);
    let answer = proxy.infer(request("", &[[1.0, 2.0]])).await;
    assert_eq!(answer.status(), 502);
    let body: serde_json::Value =
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON");
    assert!(
        body["error"]
            .as_str()
            .expect("a text")
            .contains(&nobody.to_string()),
        "{body}"
    );
    let observations = proxy
        .observe(|observations| observations.requests == 1)
        .await;
    assert_eq!(observations.errors, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_gives_up_on_a_slow_server_is_an_error() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &[]);
    let request = proxy
        .client
        .post(proxy.at(INFER))
        .header("x-sleep", "60000")
        .timeout(Duration::from_millis(200));
    assert!(request.send().await.is_err());
    assert_eq!(
        proxy
            .observe(|observations| observations.requests == 1)
            .await
            .errors,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_breaks_its_own_request_off_is_no_error_of_the_model() {
    let place = Place::new();
    let limits = ["--circuit-failures", "1"];
    let proxy = Proxy::start(&place, upstream().await, &limits);
    for _ in 0..3 {
        let mut stream = TcpStream::connect(&proxy.listen)
            .await
            .expect("a connection");
        // Of a body of a hundred bytes only these come.
        let part =
            format!("POST {INFER} HTTP/1.1\r\nhost: m\r\ncontent-length: 100\r\n\r\n{{\"inputs\"");
        stream.write_all(part.as_bytes()).await.expect("it is sent");
        // The server is asked, and waits for the rest.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let line = "windlass_proxy_requests_total{code_class=\"cancelled\"} 3";
    proxy.measure(line).await;
    // They say nothing about the model, neither good nor bad.
    let observations = proxy.observations().await;
    assert_eq!((observations.requests, observations.errors), (0, 0));
    // The circuit is closed.
    let answer = proxy.infer(request("", &[[1.0, 2.0]])).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_keeps_its_connection_to_the_server_and_gets_another_when_that_is_closed() {
    let place = Place::new();
    // Answers two requests over each connection and closes it, without saying so before.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                for _ in 0..2 {
                    let mut buffer = [0; 4096];
                    let mut read = Vec::new();
                    while !read.ends_with(b"{}") {
                        match stream.read(&mut buffer).await {
                            Ok(more) if more > 0 => read.extend_from_slice(&buffer[..more]),
                            _ => return,
                        }
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    stream.write_all(answer).await.expect("it is sent");
                }
            });
        }
    });
    let proxy = Proxy::start(&place, server, &[]);
    for _ in 0..20 {
        let answer = proxy.infer("{}").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), "ok");
        // Long enough to see that the server has closed it.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(SeqCst), 10, "two requests over each");
    let observations = proxy
        .observe(|observations| observations.requests == 20)
        .await;
    assert_eq!(observations.errors, 0);
}

/// A server that says `ok` to each `{}`, the end of it so much later; and how many connections it has taken.
async fn ok_after(rest: Duration) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    let connections = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(async move {
                let (mut buffer, mut read) = ([0; 4096], Vec::new());
                while let Ok(more @ 1..) = stream.read(&mut buffer).await {
                    read.extend_from_slice(&buffer[..more]);
                    if read.ends_with(b"{}") {
                        read.clear();
                        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";
                        stream.write_all(head).await.expect("it is sent");
                        tokio::time::sleep(rest).await;
                        stream.write_all(b"k").await.expect("it is sent");
                    }
                }
            });
        }
    });
    (server, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_the_server_outlives_a_long_answer() {
    let place = Place::new();
    let (server, connections) = ok_after(Duration::from_millis(1300)).await;
    let proxy = Proxy::start(&place, server, &[]);
    for _ in 0..3 {
        let answer = proxy.infer("{}").await;
        assert_eq!(answer.text().await.expect("a body"), "ok");
        // Long enough for the proxy to see that it is over.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_server_of_one_request_at_once_share_a_connection() {
    let place = Place::new();
    let (server, connections) = ok_after(Duration::ZERO).await;
    let proxy = Proxy::start(&place, server, &["--concurrency", "1"]);
    for _ in 0..5 {
        let client = reqwest::Client::new();
        let answer = client.post(proxy.at(INFER)).body("{}").send();
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.text().await.expect("a body"), "ok");
        // Long enough for the proxy to see that it is over.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_the_server_that_nobody_uses_is_closed() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    let proxy = Proxy::start(&place, server, &[]);
    let ask = proxy.infer("{}");
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut buffer = [0; 4096];
        assert!(stream.read(&mut buffer).await.expect("it is read") > 0);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.expect("it is sent");
        let started = Instant::now();
        // Up to its end: a body may follow its head.
        while stream.read(&mut buffer).await.expect("it is read") > 0 {}
        started.elapsed()
    };
    let (answer, open) = tokio::join!(ask, serve);
    assert_eq!(answer.status(), 200);
    assert!(open < Duration::from_secs(20), "{open:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_proxy_drains() {
    let place = Place::new();
    let mut proxy = Proxy::start(
        &place,
        upstream().await,
        &[
            "--drain",
            "2s",
            "--log-uri",
            "pvc://logs/x",
            "--flush-every",
            "1h",
        ],
    );
    let (good, address) = (Arc::new(AtomicU64::new(0)), proxy.at(INFER));
    let told = Instant::now();
    // Clients go on until the endpoint is withdrawn, which is before the drain is over.
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (good, address) = (Arc::clone(&good), address.clone());
            tokio::spawn(async move {
                // Half of them over connections that stay open.
                let connection = reqwest::Client::builder()
                    .pool_max_idle_per_host(client % 2 * 4)
                    .build()
                    .expect("a client");
                let mut count = 0;
                while told.elapsed() < Duration::from_secs(2) {
                    let answer = connection
                        .post(&address)
                        .body(request("", &[[1.0, 2.0]]))
                        .send()
                        .await
                        .expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("a body");
                    good.fetch_add(1, SeqCst);
                    count += 1;
                    if count % 10 == 0 {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // One that is in flight when the drain is over.
    let slow = proxy
        .client
        .post(&address)
        .header("x-sleep", "3000")
        .body(request("slow", &[[1.0, 2.0]]))
        .send();
    let slow = tokio::spawn(slow);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.terminate();
    for client in clients {
        client.await.expect("no request failed");
    }
    let answer = slow
        .await
        .expect("it ran")
        .expect("the request in flight was answered");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.expect("a body").contains("3.0"));
    proxy.end().await;
    let rows: usize = logged(&place.path("volumes/logs/x/flights-3"))
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    let good = usize::try_from(good.load(SeqCst)).expect("a count");
    println!("{good} requests while it drained");
    assert!(good > 50);
    assert_eq!(rows, good + 1, "every row is in the log");
}
