//! Where things lie: one cache folder of the user's, shared by every checkout.
//!
//! ```text
//! ~/.cache/windlass/
//! ├── bin/<program>-<version>/<program>   built once
//! ├── go/<module>-<digest>/               go.mod and go.sum, written out for the build
//! ├── clusters/<name>/                    everything of one cluster but sockets
//! ├── locks/                              who builds, who brings up
//! └── roots/<digest>/                     Debian roots for images
//! /run/windlass/<name>/                   sockets and run-time state of a node
//! ```

use std::env;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The cache folder: `$XDG_CACHE_HOME/windlass`, by default `~/.cache/windlass`.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => {
            PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
                .join(".cache")
        }
    };
    Ok(base.join("windlass"))
}

/// The folder of one cluster.
pub fn cluster(name: &str) -> Result<PathBuf> {
    Ok(clusters()?.join(name))
}

/// The folder that holds every recorded cluster's folder.
pub fn clusters() -> Result<PathBuf> {
    Ok(cache()?.join("clusters"))
}

/// The folder for a node's sockets, whose paths must stay short.
pub fn run_time(name: &str) -> PathBuf {
    Path::new("/run/windlass").join(name)
}

/// A lock held while the returned file lives; waits for whoever holds it.
///
/// `waiting` is called once if somebody else holds it.
pub fn lock(name: &str, waiting: impl FnOnce()) -> Result<File> {
    let folder = cache()?.join("locks");
    create(&folder)?;
    let path = folder.join(name);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening the lock {}", path.display()))?;
    if file.try_lock().is_err() {
        waiting();
        file.lock()
            .with_context(|| format!("waiting for the lock {}", path.display()))?;
    }
    Ok(file)
}

/// Makes a folder and its parents.
pub fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))
}

/// Writes a file; the folder is made if it is not there.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    if let Some(folder) = path.parent() {
        create(folder)?;
    }
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}
