//! The proxy's two ports.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::debug;

use super::forward::Forwarder;
use super::measurements::Measurements;
use crate::http::{accept, serve_answers};

/// How far the proxy is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No end is in sight.
    Serving,
    /// It goes on serving, and asks each client to come back over another connection.
    Draining,
    /// It takes no more connections, and finishes what is in flight.
    Finishing,
}

/// Serves clients until the phase is [`Phase::Finishing`] and the last answer is sent.
pub async fn serve(
    listener: TcpListener,
    forwarder: Arc<Forwarder>,
    mut phases: watch::Receiver<Phase>,
) {
    let connections = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            _ = phases.wait_for(|phase| *phase == Phase::Finishing) => break,
        };
        let (forwarder, phases) = (Arc::clone(&forwarder), phases.clone());
        let service = service_fn(move |request| {
            let (forwarder, phases) = (Arc::clone(&forwarder), phases.clone());
            async move {
                let mut answer = forwarder.answer(request).await;
                if let (Ok(response), true) = (&mut answer, *phases.borrow() != Phase::Serving) {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts the time between requests, too: a client may keep a connection for as long as it likes.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(problem) = connection.await {
                debug!("a client's connection ended: {problem}");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves what was measured, until it is aborted.
pub async fn serve_metrics(
    listener: TcpListener,
    measurements: Arc<Measurements>,
    version: String,
) {
    serve_answers(listener, move |request| {
        metrics(request, &measurements, &version)
    })
    .await;
}

fn metrics(
    request: &Request<Incoming>,
    measurements: &Measurements,
    version: &str,
) -> Response<Full<Bytes>> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/observations") => {
            let observations = serde_json::to_string(&measurements.observations(version));
            (
                StatusCode::OK,
                "application/json",
                observations.expect("observations are plain data"),
            )
        }
        (&Method::GET, "/metrics") => (
            StatusCode::OK,
            "text/plain; version=0.0.4",
            measurements.prometheus(),
        ),
        (&Method::GET, "/healthz") => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "there are /observations, /metrics and /healthz\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
