//! The Open Inference Protocol, version 2, over gRPC.
//!
//! The messages are those fields of `inference.GRPCInferenceService` that are used here, under the protocol's own numbers.
//! What else a server sends is passed over, as Protocol Buffers have it.

use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::client::Grpc as Client;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use windlass_api::agent::{FailureReason, FailureReport};

use super::{Batch, MAX_BODY};
use crate::data::answers::Raw;
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
        };
        let answer: InferResponse = self.call("ModelInfer", request, self.timeout).await?;
        let raw = answer.raw_output_contents.into_iter().next();
        let tensor = answer
            .outputs
            .into_iter()
            .next()
            .ok_or("its answer has no output")?;
        match (raw, tensor.contents) {
            (Some(raw), _) => of_bytes(&tensor.datatype, &raw),
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

/// The values of a tensor as they lie in memory, little endian.
fn of_bytes(datatype: &str, bytes: &[u8]) -> Result<Raw, String> {
    match datatype {
        "BOOL" => Ok(Raw::Numbers(
            bytes.iter().map(|byte| f64::from(*byte)).collect(),
        )),
        "UINT8" => numbers(bytes, u8::from_le_bytes),
        "INT8" => numbers(bytes, i8::from_le_bytes),
        "UINT16" => numbers(bytes, u16::from_le_bytes),
        "INT16" => numbers(bytes, i16::from_le_bytes),
        "UINT32" => numbers(bytes, u32::from_le_bytes),
        "INT32" => numbers(bytes, i32::from_le_bytes),
        "UINT64" => numbers(bytes, |bytes| Wide(u64::from_le_bytes(bytes).into())),
        "INT64" => numbers(bytes, |bytes| Wide(i64::from_le_bytes(bytes).into())),
        "FP32" => numbers(bytes, f32::from_le_bytes),
        "FP64" => numbers(bytes, f64::from_le_bytes),
        "BYTES" => texts(bytes),
        other => Err(format!(
            "its answer is of the type {other}, which is not read"
        )),
    }
}

/// A whole number of 64 bits; beyond 2^53 the nearest that a float has.
struct Wide(i128);

impl From<Wide> for f64 {
    #[allow(clippy::cast_precision_loss)] // said above
    fn from(Wide(number): Wide) -> Self {
        number as f64
    }
}

fn numbers<const N: usize, T: Into<f64>>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> T,
) -> Result<Raw, String> {
    let (whole, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(format!(
            "its answer holds {} bytes, which are no numbers of {N}",
            bytes.len()
        ));
    }
    Ok(Raw::Numbers(
        whole.iter().map(|one| read(*one).into()).collect(),
    ))
}

/// Texts, each after its length in four bytes.
fn texts(mut bytes: &[u8]) -> Result<Raw, String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let text = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let Some((text, rest)) = text else {
            return Err("its answer's texts end before they are whole".to_owned());
        };
        all.push(String::from_utf8_lossy(text).into_owned());
        bytes = rest;
    }
    Ok(Raw::Texts(all))
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

#[derive(Clone, PartialEq, prost::Message)]
struct InferRequest {
    #[prost(string, tag = "1")]
    model_name: String,
    #[prost(string, tag = "3")]
    id: String,
    #[prost(message, repeated, tag = "5")]
    inputs: Vec<Tensor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InferResponse {
    #[prost(message, repeated, tag = "5")]
    outputs: Vec<Tensor>,
    #[prost(bytes = "vec", repeated, tag = "6")]
    raw_output_contents: Vec<Vec<u8>>,
}

/// An input or an output; both have the same fields.
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

/// The values of a tensor, in the field of its type.
#[derive(Clone, PartialEq, prost::Message)]
struct Contents {
    #[prost(bool, repeated, tag = "1")]
    bools: Vec<bool>,
    #[prost(int32, repeated, tag = "2")]
    int32: Vec<i32>,
    #[prost(int64, repeated, tag = "3")]
    int64: Vec<i64>,
    #[prost(uint32, repeated, tag = "4")]
    uint32: Vec<u32>,
    #[prost(uint64, repeated, tag = "5")]
    uint64: Vec<u64>,
    #[prost(float, repeated, tag = "6")]
    fp32: Vec<f32>,
    #[prost(double, repeated, tag = "7")]
    fp64: Vec<f64>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    bytes: Vec<Vec<u8>>,
}

impl Contents {
    fn values(self) -> Raw {
        if !self.bytes.is_empty() {
            let texts = self.bytes.iter();
            let texts = texts.map(|text| String::from_utf8_lossy(text).into_owned());
            return Raw::Texts(texts.collect());
        }
        let mut all = self.fp64;
        all.extend(self.fp32.into_iter().map(f64::from));
        all.extend(self.int32.into_iter().map(f64::from));
        all.extend(self.uint32.into_iter().map(f64::from));
        all.extend(
            self.int64
                .into_iter()
                .map(|one| f64::from(Wide(one.into()))),
        );
        all.extend(
            self.uint64
                .into_iter()
                .map(|one| f64::from(Wide(one.into()))),
        );
        all.extend(self.bools.into_iter().map(|is| f64::from(u8::from(is))));
        Raw::Numbers(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_type() {
        let numbers = |all: &[f64]| Ok(Raw::Numbers(all.to_vec()));
        let of = |datatype: &str, bytes: &[u8]| of_bytes(datatype, bytes);
        let wide: Vec<u8> = [0.5_f64, -2.0]
            .iter()
            .flat_map(|one| one.to_le_bytes())
            .collect();
        assert_eq!(of("FP64", &wide), numbers(&[0.5, -2.0]));
        assert_eq!(of("FP32", &0.5_f32.to_le_bytes()), numbers(&[0.5]));
        assert_eq!(of("INT64", &(-3_i64).to_le_bytes()), numbers(&[-3.0]));
        assert_eq!(of("BOOL", &[1, 0]), numbers(&[1.0, 0.0]));
        assert_eq!(
            of("BYTES", b"\x02\0\0\0no\x03\0\0\0yes"),
            Ok(Raw::Texts(vec!["no".to_owned(), "yes".to_owned()]))
        );
        for (datatype, bytes, why) in [
            ("FP64", &wide[1..], "15 bytes"),
            ("BYTES", b"\x09\0\0\0no", "end before"),
            ("FP16", b"\0\0", "FP16"),
        ] {
            let problem = of(datatype, bytes).expect_err("a problem");
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn values_are_read_from_the_field_that_has_them() {
        let contents = Contents {
            int64: vec![4],
            ..Contents::default()
        };
        assert_eq!(contents.values(), Raw::Numbers(vec![4.0]));
    }
}
