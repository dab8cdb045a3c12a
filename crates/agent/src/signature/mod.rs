//! Signatures of models, after OpenSSF Model Signing (OMS) 1.0: whether files are those that somebody signed.
//!
//! ```text
//!   model.sig ──bundle──> payload, signature, how it was made
//!                           │
//!   Trust (a key, or authorities) ──key, certificate──> the payload is theirs
//!                                                          │
//!                                  statement ──> Manifest: names and SHA-256 of files, or of their shards
//!                                                          │
//!   digests of the files, read once ──> manifest ──> the same; or what was changed, is missing, was added
//! ```
//!
//! A signature is verified before a file is read, and nothing that it says is believed before that.
//!
//! Absent on purpose: keyless signatures (Fulcio's certificates and Rekor's log, which need the public good instance or
//! one's own, and a network), lists of revoked certificates, other hashes than SHA-256, the layout of 2024
//! (`https://model_signing/Digests/v0.1`). Each is refused in words of its own. Why by our own code: decision 10.

mod bundle;
mod certificate;
mod key;
mod manifest;
mod statement;

use std::path::PathBuf;

use rustls_pki_types::UnixTime;
use tracing::info;
use windlass_api::agent::{FailureReason, FailureReport};

pub use self::certificate::Authorities;
pub use self::key::PublicKey;

use self::bundle::{Bundle, Method};
use self::manifest::Manifest;
use crate::address::{Address, AddressError};
use crate::report::{OrFail, chain, failure, tree_failure};
use crate::tree::{Hashed, Sharded, TreeError};

/// Name of the signature in or beside a model, as `model_signing sign` writes it.
pub const BUNDLE_FILE: &str = "model.sig";

/// How many bytes a signature may have: some 400,000 files. It is held in memory, and comes from who may not be trusted.
const MOST_BUNDLE_BYTES: usize = 64 << 20;

/// What is wrong with a signature, or with the files that it is over.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// The key or the authorities that were given cannot be used.
    #[error("{path} cannot be used: {why}")]
    Trust {
        /// The file.
        path: String,
        /// Why, as a clause.
        why: String,
    },
    /// It is no Sigstore bundle of the form that OMS prescribes.
    #[error("it is no signature that can be read: {0}")]
    Bundle(String),
    /// It was made without a key of one's own.
    #[error(
        "it is a keyless signature (a certificate of Sigstore's Fulcio, an entry in Rekor's log), which Windlass does not verify; sign with a key or a certificate (model_signing sign key, model_signing sign certificate)"
    )]
    Keyless,
    /// It was made in another way than the one that is asked for.
    #[error("it was made with {found}, and {asked} is asked for")]
    OtherMethod {
        /// How it was made.
        found: &'static str,
        /// What is asked for.
        asked: &'static str,
    },
    /// It does not fit the payload and the key.
    #[error("{0}")]
    NotGood(String),
    /// Its certificate is none of a signer's, or of another authority.
    #[error("{0}")]
    Certificate(String),
    /// What was signed is not what OMS prescribes.
    #[error("what was signed is no list of files that can be read: {0}")]
    Statement(String),
    /// The files are not those that were signed.
    #[error("the files are not those that were signed: {0}")]
    Files(String),
}

impl SignatureError {
    /// The class of the failure: files that are others than were signed are told apart from signatures that are not good.
    fn reason(&self) -> FailureReason {
        match self {
            Self::Trust { .. } => FailureReason::InvalidArguments,
            Self::Files(_) => FailureReason::DigestMismatch,
            Self::Bundle(_)
            | Self::Keyless
            | Self::OtherMethod { .. }
            | Self::NotGood(_)
            | Self::Certificate(_)
            | Self::Statement(_) => FailureReason::SignatureInvalid,
        }
    }
}

