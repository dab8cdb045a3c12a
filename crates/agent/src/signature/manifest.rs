//! Which files were signed, and whether those that are there are they.
//!
//! Sources: OMS 1.0, sections 6.1.1 (links), 6.2 (what is left out), 6.3 (files and shards), 8.4 (the comparison).

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use super::SignatureError;

/// What OMS leaves out of every signature: files of Git's own, at the top alone.
const OF_GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// How many files a message names of each sort.
const NAMED: usize = 5;

/// The digests of the parts of a file, by where they begin: their ends and SHA-256, hex.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts(BTreeMap<u64, (u64, String)>);

impl Parts {
    /// A single part, from `start` inclusive to `end` exclusive, in bytes; a whole file ends at `u64::MAX`.
    pub fn one(start: u64, end: u64, sha256: &str) -> Self {
        Self([(start, (end, sha256.to_owned()))].into())
    }

    /// The parts of a file that is there.
    fn of(size: u64, digests: &[String], shard_size: Option<NonZeroU64>) -> Self {
        let Some(shard) = shard_size.map(NonZeroU64::get) else {
            return digests
                .first()
                .map(|whole| Self::one(0, u64::MAX, whole))
                .unwrap_or_default();
        };
        let starts = (0..size).step_by(usize::try_from(shard).unwrap_or(usize::MAX));
        let ends = starts.map(|start| (start, size.min(start.saturating_add(shard))));
        Self(
            ends.zip(digests)
                .map(|((start, end), digest)| (start, (end, digest.clone())))
                .collect(),
        )
    }
}

/// What was signed.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    shard_size: Option<NonZeroU64>,
    follows_links: bool,
    ignored: BTreeSet<String>,
    files: BTreeMap<String, Parts>,
}

/// Files that are not as they were signed, each sort in order.
#[derive(Debug, Default)]
struct Differences {
    changed: Vec<String>,
    missing: Vec<String>,
    added: Vec<String>,
}

impl Manifest {
    /// One without files.
    pub fn new(
        shard_size: Option<NonZeroU64>,
        follows_links: bool,
        ignored: impl IntoIterator<Item = String>,
    ) -> Self {
        let of_git = OF_GIT.map(str::to_owned);
        Self {
            shard_size,
            follows_links,
            ignored: ignored.into_iter().chain(of_git).collect(),
            files: BTreeMap::new(),
        }
    }

    /// Adds a file, or more parts of it.
    ///
    /// # Errors
    /// A clause, where a part is there already.
    pub fn expect(&mut self, path: &str, parts: Parts) -> Result<(), String> {
        let known = self.files.entry(path.to_owned()).or_default();
        for (start, part) in parts.0 {
            if known.0.insert(start, part).is_some() {
                return Err(format!("{path:?} is listed twice"));
            }
        }
        Ok(())
    }

    /// Leaves something more out: the signature itself, which cannot be over itself.
    pub fn ignore(&mut self, path: Option<String>) {
        self.ignored.extend(path);
    }

    /// The bytes of a shard; none where whole files were hashed.
    pub fn shard_size(&self) -> Option<NonZeroU64> {
        self.shard_size
    }

    /// Compares with files that are there, each with its path, its size and its digests: of the whole, or of its shards.
    /// The paths of those that the signature does not speak of, because its signer left them out.
    ///
    /// # Errors
    /// [`SignatureError::Files`] with what was changed, is missing or was added.
    pub fn check<'a>(
        &self,
        files: impl Iterator<Item = (&'a str, u64, &'a [String])>,
    ) -> Result<Vec<String>, SignatureError> {
        let mut left_out = Vec::new();
        let mut missing: BTreeSet<&str> = self.files.keys().map(String::as_str).collect();
        let mut differences = Differences::default();
        for (path, size, digests) in files {
            match self.files.get(path) {
                Some(signed) => {
                    missing.remove(path);
                    if *signed != Parts::of(size, digests, self.shard_size) {
                        differences.changed.push(path.to_owned());
                    }
                }
                None if self.is_ignored(path) => left_out.push(path.to_owned()),
                // A file without bytes has no shard, and no place in a list of them.
                None if self.shard_size.is_some() && size == 0 => {}
                None => differences.added.push(path.to_owned()),
            }
        }
        differences.missing = missing.into_iter().map(str::to_owned).collect();
        match differences.said() {
            Some(said) => Err(SignatureError::Files(said)),
            None => Ok(left_out),
        }
    }

    /// Says which of some links may not be there.
    ///
    /// # Errors
    /// [`SignatureError::Files`].
    pub fn check_links(&self, mut links: Vec<String>) -> Result<(), SignatureError> {
        links.retain(|path| self.files.contains_key(path) || !self.is_ignored(path));
        if self.follows_links || links.is_empty() {
            return Ok(());
        }
        Err(SignatureError::Files(format!(
            "{}, and the signer followed no links (allow_symlinks is false)",
            some("symbolic links:", &mut links).unwrap_or_default()
        )))
    }

    /// Whether a path, or a folder that it is in, is left out.
    fn is_ignored(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at);
        ends.chain([path.len()])
            .any(|end| self.ignored.contains(&path[..end]))
    }
}

