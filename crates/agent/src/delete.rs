//! `windlass-agent delete`: takes away trees of files that are what was recorded, and nothing else.
//!
//! ```text
//!   each address ──list, digest──> as recorded, or gone ──all of them are──> file by file ──> the agent's own notes on it
//!                                          └── anything else: nothing is deleted
//! ```
//!
//! Only files that were listed are deleted: what comes to the address later stays. A deletion that was cut short leaves
//! `.windlass-NAME.deleting.json` beside the tree, a list of what it was, by which the next one knows what is left of it.

use std::io;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use serde::{Deserialize, Serialize};
use tracing::info;
use walkdir::WalkDir;
use windlass_api::agent::{DeleteReport, Deleted, FailureReason, FailureReport, Report, Tree};

use crate::address::{Address, AddressError};
use crate::report::{OrFail, chain, failure};
use crate::tree::{self, File, IN_FLIGHT, TEMPORARY, TreeError, blocking};

/// Arguments of `windlass-agent delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Address of files to delete; each with its `--digest`, in the same order.
    #[arg(long = "uri", required = true, value_name = "URI")]
    pub uris: Vec<String>,
    /// The digest that was recorded of them, `sha256:<hex>`: files with any other are not deleted.
    #[arg(long = "digest", required = true, value_name = "DIGEST")]
    pub digests: Vec<String>,
}

/// Verifies all that is named, and then deletes it. What is gone already is well.
pub async fn run(arguments: Arguments) -> Result<Report, FailureReport> {
    let Arguments { uris, digests } = arguments;
    if uris.len() != digests.len() {
        let message = format!(
            "there are {} addresses and {} digests: each --uri needs its --digest",
            uris.len(),
            digests.len()
        );
        return Err(failure(FailureReason::InvalidArguments, message));
    }
    let mut doomed = Vec::new();
    for (uri, digest) in uris.iter().zip(digests) {
        doomed.push(Doomed::verified(address(uri)?, digest).await?);
    }
    let mut deleted = Vec::new();
    for one in doomed {
        deleted.push(one.delete().await?);
    }
    Ok(Report::Delete(DeleteReport { deleted }))
}

/// An address that something may be deleted at.
fn address(uri: &str) -> Result<Address, FailureReport> {
    let refused = |why: &str| {
        let message = format!("{uri} {why}; nothing was deleted");
        failure(FailureReason::InvalidArguments, message)
    };
    let scheme = uri.split_once("://").map_or("file", |(scheme, _)| scheme);
    if !matches!(scheme, "pvc" | "s3" | "file") {
        return Err(refused(
            "can only be read: delete takes pvc://, s3:// and file:// addresses, and paths",
        ));
    }
    let address = Address::parse(uri).or_fail(FailureReason::InvalidArguments)?;
    let is_claim = uri.strip_prefix("pvc://").is_some_and(|rest| {
        let parts = rest.split('/');
        parts
            .filter(|part| !part.is_empty() && *part != ".")
            .count()
            < 2
    });
    if is_claim || address.path().filename().is_none() {
        return Err(refused("is a whole store, and no folder or file in one"));
    }
    Ok(address)
}

/// What a deletion that has begun leaves beside the tree.
#[derive(Serialize, Deserialize)]
struct Begun {
    digest: String,
    files: Vec<File>,
}

/// A file, and where it is deleted.
struct Found {
    file: File,
    place: Place,
}

enum Place {
    Local(PathBuf),
    Object(StorePath),
}

/// A tree that is what was recorded, or what an earlier deletion left of it.
struct Doomed {
    address: Address,
    digest: String,
    found: Vec<Found>,
    has_begun: bool,
}

