//! Bringing a tree from a store to this machine.

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;
use windlass_api::agent::Tree;

use super::hash::{Hashed, Hasher, hash_into, in_parallel, largest_first};
use super::{
    File, IN_FLIGHT, LocalFile, TEMPORARY, TreeError, blocking, is_name, local_files, tree_of,
};
use crate::address::{Address, AddressError};

/// Brings the files at an address into the folder `to`, which is made where it is absent.
pub async fn download(from: &Address, to: &Path) -> Result<Tree, TreeError> {
    Ok(download_listed(from, to).await?.0)
}

/// The same, and which files it brought.
pub(crate) async fn download_listed(
    from: &Address,
    to: &Path,
) -> Result<(Tree, Vec<File>), TreeError> {
    let hashed = download_hashed(from, to, None).await?;
    let mut files: Vec<File> = hashed.into_iter().map(|one| one.file).collect();
    Ok((tree_of(from.uri(), &mut files), files))
}

/// The same with the shards of the files, of so many bytes, where these are asked for.
pub(crate) async fn download_hashed(
    from: &Address,
    to: &Path,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<Hashed>, TreeError> {
    if from.local_path().is_none() {
        return Ok(hashes_of(bring(from, Some(to), shard_size).await?));
    }
    let (from, to) = (from.clone(), to.to_owned());
    blocking(move || copy_hashed(local_files(&from)?, &to, shard_size)).await
}

/// What lies in a store, which is read and not kept.
pub(super) async fn hashed(
    from: &Address,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<Hashed>, TreeError> {
    Ok(hashes_of(bring(from, None, shard_size).await?))
}

/// The objects of a tree in a store, by where they lie, each read from end to end.
pub(crate) async fn read_objects(from: &Address) -> Result<Vec<(StorePath, File)>, TreeError> {
    let objects = bring(from, None, None).await?;
    let files = objects
        .into_iter()
        .map(|(object, hashed)| (object, hashed.file));
    Ok(files.collect())
}

fn hashes_of(objects: Vec<(StorePath, Hashed)>) -> Vec<Hashed> {
    objects.into_iter().map(|(_, hashed)| hashed).collect()
}

/// Copies local files into a folder, digesting them on the way.
pub(super) fn copy(from: Vec<LocalFile>, to: &Path) -> Result<Vec<File>, TreeError> {
    let copied = copy_hashed(from, to, None)?;
    Ok(copied.into_iter().map(|one| one.file).collect())
}

fn copy_hashed(
    from: Vec<LocalFile>,
    to: &Path,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<Hashed>, TreeError> {
    in_parallel(&largest_first(from), |LocalFile { path, on_disk }| {
        let target = to.join(path);
        let failed = |source| TreeError::File {
            doing: "writing",
            path: target.clone(),
            source,
        };
        fs::create_dir_all(target.parent().expect("a file in a folder")).map_err(failed)?;
        let mut out = fs::File::create(&target).map_err(failed)?;
        let mut hashed = hash_into(on_disk, shard_size, &mut out)?;
        out.sync_all().map_err(failed)?;
        hashed.file.path.clone_from(path);
        Ok(hashed)
    })
}

/// Reads each object, into a file below `to` where that is given. Each is a task of its own, so that hashing takes all
/// processors; none goes on once this is given up.
async fn bring(
    from: &Address,
    to: Option<&Path>,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<(StorePath, Hashed)>, TreeError> {
    let mut objects = Vec::new();
    for object in objects_of(from).await? {
        let path = relative(from, &object)?;
        if !path.split('/').any(|part| part.starts_with(TEMPORARY)) {
            objects.push((object, path));
        }
    }
    if objects.is_empty() {
        let uri = from.uri().to_owned();
        return Err(AddressError::NotFound { uri }.into());
    }
    futures::stream::iter(objects)
        .map(|(object, path)| {
            let (from, target) = (from.clone(), to.map(|to| to.join(&path)));
            let brought = async move {
                let empty = Hasher::new(shard_size);
                let full = bring_through(empty, &from, &object, target).await?;
                Ok((object, full.finish(path)))
            };
            let task = AbortOnDropHandle::new(tokio::spawn(brought));
            async move {
                match task.await {
                    Ok(outcome) => outcome,
                    Err(problem) => std::panic::resume_unwind(problem.into_panic()),
                }
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

async fn objects_of(from: &Address) -> Result<Vec<StorePath>, TreeError> {
    if from.is_single_file() {
        // Not `head`: a signed address may allow GET alone.
        return Ok(vec![from.path().clone()]);
    }
    Ok(from
        .files_and_hidden()
        .await?
        .into_iter()
        .map(|object| object.location)
        .collect())
}

/// Reads one object to its end, into the file `to` where that is given; its size and SHA-256.
pub(crate) async fn bring_one(
    from: &Address,
    location: &StorePath,
    to: Option<PathBuf>,
) -> Result<(u64, String), TreeError> {
    let hasher = bring_through(Hasher::new(None), from, location, to).await?;
    let File { size, sha256, .. } = hasher.finish(String::new()).file;
    Ok((size, sha256))
}

/// Reads one object to its end through a hasher, into the file `to` where that is given.
async fn bring_through(
    mut hasher: Hasher,
    from: &Address,
    location: &StorePath,
    to: Option<PathBuf>,
) -> Result<Hasher, TreeError> {
    let reading = |source| TreeError::from(from.access("reading", source));
    let mut content = from
        .store()
        .get(location)
        .await
        .map_err(reading)?
        .into_stream();
    let path = to.clone().unwrap_or_default();
    let writing = |source: io::Error| TreeError::File {
        doing: "writing",
        path: path.clone(),
        source,
    };
    let mut out: Box<dyn AsyncWrite + Send + Unpin> = match &to {
        None => Box::new(tokio::io::sink()),
        Some(to) => {
            let parent = to.parent().expect("a file in a folder");
            tokio::fs::create_dir_all(parent).await.map_err(writing)?;
            Box::new(tokio::fs::File::create(to).await.map_err(writing)?)
        }
    };
    while let Some(chunk) = content.try_next().await.map_err(reading)? {
        hasher.update(&chunk);
        out.write_all(&chunk).await.map_err(writing)?;
    }
    out.flush().await.map_err(writing)?;
    Ok(hasher)
}

/// An object's path in the tree. What a store's listing says is not trusted: no name leads out of the folder.
fn relative(from: &Address, location: &StorePath) -> Result<String, TreeError> {
    let name = || TreeError::Name {
        uri: from.uri().to_owned(),
        name: location.to_string(),
    };
    let encoded = match location.prefix_match(from.path()).map(|parts| {
        parts
            .map(|part| part.as_ref().to_owned())
            .collect::<Vec<_>>()
    }) {
        Some(parts) if !parts.is_empty() => parts,
        _ => vec![location.filename().ok_or_else(name)?.to_owned()],
    };
    let mut parts = Vec::new();
    for part in encoded {
        let part = percent_decode_str(&part)
            .decode_utf8()
            .map_err(|_| name())?
            .into_owned();
        if !is_name(&part) {
            return Err(name());
        }
        parts.push(part);
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_listing_never_leads_out_of_the_folder() {
        let from = Address::parse("https://localhost/tree").expect("an address");
        let inside = relative(&from, &StorePath::parse("tree/a%23/b").expect("a path"));
        assert_eq!(inside.expect("a name"), "a#/b");
        for outside in ["tree/%2e%2e/b", "tree/a%2fb", "tree/a%00"] {
            assert!(
                relative(&from, &StorePath::parse(outside).expect("a path")).is_err(),
                "{outside}"
            );
        }
    }
}