impl Differences {
    /// In words; nothing where there is none.
    fn said(&mut self) -> Option<String> {
        let said = [
            some("changed:", &mut self.changed),
            some("missing:", &mut self.missing),
            some("not signed:", &mut self.added),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// The first of some paths, and how many more there are.
fn some(what: &str, paths: &mut [String]) -> Option<String> {
    paths.sort();
    let named: Vec<&str> = paths.iter().take(NAMED).map(String::as_str).collect();
    let more = paths.len() - named.len();
    let and = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!named.is_empty()).then(|| format!("{what} {}{and}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    type There<'a> = (&'a str, u64, &'a [&'a str]);

    fn check(manifest: &Manifest, files: &[There<'_>]) -> Result<Vec<String>, String> {
        let digests: Vec<Vec<String>> = files
            .iter()
            .map(|(_, _, digests)| digests.iter().map(|&digest| digest.to_owned()).collect())
            .collect();
        let all = files.iter().zip(&digests);
        manifest
            .check(all.map(|((path, size, _), digests)| (*path, *size, digests.as_slice())))
            .map_err(|error| error.to_string())
    }

    fn of_files(ignored: &[&str]) -> Manifest {
        let ignored = ignored.iter().map(|&path| path.to_owned());
        let mut manifest = Manifest::new(None, false, ignored);
        for (path, digest) in [("a", "1"), ("b/c", "2")] {
            let whole = Parts::one(0, u64::MAX, digest);
            manifest.expect(path, whole).expect("new");
        }
        manifest
    }

    #[test]
    fn files_are_those_that_were_signed_or_it_is_said_which_are_not() {
        let a: There<'_> = ("a", 1, &["1"]);
        let c: There<'_> = ("b/c", 1, &["2"]);
        let rows: [(&str, &[There<'_>], &str); 6] = [
            ("as they were signed", &[c, a], ""),
            ("another byte", &[("a", 1, &["3"]), c], "changed: a"),
            ("one is gone", &[a], "missing: b/c"),
            ("one more", &[a, c, ("d", 1, &["4"])], "not signed: d"),
            (
                "another name",
                &[a, ("b/d", 1, &["2"])],
                "missing: b/c; not signed: b/d",
            ),
            (
                "many more",
                &[
                    a,
                    c,
                    ("1", 0, &[]),
                    ("2", 0, &[]),
                    ("3", 0, &[]),
                    ("4", 0, &[]),
                    ("5", 0, &[]),
                    ("6", 0, &[]),
                ],
                "not signed: 1, 2, 3, 4, 5 and 1 more",
            ),
        ];
        for (name, files, expected) in rows {
            let said = check(&of_files(&[]), files).err().unwrap_or_default();
            assert!(said.ends_with(expected), "{name}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{name}: {said}");
        }
    }

    #[test]
    fn what_the_signer_left_out_is_named_and_nothing_else_is_passed_over() {
        let mut manifest = of_files(&["cache"]);
        manifest.ignore(Some("model.sig".to_owned()));
        let signed: [There<'_>; 2] = [("a", 1, &["1"]), ("b/c", 1, &["2"])];
        let with = |path| check(&manifest, &[signed[0], signed[1], (path, 1, &["9"])]);
        for path in [
            ".git/config",
            ".gitattributes",
            "cache",
            "cache/x/y",
            "model.sig",
        ] {
            assert_eq!(with(path), Ok(vec![path.to_owned()]), "{path}");
        }
        for path in ["b/.git/config", "cached", "b/cache", ".git2", "b/model.sig"] {
            assert!(with(path).is_err(), "{path}");
        }
        // What was signed is compared, whatever is left out besides.
        let said = check(&of_files(&["a"]), &[("a", 1, &["3"]), signed[1]]);
        assert!(said.expect_err("changed").contains("changed: a"));
    }

    #[test]
    fn shards_are_compared_by_their_place_and_an_empty_file_has_none() {
        let mut manifest = Manifest::new(NonZeroU64::new(4), false, []);
        for (start, end, digest) in [(0, 4, "1"), (4, 8, "2"), (8, 10, "3")] {
            let part = Parts::one(start, end, digest);
            manifest.expect("a", part).expect("new");
        }
        let rows: [(&[There<'_>], &str); 6] = [
            (&[("a", 10, &["1", "2", "3"]), ("empty", 0, &[])], ""),
            (&[("a", 10, &["1", "3", "2"])], "changed: a"),
            (&[("a", 9, &["1", "2", "3"])], "changed: a"),
            (&[("a", 8, &["1", "2"])], "changed: a"),
            (&[("a", 0, &[])], "changed: a"),
            (
                &[("a", 10, &["1", "2", "3"]), ("b", 1, &["1"])],
                "not signed: b",
            ),
        ];
        for (files, expected) in rows {
            let said = check(&manifest, files).err().unwrap_or_default();
            assert!(said.ends_with(expected), "{files:?}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{files:?}: {said}");
        }
    }

    #[test]
    fn links_are_refused_unless_the_signer_followed_them() {
        let links = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
        let manifest = of_files(&["cache"]);
        let error = manifest
            .check_links(links(&["b/link", "cache/link"]))
            .expect_err("a link");
        assert!(error.to_string().contains("symbolic links: b/link, and"));
        manifest
            .check_links(links(&["cache/link"]))
            .expect("left out");
        let mut follows = of_files(&[]);
        follows.follows_links = true;
        follows.check_links(links(&["b/link"])).expect("followed");
    }
}
