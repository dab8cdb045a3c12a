//! Trees of files: their digest, bringing them here and putting them there.
//!
//! ```text
//!   address ──digest───> Tree                 local files, read where they lie
//!   address ──download─> folder, Tree         digested on the way
//!   folder  ──upload───> address, Tree        digested on the way; whole or not at all in a local folder
//! ```
//!
//! The digest is that of a list: for each file in the byte order of its path, `path NUL size NUL sha256 LF`,
//! with the size in decimal and the SHA-256 of the content in lower-case hex. So neither where a tree lies nor
//! times, modes or the order of a listing change it. A single file is a tree of one, under its own name.
//!
//! Names that begin with [`TEMPORARY`] are the agent's own and belong to no tree.

mod download;
mod hash;
mod upload;

use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;
use windlass_api::agent::Tree;

use crate::address::{Address, AddressError};

pub(crate) use download::bring_one;
pub use download::download;
pub(crate) use download::{download_hashed, download_listed, read_objects};
pub(crate) use hash::{Hashed, Sharded, hash_file, hash_shards};
pub use upload::upload;
pub(crate) use upload::{list_address, put_one};

/// How the names begin of what the agent writes and has not finished.
pub const TEMPORARY: &str = ".windlass-";

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// How many files are in flight at once to and from a store.
pub(crate) const IN_FLIGHT: usize = 8;

/// What went wrong with a tree of files.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The address or its store.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file on this machine.
    #[error("{doing} {} failed", path.display())]
    File {
        /// `reading`, `writing`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that would lead out of the folder, or is no text.
    #[error("{uri} holds a file with the name {name:?}, which cannot be kept")]
    Name {
        /// The tree.
        uri: String,
        /// The name.
        name: String,
    },
    /// The address holds what the agent did not write.
    #[error(
        "{uri} already holds files that are not from an earlier run; nothing there was changed. Move them away, or name another output"
    )]
    Occupied {
        /// The address.
        uri: String,
    },
    /// The address is a store's root.
    #[error("{uri} names no folder to write to")]
    NoFolder {
        /// The address.
        uri: String,
    },
}

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct File {
    /// Its path in the tree, with `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content, hex.
    pub sha256: String,
}

/// Whether a text can be the name of a file or of a folder in one.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0'])
}

/// Whether a path leads to something in a folder, and not out of it.
pub(crate) fn is_inside(path: &str) -> bool {
    path.split('/').all(is_name)
}

/// The tree that a list of files makes; sorts the list.
pub(crate) fn tree_of(uri: &str, files: &mut [File]) -> Tree {
    files.sort();
    let mut hash = Sha256::new();
    for File { path, size, sha256 } in files.iter() {
        hash.update(format!("{path}\0{size}\0{sha256}\n"));
    }
    Tree {
        uri: uri.to_owned(),
        digest: format!("sha256:{:x}", hash.finalize()),
        files: files.len() as u64,
        bytes: files.iter().map(|file| file.size).sum(),
    }
}

/// The tree of one file whose content is at hand, such as a report that was just written to `address`.
pub fn of_file(address: &Address, content: &[u8]) -> Tree {
    let path = address.path().filename().unwrap_or_default().to_owned();
    let sha256 = format!("{:x}", Sha256::digest(content));
    tree_of(
        address.uri(),
        &mut [File {
            path,
            size: content.len() as u64,
            sha256,
        }],
    )
}

/// The tree of files that were hashed.
pub(crate) fn tree_of_hashed(uri: &str, hashed: &[Hashed]) -> Tree {
    let mut files: Vec<File> = hashed.iter().map(|one| one.file.clone()).collect();
    tree_of(uri, &mut files)
}

/// The digest of what lies at an address; what is not on this machine is read once from end to end.
pub async fn digest(address: &Address) -> Result<Tree, TreeError> {
    let hashed = hashed(address, None).await?;
    Ok(tree_of_hashed(address.uri(), &hashed))
}

