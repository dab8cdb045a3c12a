//! The client for writes: its connections send nothing once this replica's term is over.
//!
//! Whether a write may begin is asked before it is handed on ([`Term::holds`]). Between that and the moment when its
//! bytes leave lie a queue, and for a new connection a handshake: a process that is frozen there goes on with sending
//! when it is woken, long after another replica has taken over. So it is asked once more where the bytes leave.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::TryFutureExt as _;
use futures::future::MapOk;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use tower::{Service, ServiceBuilder};

use super::calm::{Calm, SparedLayer, Way};
use super::lease::Term;

/// A client that sends something only while the term holds.
pub fn client(config: Config, term: Term, calm: Calm) -> kube::Result<Client> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    let connector = Gated {
        inner: connector,
        term,
    };
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(SparedLayer(calm, Way::Writes))
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}

/// Makes connections that send something only while the term holds.
#[derive(Clone)]
struct Gated<C> {
    inner: C,
    term: Term,
}

impl<C: Service<http::Uri>> Service<http::Uri> for Gated<C>
where
    C::Future: Send + 'static,
    C::Response: 'static,
    C::Error: 'static,
{
    type Response = GatedStream<C::Response>;
    type Error = C::Error;
    type Future = MapOk<C::Future, Box<dyn FnOnce(C::Response) -> Self::Response + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let term = self.term.clone();
        self.inner
            .call(uri)
            .map_ok(Box::new(|inner| GatedStream { inner, term }))
    }
}

/// A connection that sends something only while the term holds; after it, it is broken.
struct GatedStream<S> {
    inner: S,
    term: Term,
}

impl<S> GatedStream<S> {
    fn may_send(&self) -> io::Result<()> {
        if self.term.holds() {
            return Ok(());
        }
        let why = "another replica may lead by now: nothing is sent";
        Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
    }
}

impl<S: Write + Unpin> Write for GatedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.may_send()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.may_send()?;
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: Read + Unpin> Read for GatedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: Connection> Connection for GatedStream<S> {
    fn connected(&self) -> Connected {
        self.inner.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn nothing_is_sent_once_the_term_is_over() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = server.local_addr().expect("an address");
        let config = || Config::new(format!("http://{address}").parse().expect("an address"));
        let sent_by = async |term: Term| {
            let client = client(config(), term, Calm::default()).expect("a client");
            let maps = Api::<ConfigMap>::namespaced(client, "growth");
            let request = async {
                let (parameters, map) = (PostParams::default(), ConfigMap::default());
                let written = maps.create(&parameters, &map);
                // Nobody answers.
                tokio::time::timeout(Duration::from_millis(300), written).await
            };
            let received = async {
                let (mut stream, _) = server.accept().await.expect("a connection");
                let mut bytes = Vec::new();
                let reading = stream.read_to_end(&mut bytes);
                let _ = tokio::time::timeout(Duration::from_millis(500), reading).await;
                bytes.len()
            };
            tokio::join!(request, received)
        };
        let term = Term::default();
        let (written, received) = sent_by(term.clone()).await;
        assert!(matches!(written, Ok(Err(_))), "{written:?}");
        assert_eq!(received, 0);
        term.renewed_at(tokio::time::Instant::now());
        let (written, received) = sent_by(term).await;
        assert!(written.is_err(), "{written:?}");
        assert!(received > 0);
    }
}
