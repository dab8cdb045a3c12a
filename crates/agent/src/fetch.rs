//! `windlass-agent fetch`: brings a model to where a server loads it, and lets nothing else through.
//!
//! ```text
//!   signature ──good──> files ──digested on the way──> beside the folder ──as recorded, as signed──> in the folder
//! ```
//!
//! Where a signature is asked for, it is verified before a file is brought, and files that it does not speak of
//! (the signature itself, Git's, those that its signer left out) stay behind: nothing unsigned comes to the server.
//!
//! What the server has mounted itself is not brought anywhere, but verified where it lies (`in_place`).

mod in_place;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tracing::info;
use uuid::Uuid;
use windlass_api::agent::{FailureReason, FailureReport, FetchReport, Report, Tree};

pub(crate) use in_place::all_can_be_verified;

use crate::address::Address;
use crate::report::{OrFail, failure, tree_failure};
use crate::signature::{SignatureArguments, Signed};
use crate::tree::{self, TEMPORARY};

/// Arguments of `windlass-agent fetch`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of the files.
    #[arg(long)]
    pub uri: String,
    /// The digest that was recorded, `sha256:<hex>`.
    #[arg(long)]
    pub digest: String,
    /// The folder that they go to; made where it is absent.
    #[arg(long, value_name = "DIR", required_unless_present = "mounted")]
    pub to: Option<PathBuf>,
    /// The folder that the address is mounted as: nothing is asked of the address itself. Without `--to` the files are
    /// verified there and stay.
    #[arg(long, value_name = "DIR")]
    pub mounted: Option<PathBuf>,
    /// Whose signature they have to have.
    #[command(flatten)]
    pub signature: SignatureArguments,
}

/// Fetches and verifies: the files are under `to` only when their digest is the one that was recorded, and they are
/// signed by whom is asked for. Of what is mounted it ends well only when all of it is so.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let Arguments {
        uri,
        digest,
        to,
        mounted,
        signature,
    } = arguments;
    let address = at(&uri, mounted.as_deref())?;
    let signed = signature.signed(&address).await?;
    if let Some(signed) = &signed {
        signed.check_links(&address)?;
    }
    let Some(to) = to else {
        let tree = in_place::verify(&address, &digest, signed.as_ref()).await?;
        let (files, bytes) = (tree.files, tree.bytes);
        info!(digest, files, bytes, "verified {uri} where it is mounted");
        return Ok(Report::Fetch(FetchReport { tree }));
    };
    // Inside `to`, which may be a volume's root: what is renamed has to stay on one file system.
    let partial = to.join(format!("{TEMPORARY}fetch.{}", Uuid::new_v4()));
    let verified = bring(&address, &digest, signed.as_ref(), &partial).await;
    let moved = match verified {
        Ok(tree) => move_into(&partial, &to).map(|()| tree),
        Err(failure) => Err(failure),
    };
    let _ = fs::remove_dir_all(&partial);
    let tree = moved?;
    info!(
        digest,
        files = tree.files,
        bytes = tree.bytes,
        "fetched {uri}"
    );
    Ok(Report::Fetch(FetchReport { tree }))
}

/// Where files are read: at their address, or in the folder that it is mounted as.
pub(crate) fn at(uri: &str, mounted: Option<&Path>) -> Result<Address, FailureReport> {
    let address = match mounted {
        None => Address::parse(uri),
        Some(path) => Address::local(uri, path),
    };
    let address = address.or_fail(FailureReason::InvalidArguments)?;
    if mounted.is_some() && address.is_single_file() {
        return Err(failure(
            FailureReason::InvalidArguments,
            format!(
                "{uri} is a file, and a folder is what can be mounted: name the folder that it is in"
            ),
        ));
    }
    Ok(address)
}

/// Brings the files into a folder, reading each once, and holds them against what was recorded and what was signed.
async fn bring(
    address: &Address,
    digest: &str,
    signed: Option<&Signed>,
    to: &Path,
) -> Result<Tree, FailureReport> {
    let shard_size = signed.and_then(Signed::shard_size);
    let hashed = tree::download_hashed(address, to, shard_size)
        .await
        .map_err(|problem| tree_failure(&problem))?;
    let tree = tree::tree_of_hashed(address.uri(), &hashed);
    is_as_recorded(&tree, digest)?;
    if let Some(signed) = signed {
        let left_out = signed.check(address, &hashed)?;
        for path in &left_out {
            fs::remove_file(to.join(path)).map_err(|problem| writing(to, &problem))?;
        }
        info!(files = left_out.len(), "left behind what was not signed");
    }
    Ok(tree)
}

/// Whether a tree has the digest that was recorded.
pub(crate) fn is_as_recorded(tree: &Tree, digest: &str) -> Result<(), FailureReport> {
    if tree.digest == digest {
        return Ok(());
    }
    Err(failure(
        FailureReason::DigestMismatch,
        format!(
            "{} is not what was recorded: its digest is {} ({} files, {} bytes), but {digest} was expected. \
             It was changed after the version was registered",
            tree.uri, tree.digest, tree.files, tree.bytes
        ),
    ))
}

/// Moves what is in `partial` one level up, over what an earlier start of the same pod left there.
fn move_into(partial: &Path, to: &Path) -> Result<(), FailureReport> {
    let moved = || -> io::Result<()> {
        for entry in fs::read_dir(partial)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            match fs::symlink_metadata(&target) {
                Ok(there) if there.is_dir() => fs::remove_dir_all(&target)?,
                _ => {}
            }
            fs::rename(entry.path(), target)?;
        }
        Ok(())
    };
    moved().map_err(|problem| writing(to, &problem))
}

fn writing(to: &Path, problem: &io::Error) -> FailureReport {
    failure(
        FailureReason::Internal,
        format!("writing to {} failed: {problem}", to.display()),
    )
}
