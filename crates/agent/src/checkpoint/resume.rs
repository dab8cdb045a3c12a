//! Finding the checkpoint to go on from, and bringing it here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tracing::{info, warn};
use uuid::Uuid;
use windlass_api::agent::{FailureReason, FailureReport, Resumed};

use super::choice::Choice;
use super::manifest::Manifest;
use super::place::Place;
use super::store::Store;
use crate::address::{Address, AddressError};
use crate::report::{chain, failure};
use crate::tree::{File, IN_FLIGHT, TEMPORARY, TreeError};

/// How long is waited before what could not be read is tried again, each time.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// How many that were passed over a report names.
const NAMED: usize = 3;

/// What was found to go on from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restored {
    /// The checkpoint; absent when there is none that is whole.
    pub from: Option<Place>,
    /// Where it lies now, under the trainer's own name for it.
    pub entry: Option<PathBuf>,
    /// Newer ones that cannot be used, the newest first.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that cannot be gone on from.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    /// Which.
    pub place: Place,
    /// Why, as a clause.
    why: String,
}

impl Restored {
    /// What the report says of it.
    pub fn to_report(&self) -> Resumed {
        let skipped = self.skipped.iter().take(NAMED);
        Resumed {
            from: self.from.as_ref().map(Place::to_string),
            skipped: skipped
                .map(|Skipped { place, why }| format!("{place}: {why}"))
                .collect(),
        }
    }
}

/// What became of one try.
enum Tried {
    Whole(PathBuf),
    Unusable(String),
}

/// Brings the newest whole checkpoint of the attempts before this one into a folder; where there are other workers,
/// the one that all of them go on from.
///
/// # Errors
/// [`FailureReason::CheckpointUnreadable`] when it cannot be told which that is, or it cannot be read, now.
pub(crate) async fn resume(
    root: &Address,
    attempt: u32,
    has_other_workers: bool,
    into: &Path,
) -> Result<Restored, FailureReport> {
    let Some(last) = attempt.checked_sub(1).filter(|last| *last > 0) else {
        return Ok(Restored::default());
    };
    let store = Store::new(root.clone());
    if !has_other_workers {
        return newest(&store, last, into).await;
    }
    let of_all = || async {
        patiently(async || store.choice(attempt).await)
            .await
            .map_err(|problem| unreadable(&what_all_do(root), &problem))
    };
    if let Some(choice) = of_all().await? {
        return chosen(&store, &choice, into).await;
    }
    let restored = newest(&store, last, into).await?;
    let own = Choice::new(restored.from.as_ref());
    let is_first = store
        .choose(attempt, &own)
        .await
        .map_err(|problem| unwritable(root, &problem))?;
    match of_all().await? {
        Some(choice) if !is_first && choice != own => {
            info!(
                "another worker was first, and goes on from another checkpoint: so does this one"
            );
            if let Some(entry) = &restored.entry {
                take_away(entry).map_err(|problem| unwritable(root, &problem))?;
            }
            chosen(&store, &choice, into).await
        }
        _ => Ok(restored),
    }
}

/// Brings the checkpoint that another worker chose, and no other.
async fn chosen(store: &Store, choice: &Choice, into: &Path) -> Result<Restored, FailureReport> {
    let what = what_all_do(store.root());
    let unusable = |why: String| failure(FailureReason::CheckpointUnreadable, why);
    let Some(place) = choice
        .place()
        .map_err(|text| unusable(format!("{what} is no checkpoint: '{text}'")))?
    else {
        info!("the other workers found no checkpoint to go on from: the training starts anew");
        return Ok(Restored::default());
    };
    let tried = patiently(async || bring(store, &place, into).await)
        .await
        .map_err(|problem| unreadable(&format!("{what}, the checkpoint {place}"), &problem))?;
    match tried {
        Tried::Whole(entry) => {
            info!("going on from the checkpoint {place}, as the other workers do");
            Ok(Restored {
                from: Some(place),
                entry: Some(entry),
                skipped: Vec::new(),
            })
        }
        Tried::Unusable(why) => Err(unusable(format!(
            "{what}, the checkpoint {place}, cannot be used by this one: {why}. Workers that go on from different ones would train another model"
        ))),
    }
}

fn what_all_do(root: &Address) -> String {
    format!("what the workers go on from at {}", root.uri())
}

/// The newest whole checkpoint of the attempts up to `last`.
async fn newest(store: &Store, last: u32, into: &Path) -> Result<Restored, FailureReport> {
    let root = store.root();
    let mut restored = Restored::default();
    let places = patiently(async || store.places(last).await)
        .await
        .map_err(|problem| unreadable(&format!("the checkpoints at {}", root.uri()), &problem))?;
    for place in places.into_iter().rev() {
        let tried = patiently(async || bring(store, &place, into).await)
            .await
            .map_err(|problem| {
                unreadable(
                    &format!("the checkpoint {place} at {}", root.uri()),
                    &problem,
                )
            })?;
        match tried {
            Tried::Whole(entry) => {
                info!("going on from the checkpoint {place}");
                restored.from = Some(place);
                restored.entry = Some(entry);
                return Ok(restored);
            }
            Tried::Unusable(why) => {
                warn!("the checkpoint {place} is passed over: {why}");
                restored.skipped.push(Skipped { place, why });
            }
        }
    }
    info!("there is no checkpoint to go on from: the training starts anew");
    Ok(restored)
}

