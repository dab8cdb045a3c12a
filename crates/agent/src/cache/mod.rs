//! `windlass-agent cache`: keeps inputs in a folder of a node, by digest, for all who read the same.
//!
//! ```text
//!   cache ──┬─ there, and whole ─────────────────────────────> used anew
//!           └─ not there ──> room ──> fetched beside ──rename──> FOLDER/<digest>/files/…, manifest.json
//!                             └─ what was not used for longest goes, if nobody holds it
//!   run --input-cache ──holds, links──> FOLDER/<digest>/files/…          (needs only to read the folder)
//! ```
//!
//! What is under a digest is whole: it is put together beside and renamed, and read again before it is used, but for
//! what was read in the last hour and has not been touched since. Who reads holds a shared lock that ends with the
//! process; who takes away needs it alone. So neither a crash nor a killed pod leaves anything for a person to clear.
//!
//! Nothing here fails a training: what is not kept is fetched by `run` itself, which says what is wrong with it.
//! Absent on purpose: outputs and models, which are read once, and what lies in claims.

mod entry;
mod listing;
mod room;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use object_store::ObjectMeta;
use tracing::{info, warn};
use uuid::Uuid;
use windlass_api::agent::{FailureReason, FailureReport, Tree, paths};

use self::entry::{FILES, USED};
use self::room::{Limits, Partial};
use crate::address::Address;
use crate::arguments::{Inputs, Pair, duration};
use crate::report::{OrFail, chain, failure};
use crate::tree::{self, File, TEMPORARY, TreeError, blocking};

/// Arguments of `windlass-agent cache`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The folder; one for all who may read the same.
    #[arg(long, default_value = paths::INPUT_CACHE, value_name = "DIR")]
    pub folder: PathBuf,
    /// How many bytes are kept in it.
    #[arg(long, value_name = "BYTES")]
    pub size: u64,
    /// How long what was used stays, though nobody holds it: until the trainer's container has started.
    #[arg(long, default_value = "15m", value_name = "DURATION", value_parser = duration)]
    pub stays: Duration,
    /// How much of the disk stays free, per cent.
    #[arg(long, default_value_t = 20, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    pub disk_free: u8,
    /// What is kept.
    #[command(flatten)]
    pub inputs: Inputs,
}

/// Keeps what can be kept.
///
/// # Errors
/// [`FailureReason::InvalidArguments`] alone.
pub async fn run(arguments: Arguments) -> Result<(), FailureReport> {
    let invalid = |why| failure(FailureReason::InvalidArguments, why);
    arguments.inputs.validate(&[]).map_err(invalid)?;
    let mut inputs = Vec::new();
    for Pair { name, value } in &arguments.inputs.all {
        let address = Address::parse(value).or_fail(FailureReason::InvalidArguments)?;
        let address = address.as_of(arguments.inputs.as_of(name));
        inputs.push((name, address, arguments.inputs.digest(name)));
    }
    // Others read what is kept, whoever they are.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let cache = Cache::new(&arguments.folder);
    let limits = Limits {
        bytes: arguments.size,
        stays: arguments.stays,
        disk_free: arguments.disk_free,
    };
    for (name, address, digest) in inputs {
        let uri = address.uri();
        match cache.keep(&address, digest, &limits).await {
            Ok(digest) => info!(input = name, digest, "{uri} is kept"),
            Err(problem) => warn!(
                input = name,
                "{uri} is not kept, and is fetched by who reads it: {}",
                chain(&problem)
            ),
        }
    }
    Ok(())
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    /// The store, or the folder.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// What lies on this machine needs no fetching.
    #[error("it lies on this machine already")]
    Local,
    /// Not one by which something could be kept.
    #[error("{digest:?} is not sha256:<hex>")]
    Digest {
        /// What was given.
        digest: String,
    },
    /// Nothing tells whether it has changed.
    #[error(
        "its digest is not known, and its store gives no strong ETag by which to tell whether it has changed"
    )]
    NoTag,
    /// It does not fit.
    #[error(
        "it has {bytes} bytes, and there is no room for these beside what is in use: {limit} bytes may be kept, and {disk_free} % of the disk stay free"
    )]
    NoRoom {
        /// Of the input.
        bytes: u64,
        /// Of the folder.
        limit: u64,
        /// Per cent.
        disk_free: u8,
    },
    /// It is damaged, and cannot be taken away.
    #[error("what is there of it is damaged, and somebody reads it")]
    InUse,
    /// It is not what was asked for.
    #[error("its digest is {found}, and {expected} was asked for")]
    Changed {
        /// What it has.
        found: String,
        /// What was recorded.
        expected: String,
    },
}

/// What is under a digest.
pub(crate) enum Found {
    /// Nothing.
    Absent,
    /// Not what should be; why, as a clause.
    Damaged(String),
    /// All of it.
    Whole(Kept),
}

