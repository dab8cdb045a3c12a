//! Certificates of signers, and the authorities that are trusted.
//!
//! ```text
//!   signer's certificate <── certificates in the signature … <── an authority that was given (RFC 5280, section 6)
//! ```
//!
//! All of them have to be valid now: a signature carries no time that somebody trusted has witnessed, so that the time
//! at which it was made cannot be known. What a certificate may be used for is read as RFC 5280 has it (section 4.2.1.12):
//! its key usage has to allow digital signatures and its extended key usage code signing, each where it is there, and one
//! of them has to be.
//!
//! Absent on purpose: lists of revoked certificates, and a choice among the signers of one authority: give an authority
//! that certifies nobody else, or the key itself.

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, ring};
use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::SignatureError;
use super::bundle::Bundle;
use super::key::{CURVES, ECDSA_P521_SHA512, Outcome, try_all};

/// `id-kp-codeSigning`, 1.3.6.1.5.5.7.3.3, as DER has it.
const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];

/// What authorities may have signed certificates with.
static OF_AUTHORITIES: &[&dyn SignatureVerificationAlgorithm] = &[
    ring::ECDSA_P256_SHA256,
    ring::ECDSA_P256_SHA384,
    ring::ECDSA_P384_SHA256,
    ring::ECDSA_P384_SHA384,
    ECDSA_P521_SHA512,
    ring::ED25519,
    ring::RSA_PKCS1_2048_8192_SHA256,
    ring::RSA_PKCS1_2048_8192_SHA384,
    ring::RSA_PKCS1_2048_8192_SHA512,
    ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    ring::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// The certificates of authorities that are trusted.
#[derive(Clone, Debug)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// All certificates in a PEM file; each of them is trusted by itself.
    ///
    /// # Errors
    /// A clause that says why there is none, or which cannot be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|problem| format!("it is no PEM ({problem})"))?;
        if certificates.is_empty() {
            return Err("it holds no certificate in PEM".to_owned());
        }
        for (at, certificate) in certificates.iter().enumerate() {
            let is_read =
                anchor_from_trusted_cert(certificate).is_ok() && parse(certificate).is_ok();
            if !is_read {
                return Err(format!("certificate {} in it cannot be read", at + 1));
            }
        }
        Ok(Self { certificates })
    }

    /// Verifies a signature that was made with a certificate; whose it is, in words.
    ///
    /// # Errors
    /// [`SignatureError::Certificate`], [`SignatureError::NotGood`].
    pub(super) fn verify(
        &self,
        bundle: &Bundle,
        certificates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<String, SignatureError> {
        let refused = SignatureError::Certificate;
        let Some((own, between)) = certificates.split_first() else {
            return Err(refused("it has no certificate".to_owned()));
        };
        let parsed = parse(own).map_err(refused)?;
        let by = format!("the certificate of {}", parsed.subject());
        let certificate =
            EndEntityCert::try_from(own).map_err(|problem| refused(wording(&by, &problem)))?;
        let anchors = self.valid_at(now)?;
        certificate
            .verify_for_usage(
                OF_AUTHORITIES,
                &anchors,
                between,
                now,
                KeyUsage::required_if_present(CODE_SIGNING),
                None,
                None,
            )
            .map_err(|problem| refused(wording(&by, &problem)))?;
        may_sign(&parsed).map_err(|why| refused(format!("{by} {why}")))?;
        let message = bundle.signed_bytes();
        match try_all(|algorithm| {
            certificate.verify_signature(algorithm, &message, &bundle.signature)
        }) {
            Outcome::Good => Ok(by),
            Outcome::NotGood => Err(SignatureError::NotGood(format!(
                "it is not good for {by}: it was changed, or what it is over was"
            ))),
            Outcome::OtherKey => Err(refused(format!("the key of {by} is not {CURVES}"))),
        }
    }

    /// The authorities whose certificates are valid at a time.
    fn valid_at(&self, now: UnixTime) -> Result<Vec<TrustAnchor<'_>>, SignatureError> {
        let time = i64::try_from(now.as_secs())
            .ok()
            .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok());
        let is_valid = |certificate: &CertificateDer<'_>| {
            let parsed = parse(certificate).ok();
            let within = parsed.zip(time).map(|(parsed, time)| {
                let validity = parsed.validity();
                validity.is_valid_at(time)
            });
            within.unwrap_or(false)
        };
        let valid = self.certificates.iter().filter(|one| is_valid(one));
        let anchors: Vec<_> = valid
            .filter_map(|certificate| anchor_from_trusted_cert(certificate).ok())
            .collect();
        if anchors.is_empty() {
            return Err(SignatureError::Certificate(
                "no certificate of the authorities that were given is valid now: give one that is"
                    .to_owned(),
            ));
        }
        Ok(anchors)
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|problem| format!("its certificate cannot be read ({problem})"))
}

/// Whether a certificate is one to sign with, beside what its path says of its extended key usage.
fn may_sign(certificate: &X509Certificate<'_>) -> Result<(), String> {
    let unreadable = |problem: X509Error| format!("has extensions that cannot be read ({problem})");
    let usage = certificate.key_usage().map_err(unreadable)?;
    let extended = certificate.extended_key_usage().map_err(unreadable)?;
    match (usage, extended) {
        (Some(usage), _) if !usage.value.digital_signature() => {
            Err("may not be used to sign: its key usage has no digitalSignature".to_owned())
        }
        (None, None) => Err(
            "does not say that it may be used to sign: it needs the key usage digitalSignature, or the extended key usage codeSigning"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}

/// What is wrong with a certificate or the path from it, for the person who reads the condition.
fn wording(by: &str, problem: &webpki::Error) -> String {
    let date = |time: &UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map_or_else(|| "another time".to_owned(), |time| time.to_string())
    };
    match problem {
        webpki::Error::CertExpired { not_after, .. } => format!(
            "{by}, or one that leads from it to an authority, expired at {}: sign with one that is valid",
            date(not_after)
        ),
        webpki::Error::CertNotValidYet { not_before, .. } => format!(
            "{by}, or one that leads from it to an authority, is not valid before {}",
            date(not_before)
        ),
        webpki::Error::UnknownIssuer => {
            format!("{by} does not lead to an authority that was given")
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => format!(
            "{by}, or one that leads from it to an authority, may not be used to sign: its extended key usage has no codeSigning"
        ),
        webpki::Error::CaUsedAsEndEntity => {
            format!(
                "{by} is that of an authority (basic constraints CA), which signs certificates only"
            )
        }
        other => format!("{by} does not lead to an authority that was given ({other})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_that_cannot_be_read_are_refused_with_why() {
        for (pem, expected) in [
            ("", "holds no certificate"),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "holds no certificate",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "certificate 1 in it cannot be read",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "is no PEM"),
        ] {
            let why = Authorities::from_pem(pem.as_bytes()).expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
    }
}
