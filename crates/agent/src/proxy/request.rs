//! What a request is: its id, and whether it asks the model, by its protocol's paths.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use uuid::Builder;

use super::arguments::Protocol;
use super::payload::Form;
use super::upstream::{INFERENCE_HEADER_LENGTH, length_of};

/// Where a request's id is said.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// An id that is longer is made anew.
pub const MAX_ID: usize = 128;

/// The request's id, which the server gets, too: the client's, else a new one.
pub fn request_id(headers: &mut HeaderMap) -> HeaderValue {
    let said = headers.get(REQUEST_ID).filter(|id| {
        (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    });
    if let Some(id) = said {
        return id.clone();
    }
    let id = Builder::from_random_bytes(rand::random()).into_uuid();
    let id = HeaderValue::try_from(id.to_string()).expect("digits and dashes are a value");
    headers.insert(REQUEST_ID, id.clone());
    id
}

/// Whether the request is of gRPC, which is told from gRPC-Web by what follows.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The path of the Open Inference Protocol's service of gRPC.
const INFERENCE_SERVICE: &str = "/inference.GRPCInferenceService/";

/// Whether it is no request to the model, but a probe or a question about it.
pub fn is_question<B>(request: &Request<B>, is_grpc: bool) -> bool {
    if !is_grpc {
        return matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
    }
    let path = request.uri().path();
    match path.strip_prefix(INFERENCE_SERVICE) {
        Some(method) => !matches!(method, "ModelInfer" | "ModelStreamInfer"),
        None => path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection."),
    }
}

/// How the bodies are written; absent where they are not those of an inference.
pub fn inference<B>(protocol: Protocol, request: &Request<B>, is_grpc: bool) -> Option<Form> {
    let path = request.uri().path();
    let is_post = request.method() == Method::POST && !is_grpc;
    let is_inference = match protocol {
        Protocol::OpenInference if is_grpc => {
            let method = path.strip_prefix(INFERENCE_SERVICE);
            return (method == Some("ModelInfer")).then_some(Form::Grpc);
        }
        Protocol::OpenInference => path.starts_with("/v2/models/") && path.ends_with("/infer"),
        Protocol::V1 => path.starts_with("/v1/models/") && path.ends_with(":predict"),
        Protocol::OpenAI => path.ends_with("/completions"),
        Protocol::Raw if is_grpc => return Some(Form::Grpc),
        Protocol::Raw => true,
    };
    (is_post && is_inference).then(|| Form::Json {
        request: length_of(request.headers(), &INFERENCE_HEADER_LENGTH),
        response: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str) -> Request<()> {
        let request = Request::builder().method(method).uri(path);
        request.body(()).expect("a request")
    }

    #[test]
    fn an_inference_is_known_by_its_protocols_path() {
        for (protocol, method, path, is_grpc, expected) in [
            (
                Protocol::OpenInference,
                "POST",
                "/v2/models/m/infer",
                false,
                true,
            ),
            (
                Protocol::OpenInference,
                "POST",
                "/v2/models/m/versions/1/infer",
                false,
                true,
            ),
            (
                Protocol::OpenInference,
                "POST",
                "/v2/repository/index",
                false,
                false,
            ),
            (
                Protocol::OpenInference,
                "POST",
                "/inference.GRPCInferenceService/ModelInfer",
                true,
                true,
            ),
            (
                Protocol::OpenInference,
                "POST",
                "/inference.GRPCInferenceService/ModelReady",
                true,
                false,
            ),
            (Protocol::V1, "POST", "/v1/models/m:predict", false, true),
            (Protocol::V1, "POST", "/v1/models/m:explain", false, false),
            (
                Protocol::OpenAI,
                "POST",
                "/v1/chat/completions",
                false,
                true,
            ),
            (Protocol::OpenAI, "POST", "/v1/embeddings", false, false),
            (Protocol::Raw, "POST", "/anything", false, true),
        ] {
            let found = inference(protocol, &request(method, path), is_grpc);
            assert_eq!(found.is_some(), expected, "{protocol:?} {path}");
        }
    }

    #[test]
    fn probes_and_questions_are_no_requests_to_the_model() {
        for (method, path, is_grpc, expected) in [
            ("GET", "/v2/health/ready", false, true),
            ("POST", "/v2/models/m/infer", false, false),
            ("POST", "/grpc.health.v1.Health/Check", true, true),
            (
                "POST",
                "/inference.GRPCInferenceService/ModelReady",
                true,
                true,
            ),
            (
                "POST",
                "/inference.GRPCInferenceService/ModelInfer",
                true,
                false,
            ),
            (
                "POST",
                "/tensorflow.serving.PredictionService/Predict",
                true,
                false,
            ),
        ] {
            assert_eq!(
                is_question(&request(method, path), is_grpc),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn an_id_that_is_none_is_made_anew() {
        let long = "x".repeat(MAX_ID + 1);
        for (said, is_kept) in [
            ("order-7", true),
            ("", false),
            ("a b", false),
            (&*long, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(said).expect("a value"));
            let id = request_id(&mut headers);
            assert_eq!(id == said, is_kept, "{said}");
            assert_eq!(headers[REQUEST_ID], id);
            assert!(is_kept || id.len() == 36, "{id:?}");
        }
    }

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(is_grpc(&headers), expected, "{kind}");
        }
    }
}