/// What is kept under a digest, and stays while this is held.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    files: Vec<File>,
    /// Whether all of it was read again, just now.
    was_read: bool,
    /// Says that it is in use.
    _used: fs::File,
}

/// By what an input is known before it is read.
enum By<'a> {
    /// The digest that it had when it was checked.
    Digest(&'a str),
    /// What its store says of it.
    Listing {
        /// Its key, hex.
        key: String,
        /// The sum of the sizes.
        bytes: u64,
    },
}

impl<'a> By<'a> {
    async fn of(address: &Address, digest: Option<&'a str>) -> Result<Self, CacheError> {
        if let Some(digest) = digest {
            return Ok(Self::Digest(digest));
        }
        let objects = objects(address).await?;
        Ok(Self::Listing {
            key: listing::key(address, &objects).ok_or(CacheError::NoTag)?,
            bytes: bytes(&objects),
        })
    }

    /// What no two inputs have in common, hex.
    fn key(&self) -> Result<&str, CacheError> {
        match self {
            Self::Digest(digest) => hex(digest),
            Self::Listing { key, .. } => Ok(key),
        }
    }

    /// The digest, where it is known in this cache.
    fn digest(&self, cache: &Cache) -> Option<String> {
        match self {
            Self::Digest(digest) => Some((*digest).to_owned()),
            Self::Listing { key, .. } => cache.listed(key),
        }
    }
}

async fn objects(address: &Address) -> Result<Vec<ObjectMeta>, TreeError> {
    Ok(address.objects().await?)
}

fn bytes(objects: &[ObjectMeta]) -> u64 {
    objects.iter().map(|object| object.size).sum()
}

/// A folder with what is kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The one in a folder, which need not be there.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What is kept of an address whose digest may be known; only reads. Its store is asked where it is not known.
    pub async fn look_up(
        &self,
        address: &Address,
        digest: Option<&str>,
    ) -> Result<Found, CacheError> {
        match By::of(address, digest).await?.digest(self) {
            Some(digest) => self.find(&digest).await,
            None => Ok(Found::Absent),
        }
    }

    /// Sees to it that what lies at an address is there, and whole; its digest.
    async fn keep(
        &self,
        address: &Address,
        digest: Option<&str>,
        limits: &Limits,
    ) -> Result<String, CacheError> {
        if address.local_path().is_some() {
            return Err(CacheError::Local);
        }
        for folder in [self.locks(), self.listings()] {
            fs::create_dir_all(&folder).map_err(|source| file("making", &folder, source))?;
        }
        let by = By::of(address, digest).await?;
        // One fetches, the others wait for it.
        let _turn = self.turn(by.key()?).await?;
        if let Some(known) = by.digest(self) {
            match self.find(&known).await? {
                Found::Whole(kept) => {
                    kept.mark_used()?;
                    return Ok(known);
                }
                Found::Damaged(why) => {
                    warn!("{known} is fetched anew: {why}");
                    self.remove(&known).await?;
                }
                Found::Absent => {}
            }
        }
        let fetched = self.fetch(address, &by, limits).await?;
        if let By::Listing { key, .. } = &by {
            let path = self.listings().join(key);
            write_whole(&path, fetched.as_bytes())
                .map_err(|source| file("writing", &path, source))?;
        }
        Ok(fetched)
    }

    /// Fetches beside what is there, and puts it under its digest once it is whole.
    async fn fetch(
        &self,
        address: &Address,
        by: &By<'_>,
        limits: &Limits,
    ) -> Result<String, CacheError> {
        let (bytes, expected) = match by {
            By::Digest(digest) => (bytes(&objects(address).await?), Some(*digest)),
            By::Listing { bytes, .. } => (*bytes, None),
        };
        let (cache, limits) = (self.clone(), limits.clone());
        let partial: Partial = blocking(move || cache.reserve(bytes, &limits)).await?;
        let (tree, files) = tree::download_listed(address, &partial.folder().join(FILES)).await?;
        if let Some(expected) = expected.filter(|expected| *expected != tree.digest) {
            return Err(CacheError::Changed {
                found: tree.digest,
                expected: expected.to_owned(),
            });
        }
        let (to, digest) = (self.entry(&tree.digest)?, tree.digest.clone());
        blocking(move || {
            let folder = partial.folder().to_owned();
            entry::seal(&folder, &digest, files)
                .and_then(|()| partial.rename(&to))
                .map_err(|source| file("writing", &folder, source))
        })
        .await?;
        Ok(tree.digest)
    }

    /// What is under a digest, held and verified.
    async fn find(&self, digest: &str) -> Result<Found, CacheError> {
        let folder = self.entry(digest)?;
        let Some(used) = held(&folder).await? else {
            return Ok(Found::Absent);
        };
        Ok(match entry::whole(&folder, digest).await {
            Ok((files, was_read)) => Found::Whole(Kept {
                folder,
                files,
                was_read,
                _used: used,
            }),
            Err(why) => Found::Damaged(why),
        })
    }

    /// Takes away what is under a digest, unless somebody holds it.
    async fn remove(&self, digest: &str) -> Result<(), CacheError> {
        let (folder, cache) = (self.entry(digest)?, self.clone());
        blocking(move || {
            let removed = || -> io::Result<bool> {
                let used = fs::File::open(folder.join(USED))?;
                if used.try_lock().is_err() {
                    return Ok(false);
                }
                cache.take_away(&folder)?;
                Ok(true)
            };
            match removed() {
                Ok(true) => Ok(()),
                Ok(false) => Err(CacheError::InUse),
                Err(problem) => Err(file("removing", &folder, problem).into()),
            }
        })
        .await
    }

    /// The digest that was found at what is listed like this.
    fn listed(&self, listing: &str) -> Option<String> {
        let digest = fs::read_to_string(self.listings().join(listing)).ok()?;
        hex(&digest).is_ok().then_some(digest)
    }

    /// Waits until nobody else fetches what has this key.
    async fn turn(&self, key: &str) -> Result<fs::File, CacheError> {
        // So many files and no more: it matters little if one waits for another's.
        let path = self.locks().join(&key[..2]);
        blocking(move || {
            let locked = || -> io::Result<fs::File> {
                let lock = fs::File::create(&path)?;
                lock.lock()?;
                Ok(lock)
            };
            locked().map_err(|source| file("locking", &path, source).into())
        })
        .await
    }

    /// Takes a folder away: first its name, so that nobody finds half of it.
    fn take_away(&self, folder: &Path) -> io::Result<()> {
        let gone = self.beside();
        fs::rename(folder, &gone)?;
        fs::remove_dir_all(&gone)
    }

    fn entry(&self, digest: &str) -> Result<PathBuf, CacheError> {
        Ok(self.folder.join(hex(digest)?))
    }

    fn listings(&self) -> PathBuf {
        self.folder.join("listings")
    }

    fn locks(&self) -> PathBuf {
        self.folder.join("locks")
    }

    /// A name that nobody else has.
    fn beside(&self) -> PathBuf {
        self.folder.join(format!("{TEMPORARY}{}", Uuid::new_v4()))
    }
}

