//! The model server, as the proxy asks it: over HTTP/1.1, and over HTTP/2 for gRPC.

use std::time::Duration;

use http::Uri;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use hyper::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long a connection to the server stays open without a request: shorter than model servers' own limits,
/// so that no request is sent on a connection that the server is about to close.
const IDLE: Duration = Duration::from_secs(1);

/// Where a message in JSON with binary tensors after it says where these begin (Open Inference Protocol, binary extension).
pub const INFERENCE_HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// Headers that are about one connection, not about the message (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Connects to a server.
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(5)));
    connector
}

/// A client over HTTP/1.1, or over HTTP/2 with prior knowledge.
pub fn client<B>(is_http2: bool) -> Client<HttpConnector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1024)
        .http2_only(is_http2)
        .build(connector())
}

/// The address of a path on a server.
pub fn uri(server: &Authority, path: Option<PathAndQuery>) -> Uri {
    let mut uri = Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(server.clone());
    uri.path_and_query = Some(path.unwrap_or(PathAndQuery::from_static("/")));
    Uri::from_parts(uri).expect("a scheme, an authority and a path are a URI")
}

/// Takes away what is about the connection.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// A number in a header.
pub fn length_of(headers: &HeaderMap, name: &HeaderName) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
