//! Putting a tree from this machine to an address.
//!
//! ```text
//!   a local folder:   copy to .windlass-NAME.UUID beside it ──> rename        (whole or not at all)
//!   a store:          objects under the prefix                                (whole once it is reported)
//!   both:             .windlass-NAME.json beside it lists what the agent wrote there
//! ```
//!
//! What an earlier attempt wrote may be replaced, as the list beside it says that it was the agent's; anything
//! else stays as it is, and the upload fails.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::{ObjectStoreExt, PutPayload};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::warn;
use uuid::Uuid;
use windlass_api::agent::Tree;

use super::{
    BUFFER_BYTES, File, IN_FLIGHT, LocalFile, TEMPORARY, TreeError, blocking, download, tree_of,
    walk,
};
use crate::address::{Address, AddressError};

/// How old a temporary folder is when it is taken for one that a killed agent left.
const STALE: Duration = Duration::from_hours(24);

/// Puts the files in the folder `from` to an address.
///
/// # Errors
/// [`TreeError::Occupied`] when the address holds files that no agent wrote.
pub async fn upload(from: &Path, to: &Address) -> Result<Tree, TreeError> {
    if to.path().filename().is_none() {
        return Err(TreeError::NoFolder {
            uri: to.uri().to_owned(),
        });
    }
    let mut files = if let Some(local) = to.local_path() {
        let (uri, from, to) = (to.uri().to_owned(), from.to_owned(), local.to_owned());
        blocking(move || publish(&uri, &from, &to)).await?
    } else {
        put(from, to).await?
    };
    Ok(tree_of(to.uri(), &mut files))
}

/// Removes a temporary folder, unless it was renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(problem) = std::fs::remove_dir_all(&self.0)
        {
            warn!("{} is left behind: {problem}", self.0.display());
        }
    }
}

fn publish(uri: &str, from: &Path, to: &Path) -> Result<Vec<File>, TreeError> {
    let writing = |path: &Path| {
        let path = path.to_owned();
        move |source| TreeError::File {
            doing: "writing",
            path,
            source,
        }
    };
    let no_folder = || TreeError::NoFolder {
        uri: uri.to_owned(),
    };
    let parent = to.parent().ok_or_else(no_folder)?;
    let name = to
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(no_folder)?;
    std::fs::create_dir_all(parent).map_err(writing(parent))?;
    remove_stale(parent, name);
    let aside = || parent.join(format!("{TEMPORARY}{name}.{}", Uuid::new_v4()));
    let (new, old) = (Temporary(aside()), Temporary(aside()));
    let mut files = download::copy(walk(uri, from)?, &new.0)?;
    let list = parent.join(format!("{TEMPORARY}{name}.json"));
    let existing = sizes(&walk(uri, to)?)?;
    if !existing.is_empty() {
        let written = std::fs::read(&list)
            .ok()
            .and_then(|list| serde_json::from_slice(&list).ok());
        if !is_from_agent(&existing, written) {
            return Err(TreeError::Occupied {
                uri: uri.to_owned(),
            });
        }
    }
    files.sort();
    if to.exists() {
        std::fs::rename(to, &old.0).map_err(writing(to))?;
    }
    std::fs::write(&list, list_of(&files)).map_err(writing(&list))?;
    std::fs::rename(&new.0, to).map_err(writing(to))?;
    // The names are on disk once the folder is.
    if let Ok(folder) = std::fs::File::open(parent) {
        folder.sync_all().map_err(writing(parent))?;
    }
    Ok(files)
}

/// Removes what an agent that was killed long ago left beside the folder `name`.
fn remove_stale(parent: &Path, name: &str) {
    let prefix = format!("{TEMPORARY}{name}.");
    let Ok(entries) = std::fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_temporary = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix))
            .is_some_and(|rest| Uuid::try_parse(rest).is_ok());
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|time| time.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age > STALE) {
            drop(Temporary(entry.path()));
        }
    }
}

