//! What is kept under one digest, and whether it is whole.
//!
//! ```text
//!   files/…          the tree, its files not to be written to
//!   manifest.json    which they are; written before the folder has its name
//!   verified         in which run of the kernel all were last read; its time is when
//!   size             bytes
//!   used             held by who reads; its time is when it was last asked for
//! ```

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::tree::{File, IN_FLIGHT, blocking, hash_file, is_inside, tree_of};

/// The folder with the files.
pub(super) const FILES: &str = "files";
/// The file that is held.
pub(super) const USED: &str = "used";
/// The file that has the sum of the sizes.
pub(super) const SIZE: &str = "size";

const MANIFEST: &str = "manifest.json";
const VERIFIED: &str = "verified";

/// The version that this agent writes and reads.
const VERSION: u32 = 1;

/// How long what was read is taken for whole, if nothing was written to it.
const HOLDS: Duration = Duration::from_hours(1);

/// `manifest.json`.
#[derive(Serialize, Deserialize)]
struct Manifest {
    version: u32,
    files: Vec<File>,
}

/// Makes an entry of a folder whose files have just been written and digested.
pub(super) fn seal(folder: &Path, digest: &str, files: Vec<File>) -> io::Result<()> {
    let mut bytes = 0;
    for file in &files {
        let path = folder.join(FILES).join(&file.path);
        fs::set_permissions(path, Permissions::from_mode(0o444))?;
        bytes += file.size;
    }
    let manifest = Manifest {
        version: VERSION,
        files,
    };
    let manifest = serde_json::to_vec(&manifest).expect("a manifest is plain data");
    debug_assert!(listed(&manifest, digest).is_ok());
    fs::write(folder.join(MANIFEST), manifest)?;
    fs::write(folder.join(SIZE), bytes.to_string())?;
    fs::File::open(folder.join(USED))?.set_modified(SystemTime::now())?;
    mark_verified(folder)
}

/// All files have been read, and are those of the manifest.
pub(super) fn mark_verified(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(VERIFIED), run_of_the_kernel()?)
}

/// The files of an entry, all of which are there as they should be, and whether they were read again for that.
///
/// # Errors
/// A clause that says what is wrong with it.
pub(super) async fn whole(folder: &Path, digest: &str) -> Result<(Vec<File>, bool), String> {
    let manifest = fs::read(folder.join(MANIFEST))
        .map_err(|problem| format!("its manifest cannot be read ({problem})"))?;
    let files = listed(&manifest, digest)?;
    let (inside, looked_at) = (folder.to_owned(), files.clone());
    let is_known = blocking(move || look(&inside, &looked_at)).await?;
    if !is_known {
        read(folder, &files).await?;
    }
    Ok((files, !is_known))
}

/// What a manifest lists. It is not trusted: the list has to have the digest, and no path leads out of a folder.
fn listed(manifest: &[u8], digest: &str) -> Result<Vec<File>, String> {
    let mut manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|problem| format!("its manifest is damaged ({problem})"))?;
    if manifest.version != VERSION {
        return Err(format!(
            "its manifest is of version {}, and this agent reads version {VERSION}",
            manifest.version
        ));
    }
    if tree_of("", &mut manifest.files).digest != digest {
        return Err("its manifest lists something else".to_owned());
    }
    let mut files = manifest.files.iter();
    match files.find(|file| !is_inside(&file.path)) {
        Some(file) => Err(format!(
            "its manifest lists a path that cannot be: {:?}",
            file.path
        )),
        None => Ok(manifest.files),
    }
}

/// Whether the files were read not long ago and are as they were then. They have their sizes, in any case.
fn look(folder: &Path, files: &[File]) -> Result<bool, String> {
    let since = verified(folder);
    let mut is_known = since.is_some();
    for File { path, size, .. } in files {
        let file = fs::symlink_metadata(folder.join(FILES).join(path))
            .map_err(|problem| format!("{path} cannot be read ({problem})"))?;
        if !file.is_file() || file.len() != *size {
            return Err(format!(
                "{path} has {} bytes, and {size} in its manifest",
                file.len()
            ));
        }
        // No program can set the time at which a file was last changed in any way.
        is_known &= since.is_some_and(|since| (file.ctime(), file.ctime_nsec()) <= since);
    }
    Ok(is_known)
}

/// When all files were last read, if that still counts. After a crash of the machine it does not: what was written may
/// never have come to the disk.
fn verified(folder: &Path) -> Option<(i64, i64)> {
    let path = folder.join(VERIFIED);
    if fs::read_to_string(&path).ok()? != run_of_the_kernel().ok()? {
        return None;
    }
    let mark = fs::metadata(path).ok()?;
    let age = SystemTime::now().duration_since(mark.modified().ok()?);
    (age.ok()? < HOLDS).then(|| (mark.mtime(), mark.mtime_nsec()))
}

