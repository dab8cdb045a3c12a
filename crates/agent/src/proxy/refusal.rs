//! Answers of the proxy's own: JSON with a sentence, or a status of gRPC; and where gRPC says that.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::outcome::Outcome;

/// The body of an answer to a client.
pub type ResponseBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// What `grpc-message` encodes: all but visible ASCII, and the percent sign itself.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// Why a request is not answered by the model server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many were waiting already.
    TooMany,
    /// Its wait for a turn was too long.
    WaitIsOver,
    /// No answer has begun in time.
    DeadlineIsOver,
    /// The server was not asked, because it took no connections a moment ago.
    CircuitIsOpen,
    /// The server could not be reached, or broke off.
    NoAnswer,
}

impl Refusal {
    /// The status that the client is given.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::WaitIsOver | Self::CircuitIsOpen => StatusCode::SERVICE_UNAVAILABLE,
            Self::DeadlineIsOver => StatusCode::GATEWAY_TIMEOUT,
            Self::NoAnswer => StatusCode::BAD_GATEWAY,
        }
    }

    /// The code that a client of gRPC is given.
    fn code(self) -> &'static str {
        match self {
            Self::TooMany => "8",
            Self::DeadlineIsOver => "4",
            Self::WaitIsOver | Self::CircuitIsOpen | Self::NoAnswer => "14",
        }
    }

    /// After how many seconds it is worth to ask again.
    fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::TooMany | Self::WaitIsOver | Self::CircuitIsOpen => Some("1"),
            Self::DeadlineIsOver | Self::NoAnswer => None,
        }
    }

    /// The answer, with a sentence for whoever reads it.
    pub fn answer(self, is_grpc: bool, message: &str) -> Response<ResponseBody> {
        let message = format!("windlass: {message}");
        let mut response = if is_grpc {
            let body = Empty::new().map_err(|never| match never {});
            let mut response = Response::new(body.boxed_unsync());
            let encoded = utf8_percent_encode(&message, MESSAGE).to_string();
            let headers = response.headers_mut();
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/grpc"),
            );
            headers.insert(GRPC_STATUS, HeaderValue::from_static(self.code()));
            let encoded = HeaderValue::try_from(encoded).expect("it is visible ASCII");
            headers.insert(GRPC_MESSAGE, encoded);
            response
        } else {
            let body = serde_json::json!({ "error": message }).to_string();
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
            let mut response = Response::new(body.boxed_unsync());
            *response.status_mut() = self.status();
            let kind = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        };
        if let Some(seconds) = self.retry_after() {
            let seconds = HeaderValue::from_static(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// The code of gRPC of an answer that says none.
pub const UNKNOWN: u16 = 2;

/// The outcome that the head or the trailers of an answer of gRPC say.
pub fn grpc_status(headers: &HeaderMap) -> Option<Outcome> {
    let code = headers.get(GRPC_STATUS)?;
    let code = code.to_str().ok().and_then(|code| code.parse().ok());
    Some(Outcome::of_grpc(code.unwrap_or(UNKNOWN)))
}

/// Where gRPC says how a call ended.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
