//! Room for what is to be fetched: what was not used for longest goes, unless somebody holds it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::{info, warn};

use super::entry::{SIZE, USED};
use super::{Cache, CacheError, file, is_hex};
use crate::tree::TEMPORARY;

/// How much is kept.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// How long what was used stays in any case.
    pub stays: Duration,
    /// How much of the disk stays free, per cent: a kubelet evicts pods where less than 15 are.
    pub disk_free: u8,
}

/// A folder for what is being fetched. It goes with this, unless it was renamed.
#[derive(Debug)]
pub(super) struct Partial {
    folder: PathBuf,
    /// Says that somebody is at work.
    _used: fs::File,
}

impl Partial {
    /// Where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Gives it its name, unless somebody else was first with the same.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        match fs::rename(&self.folder, to) {
            // There is the same.
            Err(problem)
                if matches!(
                    problem.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.folder) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                warn!(
                    "{} is left behind, for the next to clear away: {problem}",
                    self.folder.display()
                );
            }
            _ => {}
        }
    }
}

/// What may be taken away, and is not used by anybody while this is held.
struct Idle {
    folder: PathBuf,
    bytes: u64,
    used: SystemTime,
    _alone: Option<fs::File>,
}

impl Cache {
    /// A folder to fetch so many bytes to, with room for them.
    pub(super) fn reserve(&self, bytes: u64, limits: &Limits) -> Result<Partial, CacheError> {
        let reserved = || -> io::Result<Option<Partial>> {
            // One reckons at a time.
            let lock = fs::File::create(self.locks().join("room"))?;
            lock.lock()?;
            let mut idle = Vec::new();
            let (mut kept, mut planned) = (0, 0);
            for folder in folders(&self.folder)? {
                let name = folder.file_name().and_then(|name| name.to_str());
                match name {
                    Some(name) if name.starts_with(TEMPORARY) => {
                        planned += clear_if_dead(&folder)?;
                    }
                    Some(name) if is_hex(name) => {
                        kept += size(&folder);
                        idle.extend(idle_for(&folder, limits.stays));
                    }
                    _ => {}
                }
            }
            idle.sort_by_key(|one: &Idle| one.used);
            let free = free(&self.folder, limits.disk_free)?.saturating_sub(planned);
            let over = (kept + planned + bytes).saturating_sub(limits.bytes);
            let lacking = over.max(bytes.saturating_sub(free));
            let sizes: Vec<u64> = idle.iter().map(|one| one.bytes).collect();
            let Some(going) = how_many_go(&sizes, lacking).filter(|_| bytes <= limits.bytes) else {
                return Ok(None);
            };
            for one in &idle[..going] {
                info!("{} makes room", one.folder.display());
                self.take_away(&one.folder)?;
            }
            self.begin(bytes).map(Some)
        };
        match reserved() {
            Ok(Some(partial)) => Ok(partial),
            Ok(None) => Err(CacheError::NoRoom {
                bytes,
                limit: limits.bytes,
                disk_free: limits.disk_free,
            }),
            Err(problem) => Err(file("making room in", &self.folder, problem).into()),
        }
    }

    fn begin(&self, bytes: u64) -> io::Result<Partial> {
        let folder = self.beside();
        fs::create_dir(&folder)?;
        let used = fs::File::create(folder.join(USED))?;
        used.lock()?;
        let partial = Partial {
            folder,
            _used: used,
        };
        fs::write(partial.folder.join(SIZE), bytes.to_string())?;
        Ok(partial)
    }
}

/// How many of the first go until so much is free; nothing where all of them are not enough.
fn how_many_go(sizes: &[u64], lacking: u64) -> Option<usize> {
    let mut freed = 0;
    for (at, size) in sizes.iter().enumerate() {
        if freed >= lacking {
            return Some(at);
        }
        freed += size;
    }
    (freed >= lacking).then_some(sizes.len())
}