/// Whose signature is asked for, and where it lies.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SignatureArguments {
    /// The files have to be signed with the private key of this public one: PEM, ECDSA on P-256, P-384 or P-521.
    #[arg(long, value_name = "FILE", conflicts_with = "certificate_authority")]
    pub public_key: Option<PathBuf>,
    /// The files have to be signed with a certificate that leads to one of these: PEM, of authorities that are trusted.
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Where the signature lies; without it `model.sig` in the folder, or beside a single file.
    #[arg(long, value_name = "URI")]
    pub signature: Option<String>,
}

/// Whom is trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Whoever has the private key of this public one.
    Key(PublicKey),
    /// Whoever one of these gave a certificate for signing.
    Authorities(Authorities),
}

/// A signature that is good.
#[derive(Clone, Debug)]
pub struct Signed {
    /// Where it lies.
    pub uri: String,
    /// Who made it, in words.
    pub by: String,
    /// Its path among the files that it is over, where it lies there.
    pub(crate) own: Option<String>,
    manifest: Manifest,
}

impl SignatureArguments {
    /// Whom is trusted; nothing where no signature is asked for.
    ///
    /// # Errors
    /// [`FailureReason::InvalidArguments`], where a file cannot be read, or is no key and no certificate.
    fn trust(&self) -> Result<Option<Trust>, FailureReport> {
        let (path, what) = match (&self.public_key, &self.certificate_authority) {
            (Some(path), _) => (path, "--public-key"),
            (None, Some(path)) => (path, "--certificate-authority"),
            (None, None) if self.signature.is_some() => {
                return Err(failure(
                    FailureReason::InvalidArguments,
                    "--signature needs --public-key or --certificate-authority: a signature says nothing unless it is known whose it has to be",
                ));
            }
            (None, None) => return Ok(None),
        };
        let problem = |why: String| {
            let path = format!("{what} {}", path.display());
            SignatureError::Trust { path, why }
        };
        let pem = std::fs::read(path).map_err(|source| problem(source.to_string()));
        let trust = pem.and_then(|pem| {
            let parsed = if self.public_key.is_some() {
                PublicKey::from_pem(&pem).map(Trust::Key)
            } else {
                Authorities::from_pem(&pem).map(Trust::Authorities)
            };
            parsed.map_err(problem)
        });
        trust
            .map(Some)
            .map_err(|error| failure(error.reason(), error.to_string()))
    }

    /// Reads and verifies the signature of what lies at an address; nothing where none is asked for.
    ///
    /// # Errors
    /// [`FailureReason::SignatureInvalid`], where it is not there, not good, or of somebody else;
    /// [`FailureReason::InvalidArguments`]; and what reading it may end with.
    pub async fn signed(&self, address: &Address) -> Result<Option<Signed>, FailureReport> {
        let Some(trust) = self.trust()? else {
            return Ok(None);
        };
        let bundle = match &self.signature {
            Some(uri) => Address::parse(uri).or_fail(FailureReason::InvalidArguments)?,
            None if address.is_single_file() => address.sibling(BUNDLE_FILE),
            None => address.child(BUNDLE_FILE),
        };
        let uri = bundle.uri();
        let content = match bundle.read_at_most(MOST_BUNDLE_BYTES).await {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(invalid(format!(
                "the signature {uri} of {} has more than {MOST_BUNDLE_BYTES} bytes",
                address.uri()
            ))),
            Err(AddressError::NotFound { .. }) => Err(invalid(format!(
                "{} is not signed: there is no signature at {uri}. Sign it, or say where its signature lies",
                address.uri()
            ))),
            Err(problem) => Err(tree_failure(&TreeError::Address(problem))),
        }?;
        let mut signed = Signed::verify(&content, &trust, UnixTime::now())
            .map_err(|error| about(&error, address.uri(), uri))?;
        uri.clone_into(&mut signed.uri);
        // It cannot be in the list of what it is over. What is mounted it is in by the files' own address.
        let among = || Address::parse(address.uri()).ok()?.path_of(&bundle);
        signed.own = address.path_of(&bundle).or_else(among);
        signed.manifest.ignore(signed.own.clone());
        info!(
            signature = uri,
            "{} is signed by {}",
            address.uri(),
            signed.by
        );
        Ok(Some(signed))
    }
}

