//! Mounts that containers and volumes leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::mount::{UnmountFlags, unmount};

/// Unmounts whatever is mounted at or below a folder, the newest first.
pub fn unmount_below(folder: &Path) -> Result<()> {
    let table =
        fs::read_to_string("/proc/self/mountinfo").context("reading the table of mounts")?;
    for target in targets(&table)
        .filter(|target| target.starts_with(folder))
        .collect::<Vec<_>>()
        .iter()
        .rev()
    {
        match unmount(target, UnmountFlags::DETACH) {
            // Gone already, with the one that it was mounted from.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("unmounting {}", target.display()));
            }
        }
    }
    Ok(())
}

fn targets(table: &str) -> impl Iterator<Item = PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|target| PathBuf::from(unescape(target)))
}

/// The kernel writes a space in a path as `\040`.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_the_kernels_table() {
        let table = "36 35 98:0 / /mnt/a\\040b rw - ext4 /dev/root rw\n40 36 0:5 / /proc rw - proc proc rw\n";
        assert_eq!(
            targets(table).collect::<Vec<_>>(),
            [PathBuf::from("/mnt/a b"), PathBuf::from("/proc")]
        );
    }
}
