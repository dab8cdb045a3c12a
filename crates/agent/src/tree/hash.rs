//! Hashing on all cores, as a stream: each byte is read once, and no file is held in memory.
//!
//! ```text
//!   files  ──hash_files──>  size, SHA-256, and those of its shards     one file at a time on each core
//!   shards ──hash_shards──> SHA-256 of each                            so that one large file keeps all cores busy
//! ```
//!
//! SHA-256 (FIPS 180-4) has to go through a file from its beginning: a single file that is hashed as a whole takes one
//! core. The implementation uses the processor's SHA instructions where it has them, found when the program runs.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::{NonZero, NonZeroU64};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sha2::{Digest, Sha256};

use super::{BUFFER_BYTES, File, LocalFile, TreeError};

/// A file, and what its shards have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hashed {
    /// The file.
    pub file: File,
    /// SHA-256 of each of its shards in their order, hex; none where no shards were asked for.
    pub shards: Vec<String>,
}

/// The shards of a file alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sharded {
    /// Its path in the tree.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of each shard in their order, hex.
    pub shards: Vec<String>,
}

/// Hashes what comes piece by piece: all of it, and each shard.
pub(crate) struct Hasher {
    size: u64,
    whole: Sha256,
    shards: Option<ShardHasher>,
}

impl Hasher {
    /// One for a file, with shards of this many bytes where these are asked for; the last one may be shorter.
    pub fn new(shard_size: Option<NonZeroU64>) -> Self {
        Self {
            size: 0,
            whole: Sha256::new(),
            shards: shard_size.map(ShardHasher::new),
        }
    }

    /// Takes what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.whole.update(bytes);
        if let Some(shards) = &mut self.shards {
            shards.update(bytes);
        }
    }

    /// What a file of this path is.
    pub fn finish(self, path: String) -> Hashed {
        Hashed {
            file: File {
                path,
                size: self.size,
                sha256: format!("{:x}", self.whole.finalize()),
            },
            shards: self.shards.map(ShardHasher::finish).unwrap_or_default(),
        }
    }
}

struct ShardHasher {
    size: u64,
    left: u64,
    current: Sha256,
    done: Vec<String>,
}

impl ShardHasher {
    fn new(size: NonZeroU64) -> Self {
        Self {
            size: size.get(),
            left: size.get(),
            current: Sha256::new(),
            done: Vec::new(),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(most.min(bytes.len()));
            self.current.update(now);
            self.left -= now.len() as u64;
            if self.left == 0 {
                self.end_shard();
            }
            bytes = later;
        }
    }

    fn end_shard(&mut self) {
        let digest = self.current.finalize_reset();
        self.done.push(format!("{digest:x}"));
        self.left = self.size;
    }

    fn finish(mut self) -> Vec<String> {
        if self.left < self.size {
            self.end_shard();
        }
        self.done
    }
}

/// Reads a file from end to end into `sink`; its size and SHA-256.
pub(crate) fn hash_file(
    path: &Path,
    sink: &mut impl io::Write,
) -> Result<(u64, String), TreeError> {
    let File { size, sha256, .. } = hash_into(path, None, sink)?.file;
    Ok((size, sha256))
}

/// The same with its shards; the result has no path.
pub(super) fn hash_into(
    path: &Path,
    shard_size: Option<NonZeroU64>,
    sink: &mut impl io::Write,
) -> Result<Hashed, TreeError> {
    let mut file = fs::File::open(path).map_err(|source| reading(path, source))?;
    let mut hasher = Hasher::new(shard_size);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = read_some(&mut file, &mut buffer).map_err(|source| reading(path, source))?;
        if read == 0 {
            return Ok(hasher.finish(String::new()));
        }
        hasher.update(&buffer[..read]);
        sink.write_all(&buffer[..read])
            .map_err(|source| TreeError::File {
                doing: "copying",
                path: path.to_owned(),
                source,
            })?;
    }
}

/// Hashes local files where they lie.
pub(crate) fn hash_files(
    files: Vec<LocalFile>,
    shard_size: Option<NonZeroU64>,
) -> Result<Vec<Hashed>, TreeError> {
    in_parallel(&largest_first(files), |LocalFile { path, on_disk }| {
        let mut hashed = hash_into(on_disk, shard_size, &mut io::sink())?;
        hashed.file.path.clone_from(path);
        Ok(hashed)
    })
}

/// Hashes the shards of local files where they lie, and nothing else of them.
pub(crate) fn hash_shards(
    files: Vec<LocalFile>,
    shard_size: NonZeroU64,
) -> Result<Vec<Sharded>, TreeError> {
    let mut sharded = Vec::new();
    let mut shards = Vec::new();
    for LocalFile { path, on_disk } in files {
        let size = fs::metadata(&on_disk)
            .map_err(|source| reading(&on_disk, source))?
            .len();
        let starts = (0..size.div_ceil(shard_size.get())).map(|at| at * shard_size.get());
        shards.extend(starts.map(|start| (sharded.len(), on_disk.clone(), start)));
        sharded.push(Sharded {
            path,
            size,
            shards: Vec::new(),
        });
    }
    let digests = in_parallel(&shards, |(_, on_disk, start)| {
        hash_shard(on_disk, *start, shard_size.get()).map_err(|source| reading(on_disk, source))
    })?;
    for ((file, ..), digest) in shards.iter().zip(digests) {
        sharded[*file].shards.push(digest);
    }
    Ok(sharded)
}