/// Tries what may fail because a store has a bad minute.
async fn patiently<T>(mut work: impl AsyncFnMut() -> Result<T, TreeError>) -> Result<T, TreeError> {
    for pause in PAUSES {
        match work().await {
            Err(problem) if is_reading(&problem) => {
                warn!("{}; trying again", chain(&problem));
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
    work().await
}

fn is_reading(problem: &TreeError) -> bool {
    match problem {
        TreeError::Address(AddressError::Access { .. })
        | TreeError::File {
            doing: "reading", ..
        } => true,
        TreeError::Address(
            AddressError::Invalid { .. }
            | AddressError::Store { .. }
            | AddressError::NotFound { .. },
        )
        | TreeError::File { .. }
        | TreeError::Name { .. }
        | TreeError::Occupied { .. }
        | TreeError::NoFolder { .. } => false,
    }
}

fn unreadable(what: &str, problem: &TreeError) -> FailureReport {
    if !is_reading(problem) {
        return failure(
            FailureReason::Internal,
            format!("{what} could not be brought here: {}", chain(problem)),
        );
    }
    let tries = PAUSES.len() + 1;
    failure(
        FailureReason::CheckpointUnreadable,
        format!(
            "{what} could not be read, {tries} times: {}. Nothing was passed over and nothing was started, so that no progress is lost; \
             see to it that the address can be read, or take away what cannot be",
            chain(problem)
        ),
    )
}

/// What goes wrong with the file that tells the others.
fn unwritable(root: &Address, problem: &TreeError) -> FailureReport {
    let what = what_all_do(root);
    failure(
        FailureReason::CheckpointUnreadable,
        format!("{what} could not be told to the others: {}", chain(problem)),
    )
}

/// Takes away what was brought.
fn take_away(entry: &Path) -> Result<(), TreeError> {
    let outcome = if entry.is_dir() {
        fs::remove_dir_all(entry)
    } else {
        fs::remove_file(entry)
    };
    outcome.map_err(|source| writing(entry, source))
}

/// Brings one checkpoint: whole under its name in the folder, or not at all.
async fn bring(store: &Store, place: &Place, into: &Path) -> Result<Tried, TreeError> {
    let Some(content) = store.manifest(place).await? else {
        return Ok(Tried::Unusable(
            "it has no manifest, so that its upload was not finished".to_owned(),
        ));
    };
    let manifest = match Manifest::parse(&content, place) {
        Ok(manifest) => manifest,
        Err(why) => return Ok(Tried::Unusable(why)),
    };
    let partial = into.join(format!("{TEMPORARY}restore.{}", Uuid::new_v4()));
    let brought = bring_files(store, place, &manifest.files, &partial).await;
    let entry = into.join(&place.name);
    let moved = match brought {
        Ok(None) => fs::rename(partial.join(&place.name), &entry)
            .map(|()| Tried::Whole(entry.clone()))
            .map_err(|source| writing(&entry, source)),
        Ok(Some(why)) => Ok(Tried::Unusable(why)),
        Err(problem) => Err(problem),
    };
    match fs::remove_dir_all(&partial) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
            warn!("{} is left behind: {problem}", partial.display());
        }
        _ => {}
    }
    moved
}

/// Brings the files into a folder; why they are not those of the manifest, if they are not.
async fn bring_files(
    store: &Store,
    place: &Place,
    files: &[File],
    to: &Path,
) -> Result<Option<String>, TreeError> {
    let mut brought = futures::stream::iter(files)
        .map(|file| bring_file(store, place, file, to.join(&file.path)))
        .buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = brought.try_next().await? {
        if outcome.is_some() {
            return Ok(outcome);
        }
    }
    Ok(None)
}

async fn bring_file(
    store: &Store,
    place: &Place,
    file: &File,
    to: PathBuf,
) -> Result<Option<String>, TreeError> {
    let mut why = None;
    // Twice: what a network bent on its way is no reason to lose progress, nor for workers to choose differently.
    for _ in 0..2 {
        let path = &file.path;
        why = match store.bring(place, path, to.clone()).await? {
            None => return Ok(Some(format!("{path} is not there"))),
            Some((size, _)) if size != file.size => Some(format!(
                "{path} has {size} bytes, and {} in its manifest",
                file.size
            )),
            Some((_, sha256)) if sha256 != file.sha256 => {
                Some(format!("{path} has not the digest in its manifest"))
            }
            Some(_) => return Ok(None),
        };
    }
    Ok(why)
}

fn writing(path: &Path, source: io::Error) -> TreeError {
    TreeError::File {
        doing: "writing",
        path: path.to_owned(),
        source,
    }
}
