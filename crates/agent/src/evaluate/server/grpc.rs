//! The Open Inference Protocol, version 2, over gRPC.
//!
//! Its tensors are those of [`crate::data::tensors`].

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc as Client;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use windlass_api::agent::{FailureReason, FailureReport};

use super::{Batch, MAX_BODY};
use crate::data::answers::Raw;
use crate::data::tensors::{Contents, InferRequest, InferResponse, Tensor, of_bytes};
use crate::report::{chain, failure};

/// Bytes of an answer at most.
const MOST_BYTES: usize = 64 << 20;

/// A model behind a gRPC server.
pub(super) struct Grpc {
    model: String,
    channel: Channel,
    timeout: Duration,
}

impl Grpc {
    pub(super) fn new(base: &str, model: &str, timeout: Duration) -> Result<Self, FailureReport> {
        let endpoint = Endpoint::from_shared(base.to_owned()).map_err(|problem| {
            let message = format!("'{base}' is no address of a server: {}", chain(&problem));
            failure(FailureReason::InvalidArguments, message)
        })?;
        Ok(Self {
            model: model.to_owned(),
            channel: endpoint.connect_lazy(),
            timeout,
        })
    }

    pub(super) async fn is_ready(&self, patience: Duration) -> Result<(), String> {
        let server: Ready = self.call("ServerReady", Nothing {}, patience).await?;
        let model = ModelReadyRequest {
            name: self.model.clone(),
        };
        let model: Ready = self.call("ModelReady", model, patience).await?;
        if server.ready && model.ready {
            return Ok(());
        }
        let which = if server.ready {
            "ModelReady"
        } else {
            "ServerReady"
        };
        Err(format!("{which} is answered with false"))
    }

    /// The values of the first output tensor.
    pub(super) async fn infer(&self, batch: &Batch<'_>) -> Result<Raw, String> {
        let length = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let request = InferRequest {
            model_name: self.model.clone(),
            id: batch.id.clone(),
            inputs: vec![Tensor {
                name: batch.tensor.to_owned(),
                datatype: "FP64".to_owned(),
                shape: vec![length(batch.count()), length(batch.width)],
                contents: Some(Contents {
                    fp64: batch.rows.to_vec(),
                    ..Contents::default()
                }),
            }],
            ..InferRequest::default()
        };
        let answer: InferResponse = self.call("ModelInfer", request, self.timeout).await?;
        let raw = answer.raw_output_contents.into_iter().next();
        let tensor = answer
            .outputs
            .into_iter()
            .next()
            .ok_or("its answer has no output")?;
        match (raw, tensor.contents) {
            (Some(raw), _) => of_bytes(&tensor.datatype, &raw)
                .map_err(|problem| format!("its answer cannot be read: {problem}")),
            (None, Some(contents)) => Ok(contents.values()),
            (None, None) => Err("its answer's first output has no contents".to_owned()),
        }
    }

    async fn call<Q, A>(&self, method: &str, request: Q, patience: Duration) -> Result<A, String>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        let path = format!("/inference.GRPCInferenceService/{method}");
        let path: PathAndQuery = path.parse().map_err(|_| "it is no method".to_owned())?;
        let mut client = Client::new(self.channel.clone()).max_decoding_message_size(MOST_BYTES);
        client.ready().await.map_err(|problem| chain(&problem))?;
        let mut request = tonic::Request::new(request);
        request.set_timeout(patience);
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let called = tokio::time::timeout(patience, client.unary(request, path, codec)).await;
        match called {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => {
                let text = status.message();
                let text = &text[..text.floor_char_boundary(MAX_BODY)];
                Err(format!(
                    "{method} is answered with {}: {text}",
                    status.code()
                ))
            }
            Err(_) => Err(format!(
                "{method} is not answered within {} s",
                patience.as_secs_f64()
            )),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct Ready {
    #[prost(bool, tag = "1")]
    ready: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ModelReadyRequest {
    #[prost(string, tag = "1")]
    name: String,
}