impl Doomed {
    /// What lies at an address, if it is what was recorded.
    async fn verified(address: Address, digest: String) -> Result<Self, FailureReport> {
        let found = match address.local_path() {
            Some(local) => local_files(&address, local).await?,
            None => objects(&address).await?,
        };
        let mut files: Vec<File> = found.iter().map(|found| found.file.clone()).collect();
        let is = tree::tree_of(address.uri(), &mut files);
        let has_begun = match begun(&address).await? {
            Some(begun) if begun.digest == digest => {
                let is_left = |file: &File| begun.files.contains(file);
                files.iter().all(is_left)
            }
            _ => false,
        };
        if found.is_empty() || is.digest == digest || has_begun {
            return Ok(Self {
                address,
                digest,
                found,
                has_begun,
            });
        }
        Err(mismatch(&is, &digest))
    }

    /// Deletes what was found. What was deleted by somebody else meanwhile is well.
    async fn delete(self) -> Result<Deleted, FailureReport> {
        let uri = self.address.uri();
        let files = self.found.len() as u64;
        let bytes = self.found.iter().map(|found| found.file.size).sum();
        // Of a single file there is never a part left.
        if files > 1 && !self.has_begun {
            self.note().await?;
        }
        let places = self.found.iter().map(|found| &found.place);
        futures::stream::iter(places)
            .map(|place| self.delete_one(place))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        if let Some(local) = self.address.local_path() {
            let root = local.to_owned();
            blocking(move || remove_empty_folders(&root)).await;
        }
        for note in notes(&self.address) {
            let gone = self.address.store().delete(note.path()).await;
            unless_gone(gone).map_err(|problem| not_deleted(uri, &problem))?;
        }
        info!(files, bytes, "deleted {uri}");
        Ok(Deleted {
            uri: uri.to_owned(),
            files,
            bytes,
        })
    }

    /// Writes down what the tree is, so that what is left of it is known for what it is.
    async fn note(&self) -> Result<(), FailureReport> {
        let begun = Begun {
            digest: self.digest.clone(),
            files: self.found.iter().map(|found| found.file.clone()).collect(),
        };
        let content = serde_json::to_vec(&begun).expect("a list of files is plain data");
        let written = deleting(&self.address).write(content.into()).await;
        written.map_err(|problem| not_deleted(self.address.uri(), &problem))
    }

    async fn delete_one(&self, place: &Place) -> Result<(), FailureReport> {
        let uri = self.address.uri();
        match place {
            Place::Local(path) => match tokio::fs::remove_file(path).await {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                    let problem = TreeError::File {
                        doing: "deleting",
                        path: path.clone(),
                        source: problem,
                    };
                    Err(not_deleted(uri, &problem))
                }
                Ok(()) | Err(_) => Ok(()),
            },
            Place::Object(path) => {
                let gone = self.address.store().delete(path).await;
                unless_gone(gone).map_err(|problem| not_deleted(uri, &problem))
            }
        }
    }
}

/// The files of a local tree. A link leads to what is another's: where there is one, nothing is deleted.
async fn local_files(address: &Address, local: &Path) -> Result<Vec<Found>, FailureReport> {
    let (uri, root) = (address.uri().to_owned(), local.to_owned());
    blocking(move || {
        if let Some(link) = link(&root).map_err(|problem| not_deleted(&uri, &problem))? {
            let message = format!(
                "{uri} is not only its own: {} is a link, or is reached by one; nothing was deleted",
                link.display()
            );
            return Err(failure(FailureReason::InvalidArguments, message));
        }
        let walked = tree::walk(&uri, &root).map_err(|problem| not_deleted(&uri, &problem))?;
        let read = walked.into_iter().map(|file| -> Result<Found, TreeError> {
            let (size, sha256) = tree::hash_file(&file.on_disk, &mut io::sink())?;
            Ok(Found {
                file: File {
                    path: file.path,
                    size,
                    sha256,
                },
                place: Place::Local(file.on_disk),
            })
        });
        let read: Result<Vec<Found>, TreeError> = read.collect();
        read.map_err(|problem| not_deleted(&uri, &problem))
    })
    .await
}

