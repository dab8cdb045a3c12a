//! The proxy's two ports.
//!
//! ```text
//!   --listen ──> accept ──in turn──> a thread for each processor, with connections to the server of its own
//! ```
//!
//! A request stays in the thread of its connection: nothing of it is handed from one processor to another.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::exposition::Format;
use super::forward::{Forwarder, Shared, Upstream};
use super::spool::Fill;
use super::upstream::BUFFER;
use crate::http::{accept, serve_answers};

/// More threads than this only wait for each other.
const MAX_THREADS: usize = 8;

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
///
/// # Errors
/// When there are no threads to be had.
pub async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut phases: watch::Receiver<Phase>,
) -> std::io::Result<()> {
    let count = std::thread::available_parallelism().map_or(1, NonZero::get);
    // Each has connections of its own: no more threads than requests that may be at the server at once.
    let limit = shared.admission.limit().map_or(MAX_THREADS, NonZero::get);
    let threads: Vec<Thread> = (0..count.min(MAX_THREADS).min(limit))
        .map(|_| Thread::start(&shared, &phases))
        .collect::<Result<_, _>>()?;
    drop(shared);
    let mut next = threads.iter().cycle();
    loop {
        let stream = tokio::select! {
            stream = accept(&listener) => stream,
            _ = phases.wait_for(|phase| *phase == Phase::Finishing) => break,
        };
        // Each thread waits for its connections itself.
        match (stream.into_std(), next.next()) {
            (Ok(stream), Some(thread)) => {
                let _ = thread.streams.send(stream);
            }
            (Err(problem), _) => debug!("a connection was not taken: {problem}"),
            (Ok(_), None) => {}
        }
    }
    drop(listener);
    let join = move || {
        for thread in threads {
            drop(thread.streams);
            if thread.handle.join().is_err() {
                warn!("a thread of the proxy ended early");
            }
        }
    };
    let _ = tokio::task::spawn_blocking(join).await;
    Ok(())
}

/// A thread that serves the connections that it is given.
struct Thread {
    streams: mpsc::UnboundedSender<std::net::TcpStream>,
    handle: JoinHandle<()>,
}

impl Thread {
    fn start(shared: &Arc<Shared>, phases: &watch::Receiver<Phase>) -> std::io::Result<Self> {
        let (streams, given) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let forwarder = Arc::new(Forwarder::new(Arc::clone(shared)));
        let phases = phases.clone();
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let handle =
            thread.spawn(move || runtime.block_on(serve_given(given, forwarder, phases)))?;
        Ok(Self { streams, handle })
    }
}

async fn serve_given(
    mut streams: mpsc::UnboundedReceiver<std::net::TcpStream>,
    forwarder: Arc<Forwarder>,
    mut phases: watch::Receiver<Phase>,
) {
    let connections = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts the time between requests, too: a client may keep a connection for as long as it likes.
        .header_read_timeout(None)
        .max_buf_size(BUFFER);
    builder.http2().timer(TokioTimer::new());
    loop {
        let stream = tokio::select! {
            stream = streams.recv() => stream,
            _ = phases.wait_for(|phase| *phase == Phase::Finishing) => None,
        };
        let Some(stream) = stream else { break };
        let Ok(stream) = TcpStream::from_std(stream) else {
            continue;
        };
        let (forwarder, phases) = (Arc::clone(&forwarder), phases.clone());
        let line = Arc::new(Upstream::default());
        let service = service_fn(move |request: Request<Incoming>| {
            let (forwarder, phases) = (Arc::clone(&forwarder), phases.clone());
            let line = Arc::clone(&line);
            async move {
                let is_http1 = request.version() < Version::HTTP_2;
                let mut answer = forwarder.answer(request, &line).await;
                // HTTP/2 is told by its own frame, at the end.
                if let (Ok(response), true) =
                    (&mut answer, is_http1 && *phases.borrow() != Phase::Serving)
                {
                    response
                        .headers_mut()
                        .insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(problem) = connection.await {
                debug!("a client's connection ended: {problem}");
            }
        });
    }
    connections.shutdown().await;
}

/// What the port for the operator and Prometheus tells.
pub struct Told {
    /// What is measured, and what is so at the moment.
    pub shared: Arc<Shared>,
    /// How full the log's spool is.
    pub fill: Fill,
    /// The name of the ModelVersion.
    pub version: String,
}

/// Serves what was measured, until it is aborted.
pub async fn serve_metrics(listener: TcpListener, told: Told) {
    serve_answers(listener, move |request| metrics(request, &told)).await;
}

fn metrics(request: &Request<Incoming>, told: &Told) -> Response<Full<Bytes>> {
    let measurements = &told.shared.measurements;
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/observations") => {
            let observations = serde_json::to_string(&measurements.observations(&told.version));
            (
                StatusCode::OK,
                "application/json",
                observations.expect("observations are plain data"),
            )
        }
        (&Method::GET, "/metrics") => {
            let accept = request.headers().get(header::ACCEPT);
            let format = Format::of(accept.and_then(|accept| accept.to_str().ok()));
            let now = told.shared.now(told.fill.bytes());
            let text = measurements.metrics(format, now);
            (StatusCode::OK, format.content_type(), text)
        }
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
