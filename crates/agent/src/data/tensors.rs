//! Tensors of the Open Inference Protocol, version 2, as gRPC and its binary extension have them.
//!
//! The messages are those fields of `inference.GRPCInferenceService` that are used here, under the protocol's own numbers.
//! What else is sent is passed over, as Protocol Buffers have it.

use super::answers::Raw;

/// The values of a tensor as they lie in memory, little endian.
///
/// # Errors
/// A sentence, for a type that is not read and for bytes that are no such values.
pub fn of_bytes(datatype: &str, bytes: &[u8]) -> Result<Raw, String> {
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
        other => Err(format!("it is of the type {other}, which is not read")),
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
            "it holds {} bytes, which are no numbers of {N}",
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
            return Err("its texts end before they are whole".to_owned());
        };
        all.push(String::from_utf8_lossy(text).into_owned());
        bytes = rest;
    }
    Ok(Raw::Texts(all))
}

/// What a model is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferRequest {
    /// The model.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// What the client calls the request.
    #[prost(string, tag = "3")]
    pub id: String,
    /// What goes in.
    #[prost(message, repeated, tag = "5")]
    pub inputs: Vec<Tensor>,
    /// The values of the inputs as they lie in memory, where they are not in the tensors.
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub raw_input_contents: Vec<Vec<u8>>,
}

/// What it answers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferResponse {
    /// What comes out.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<Tensor>,
    /// The values of the outputs as they lie in memory, where they are not in the tensors.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub raw_output_contents: Vec<Vec<u8>>,
}

/// An input or an output; both have the same fields.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What its values are: `FP64`, `BYTES`, ….
    #[prost(string, tag = "2")]
    pub datatype: String,
    /// Its dimensions.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its values, where they do not lie beside the tensors.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<Contents>,
}

/// The values of a tensor, in the field of its type.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Contents {
    /// `BOOL`.
    #[prost(bool, repeated, tag = "1")]
    pub bools: Vec<bool>,
    /// `INT8`, `INT16` and `INT32`.
    #[prost(int32, repeated, tag = "2")]
    pub int32: Vec<i32>,
    /// `INT64`.
    #[prost(int64, repeated, tag = "3")]
    pub int64: Vec<i64>,
    /// `UINT8`, `UINT16` and `UINT32`.
    #[prost(uint32, repeated, tag = "4")]
    pub uint32: Vec<u32>,
    /// `UINT64`.
    #[prost(uint64, repeated, tag = "5")]
    pub uint64: Vec<u64>,
    /// `FP32`.
    #[prost(float, repeated, tag = "6")]
    pub fp32: Vec<f32>,
    /// `FP64`.
    #[prost(double, repeated, tag = "7")]
    pub fp64: Vec<f64>,
    /// `BYTES`.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub bytes: Vec<Vec<u8>>,
}

impl Contents {
    /// The values, of whichever type they are.
    pub fn values(self) -> Raw {
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