/// The files at an address, each read once from end to end, with their shards of so many bytes where these are asked for.
///
/// # Errors
/// [`AddressError::NotFound`] where there is no file.
pub(crate) async fn hashed(
    address: &Address,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<Hashed>, TreeError> {
    if address.local_path().is_none() {
        return download::hashed(address, shard_size).await;
    }
    let address = address.clone();
    blocking(move || hash::hash_files(local_files(&address)?, shard_size)).await
}

/// The files at a local address that belong to it.
///
/// # Errors
/// [`AddressError::NotFound`] where there is none, or the address is not a local one.
pub(crate) fn local_files(address: &Address) -> Result<Vec<LocalFile>, TreeError> {
    let files = match address.local_path() {
        Some(local) => walk_as_of(address, local)?,
        None => Vec::new(),
    };
    if files.is_empty() {
        let uri = address.uri().to_owned();
        return Err(AddressError::NotFound { uri }.into());
    }
    Ok(files)
}

/// The paths of the symbolic links in a local folder, with `/`; those that are no text as well as they can be told.
/// Nothing that the agent itself is about to write is looked at, and a link is not followed.
pub(crate) fn symbolic_links(root: &Path) -> Result<Vec<String>, TreeError> {
    let mut links = Vec::new();
    let entries = WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !is_own(entry.file_name()));
    for entry in entries {
        let entry = entry.map_err(|problem| TreeError::File {
            doing: "reading",
            path: problem.path().unwrap_or(root).to_owned(),
            source: problem.into(),
        })?;
        if entry.path_is_symlink() {
            let path = entry
                .path()
                .strip_prefix(root)
                .expect("a walk stays below its root");
            links.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(links)
}

/// What lies in a local folder and is not of its tree, or not for whoever else has the folder mounted: names that are the
/// agent's own, what is neither a file nor a folder, and links that lead out of the folder, nowhere, or by an absolute path.
pub(crate) fn strays(root: &Path) -> Result<Vec<String>, TreeError> {
    let reading = |path: &Path, source: io::Error| TreeError::File {
        doing: "reading",
        path: path.to_owned(),
        source,
    };
    // Nothing there is told by who reads the files.
    let Ok(whole) = root.canonicalize() else {
        return Ok(Vec::new());
    };
    let mut strays = Vec::new();
    for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|problem| {
            let path = problem.path().unwrap_or(root).to_owned();
            reading(&path, problem.into())
        })?;
        // Also where it leads back in by the folder's own path: that is another one where the server has it.
        let leads_out = entry.path_is_symlink()
            && (entry
                .path()
                .read_link()
                .is_ok_and(|target| target.is_absolute())
                || !(entry.path().canonicalize()).is_ok_and(|target| target.starts_with(&whole)));
        // A pipe or a device: who opens it waits, or reads what nobody has verified.
        let kind = entry.file_type();
        let is_other = !(kind.is_file() || kind.is_dir() || kind.is_symlink());
        if leads_out || is_other || is_own(entry.file_name()) {
            let path = entry
                .path()
                .strip_prefix(root)
                .expect("a walk stays below its root");
            strays.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(strays)
}

/// Makes the folder `to` show each file at a local address by a link; what is added later is not in it.
pub(crate) async fn link(from: &Address, local: &Path, to: &Path) -> Result<(), TreeError> {
    let (from, local, to) = (from.clone(), local.to_owned(), to.to_owned());
    blocking(move || {
        for LocalFile { path, on_disk } in walk_as_of(&from, &local)? {
            let target = to.join(&path);
            let linked = std::fs::create_dir_all(target.parent().expect("a file in a folder"))
                .and_then(|()| std::os::unix::fs::symlink(&on_disk, &target));
            linked.map_err(|source| TreeError::File {
                doing: "linking",
                path: target,
                source,
            })?;
        }
        Ok(())
    })
    .await
}

/// The files under `root`, the path of a local address, that belong to it: of a folder, those not changed since its time.
fn walk_as_of(address: &Address, root: &Path) -> Result<Vec<LocalFile>, TreeError> {
    let mut files = walk(address.uri(), root)?;
    if root.is_file() {
        return Ok(files);
    }
    let mut problem = None;
    files.retain(|file| match changed(&file.on_disk) {
        Ok(changed) => address.holds(changed),
        Err(source) => {
            problem.get_or_insert(TreeError::File {
                doing: "reading",
                path: file.on_disk.clone(),
                source,
            });
            false
        }
    });
    problem.map_or(Ok(files), Err)
}

fn changed(path: &Path) -> io::Result<Timestamp> {
    let changed = std::fs::metadata(path)?.modified()?;
    Timestamp::try_from(changed).map_err(io::Error::other)
}

/// A file on this machine that belongs to a tree.
pub(crate) struct LocalFile {
    /// Its path in the tree, with `/`.
    pub path: String,
    /// Where it lies.
    pub on_disk: PathBuf,
}

/// The files under `root`, or the file `root` itself. Links are followed. Nothing there is no files.
pub(crate) fn walk(uri: &str, root: &Path) -> Result<Vec<LocalFile>, TreeError> {
    let mut files = Vec::new();
    let entries = WalkDir::new(root)
        .follow_links(true)
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !is_own(entry.file_name()));
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(problem) if problem.depth() == 0 && is_not_found(&problem) => return Ok(files),
            Err(problem) => {
                let path = problem.path().unwrap_or(root).to_owned();
                return Err(TreeError::File {
                    doing: "reading",
                    path,
                    source: problem.into(),
                });
            }
        };
        if !entry.file_type().is_file() {
            continue;
        }
        let relative = match entry.depth() {
            0 => Path::new(entry.file_name()),
            _ => entry
                .path()
                .strip_prefix(root)
                .expect("a walk stays below its root"),
        };
        let name = || TreeError::Name {
            uri: uri.to_owned(),
            name: relative.to_string_lossy().into_owned(),
        };
        let path = relative.to_str().ok_or_else(name)?.to_owned();
        files.push(LocalFile {
            path,
            on_disk: entry.into_path(),
        });
    }
    Ok(files)
}

