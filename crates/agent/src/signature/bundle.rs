//! The file of a signature: a Sigstore bundle with a DSSE envelope.
//!
//! Sources: OMS 1.0, section 4; Sigstore's `sigstore_bundle.proto` and `sigstore_common.proto`, as JSON; DSSE 1.0
//! (`protocol.md`) for what is signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::SignatureError;

/// The one form that `model_signing` writes, since its version 0.3.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What an envelope of an in-toto statement says that it holds.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A signature, of which nothing is verified yet.
#[derive(Debug)]
pub(super) struct Bundle {
    /// How it was made.
    pub method: Method,
    /// What it is over: JSON, an in-toto statement.
    pub payload: Vec<u8>,
    /// The signature itself: DER, as ECDSA's are in X9.62.
    pub signature: Vec<u8>,
}

/// How a signature was made.
#[derive(Debug)]
pub(super) enum Method {
    /// With a key that whoever verifies has to know.
    Key {
        /// Which, as a hint: SHA-256 over the public key's PEM, hex.
        hint: Option<String>,
    },
    /// With a certificate: first the signer's, then those that lead from it to an authority.
    Certificates(Vec<CertificateDer<'static>>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
}

/// `VerificationMaterial`, of which one of the first three is there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<PublicKeyIdentifier>,
    x509_certificate_chain: Option<Chain>,
    certificate: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct PublicKeyIdentifier {
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<Certificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<DsseSignature>,
}

#[derive(Deserialize)]
struct DsseSignature {
    sig: String,
}

impl Bundle {
    /// Reads the JSON of a bundle.
    ///
    /// # Errors
    /// [`SignatureError::Bundle`] with what it lacks, [`SignatureError::Keyless`].
    pub fn parse(content: &[u8]) -> Result<Self, SignatureError> {
        let wrong = SignatureError::Bundle;
        let document: Document = serde_json::from_slice(content)
            .map_err(|problem| wrong(format!("it is no Sigstore bundle ({problem})")))?;
        let media_type = document.media_type.unwrap_or_default();
        if media_type != MEDIA_TYPE {
            return Err(wrong(format!(
                "its mediaType is {media_type:?}, and {MEDIA_TYPE:?} can be read"
            )));
        }
        let method = method(document.verification_material)?;
        let envelope = document
            .dsse_envelope
            .ok_or_else(|| wrong("it has no dsseEnvelope".to_owned()))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(wrong(format!(
                "its payloadType is {:?}, and {PAYLOAD_TYPE:?} can be read",
                envelope.payload_type
            )));
        }
        let [signature] = envelope.signatures.as_slice() else {
            return Err(wrong(format!(
                "its envelope has {} signatures, and has to have one",
                envelope.signatures.len()
            )));
        };
        Ok(Self {
            method,
            payload: bytes("payload", &envelope.payload)?,
            signature: bytes("sig", &signature.sig)?,
        })
    }

    /// What the signature is over: DSSE's pre-authentication encoding, `DSSEv1 SP LEN SP type SP LEN SP body`.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let head = format!(
            "DSSEv1 {} {PAYLOAD_TYPE} {} ",
            PAYLOAD_TYPE.len(),
            self.payload.len()
        );
        [head.as_bytes(), &self.payload].concat()
    }
}

fn method(material: Material) -> Result<Method, SignatureError> {
    match (
        material.public_key,
        material.x509_certificate_chain,
        material.certificate,
    ) {
        (Some(key), None, None) => Ok(Method::Key {
            hint: key.hint.filter(|hint| !hint.is_empty()),
        }),
        (None, Some(chain), None) => {
            let certificates = chain.certificates.iter().map(|certificate| {
                bytes("rawBytes", &certificate.raw_bytes).map(CertificateDer::from)
            });
            Ok(Method::Certificates(certificates.collect::<Result<_, _>>()?))
        }
        (None, None, Some(_)) => Err(SignatureError::Keyless),
        (None, None, None) => Err(SignatureError::Bundle(
            "its verificationMaterial has neither publicKey nor x509CertificateChain".to_owned(),
        )),
        _ => Err(SignatureError::Bundle(
            "its verificationMaterial has more than one of publicKey, x509CertificateChain and certificate".to_owned(),
        )),
    }
}

fn bytes(field: &str, text: &str) -> Result<Vec<u8>, SignatureError> {
    STANDARD
        .decode(text)
        .map_err(|problem| SignatureError::Bundle(format!("its {field} is no base64 ({problem})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn good() -> Value {
        json!({
            "mediaType": MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": "00"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": "e30=", "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": "AAE=", "keyid": null}],
            },
        })
    }

    fn parse(document: &Value) -> Result<Bundle, SignatureError> {
        Bundle::parse(document.to_string().as_bytes())
    }

    #[test]
    fn what_is_signed_is_encoded_as_dsse_prescribes() {
        let bundle = parse(&good()).expect("a bundle");
        assert_eq!(
            bundle.signed_bytes(),
            b"DSSEv1 28 application/vnd.in-toto+json 2 {}"
        );
        assert_eq!(bundle.signature, [0, 1]);
    }

    #[test]
    fn bundles_of_older_versions_are_read_too() {
        let mut older = good();
        older["verificationMaterial"] =
            json!({"publicKey": {"rawBytes": "AA==", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}});
        older["dsseEnvelope"]["signatures"] = json!([{"sig": "AAE="}]);
        let bundle = parse(&older).expect("a bundle");
        assert!(matches!(bundle.method, Method::Key { hint: None }));
    }

    #[test]
    fn what_is_wrong_with_a_bundle_is_named() {
        type Change = fn(&mut Value);
        let rows: [(&str, Change); 9] = [
            ("mediaType is \"text/plain\"", |all| {
                all["mediaType"] = json!("text/plain");
            }),
            ("mediaType is \"\"", |all| all["mediaType"] = Value::Null),
            ("no dsseEnvelope", |all| {
                all["dsseEnvelope"] = Value::Null;
            }),
            ("payloadType is \"text\"", |all| {
                all["dsseEnvelope"]["payloadType"] = json!("text");
            }),
            ("has 0 signatures", |all| {
                all["dsseEnvelope"]["signatures"] = json!([]);
            }),
            ("has 2 signatures", |all| {
                all["dsseEnvelope"]["signatures"] = json!([{"sig": ""}, {"sig": ""}]);
            }),
            ("payload is no base64", |all| {
                all["dsseEnvelope"]["payload"] = json!("?");
            }),
            ("has neither publicKey", |all| {
                all["verificationMaterial"] = json!({});
            }),
            ("more than one of", |all| {
                all["verificationMaterial"]["certificate"] = json!({"rawBytes": "AA=="});
            }),
        ];
        for (expected, change) in rows {
            let mut document = good();
            change(&mut document);
            let error = parse(&document).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let error = Bundle::parse(b"{\"a\": ").expect_err("cut off");
        assert!(error.to_string().contains("no Sigstore bundle"), "{error}");
    }

    #[test]
    fn a_keyless_one_is_told_apart() {
        let mut document = good();
        document["verificationMaterial"] =
            json!({"certificate": {"rawBytes": "AA=="}, "tlogEntries": [{"logIndex": "1"}]});
        assert!(matches!(parse(&document), Err(SignatureError::Keyless)));
    }
}