impl Kept {
    /// The tree that it is, as it lies at an address.
    pub fn tree(&self, uri: &str) -> Tree {
        tree::tree_of(uri, &mut self.files.clone())
    }

    /// Makes a folder show its files by links.
    pub fn link(&self, to: &Path) -> Result<(), TreeError> {
        for File { path, .. } in &self.files {
            let target = to.join(path);
            let linked =
                fs::create_dir_all(target.parent().expect("a file in a folder")).and_then(|()| {
                    std::os::unix::fs::symlink(self.folder.join(FILES).join(path), &target)
                });
            linked.map_err(|source| file("linking", &target, source))?;
        }
        Ok(())
    }

    /// It was used now, and is known to be whole.
    fn mark_used(&self) -> Result<(), CacheError> {
        let marked = || -> io::Result<()> {
            if self.was_read {
                entry::mark_verified(&self.folder)?;
            }
            let path = self.folder.join(USED);
            let used = fs::File::options().write(true).open(path)?;
            used.set_modified(SystemTime::now())
        };
        marked().map_err(|source| file("writing", &self.folder, source).into())
    }
}

/// Holds what is in a folder; nothing where there is none, or where it was just taken away.
async fn held(folder: &Path) -> Result<Option<fs::File>, CacheError> {
    let folder = folder.to_owned();
    blocking(move || {
        let hold = || {
            let used = match fs::File::open(folder.join(USED)) {
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
                used => used?,
            };
            used.lock_shared()?;
            let is_there = match fs::metadata(folder.join(USED)) {
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => false,
                now => entry::is_same(&now?, &used.metadata()?),
            };
            Ok(is_there.then_some(used))
        };
        hold().map_err(|source| file("reading", &folder, source).into())
    })
    .await
}

/// What stands after `sha256:`.
fn hex(digest: &str) -> Result<&str, CacheError> {
    let hex = digest.strip_prefix("sha256:");
    hex.filter(|hex| is_hex(hex))
        .ok_or_else(|| CacheError::Digest {
            digest: digest.to_owned(),
        })
}

fn is_hex(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() == 64 && bytes.all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Writes a file whole or not at all.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let beside = path.with_file_name(format!("{TEMPORARY}{}", Uuid::new_v4()));
    fs::write(&beside, content)?;
    fs::rename(&beside, path)
}

fn file(doing: &'static str, path: &Path, source: io::Error) -> TreeError {
    TreeError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}
