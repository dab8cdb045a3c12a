//! Public keys, and the algorithms of signatures.
//!
//! OMS's algorithm registry prescribes ECDSA (FIPS 186-5) on three curves, each with the SHA-2 of its own strength as
//! Sigstore's registry has it: P-256 with SHA-256, P-384 with SHA-384, P-521 with SHA-512.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature, VerifyingKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer,
    alg_id,
};
use sha2::{Digest, Sha256};
use webpki::ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA384};

use super::SignatureError;
use super::bundle::Bundle;

/// What is accepted, in words.
pub(super) const CURVES: &str = "ECDSA on P-256, P-384 or P-521";

/// ECDSA on P-521 with SHA-512, which ring has not.
pub(super) static ECDSA_P521_SHA512: &dyn SignatureVerificationAlgorithm = &EcdsaP521Sha512;

/// A public key that is trusted.
#[derive(Clone, Debug)]
pub struct PublicKey {
    der: SubjectPublicKeyInfoDer<'static>,
}

impl PublicKey {
    /// The first public key (`SubjectPublicKeyInfo`, RFC 7468) in a PEM file.
    ///
    /// # Errors
    /// A clause that says why it is none that can be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|problem| format!("it holds no public key in PEM ({problem})"))?;
        let key = Self { der };
        // Which curve it is on is told by what its algorithms say of a signature that is none.
        match key.try_all(&[], &[])? {
            Outcome::OtherKey => Err(format!("its key is not {CURVES}")),
            Outcome::Good | Outcome::NotGood => Ok(key),
        }
    }

    /// SHA-256 over its PEM, hex: the hint that `model_signing` writes into a signature.
    pub fn hint(&self) -> String {
        let encoded = STANDARD.encode(&self.der);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in encoded.as_bytes().chunks(64) {
            pem.extend(line.iter().copied().map(char::from));
            pem.push('\n');
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        hex(&Sha256::digest(pem))
    }

    /// Verifies a signature.
    ///
    /// # Errors
    /// [`SignatureError::NotGood`], with what the signature's hint says of the key.
    pub(super) fn verify(&self, bundle: &Bundle, hint: Option<&str>) -> Result<(), SignatureError> {
        let outcome = self.try_all(&bundle.signed_bytes(), &bundle.signature);
        match outcome.map_err(SignatureError::NotGood)? {
            Outcome::Good => Ok(()),
            Outcome::NotGood | Outcome::OtherKey => {
                let own = self.hint();
                Err(SignatureError::NotGood(match hint {
                    Some(hint) if hint != own => format!(
                        "it was made with another key: it names the key {hint}, and {own} was given (SHA-256 of the PEM)"
                    ),
                    Some(_) | None => "it is not good for the key that was given: it was changed, or what it is over was, or it was made with another key".to_owned(),
                }))
            }
        }
    }

    fn try_all(&self, message: &[u8], signature: &[u8]) -> Result<Outcome, String> {
        let key = webpki::RawPublicKeyEntity::try_from(&self.der)
            .map_err(|problem| format!("its key cannot be read ({problem})"))?;
        Ok(try_all(|algorithm| {
            key.verify_signature(algorithm, message, signature)
        }))
    }
}

/// What came of a signature.
pub(super) enum Outcome {
    /// It is good.
    Good,
    /// It is not.
    NotGood,
    /// The key is of a kind that is not accepted.
    OtherKey,
}

/// Verifies with the algorithm that goes with the key.
pub(super) fn try_all(
    verify: impl Fn(&dyn SignatureVerificationAlgorithm) -> Result<(), webpki::Error>,
) -> Outcome {
    for algorithm in [ECDSA_P256_SHA256, ECDSA_P384_SHA384, ECDSA_P521_SHA512] {
        match verify(algorithm) {
            Ok(()) => return Outcome::Good,
            Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
            Err(_) => return Outcome::NotGood,
        }
    }
    Outcome::OtherKey
}

#[derive(Debug)]
struct EcdsaP521Sha512;

impl SignatureVerificationAlgorithm for EcdsaP521Sha512 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        key.verify(message, &signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P521
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA512
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_cannot_be_used_is_refused_with_why() {
        // openssl pkey -pubout of an Ed25519 key: 32 bytes after the algorithm's identifier.
        let der = [
            &[
                0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
            ][..],
            &[7; 32],
        ]
        .concat();
        let other = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der)
        );
        for (pem, expected) in [
            ("", "holds no public key in PEM"),
            ("no PEM at all", "holds no public key in PEM"),
            (other.as_str(), "its key is not ECDSA on P-256"),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "cannot be read",
            ),
        ] {
            let why = PublicKey::from_pem(pem.as_bytes()).expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
    }
}
