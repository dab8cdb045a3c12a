//! Bringing a tree from a store to this machine.

use std::io;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use windlass_api::agent::Tree;

use super::{
    File, IN_FLIGHT, LocalFile, TEMPORARY, TreeError, blocking, hash_file, is_name, tree_of,
    walk_as_of,
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
    let mut files = if let Some(local) = from.local_path() {
        let (from, local, to) = (from.clone(), local.to_owned(), to.to_owned());
        blocking(move || copy(walk_as_of(&from, &local)?, &to)).await?
    } else {
        files_of(bring(from, Some(to)).await?)
    };
    if files.is_empty() {
        return Err(AddressError::NotFound {
            uri: from.uri().to_owned(),
        }
        .into());
    }
    Ok((tree_of(from.uri(), &mut files), files))
}

/// The digest of what lies in a store, which is read and not kept.
pub(super) async fn digest(from: &Address) -> Result<Tree, TreeError> {
    let mut files = files_of(bring(from, None).await?);
    Ok(tree_of(from.uri(), &mut files))
}

/// The objects of a tree in a store, by where they lie, each read from end to end.
pub(crate) async fn read_objects(from: &Address) -> Result<Vec<(StorePath, File)>, TreeError> {
    bring(from, None).await
}

fn files_of(objects: Vec<(StorePath, File)>) -> Vec<File> {
    objects.into_iter().map(|(_, file)| file).collect()
}

/// Copies local files into a folder, digesting them on the way.
pub(super) fn copy(from: Vec<LocalFile>, to: &Path) -> Result<Vec<File>, TreeError> {
    let mut files = Vec::new();
    for LocalFile { path, on_disk } in from {
        let target = to.join(&path);
        let failed = |source| TreeError::File {
            doing: "writing",
            path: target.clone(),
            source,
        };
        std::fs::create_dir_all(target.parent().expect("a file in a folder")).map_err(failed)?;
        let mut out = std::fs::File::create(&target).map_err(failed)?;
        let (size, sha256) = hash_file(&on_disk, &mut out)?;
        out.sync_all().map_err(failed)?;
        files.push(File { path, size, sha256 });
    }
    Ok(files)
}

/// Reads each object, into a file below `to` where that is given.
async fn bring(from: &Address, to: Option<&Path>) -> Result<Vec<(StorePath, File)>, TreeError> {
    let mut objects = Vec::new();
    for object in objects_of(from).await? {
        let path = relative(from, &object)?;
        if !path.split('/').any(|part| part.starts_with(TEMPORARY)) {
            objects.push((object, path));
        }
    }
    futures::stream::iter(objects)
        .map(|(object, path)| async move {
            let target = to.map(|to| to.join(&path));
            let (size, sha256) = bring_one(from, &object, target).await?;
            Ok((object, File { path, size, sha256 }))
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
    let (mut size, mut hash) = (0, Sha256::new());
    while let Some(chunk) = content.try_next().await.map_err(reading)? {
        hash.update(&chunk);
        size += chunk.len() as u64;
        out.write_all(&chunk).await.map_err(writing)?;
    }
    out.flush().await.map_err(writing)?;
    Ok((size, format!("{:x}", hash.finalize())))
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
