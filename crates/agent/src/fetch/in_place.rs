//! A model is verified in the folder that its server has mounted too.
//!
//! Nothing can be left behind there. So there may be nothing that the digest does not speak of (names that are the agent's
//! own), that another container may see otherwise (links that lead out of the folder), or that nobody signed.
//!
//! That it stays so is not this module's to see to: of an image that is named by its digest nothing changes, of a claim
//! whoever may write to it can change what they like.

use std::fmt::Write as _;

use windlass_api::agent::{FailureReason, FailureReport, Tree};

use super::is_as_recorded;
use crate::address::Address;
use crate::report::{failure, tree_failure};
use crate::signature::Signed;
use crate::tree::{self, blocking};

/// How many names are told of those that are in the way.
const TOLD: usize = 5;

/// Reads all files, and holds all that is there against what was recorded and what was signed.
///
/// # Errors
/// [`FailureReason::DigestMismatch`] and [`FailureReason::SignatureInvalid`], with what is there that must not be.
pub(super) async fn verify(
    address: &Address,
    digest: &str,
    signed: Option<&Signed>,
) -> Result<Tree, FailureReport> {
    all_can_be_verified(address).await?;
    let shard_size = signed.and_then(Signed::shard_size);
    let hashed = tree::hashed(address, shard_size)
        .await
        .map_err(|problem| tree_failure(&problem))?;
    let tree = tree::tree_of_hashed(address.uri(), &hashed);
    is_as_recorded(&tree, digest)?;
    if let Some(signed) = signed {
        let mut unsigned = signed.check(address, &hashed)?;
        unsigned.retain(|path| signed.own.as_ref() != Some(path));
        if !unsigned.is_empty() {
            return Err(failure(
                FailureReason::SignatureInvalid,
                format!(
                    "{} is mounted as it is, with files that its signature leaves out: {}. \
                     Take them away, sign them too, or have the files copied (fromClaim: Fetch, or an image by its tag), which leaves them behind",
                    address.uri(),
                    some(&unsigned)
                ),
            ));
        }
    }
    Ok(tree)
}

/// Whether all that lies in a mounted folder is of its tree, and the same for whoever else has it mounted.
///
/// # Errors
/// [`FailureReason::DigestMismatch`] with what is not.
pub(crate) async fn all_can_be_verified(address: &Address) -> Result<(), FailureReport> {
    let root = address.local_path().expect("what is mounted is local");
    let root = root.to_owned();
    let strays = blocking(move || tree::strays(&root))
        .await
        .map_err(|problem| tree_failure(&problem))?;
    if strays.is_empty() {
        return Ok(());
    }
    Err(failure(
        FailureReason::DigestMismatch,
        format!(
            "{} is mounted as it is, with what no digest speaks of: {}. \
             Take away links that lead out of the folder, and names that begin with {:?}",
            address.uri(),
            some(&strays),
            tree::TEMPORARY
        ),
    ))
}

fn some(paths: &[String]) -> String {
    let mut said = paths
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > TOLD {
        let _ = write!(said, " and {} more", paths.len() - TOLD);
    }
    said
}
