//! `windlass-agent fetch`: brings a model to where a server loads it, and lets nothing else through.

use std::path::PathBuf;

use tracing::info;
use uuid::Uuid;
use windlass_api::agent::{FailureReason, FailureReport, FetchReport, Report};

use crate::address::Address;
use crate::report::{OrFail, failure, tree_failure};
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
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Fetches and verifies: the files are under `to` only when their digest is the one that was recorded.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let Arguments { uri, digest, to } = arguments;
    let address = Address::parse(&uri).or_fail(FailureReason::InvalidArguments)?;
    // Inside `to`, which may be a volume's root: what is renamed has to stay on one file system.
    let partial = to.join(format!("{TEMPORARY}fetch.{}", Uuid::new_v4()));
    let fetched = tree::download(&address, &partial)
        .await
        .map_err(|problem| tree_failure(&problem));
    let verified = fetched.and_then(|tree| {
        if tree.digest == digest {
            return Ok(tree);
        }
        Err(failure(
            FailureReason::DigestMismatch,
            format!(
                "{uri} is not what was recorded: its digest is {} ({} files, {} bytes), but {digest} was expected. \
                 It was changed after the version was registered",
                tree.digest, tree.files, tree.bytes
            ),
        ))
    });
    let moved = match verified {
        Ok(tree) => move_into(&partial, &to).map(|()| tree),
        Err(failure) => Err(failure),
    };
    let _ = std::fs::remove_dir_all(&partial);
    let tree = moved?;
    info!(
        digest,
        files = tree.files,
        bytes = tree.bytes,
        "fetched {uri}"
    );
    Ok(Report::Fetch(FetchReport { tree }))
}

/// Moves what is in `partial` one level up, over what an earlier start of the same pod left there.
fn move_into(partial: &std::path::Path, to: &std::path::Path) -> Result<(), FailureReport> {
    let moved = || -> std::io::Result<()> {
        for entry in std::fs::read_dir(partial)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            match std::fs::symlink_metadata(&target) {
                Ok(there) if there.is_dir() => std::fs::remove_dir_all(&target)?,
                _ => {}
            }
            std::fs::rename(entry.path(), target)?;
        }
        Ok(())
    };
    moved().map_err(|problem| {
        failure(
            FailureReason::Internal,
            format!("writing to {} failed: {problem}", to.display()),
        )
    })
}
