//! Where checkpoints are kept: in a folder of this machine, or in an object store.
//!
//! In a folder each file is on disk before the manifest has its name; an object is whole once it is there.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path as StorePath;
use percent_encoding::percent_decode_str;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::CheckpointError;
use super::manifest::{FILES, MANIFEST};
use super::place::{Place, number};
use crate::address::{Address, AddressError};
use crate::tree::{
    File, IN_FLIGHT, LocalFile, TEMPORARY, TreeError, blocking, bring_one, hash_file, put_one,
};

/// The job's checkpoints.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: Address,
}

impl Store {
    /// Those below an address.
    pub fn new(root: Address) -> Self {
        Self { root }
    }

    /// The address below which all lie.
    pub fn root(&self) -> &Address {
        &self.root
    }

    /// The address of one.
    pub fn address(&self, place: &Place) -> Address {
        self.root.child(&place.to_string())
    }

    /// All that are there, whole or torn, of the attempts up to `last`; the oldest first.
    pub async fn places(&self, last: u32) -> Result<Vec<Place>, TreeError> {
        let mut places = match self.root.local_path() {
            Some(root) => {
                let root = root.to_owned();
                blocking(move || {
                    local_places(&root).map_err(|source| file("reading", &root, source))
                })
                .await?
            }
            None => self.remote_places().await?,
        };
        places.retain(|place| place.attempt <= last);
        places.sort();
        Ok(places)
    }

    async fn remote_places(&self) -> Result<Vec<Place>, TreeError> {
        let mut places = Vec::new();
        for attempt in self.folders(self.root.path()).await? {
            let Some(of) = decoded(&attempt).filter(|name| number(name).is_some()) else {
                continue;
            };
            for folder in self.folders(&attempt).await? {
                places.extend(decoded(&folder).and_then(|name| Place::parse(&of, &name)));
            }
        }
        Ok(places)
    }

    async fn folders(&self, of: &StorePath) -> Result<Vec<StorePath>, TreeError> {
        let listed = self.root.store().list_with_delimiter(Some(of)).await;
        // Not `access`: a bucket that is not there is no empty one.
        let listed = listed.map_err(|source| AddressError::Access {
            doing: "listing",
            uri: self.root.uri().to_owned(),
            source,
        })?;
        Ok(listed.common_prefixes)
    }