/// Whether a name is one of the agent's own.
fn is_own(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(TEMPORARY)
}

fn is_not_found(problem: &walkdir::Error) -> bool {
    problem
        .io_error()
        .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(problem) => std::panic::resume_unwind(problem.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, size: u64) -> File {
        File {
            path: path.to_owned(),
            size,
            sha256: "00".to_owned(),
        }
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order_of_a_listing() {
        let one = tree_of("a", &mut [file("b", 2), file("a/c", 1)]);
        let two = tree_of("b", &mut [file("a/c", 1), file("b", 2)]);
        assert_eq!(one.digest, two.digest);
        assert_eq!((one.files, one.bytes), (2, 3));
    }

    #[test]
    fn a_digest_is_the_one_that_is_written_down() {
        // printf 'a\0005\0002cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n' | sha256sum
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "hello").expect("written");
        let address = Address::local("a", &folder.path().join("a")).expect("an address");
        assert_eq!(
            of_file(&address, b"hello").digest,
            "sha256:2cb8414079c1b78d45630279ab1f342b5c2ada2799ba0980cf024590aa62063c"
        );
    }

    #[tokio::test]
    async fn a_file_in_a_folder_and_the_file_itself_have_one_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("a"), "hello").expect("written");
        std::fs::write(folder.path().join(".windlass-half"), "x").expect("written");
        let whole = digest(&Address::local("x", folder.path()).expect("an address"))
            .await
            .expect("a tree");
        let one = digest(&Address::local("x", &folder.path().join("a")).expect("an address"))
            .await
            .expect("a tree");
        assert_eq!(whole.digest, one.digest);
        assert_eq!(whole.files, 1);
    }

    #[tokio::test]
    async fn an_empty_folder_is_not_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let nothing = digest(&Address::local("x", folder.path()).expect("an address")).await;
        assert!(matches!(
            nothing,
            Err(TreeError::Address(AddressError::NotFound { .. }))
        ));
    }
}