fn invalid(message: String) -> FailureReport {
    failure(FailureReason::SignatureInvalid, message)
}

fn about(error: &SignatureError, files: &str, signature: &str) -> FailureReport {
    failure(
        error.reason(),
        format!("the signature {signature} of {files}: {}", chain(error)),
    )
}

impl Signed {
    /// Verifies a signature, as it is at a time; its address is not known yet.
    ///
    /// # Errors
    /// All of [`SignatureError`] but [`SignatureError::Trust`] and [`SignatureError::Files`].
    pub fn verify(content: &[u8], trust: &Trust, now: UnixTime) -> Result<Self, SignatureError> {
        let bundle = Bundle::parse(content)?;
        let by = match (trust, &bundle.method) {
            (Trust::Key(key), Method::Key { hint }) => {
                key.verify(&bundle, hint.as_deref())?;
                format!("the key {}", key.hint())
            }
            (Trust::Authorities(authorities), Method::Certificates(certificates)) => {
                authorities.verify(&bundle, certificates, now)?
            }
            (Trust::Key(_), Method::Certificates(_)) => {
                return Err(SignatureError::OtherMethod {
                    found: "a certificate",
                    asked: "a public key",
                });
            }
            (Trust::Authorities(_), Method::Key { .. }) => {
                return Err(SignatureError::OtherMethod {
                    found: "a key that has no certificate",
                    asked: "a certificate",
                });
            }
        };
        Ok(Self {
            uri: String::new(),
            by,
            own: None,
            manifest: statement::manifest(&bundle.payload)?,
        })
    }

    /// The bytes of a shard, where it is shards that were signed.
    pub fn shard_size(&self) -> Option<std::num::NonZeroU64> {
        self.manifest.shard_size()
    }

    /// Sees to it that files are those that were signed. The paths of those that the signature does not speak of.
    ///
    /// # Errors
    /// [`FailureReason::DigestMismatch`] with what is different.
    pub(crate) fn check(
        &self,
        address: &Address,
        files: &[Hashed],
    ) -> Result<Vec<String>, FailureReport> {
        let files = files.iter().map(|Hashed { file, shards }| {
            let whole = std::slice::from_ref(&file.sha256);
            let digests = self.shard_size().map_or(whole, |_| shards.as_slice());
            (file.path.as_str(), file.size, digests)
        });
        self.check_all(address, files)
    }

    /// The same with nothing but shards.
    ///
    /// # Errors
    /// [`FailureReason::DigestMismatch`] with what is different.
    pub(crate) fn check_shards(
        &self,
        address: &Address,
        files: &[Sharded],
    ) -> Result<Vec<String>, FailureReport> {
        let files = files
            .iter()
            .map(|file| (file.path.as_str(), file.size, file.shards.as_slice()));
        self.check_all(address, files)
    }

    fn check_all<'a>(
        &self,
        address: &Address,
        files: impl Iterator<Item = (&'a str, u64, &'a [String])>,
    ) -> Result<Vec<String>, FailureReport> {
        self.manifest
            .check(files)
            .map_err(|error| about(&error, address.uri(), &self.uri))
    }

    /// Sees to it that no file is a link, unless the signer followed links. Stores have none.
    ///
    /// # Errors
    /// [`FailureReason::DigestMismatch`] with the links.
    pub(crate) fn check_links(&self, address: &Address) -> Result<(), FailureReport> {
        let Some(local) = address.local_path() else {
            return Ok(());
        };
        let links = crate::tree::symbolic_links(local).map_err(|problem| tree_failure(&problem))?;
        self.manifest
            .check_links(links)
            .map_err(|error| about(&error, address.uri(), &self.uri))
    }
}