fn hash_shard(path: &Path, start: u64, bytes: u64) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut shard = file.take(bytes);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = read_some(&mut shard, &mut buffer)?;
        if read == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

/// One read, made again where a signal cut it short.
fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

fn reading(path: &Path, source: io::Error) -> TreeError {
    TreeError::File {
        doing: "reading",
        path: path.to_owned(),
        source,
    }
}

/// So that no core is left alone with a large file at the end. A size that cannot be read is told by who reads the file.
pub(super) fn largest_first(mut files: Vec<LocalFile>) -> Vec<LocalFile> {
    let size = |file: &LocalFile| fs::metadata(&file.on_disk).map_or(0, |found| found.len());
    files.sort_by_cached_key(|file| std::cmp::Reverse(size(file)));
    files
}

/// Does something with each item, as many at once as there are processors; what came of them, in the items' order.
///
/// # Errors
/// One that some item had; items that had not been begun by then are not.
pub(super) fn in_parallel<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T, TreeError> + Sync,
) -> Result<Vec<T>, TreeError> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut done = Vec::new();
        while !has_failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { break };
            let outcome = work(item);
            has_failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            done.push((at, outcome));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..processors.min(items.len()))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut done = Vec::new();
        for worker in workers {
            match worker.join() {
                Ok(some) => done.extend(some),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(bytes: &[u8]) -> String {
        format!("{:x}", Sha256::digest(bytes))
    }

    fn size(bytes: u64) -> NonZeroU64 {
        NonZeroU64::new(bytes).expect("more than none")
    }

    #[test]
    fn shards_are_cut_where_they_should_be_however_the_pieces_come() {
        let content: Vec<u8> = (0..=99).collect();
        for (shard, expected) in [
            (1, 100),
            (7, 15),
            (25, 4),
            (99, 2),
            (100, 1),
            (101, 1),
            (1 << 40, 1),
        ] {
            let chunks = content.chunks(usize::try_from(shard).expect("small"));
            let expected_shards: Vec<String> = chunks.map(sha256).collect();
            assert_eq!(expected_shards.len(), expected);
            for piece in [1, 3, 25, 100] {
                let mut hasher = Hasher::new(Some(size(shard)));
                content.chunks(piece).for_each(|piece| hasher.update(piece));
                let Hashed { file, shards } = hasher.finish("a".to_owned());
                assert_eq!(shards, expected_shards, "{shard} {piece}");
                assert_eq!((file.sha256, file.size), (sha256(&content), 100));
            }
        }
        let empty = Hasher::new(Some(size(5))).finish(String::new());
        assert_eq!((empty.shards.len(), empty.file.size), (0, 0));
    }

    #[test]
    fn files_and_shards_are_hashed_alike_in_one_pass_and_each_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = Vec::new();
        for (name, bytes) in [("small", 5), ("empty", 0), ("large", 3 * BUFFER_BYTES + 7)] {
            let on_disk = folder.path().join(name);
            fs::write(&on_disk, vec![bytes.to_le_bytes()[0]; bytes]).expect("written");
            files.push(LocalFile {
                path: name.to_owned(),
                on_disk,
            });
        }
        let again = || {
            files
                .iter()
                .map(|LocalFile { path, on_disk }| LocalFile {
                    path: path.clone(),
                    on_disk: on_disk.clone(),
                })
                .collect()
        };
        let shard = size(BUFFER_BYTES as u64 / 2 + 1);
        let both = hash_files(again(), Some(shard)).expect("hashed");
        assert_eq!(both[0].file.path, "large", "the largest comes first");
        let mut both: Vec<Sharded> = both
            .into_iter()
            .map(|Hashed { file, shards }| Sharded {
                path: file.path,
                size: file.size,
                shards,
            })
            .collect();
        let mut alone = hash_shards(again(), shard).expect("hashed");
        for list in [&mut both, &mut alone] {
            list.sort_by(|one, other| one.path.cmp(&other.path));
        }
        assert_eq!(both, alone);
        assert_eq!(alone[1].shards.len(), 7, "the last has one byte");
    }

    #[test]
    fn what_is_done_in_parallel_keeps_its_order_and_tells_of_a_failure() {
        let items: Vec<usize> = (0..100).collect();
        let doubled = in_parallel(&items, |item| Ok(item * 2)).expect("done");
        assert_eq!(doubled, (0..100).map(|item| item * 2).collect::<Vec<_>>());
        let failed = in_parallel(&items, |item| {
            if *item == 50 {
                return Err(reading(Path::new("fifty"), io::Error::other("no")));
            }
            Ok(())
        });
        assert_eq!(
            failed.expect_err("failed").to_string(),
            "reading fifty failed"
        );
        in_parallel(&[] as &[u8], |_| Ok(())).expect("nothing to do");
    }
}
