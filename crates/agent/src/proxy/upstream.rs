//! The model server, as the proxy asks it: over HTTP/1.1, and over HTTP/2 for gRPC.

use std::io;
use std::time::Duration;

use http::Uri;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use hyper::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection to the server stays open without a request: shorter than model servers' own limits,
/// so that no request is sent on a connection that the server is about to close.
pub const IDLE: Duration = Duration::from_secs(1);

/// How long a server may take to take a connection.
pub const CONNECTS: Duration = Duration::from_secs(5);

/// The largest buffer of a connection over HTTP/1.1, for reading and for writing: more would not be quicker, and is memory
/// for each of many connections. A message's head has to fit into it.
pub const BUFFER: usize = 32 << 10;

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
    connector.set_connect_timeout(Some(CONNECTS));
    connector
}

/// Connects to a server without a client.
///
/// # Errors
/// When it takes no connection within the time.
pub async fn connect(server: &Authority, within: Duration) -> io::Result<TcpStream> {
    let host = server.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = (bare.unwrap_or(host), server.port_u16().unwrap_or(80));
    let late = |_| {
        let why = format!("no answer within {within:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    };
    let connected = timeout(within, TcpStream::connect(address)).await;
    connected.unwrap_or_else(late)
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
        .http1_max_buf_size(BUFFER)
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
    // Mostly there is none, and to see that is cheaper than to look each of them up.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
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

/// What HTTP/1.1 has otherwise than HTTP/2: the server's name is a header, and cookies are in one.
pub fn as_http1(headers: &mut HeaderMap, authority: Option<&Authority>) {
    if let (None, Some(authority)) = (headers.get(header::HOST), authority)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        headers.insert(header::HOST, host);
    }
    let cookies: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() > 1
        && let Ok(all) = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice()))
    {
        headers.insert(header::COOKIE, all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_connection_goes_with_all_that_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Mine"),
            ("keep-alive", "5"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("x-other", "2"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-other"]);
    }

    #[tokio::test]
    async fn an_address_of_ipv6_is_connected_to() {
        let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
            // A machine without it.
            return;
        };
        let server = listener.local_addr().expect("an address").to_string();
        let server: Authority = server.parse().expect("an authority");
        connect(&server, CONNECTS).await.expect("a connection");
    }

    #[test]
    fn cookies_of_http2_are_joined_and_the_server_is_named() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        as_http1(&mut headers, Some(&Authority::from_static("model:80")));
        assert_eq!(headers[header::COOKIE], "a=1; b=2");
        assert_eq!(headers.get_all(header::COOKIE).iter().count(), 1);
        assert_eq!(headers[header::HOST], "model:80");
    }
}
