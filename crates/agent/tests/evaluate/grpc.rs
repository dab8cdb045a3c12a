//! A model server over gRPC, made by hand from its own copy of the messages.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::{Request, Response};
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_prost::ProstCodec;

/// What the server does.
#[derive(Clone, Copy)]
pub enum Model {
    /// 0.9 where the first feature is 1, else 0.1, in the tensor's contents.
    Knows,
    /// The same, as raw bytes of 32 bit.
    KnowsRaw,
    /// NaN for every row.
    NotANumber,
    /// The status `Internal`.
    Breaks,
    /// Never ready.
    Absent,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IsReady {
    #[prost(bool, tag = "1")]
    ready: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InferResponse {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Tensor {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    datatype: String,
    #[prost(int64, repeated, tag = "3")]
    shape: Vec<i64>,
    #[prost(message, optional, tag = "5")]
    contents: Option<Contents>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Contents {
    #[prost(double, repeated, tag = "7")]
    fp64: Vec<f64>,
}

#[derive(Clone)]
struct Service(Model);

impl tower::Service<Request<Body>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let model = self.0;
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default();
            Ok(match method {
                "ServerReady" | "ModelReady" => {
                    let codec: ProstCodec<IsReady, Any> = ProstCodec::default();
                    Grpc::new(codec).unary(Answer(model), request).await
                }
                "ModelInfer" => {
                    let codec: ProstCodec<InferResponse, InferRequest> = ProstCodec::default();
                    Grpc::new(codec).unary(Answer(model), request).await
                }
                other => panic!("the server was asked for {other}"),
            })
        })
    }
}

struct Answer(Model);

impl UnaryService<Any> for Answer {
    type Response = IsReady;
    type Future = Ready<Result<tonic::Response<IsReady>, tonic::Status>>;

    fn call(&mut self, _: tonic::Request<Any>) -> Self::Future {
        let is_ready = !matches!(self.0, Model::Absent);
        ready(Ok(tonic::Response::new(IsReady { ready: is_ready })))
    }
}

impl UnaryService<InferRequest> for Answer {
    type Response = InferResponse;
    type Future = Ready<Result<tonic::Response<InferResponse>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<InferRequest>) -> Self::Future {
        let request = request.into_inner();
        if matches!(self.0, Model::Breaks) {
            return ready(Err(tonic::Status::internal("out of luck")));
        }
        assert_eq!(request.model_name, "flights");
        let input = &request.inputs[0];
        let width = usize::try_from(input.shape[1]).expect("a width");
        let rows = &input.contents.as_ref().expect("contents").fp64;
        let of = |row: &[f64]| match self.0 {
            Model::NotANumber => f64::NAN,
            _ if row[0] > 0.5 => 0.9,
            _ => 0.1,
        };
        let values: Vec<f64> = rows.chunks(width).map(of).collect();
        let mut output = Tensor {
            name: "predict".to_owned(),
            datatype: "FP64".to_owned(),
            shape: vec![input.shape[0], 1],
            contents: None,
        };
        let mut raw = Vec::new();
        if matches!(self.0, Model::KnowsRaw) {
            "FP32".clone_into(&mut output.datatype);
            #[allow(clippy::cast_possible_truncation)] // as a model of 32 bit would
            let bytes = values
                .iter()
                .flat_map(|value| (*value as f32).to_le_bytes());
            raw.push(bytes.collect());
        } else {
            output.contents = Some(Contents { fp64: values });
        }
        ready(Ok(tonic::Response::new(InferResponse {
            model_name: request.model_name,
            outputs: vec![output],
            raw,
        })))
    }
}

pub async fn serve(model: Model) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let incoming = TcpIncoming::from(listener);
    tokio::spawn(Server::builder().serve_with_incoming(Service(model), incoming));
    address
}
