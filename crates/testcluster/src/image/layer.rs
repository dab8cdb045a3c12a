//! An image's one layer: a tar whose bytes depend on what is in it alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

/// What goes into a layer, by its path there (without a leading slash).
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: BTreeMap<PathBuf, Entry>,
    folder: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Entry {
    Folder { mode: u32 },
    Text(String),
    File { source: PathBuf, mode: u32 },
    Link { target: PathBuf },
}

/// What an image does without: caches, documentation, and what is only there at run time.
const LEFT_OUT: [&str; 10] = [
    "proc",
    "sys",
    "dev",
    "run",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
];

impl Layer {
    /// A layer of all that lies in a folder.
    pub fn of_folder(folder: PathBuf) -> Self {
        Self {
            entries: BTreeMap::new(),
            folder: Some(folder),
        }
    }

    /// Adds a folder.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.add(path, Entry::Folder { mode });
    }

    /// Adds a file with this text.
    pub fn text(&mut self, path: &str, text: &str) {
        self.add(path, Entry::Text(text.to_owned()));
    }

    /// Adds a file; it is read when the layer is written.
    pub fn file(&mut self, path: &str, source: &Path, mode: u32) {
        self.add(
            path,
            Entry::File {
                source: source.to_owned(),
                mode,
            },
        );
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(
            path,
            Entry::Link {
                target: target.into(),
            },
        );
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let path = PathBuf::from(path.trim_start_matches('/'));
        if self.folder.is_none() {
            for parent in path
                .ancestors()
                .skip(1)
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                self.entries
                    .entry(parent.to_owned())
                    .or_insert(Entry::Folder { mode: 0o755 });
            }
        }
        self.entries.insert(path, entry);
    }

    /// Writes the tar, and returns its SHA-256 in hexadecimal.
    pub fn write(&self, to: &mut File) -> Result<String> {
        let mut tar = tar::Builder::new(Hashing {
            inner: BufWriter::new(to),
            digest: Sha256::new(),
        });
        if let Some(folder) = &self.folder {
            append_folder(&mut tar, folder)?;
        }
        for (path, entry) in &self.entries {
            append(&mut tar, path, entry).with_context(|| format!("packing {}", path.display()))?;
        }
        let mut hashing = tar.into_inner()?;
        hashing.flush()?;
        Ok(format!("{:x}", hashing.digest.finalize()))
    }
}

/// A header that says nothing of who made it, or when.
pub fn header(size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_entry_type(EntryType::Regular);
    header
}

fn append<W: Write>(tar: &mut tar::Builder<W>, path: &Path, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Folder { mode } => {
            let mut header = header(0, *mode);
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())?;
        }
        Entry::Text(text) => {
            tar.append_data(&mut header(text.len() as u64, 0o644), path, text.as_bytes())?;
        }
        Entry::File { source, mode } => {
            let file =
                File::open(source).with_context(|| format!("opening {}", source.display()))?;
            tar.append_data(&mut header(file.metadata()?.len(), *mode), path, file)?;
        }
        Entry::Link { target } => {
            let mut header = header(0, 0o777);
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

fn append_folder<W: Write>(tar: &mut tar::Builder<W>, root: &Path) -> Result<()> {
    let walk = walkdir::WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter();
    for found in walk.filter_entry(|found| !is_within_left_out(root, found.path())) {
        let found = found.with_context(|| format!("reading {}", root.display()))?;
        let path = found.path().strip_prefix(root).context("below the root")?;
        let metadata = found.metadata()?;
        let kind = found.file_type();
        let mut header = header(0, metadata.mode() & 0o7777);
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, fs::read_link(found.path())?)?;
        } else if kind.is_file() {
            header.set_size(metadata.len());
            tar.append_data(&mut header, path, File::open(found.path())?)
                .with_context(|| format!("packing {}", path.display()))?;
        }
        // Devices and sockets are the container runtime's to make.
    }
    Ok(())
}

/// The left-out folders themselves stay, so that something can be mounted there.
fn is_within_left_out(root: &Path, path: &Path) -> bool {
    let Ok(path) = path.strip_prefix(root) else {
        return false;
    };
    path.ends_with("__pycache__")
        || path
            .parent()
            .is_some_and(|parent| LEFT_OUT.iter().any(|left| parent.starts_with(left)))
}

struct Hashing<W> {
    inner: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.digest.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