/// What is another after each start of the machine, and the same in all its containers.
fn run_of_the_kernel() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}

/// Reads all files from end to end.
async fn read(folder: &Path, files: &[File]) -> Result<(), String> {
    futures::stream::iter(files)
        .map(|file| {
            let path = folder.join(FILES).join(&file.path);
            async move {
                let (_, sha256) = blocking(move || hash_file(&path, &mut io::sink()))
                    .await
                    .map_err(|problem| crate::report::chain(&problem))?;
                if sha256 == file.sha256 {
                    return Ok(());
                }
                Err(format!("{} has not the digest in its manifest", file.path))
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await
}

/// Whether two looks were at one file.
pub(super) fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::path::PathBuf;

    fn entry(folder: &Path, content: &str) -> (PathBuf, String) {
        let files = folder.join(FILES);
        fs::create_dir_all(files.join("a")).expect("made");
        fs::write(files.join("a/b"), content).expect("written");
        fs::write(folder.join(USED), "").expect("written");
        let file = File {
            path: "a/b".to_owned(),
            size: content.len() as u64,
            sha256: format!("{:x}", Sha256::digest(content)),
        };
        let digest = tree_of("", &mut [file.clone()]).digest;
        seal(folder, &digest, vec![file]).expect("sealed");
        (files.join("a/b"), digest)
    }

    fn replace(path: &Path, content: &str) {
        fs::remove_file(path).expect("removed");
        fs::write(path, content).expect("written");
    }

    #[tokio::test]
    async fn what_was_sealed_is_whole_and_its_files_cannot_be_written_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, digest) = entry(folder.path(), "content");
        let (files, was_read) = whole(folder.path(), &digest).await.expect("whole");
        assert_eq!((files.len(), files[0].path.as_str()), (1, "a/b"));
        assert!(!was_read, "it was just written");
        let mode = fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(
            fs::read_to_string(folder.path().join(SIZE)).expect("read"),
            "7"
        );
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_even_right_after_it_was_verified() {
        #[allow(clippy::type_complexity)] // a name, and what is done
        let wrong: [(&str, fn(&Path, &Path)); 6] = [
            ("a/b has 3 bytes, and 7", |_, path| replace(path, "cut")),
            ("a/b has not the digest", |_, path| {
                // Of the same size, and later than the mark by more than a tick of the kernel.
                std::thread::sleep(Duration::from_millis(30));
                replace(path, "CONTENT");
            }),
            ("a/b cannot be read", |_, path| {
                fs::remove_file(path).expect("removed");
            }),
            ("manifest cannot be read", |folder, _| {
                fs::remove_file(folder.join(MANIFEST)).expect("removed");
            }),
            ("manifest is damaged", |folder, _| {
                fs::write(folder.join(MANIFEST), "").expect("written");
            }),
            ("of version 2", |folder, _| {
                fs::write(folder.join(MANIFEST), r#"{"version":2,"files":[]}"#).expect("written");
            }),
        ];
        for (expected, damage) in wrong {
            let folder = tempfile::tempdir().expect("a folder");
            let (path, digest) = entry(folder.path(), "content");
            damage(folder.path(), &path);
            let why = whole(folder.path(), &digest).await.expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
    }

    #[tokio::test]
    async fn what_was_not_verified_since_the_machine_started_or_for_an_hour_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, digest) = entry(folder.path(), "content");
        replace(&path, "CONTENT");
        mark_verified(folder.path()).expect("marked");
        // What nobody can do who cannot write there: a mark that is newer than the change.
        whole(folder.path(), &digest)
            .await
            .expect("taken for whole");
        let mark = fs::File::options()
            .write(true)
            .open(folder.path().join(VERIFIED))
            .expect("opened");
        mark.set_modified(SystemTime::now() - 2 * HOLDS)
            .expect("set");
        whole(folder.path(), &digest).await.expect_err("old");
        fs::write(folder.path().join(VERIFIED), "another run").expect("written");
        whole(folder.path(), &digest).await.expect_err("another");
    }

    #[test]
    fn a_manifest_that_is_forged_leads_nowhere() {
        let forged = |path: &str| {
            let mut files = vec![File {
                path: path.to_owned(),
                size: 1,
                sha256: "00".to_owned(),
            }];
            let digest = tree_of("", &mut files).digest;
            let manifest = Manifest {
                version: VERSION,
                files,
            };
            listed(&serde_json::to_vec(&manifest).expect("JSON"), &digest)
        };
        assert!(forged("a/b").is_ok());
        for path in ["../x", "/etc/passwd", "a//b", ""] {
            assert!(
                forged(path).expect_err(path).contains("cannot be"),
                "{path}"
            );
        }
    }
}
