//! The manifest of a kept checkpoint: which files it has. It is written last.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::tree::{File, is_inside, tree_of};

/// Its name, beside the folder with the files.
pub(super) const MANIFEST: &str = "manifest.json";

/// The folder with the files.
pub(super) const FILES: &str = "files";

/// The version that this agent writes and reads.
const VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    attempt: u32,
    sequence: u32,
    name: String,
    /// When the trainer last wrote to it.
    time: Timestamp,
    /// That of the tree of `files`.
    digest: String,
    /// Paths begin with the entry's own name: so a file and a folder of one file are told apart.
    pub files: Vec<File>,
}

impl Manifest {
    /// The manifest of what was uploaded.
    pub fn new(place: &Place, time: Timestamp, mut files: Vec<File>) -> Self {
        let tree = tree_of("", &mut files);
        Self {
            version: VERSION,
            attempt: place.attempt,
            sequence: place.sequence,
            name: place.name.clone(),
            time,
            digest: tree.digest,
            files,
        }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest is plain data")
    }

    /// Reads what lies at a place.
    ///
    /// # Errors
    /// A clause that says what is wrong with it. What it says is not trusted: no path leads out of a folder.
    pub fn parse(content: &[u8], place: &Place) -> Result<Self, String> {
        let mut manifest: Self = serde_json::from_slice(content)
            .map_err(|problem| format!("its manifest is damaged ({problem})"))?;
        if manifest.version != VERSION {
            return Err(format!(
                "its manifest is of version {}, and this agent reads version {VERSION}",
                manifest.version
            ));
        }
        let of = (manifest.attempt, manifest.sequence, &manifest.name);
        if of != (place.attempt, place.sequence, &place.name) {
            return Err("its manifest is that of another checkpoint".to_owned());
        }
        if tree_of("", &mut manifest.files).digest != manifest.digest {
            return Err("its manifest is damaged (its digest is not that of its list)".to_owned());
        }
        if manifest.files.is_empty() {
            return Err("its manifest lists no file".to_owned());
        }
        for File { path, .. } in &manifest.files {
            if !is_below(path, &place.name) {
                return Err(format!(
                    "its manifest lists a path that cannot be: {path:?}"
                ));
            }
        }
        Ok(manifest)
    }
}

/// Whether a path is the entry itself or leads to something in it.
fn is_below(path: &str, name: &str) -> bool {
    path.split('/').next() == Some(name) && is_inside(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place::parse("000002", "000004-step").expect("a place")
    }

    fn manifest(paths: &[&str]) -> Manifest {
        let file = |path: &&str| File {
            path: (*path).to_owned(),
            size: 1,
            sha256: "00".to_owned(),
        };
        Manifest::new(
            &place(),
            Timestamp::UNIX_EPOCH,
            paths.iter().map(file).collect(),
        )
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let written = manifest(&["step/b", "step/a/c"]);
        let read = Manifest::parse(&written.to_json(), &place()).expect("whole");
        assert_eq!(read, written);
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said() {
        let good = String::from_utf8(manifest(&["step/b"]).to_json()).expect("text");
        let cut = good[..good.len() / 2].to_owned();
        let other = good.replace("\"sequence\": 4", "\"sequence\": 5");
        let newer = good.replace("\"version\": 1", "\"version\": 2");
        let bent = good.replace("\"size\": 1", "\"size\": 2");
        let json = |paths: &[&str]| String::from_utf8(manifest(paths).to_json()).expect("text");
        for (content, wanted) in [
            (String::new(), "is damaged"),
            (cut, "is damaged"),
            (other, "of another checkpoint"),
            (newer, "version 2"),
            (bent, "not that of its list"),
            (json(&[]), "lists no file"),
            (json(&["step/../../etc"]), "cannot be"),
            (json(&["/etc/passwd"]), "cannot be"),
            (json(&["other/a"]), "cannot be"),
            (json(&["step//a"]), "cannot be"),
        ] {
            let problem = Manifest::parse(content.as_bytes(), &place()).expect_err(wanted);
            assert!(problem.contains(wanted), "{problem} / {wanted}");
        }
    }
}
