//! What the trainer put into its folder of checkpoints.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::warn;

use super::place::is_name;
use crate::tree::{LocalFile, TreeError, walk};

/// A checkpoint of the trainer, as it was when it was looked at. It is still the same when it equals a later look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When the newest of its files was written. Not the folder's own time, which changes as it is taken away.
    pub modified: SystemTime,
    /// The trainer's name for it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    inode: u64,
    files: Vec<Look>,
}

/// What is seen of a file without reading it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Look {
    path: String,
    on_disk: PathBuf,
    inode: u64,
    modified: SystemTime,
    size: u64,
}

impl Entry {
    /// The newest checkpoint in a folder, of those that are finished by their name; of the same age, the last by name.
    pub fn newest(folder: &Path) -> Result<Option<Self>, TreeError> {
        let reading = |source| failed(folder, source);
        let mut newest: Option<Self> = None;
        for entry in std::fs::read_dir(folder).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                warn!("the checkpoint {name:?} is not kept: its name is no UTF-8");
                continue;
            };
            // A link, such as `latest`, is a second name of what is here already.
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if !is_name(name) || is_link {
                continue;
            }
            let Some(entry) = Self::look(&entry.path(), name)? else {
                continue;
            };
            let age = |entry: &Self| (entry.modified, entry.name.clone());
            if newest
                .as_ref()
                .is_none_or(|newest| age(newest) < age(&entry))
            {
                newest = Some(entry);
            }
        }
        Ok(newest)
    }

    /// Looks at one entry; `None` where it is not there, or has no file.
    pub fn look(path: &Path, name: &str) -> Result<Option<Self>, TreeError> {
        match Self::see(path, name) {
            Err(TreeError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            outcome => outcome,
        }
    }

    fn see(path: &Path, name: &str) -> Result<Option<Self>, TreeError> {
        let root = std::fs::symlink_metadata(path).map_err(|source| failed(path, source))?;
        let mut files = Vec::new();
        for LocalFile {
            path: below,
            on_disk,
        } in walk(name, path)?
        {
            let metadata =
                std::fs::metadata(&on_disk).map_err(|source| failed(&on_disk, source))?;
            let modified = metadata
                .modified()
                .map_err(|source| failed(&on_disk, source))?;
            files.push(Look {
                path: if root.is_dir() {
                    format!("{name}/{below}")
                } else {
                    below
                },
                inode: metadata.ino(),
                modified,
                size: metadata.len(),
                on_disk,
            });
        }
        files.sort();
        let Some(modified) = files.iter().map(|file| file.modified).max() else {
            return Ok(None);
        };
        Ok(Some(Self {
            modified,
            name: name.to_owned(),
            path: path.to_owned(),
            inode: root.ino(),
            files,
        }))
    }

    /// Looks again: whether it is as it was.
    pub fn is_unchanged(&self) -> Result<bool, TreeError> {
        Ok(Self::look(&self.path, &self.name)?.as_ref() == Some(self))
    }

    /// Whether it came after another one. An older one is no news, though it was never kept: it would be taken
    /// for the newest.
    pub fn is_news_after(&self, last: &Self) -> bool {
        self != last && (self.modified, &self.name) >= (last.modified, &last.name)
    }

    /// Its files, under paths that begin with its name.
    pub fn files(&self) -> Vec<LocalFile> {
        let file = |Look { path, on_disk, .. }: &Look| LocalFile {
            path: path.clone(),
            on_disk: on_disk.clone(),
        };
        self.files.iter().map(file).collect()
    }

    /// Its size, bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

fn failed(path: &Path, source: io::Error) -> TreeError {
    TreeError::File {
        doing: "reading",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// A file with a time of modification, in seconds.
    fn write(path: &Path, content: &str, time: u64) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        let file = fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(time).expect("set");
    }

    fn newest(folder: &Path) -> Option<String> {
        Entry::newest(folder).expect("read").map(|entry| entry.name)
    }

    #[test]
    fn the_newest_is_the_one_with_the_newest_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_eq!(newest(folder), None);
        write(&folder.join("b"), "", 10);
        write(&folder.join("a/deep/x"), "", 20);
        write(&folder.join("a/y"), "", 5);
        assert_eq!(newest(folder).as_deref(), Some("a"));
        write(&folder.join("c"), "", 20);
        assert_eq!(
            newest(folder).as_deref(),
            Some("c"),
            "by name at the same age"
        );
    }

    #[test]
    fn what_is_not_finished_is_not_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(&folder.join("step-1"), "", 1);
        write(&folder.join(".step-2"), "", 2);
        write(&folder.join("step-3.tmp"), "", 3);
        write(&folder.join("step-4.tmp/model"), "", 4);
        fs::create_dir(folder.join("empty")).expect("made");
        std::os::unix::fs::symlink("step-4.tmp", folder.join("latest")).expect("linked");
        assert_eq!(newest(folder).as_deref(), Some("step-1"));
    }

    #[test]
    fn an_old_one_that_is_half_removed_is_not_the_newest() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        write(&folder.join("step-1/a"), "", 1);
        write(&folder.join("step-1/b"), "", 1);
        write(&folder.join("step-2/a"), "", 2);
        // The folder's own time is now that of the removal.
        fs::remove_file(folder.join("step-1/b")).expect("removed");
        assert_eq!(newest(folder).as_deref(), Some("step-2"));
    }

    #[test]
    fn a_change_of_any_file_is_seen_and_a_copy_of_it_is_not_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let step = folder.path().join("step");
        let look = || {
            write(&step.join("a"), "one", 1);
            write(&step.join("d/b"), "two", 1);
            Entry::newest(folder.path()).expect("read").expect("one")
        };
        let entry = look();
        assert!(entry.is_unchanged().expect("read"));
        write(&step.join("a"), "other", 1);
        assert!(!entry.is_unchanged().expect("read"), "another size");
        let entry = look();
        write(&step.join("a"), "eno", 2);
        assert!(!entry.is_unchanged().expect("read"), "another time");
        let entry = look();
        write(&step.join("c"), "", 0);
        assert!(!entry.is_unchanged().expect("read"), "one more");
        fs::remove_file(step.join("c")).expect("removed");
        let entry = look();
        write(&step.join("new"), "one", 1);
        fs::rename(step.join("new"), step.join("a")).expect("renamed");
        assert!(
            !entry.is_unchanged().expect("read"),
            "another file of that name"
        );
        let entry = look();
        fs::remove_dir_all(&step).expect("removed");
        assert!(!entry.is_unchanged().expect("read"), "gone");
    }

    #[test]
    fn an_older_one_is_no_news() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("step-1"), "", 1);
        let first = Entry::newest(folder.path()).expect("read").expect("one");
        write(&folder.path().join("step-2"), "", 2);
        let second = Entry::newest(folder.path()).expect("read").expect("one");
        assert!(second.is_news_after(&first));
        assert!(!first.is_news_after(&second));
        assert!(!second.is_news_after(&second));
    }
}