/// Takes away what a fetch left that was killed; else how much it will need.
fn clear_if_dead(folder: &Path) -> io::Result<u64> {
    // It is begun while the room is locked: without the file, nobody is at work.
    let is_at_work = match fs::File::open(folder.join(USED)) {
        Ok(used) => used.try_lock().is_err(),
        Err(_) => false,
    };
    if is_at_work {
        return Ok(size(folder));
    }
    match fs::remove_dir_all(folder) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
        _ => Ok(0),
    }
}

/// What is kept in a folder, if it was not used for so long and nobody holds it.
fn idle_for(folder: &Path, stays: Duration) -> Option<Idle> {
    let (used, alone) = match fs::File::open(folder.join(USED)) {
        Ok(file) => (
            file.metadata().and_then(|used| used.modified()).ok()?,
            Some(file),
        ),
        Err(_) => (SystemTime::UNIX_EPOCH, None),
    };
    if let Some(alone) = &alone {
        alone.try_lock().ok()?;
    }
    let age = SystemTime::now().duration_since(used).unwrap_or_default();
    (age >= stays).then(|| Idle {
        folder: folder.to_owned(),
        bytes: size(folder),
        used,
        _alone: alone,
    })
}

fn size(folder: &Path) -> u64 {
    let size = fs::read_to_string(folder.join(SIZE));
    size.ok().and_then(|size| size.parse().ok()).unwrap_or(0)
}

/// What may still be written to the disk of a folder, bytes.
fn free(folder: &Path, stays: u8) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    let stays = disk.f_blocks / 100 * u64::from(stays);
    Ok(disk.f_bavail.saturating_sub(stays) * disk.f_frsize)
}

fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_few_go_as_will_do_the_longest_unused_first() {
        for (sizes, lacking, expected) in [
            (&[][..], 0, Some(0)),
            (&[], 1, None),
            (&[5, 5], 0, Some(0)),
            (&[5, 5], 1, Some(1)),
            (&[5, 5], 5, Some(1)),
            (&[5, 5], 6, Some(2)),
            (&[5, 5], 11, None),
        ] {
            assert_eq!(how_many_go(sizes, lacking), expected, "{sizes:?} {lacking}");
        }
    }

    fn limits(bytes: u64) -> Limits {
        Limits {
            bytes,
            stays: Duration::ZERO,
            disk_free: 0,
        }
    }

    fn cache(folder: &Path) -> Cache {
        let cache = Cache::new(folder);
        fs::create_dir_all(cache.locks()).expect("made");
        cache
    }

    #[test]
    fn two_who_fetch_at_a_time_know_of_each_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path());
        let first = cache.reserve(6, &limits(10)).expect("room");
        let second = cache.reserve(6, &limits(10));
        assert!(matches!(second, Err(CacheError::NoRoom { .. })));
        drop(first);
        cache.reserve(6, &limits(10)).expect("room again");
    }

    #[test]
    fn what_a_fetch_left_that_was_killed_is_cleared_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path());
        for (name, with) in [("dead", true), ("older", false)] {
            let left = folder.path().join(format!("{TEMPORARY}{name}"));
            fs::create_dir_all(left.join("files")).expect("made");
            fs::write(left.join(SIZE), "9").expect("written");
            if with {
                fs::write(left.join(USED), "").expect("written");
            }
        }
        let partial = cache.reserve(6, &limits(10)).expect("room");
        let names = folders(folder.path()).expect("listed");
        assert_eq!(names.len(), 2, "the locks and the new one: {names:?}");
        drop(partial);
    }

    #[test]
    fn what_is_too_large_makes_nothing_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = cache(folder.path());
        let kept = folder.path().join("0".repeat(64));
        fs::create_dir(&kept).expect("made");
        fs::write(kept.join(SIZE), "9").expect("written");
        fs::write(kept.join(USED), "").expect("written");
        assert!(cache.reserve(11, &limits(10)).is_err());
        assert!(
            cache.reserve(u64::MAX / 2, &limits(u64::MAX)).is_err(),
            "nor the disk"
        );
        assert!(kept.exists());
        cache.reserve(2, &limits(10)).expect("room");
        assert!(!kept.exists());
    }
}
