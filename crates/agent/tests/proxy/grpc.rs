//! HTTP/2 and gRPC, on the same port.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::common::Place;
use crate::common::proxy::{Proxy, request, upstream};

const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

async fn connect(address: &str) -> SendRequest<Full<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("a connection");
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    client
}

fn call(path: &str) -> http::request::Builder {
    Request::post(format!("http://model{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

async fn send(
    client: &mut SendRequest<Full<Bytes>>,
    request: http::request::Builder,
    body: &'static str,
) -> (Response<()>, Bytes, HeaderMap) {
    let request = request.body(Full::from(body)).expect("a request");
    let (head, body) = client
        .send_request(request)
        .await
        .expect("an answer")
        .into_parts();
    let body = body.collect().await.expect("a body");
    let trailers = body.trailers().cloned().unwrap_or_default();
    (Response::from_parts(head, ()), body.to_bytes(), trailers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_pass_with_their_trailers_and_their_status_is_counted() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr();
    let grpc = format!("http://{}", upstream().await);
    let proxy = Proxy::start(
        &place,
        nobody.expect("an address"),
        &["--grpc-upstream", &grpc],
    );
    let mut client = connect(&proxy.listen).await;
    let sent = call(MODEL_INFER)
        .header("grpc-timeout", "20S")
        .header("x-request-id", "a");
    let (head, body, trailers) = send(&mut client, sent, "some message").await;
    assert_eq!(
        (head.status().as_u16(), &body[..]),
        (200, &b"some message"[..])
    );
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-after"]),
        (
            &"0".parse().expect("a value"),
            &"all".parse().expect("a value")
        )
    );
    assert_eq!(head.headers()["x-got-te"], "trailers");
    assert_eq!(head.headers()["x-got-x-request-id"], "a");
    let left = head.headers()["x-got-grpc-timeout"]
        .to_str()
        .expect("a text");
    let left: u64 = left
        .strip_suffix('m')
        .expect("milliseconds")
        .parse()
        .expect("a number");
    assert!((15_000..20_000).contains(&left), "{left}");
    // A status in the trailers is as good as any: 13 is an error, 5 is the client's, 8 is no error.
    for status in ["13", "5", "8"] {
        let sent = call(MODEL_INFER).header("x-grpc-status", status);
        let (head, _, trailers) = send(&mut client, sent, "").await;
        assert_eq!(
            (head.status().as_u16(), &trailers["grpc-status"]),
            (200, &status.parse().expect("a value"))
        );
    }
    // Questions are not counted.
    send(
        &mut client,
        call("/inference.GRPCInferenceService/ModelReady"),
        "",
    )
    .await;
    send(&mut client, call("/grpc.health.v1.Health/Check"), "").await;
    let observations = proxy
        .observe(|observations| observations.requests >= 4)
        .await;
    assert_eq!((observations.requests, observations.errors), (4, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_request_that_the_server_does_not_read_is_an_error_of_the_server() {
    let place = Place::new();
    // It takes connections, and reads from none of them.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let address = "127.0.0.1:0".parse().expect("an address");
    socket.bind(address).expect("a port");
    let server = socket.listen(16).expect("it listens");
    let address = server.local_addr().expect("an address");
    let proxy = Proxy::start(&place, address, &[]);
    let body = Bytes::from(vec![b'1'; 16 << 20]);
    for sent in [
        Request::post("http://model/v2/models/flights/infer"),
        call(MODEL_INFER),
    ] {
        let stream = tokio::net::TcpStream::connect(&proxy.listen).await;
        let stream = TokioIo::new(stream.expect("a connection"));
        let (mut client, connection) = handshake(TokioExecutor::new(), stream)
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let sent = sent.body(Full::<Bytes>::from(body.clone()));
        let answer = client.send_request(sent.expect("a request"));
        let answer = tokio::time::timeout(Duration::from_secs(1), answer).await;
        assert!(answer.is_err(), "nobody reads it");
        connection.abort();
    }
    let line = "windlass_proxy_requests_total{code_class=\"unanswered\"} 2";
    proxy.measure(line).await;
    let observations = proxy.observations().await;
    assert_eq!((observations.requests, observations.errors), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_passed_on_is_told_so_as_grpc_has_it() {
    let place = Place::new();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr();
    let proxy = Proxy::start(
        &place,
        nobody.expect("an address"),
        &["--circuit-failures", "1"],
    );
    let mut client = connect(&proxy.listen).await;
    for why in ["did%20not%20answer", "is%20not%20answering"] {
        let (head, body, _) = send(&mut client, call(MODEL_INFER), "").await;
        assert_eq!((head.status().as_u16(), body.len()), (200, 0));
        assert_eq!(head.headers()["grpc-status"], "14");
        let message = head.headers()["grpc-message"].to_str().expect("a text");
        let message = message.replace(' ', "%20");
        assert!(message.contains(why), "{message}");
    }
    let observations = proxy
        .observe(|observations| observations.requests == 2)
        .await;
    assert_eq!(observations.errors, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_over_http2_goes_to_a_server_of_http1() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--log-uri", "pvc://logs/x"]);
    let mut client = connect(&proxy.listen).await;
    let body: &'static str = Box::leak(request("one", &[[1.0, 0.5]]).into_boxed_str());
    let sent = Request::post("http://model/v2/models/flights/infer");
    let (head, body, _) = send(&mut client, sent, body).await;
    assert_eq!(head.status(), 200);
    assert!(String::from_utf8_lossy(&body).contains("[1.5]"), "{body:?}");
    let sent = Request::post("http://model/v2/models/flights/infer")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let (_, body, _) = send(&mut client, sent, "{}").await;
    let said: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&said["headers"]["host"], &said["headers"]["cookie"]),
        (&"model".into(), &"a=1; b=2".into())
    );
    let observations = proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    assert_eq!((observations.requests, observations.errors), (2, 0));
}

/// A call with one row of one number (2.0 in FP64), which is an answer as well: their tensors are written alike.
const MESSAGE: &str =
    "\0\0\0\0\x1b\x2a\x19\x0a\x01p\x12\x04FP64\x1a\x02\x01\x01\x2a\x0a\x3a\x08\0\0\0\0\0\0\0\x40";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_mirrored_and_the_status_in_the_trailers_counts() {
    let place = Place::new();
    let mirror = format!("http://{}", upstream().await);
    let proxy = Proxy::start(&place, upstream().await, &["--mirror", &mirror]);
    let mut client = connect(&proxy.listen).await;
    for status in ["0", "13", "5"] {
        let sent = call(MODEL_INFER).header("x-grpc-status", status);
        let (_, body, _) = send(&mut client, sent, MESSAGE).await;
        assert_eq!(body, MESSAGE);
    }
    // Of another service nothing is known: it may be a stream.
    send(&mut client, call("/other.Service/Call"), "").await;
    let observations = proxy
        .observe(|observations| {
            let sent = observations.mirror.map_or(0, |counts| counts.sent);
            observations.requests == 4
                && sent >= 3
                && observations
                    .mirror
                    .is_some_and(|counts| counts.compared > 0)
        })
        .await;
    let counts = observations.mirror.expect("it mirrors");
    assert_eq!((counts.sent, counts.errors, counts.dropped), (3, 1, 0));
    // Of the good answer alone.
    assert_eq!((counts.compared, counts.agreed), (1, 1));
}