/// A link on the way to a path or below it. A path where nothing is has none.
fn link(root: &Path) -> Result<Option<PathBuf>, io::Error> {
    match std::fs::canonicalize(root) {
        Ok(real) if real == root => {}
        Ok(_) => return Ok(Some(root.to_owned())),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(problem),
    }
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(io::Error::from)?;
        if entry.path_is_symlink() {
            return Ok(Some(entry.into_path()));
        }
    }
    Ok(None)
}

/// The objects of a tree. A bucket that is not there is no empty one.
async fn objects(address: &Address) -> Result<Vec<Found>, FailureReport> {
    let listed = address
        .store()
        .list_with_delimiter(Some(address.path()))
        .await;
    if let Err(problem) = listed {
        return Err(not_deleted(address.uri(), &problem));
    }
    let found = match tree::read_objects(address).await {
        Err(TreeError::Address(AddressError::NotFound { .. })) => Vec::new(),
        found => found.map_err(|problem| not_deleted(address.uri(), &problem))?,
    };
    let found = found.into_iter().map(|(location, file)| Found {
        file,
        place: Place::Object(location),
    });
    Ok(found.collect())
}

/// What a deletion that has begun wrote down.
async fn begun(address: &Address) -> Result<Option<Begun>, FailureReport> {
    match deleting(address).read().await {
        Ok(content) => Ok(serde_json::from_slice(&content).ok()),
        Err(AddressError::NotFound { .. }) => Ok(None),
        Err(problem) => Err(not_deleted(address.uri(), &problem)),
    }
}

/// Where it does.
fn deleting(address: &Address) -> Address {
    let name = address.path().filename().unwrap_or_default();
    address.sibling(&format!("{TEMPORARY}{name}.deleting.json"))
}

/// What the agent keeps beside a tree: the list of what it uploaded, and what it began to delete.
fn notes(address: &Address) -> [Address; 2] {
    [tree::list_address(address), deleting(address)]
}

/// Takes away the folders of a local tree that hold nothing any more.
fn remove_empty_folders(root: &Path) {
    let folders = WalkDir::new(root).contents_first(true).into_iter();
    for folder in folders.flatten().filter(|entry| entry.file_type().is_dir()) {
        // One that holds something stays.
        let _ = std::fs::remove_dir(folder.path());
    }
}

fn unless_gone(outcome: object_store::Result<()>) -> object_store::Result<()> {
    match outcome {
        Err(object_store::Error::NotFound { .. }) => Ok(()),
        outcome => outcome,
    }
}

fn mismatch(is: &Tree, expected: &str) -> FailureReport {
    let message = format!(
        "{} is not what was recorded: its digest is {} ({} files, {} bytes), but {expected} was expected. It was changed, \
         or belongs to something else; nothing was deleted",
        is.uri, is.digest, is.files, is.bytes
    );
    failure(FailureReason::DigestMismatch, message)
}

fn not_deleted(uri: &str, problem: &dyn std::error::Error) -> FailureReport {
    let message = format!(
        "{uri} was not deleted, or not all of it: {}",
        chain(problem)
    );
    failure(FailureReason::NotDeleted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_store_and_what_can_only_be_read_are_refused() {
        for uri in [
            "s3://bucket",
            "s3://bucket/",
            "pvc://claim",
            "pvc://claim/",
            "pvc://claim/./",
            "pvc://claim/../other",
            "/",
            "file:///",
            "https://models.example/churn",
            "http://models.example/churn",
            "oci://registry.example/churn:1",
            "",
        ] {
            let refused = address(uri).expect_err(uri);
            assert_eq!(refused.reason, FailureReason::InvalidArguments, "{uri}");
        }
        let message = address("oci://registry.example/churn:1")
            .expect_err("refused")
            .message;
        assert!(message.contains("can only be read"), "{message}");
        for uri in ["pvc://claim/m", "file:///tmp/m", "m"] {
            address(uri).expect(uri);
        }
    }
}