/// Puts each file under the prefix; takes away what this attempt put when it fails.
async fn put(from: &Path, to: &Address) -> Result<Vec<File>, TreeError> {
    let (uri, folder) = (to.uri().to_owned(), from.to_owned());
    let local = blocking(move || walk(&uri, &folder)).await?;
    let list = list_address(to);
    let existing: Vec<(String, u64)> = match to.files_and_hidden().await {
        Ok(objects) => objects
            .into_iter()
            .map(|object| (object.location.to_string(), object.size))
            .collect(),
        Err(AddressError::NotFound { .. }) => Vec::new(),
        Err(problem) => return Err(problem.into()),
    };
    let written: Option<Vec<File>> = match list.read().await {
        Ok(content) => serde_json::from_slice(&content).ok(),
        Err(AddressError::NotFound { .. }) => None,
        Err(problem) => return Err(problem.into()),
    };
    let written = written.map(|files| {
        files
            .into_iter()
            .map(|file| File {
                path: to.child(&file.path).path().to_string(),
                ..file
            })
            .collect()
    });
    if !existing.is_empty() && !is_from_agent(&existing, written) {
        return Err(TreeError::Occupied {
            uri: to.uri().to_owned(),
        });
    }
    for (path, _) in &existing {
        let path = object_store::path::Path::parse(path).expect("it came from a listing");
        to.store()
            .delete(&path)
            .await
            .map_err(|source| to.access("writing", source))?;
    }
    // The list comes first, so that the next attempt knows a torn upload for what it is.
    let planned = blocking(move || {
        let sizes = sizes_of(&local)?;
        Ok::<_, TreeError>((local, sizes))
    })
    .await?;
    let (local, sizes) = planned;
    list.write(list_of(&sizes).into()).await?;
    let files: Result<Vec<File>, TreeError> = futures::stream::iter(&local)
        .map(|file| put_one(file, to.child(&file.path)))
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await;
    if files.is_err() {
        for file in &local {
            // Best effort: what failed is what is told.
            let _ = to.store().delete(to.child(&file.path).path()).await;
        }
    }
    files
}

/// Puts one file to `to`, digesting it on the way.
pub(crate) async fn put_one(file: &LocalFile, to: Address) -> Result<File, TreeError> {
    let reading = |source| TreeError::File {
        doing: "reading",
        path: file.on_disk.clone(),
        source,
    };
    let mut content = tokio::fs::File::open(&file.on_disk)
        .await
        .map_err(reading)?;
    let mut out = BufWriter::new(std::sync::Arc::clone(to.store()), to.path().clone());
    let (mut size, mut hash) = (0, Sha256::new());
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = content.read(&mut buffer).await.map_err(reading)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        size += read as u64;
        if let Err(source) = out.write_all(&buffer[..read]).await {
            let _ = out.abort().await;
            return Err(TreeError::File {
                doing: "uploading",
                path: file.on_disk.clone(),
                source,
            });
        }
    }
    let sha256 = format!("{:x}", hash.finalize());
    match out.shutdown().await {
        Ok(()) if size > 0 => {}
        // A writer that was given nothing writes nothing.
        Ok(()) => {
            let put = to.store().put(to.path(), PutPayload::new()).await;
            put.map_err(|source| to.access("writing", source))?;
        }
        Err(source) => {
            return Err(TreeError::File {
                doing: "uploading",
                path: file.on_disk.clone(),
                source,
            });
        }
    }
    Ok(File {
        path: file.path.clone(),
        size,
        sha256,
    })
}

/// Where the list of what was uploaded lies: beside `prefix/NAME`, `prefix/.windlass-NAME.json`.
pub(crate) fn list_address(to: &Address) -> Address {
    let name = to.path().filename().unwrap_or_default();
    to.sibling(&format!("{TEMPORARY}{name}.json"))
}

fn list_of(files: &[File]) -> Vec<u8> {
    serde_json::to_vec(files).expect("a list of files is plain data")
}

/// Whether each file that is there is on the list, in the size that it has.
fn is_from_agent(existing: &[(String, u64)], written: Option<Vec<File>>) -> bool {
    let Some(written) = written else { return false };
    existing.iter().all(|(path, size)| {
        written
            .iter()
            .any(|file| file.path == *path && file.size == *size)
    })
}

fn sizes(files: &[LocalFile]) -> Result<Vec<(String, u64)>, TreeError> {
    Ok(sizes_of(files)?
        .into_iter()
        .map(|file| (file.path, file.size))
        .collect())
}

fn sizes_of(files: &[LocalFile]) -> Result<Vec<File>, TreeError> {
    let size = |file: &LocalFile| {
        let metadata = std::fs::metadata(&file.on_disk);
        let metadata = metadata.map_err(|source| TreeError::File {
            doing: "reading",
            path: file.on_disk.clone(),
            source,
        })?;
        Ok(File {
            path: file.path.clone(),
            size: metadata.len(),
            sha256: String::new(),
        })
    };
    files.iter().map(size).collect()
}
