//! `windlass-agent verify`: whether files are those that were recorded, and those that somebody signed, as every load of
//! a model finds out; for a person, where they lie.
//!
//! It reads each file once, keeps nothing and writes no report: what was verified is printed.

use std::fmt::Write;
use std::time::{Duration, Instant};

use windlass_api::agent::{FailureReason, FailureReport, Tree};

use crate::address::Address;
use crate::fetch::is_as_recorded;
use crate::report::{OrFail, failure, tree_failure};
use crate::signature::{SignatureArguments, Signed};
use crate::tree::{self, Hashed, Sharded, blocking};

/// Arguments of `windlass-agent verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the files: a folder, a file, `s3://`, `https://`.
    #[arg(value_name = "PATH|URI")]
    pub uri: String,
    /// The digest that they have to have, `sha256:<hex>`, as a ModelVersion records it.
    #[arg(long)]
    pub digest: Option<String>,
    /// Whose signature they have to have.
    #[command(flatten)]
    pub signature: SignatureArguments,
}

/// What was verified.
struct Verified {
    files: u64,
    bytes: u64,
    /// Absent where only shards were hashed.
    digest: Option<String>,
}

/// Verifies, and prints what.
///
/// # Errors
/// [`FailureReason::DigestMismatch`] for files that are others than were recorded or signed,
/// [`FailureReason::SignatureInvalid`] for a signature that is not there, not good, or of somebody else.
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let Arguments {
        uri,
        digest,
        signature,
    } = arguments;
    let start = Instant::now();
    let address = Address::parse(&uri).or_fail(FailureReason::InvalidArguments)?;
    let signed = signature.signed(&address).await?;
    if signed.is_none() && digest.is_none() {
        return Err(failure(
            FailureReason::InvalidArguments,
            "nothing was said to verify: give --public-key or --certificate-authority, or --digest",
        ));
    }
    if let Some(signed) = &signed {
        signed.check_links(&address)?;
    }
    let shards = signed.as_ref().filter(|_| digest.is_none());
    let verified = match shards.and_then(|signed| Some((signed, signed.shard_size()?))) {
        // Nothing but shards is asked for: each is hashed by itself, on all processors.
        Some((signed, size)) if address.local_path().is_some() => {
            let local = address.clone();
            let files = blocking(move || tree::hash_shards(tree::local_files(&local)?, size))
                .await
                .map_err(|problem| tree_failure(&problem))?;
            signed.check_shards(&address, &files)?;
            Verified::of_shards(&files)
        }
        _ => whole(&address, digest.as_deref(), signed.as_ref()).await?,
    };
    let by = signed.as_ref().map(|signed| signed.by.as_str());
    print!("{}", verified.said(&uri, by, start.elapsed()));
    Ok(())
}

/// Reads all files, and holds them against what was recorded and what was signed.
async fn whole(
    address: &Address,
    digest: Option<&str>,
    signed: Option<&Signed>,
) -> Result<Verified, FailureReport> {
    let shard_size = signed.and_then(Signed::shard_size);
    let hashed: Vec<Hashed> = tree::hashed(address, shard_size)
        .await
        .map_err(|problem| tree_failure(&problem))?;
    let tree = tree::tree_of_hashed(address.uri(), &hashed);
    if let Some(digest) = digest {
        is_as_recorded(&tree, digest)?;
    }
    if let Some(signed) = signed {
        signed.check(address, &hashed)?;
    }
    Ok(Verified::of(tree))
}

impl Verified {
    fn of(tree: Tree) -> Self {
        Self {
            files: tree.files,
            bytes: tree.bytes,
            digest: Some(tree.digest),
        }
    }

    fn of_shards(files: &[Sharded]) -> Self {
        Self {
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
            digest: None,
        }
    }

    /// In some lines: what, how much and how fast, the digest, and who signed it.
    fn said(&self, uri: &str, by: Option<&str>, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        #[allow(clippy::cast_precision_loss)] // a speed, for people
        let gigabytes = self.bytes as f64 / 1e9;
        let mut said = format!(
            "{uri} is verified: {} files, {} bytes, in {seconds:.3} s ({:.2} GB/s)\n",
            self.files,
            self.bytes,
            gigabytes / seconds.max(1e-9)
        );
        let facts = [("digest", self.digest.as_deref()), ("signed by", by)];
        for (what, value) in facts {
            if let Some(value) = value {
                let _ = writeln!(said, "{what:<10}{value}");
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_verified_is_said_with_its_speed() {
        let verified = Verified {
            files: 3,
            bytes: 2_000_000_000,
            digest: Some("sha256:00".to_owned()),
        };
        assert_eq!(
            verified.said("models/1", Some("the key 01"), Duration::from_millis(800)),
            "models/1 is verified: 3 files, 2000000000 bytes, in 0.800 s (2.50 GB/s)\ndigest    sha256:00\nsigned by the key 01\n"
        );
    }
}