    /// A checkpoint's manifest as it is; `None` where there is none.
    pub async fn manifest(&self, place: &Place) -> Result<Option<Vec<u8>>, TreeError> {
        let address = self.address(place).child(MANIFEST);
        if let Some(path) = address.local_path() {
            return match fs::read(path) {
                Ok(content) => Ok(Some(content)),
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(problem) => Err(file("reading", path, problem)),
            };
        }
        match address.read().await {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(AddressError::NotFound { .. }) => Ok(None),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Puts a checkpoint's files there, digesting them on the way.
    pub async fn put(
        &self,
        place: &Place,
        files: Vec<LocalFile>,
        cancel: &CancellationToken,
    ) -> Result<Vec<File>, CheckpointError> {
        let to = self.address(place).child(FILES);
        if let Some(local) = to.local_path() {
            let (root, to) = (self.root.local_path().map(Path::to_owned), local.to_owned());
            let cancel = cancel.clone();
            let copied = blocking(move || copy(&files, root.as_deref(), &to, &cancel)).await;
            return Ok(copied?);
        }
        let puts: Vec<_> = files
            .iter()
            .map(|file| put_one(file, to.child(&file.path)))
            .collect();
        let puts = futures::stream::iter(puts)
            .buffer_unordered(IN_FLIGHT)
            .try_collect();
        tokio::select! {
            files = puts => Ok(files?),
            () = cancel.cancelled() => Err(CheckpointError::GivenUp),
        }
    }

    /// Says that a checkpoint is whole.
    pub async fn write_manifest(&self, place: &Place, content: Vec<u8>) -> Result<(), TreeError> {
        let address = self.address(place);
        let Some(folder) = address.local_path() else {
            return Ok(address.child(MANIFEST).write(content.into()).await?);
        };
        let folder = folder.to_owned();
        blocking(move || {
            let new = folder.join(format!("{TEMPORARY}manifest.{}", Uuid::new_v4()));
            let written = || -> io::Result<()> {
                let mut out = fs::File::create(&new)?;
                out.write_all(&content)?;
                out.sync_all()?;
                fs::rename(&new, folder.join(MANIFEST))?;
                sync(&folder)
            };
            written().map_err(|source| file("writing", &folder, source))
        })
        .await
    }

    /// Brings one file of a checkpoint to this machine, size and SHA-256; `None` where it is not there.
    pub async fn bring(
        &self,
        place: &Place,
        path: &str,
        to: PathBuf,
    ) -> Result<Option<(u64, String)>, TreeError> {
        let from = self.address(place).child(FILES).child(path);
        let brought = if let Some(local) = from.local_path() {
            let local = local.to_owned();
            blocking(move || {
                let writing = |source| file("writing", &to, source);
                fs::create_dir_all(to.parent().expect("a file in a folder")).map_err(writing)?;
                let mut out = fs::File::create(&to).map_err(writing)?;
                hash_file(&local, &mut out)
            })
            .await
        } else {
            bring_one(&from, from.path(), Some(to)).await
        };
        match brought {
            Ok(found) => Ok(Some(found)),
            Err(TreeError::Address(AddressError::NotFound { .. })) => Ok(None),
            Err(TreeError::File {
                doing: "reading",
                source,
                ..
            }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// Takes a checkpoint away: its manifest first, so that what is left of it at any moment is torn.
    pub async fn remove(&self, place: &Place) -> Result<(), TreeError> {
        let address = self.address(place);
        if let Some(folder) = address.local_path() {
            let folder = folder.to_owned();
            return blocking(move || {
                remove_local(&folder).map_err(|source| file("removing", &folder, source))
            })
            .await;
        }
        let removing = |source| AddressError::Access {
            doing: "removing",
            uri: address.uri().to_owned(),
            source,
        };
        let delete = |path: StorePath| {
            let store = Arc::clone(address.store());
            async move {
                match store.delete(&path).await {
                    Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
                    Err(problem) => Err(problem),
                }
            }
        };
        let manifest = address.child(MANIFEST);
        delete(manifest.path().clone()).await.map_err(removing)?;
        let objects: Vec<_> = address
            .store()
            .list(Some(address.path()))
            .try_collect()
            .await
            .map_err(removing)?;
        let deletions: Vec<_> = objects
            .into_iter()
            .map(|object| delete(object.location))
            .collect();
        futures::stream::iter(deletions)
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await
            .map_err(removing)?;
        Ok(())
    }
}

/// The last part of a path in a store, as it was before it was encoded.
fn decoded(path: &StorePath) -> Option<String> {
    let name = percent_decode_str(path.filename()?).decode_utf8().ok()?;
    Some(name.into_owned())
}

fn local_places(root: &Path) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for (attempt, path) in folders(root)? {
        if number(&attempt).is_some() {
            let below = folders(&path)?.into_iter();
            places.extend(below.filter_map(|(name, _)| Place::parse(&attempt, &name)));
        }
    }
    Ok(places)
}

/// The folders in a folder. One that is not there, or that somebody has just taken away, has none.
fn folders(of: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(of) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
            folders.push((name, entry.path()));
        }
    }
    Ok(folders)
}

/// Copies files into a folder below `root`; they and all their names are on disk when it returns.
fn copy(
    files: &[LocalFile],
    root: Option<&Path>,
    to: &Path,
    cancel: &CancellationToken,
) -> Result<Vec<File>, TreeError> {
    let top = root.and_then(Path::parent);
    let mut copied = Vec::new();
    let mut folders = BTreeSet::new();
    for LocalFile { path, on_disk } in files {
        let target = to.join(path);
        let writing = |source| file("writing", &target, source);
        let parent = target.parent().expect("a file in a folder");
        fs::create_dir_all(parent).map_err(writing)?;
        let mut out = UntilGivenUp {
            out: fs::File::create(&target).map_err(writing)?,
            cancel,
        };
        let (size, sha256) = hash_file(on_disk, &mut out)?;
        out.out.sync_all().map_err(writing)?;
        copied.push(File {
            path: path.clone(),
            size,
            sha256,
        });
        let above = parent.ancestors().take_while(|folder| Some(*folder) != top);
        folders.extend(above.map(Path::to_owned));
    }
    folders.extend(top.map(Path::to_owned));
    for folder in &folders {
        sync(folder).map_err(|source| file("writing", folder, source))?;
    }
    Ok(copied)
}

/// Puts the names in a folder on disk, where its file system can do that for a folder at all.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    match fs::File::open(folder)?.sync_all() {
        Err(problem)
            if matches!(
                problem.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

fn remove_local(folder: &Path) -> io::Result<()> {
    let absent = |outcome: io::Result<()>| match outcome {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    };
    absent(fs::remove_file(folder.join(MANIFEST)))?;
    if folder.exists() {
        sync(folder)?;
    }
    absent(fs::remove_dir_all(folder))?;
    if let Some(attempt) = folder.parent() {
        // Only an empty one goes.
        let _ = fs::remove_dir(attempt);
    }
    Ok(())
}

/// A file that is no longer written to once the upload was given up.
struct UntilGivenUp<'a> {
    out: fs::File,
    cancel: &'a CancellationToken,
}

impl Write for UntilGivenUp<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("it was given up"));
        }
        self.out.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

pub(super) fn file(doing: &'static str, path: &Path, source: io::Error) -> TreeError {
    TreeError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
