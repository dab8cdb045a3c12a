//! What the agent's HTTP servers share.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

/// Answers small questions from what is at hand, until it is aborted.
pub(crate) async fn serve_answers(
    listener: TcpListener,
    answer: impl Fn(&Request<Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    loop {
        let stream = accept(&listener).await;
        let answer = Arc::clone(&answer);
        let service = service_fn(move |request| {
            let response = answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(problem) = connection.await {
                debug!("a connection ended: {problem}");
            }
        });
    }
}

/// The next connection. What goes wrong with one is no reason to stop.
pub(crate) async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(problem) = stream.set_nodelay(true) {
                    debug!("a connection stays with delays: {problem}");
                }
                return stream;
            }
            Err(problem) => {
                warn!("a connection was not accepted: {problem}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
