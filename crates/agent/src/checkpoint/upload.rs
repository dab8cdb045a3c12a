//! Uploading the trainer's newest checkpoint.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::entry::Entry;
use super::manifest::Manifest;
use super::place::Place;
use super::store::Store;
use super::{CheckpointError, Plan, Restored, prune};
use crate::report::chain;
use crate::tree::blocking;

/// The last checkpoint that is known to be whole, as it is known to all who ask.
pub(crate) type Last = Arc<Mutex<Option<Place>>>;

/// Uploads one checkpoint after the other.
#[derive(Debug)]
pub(super) struct Uploader {
    plan: Plan,
    store: Store,
    last: Last,
    /// The trainer's entry that needs no upload: the one that was restored, then the last that was uploaded.
    known: Option<Entry>,
    /// The number of the last upload that was begun in this attempt, once that is known.
    sequence: Option<u32>,
    /// What other workers may still be reading.
    protected: Option<Place>,
    /// What has a manifest and yet is not whole, as was seen when it was tried.
    damaged: Vec<Place>,
    is_to_prune: bool,
}

impl Uploader {
    /// One that takes what was restored for uploaded.
    pub fn new(plan: Plan, restored: Restored) -> Self {
        let known = restored
            .entry
            .zip(restored.from.as_ref())
            .and_then(|(path, from)| Entry::look(&path, &from.name).ok().flatten());
        Self {
            store: Store::new(plan.root.clone()),
            last: Arc::new(Mutex::new(restored.from.clone())),
            known,
            sequence: None,
            protected: restored.from.filter(|_| plan.has_other_workers),
            damaged: restored
                .skipped
                .into_iter()
                .map(|skipped| skipped.place)
                .collect(),
            is_to_prune: false,
            plan,
        }
    }

    /// The last whole checkpoint.
    pub fn last(&self) -> Last {
        Arc::clone(&self.last)
    }

    /// Uploads the newest checkpoint, if it is not there yet.
    ///
    /// # Errors
    /// Why it was not uploaded. It is logged already, and tried again at the next call.
    pub async fn upload_newest(&mut self, cancel: &CancellationToken) -> Result<(), String> {
        let outcome = self.upload(cancel).await;
        outcome.map_err(|problem| match &problem {
            CheckpointError::GivenUp => problem.to_string(),
            CheckpointError::Tree(_) | CheckpointError::Changed { .. } => {
                let problem = chain(&problem);
                warn!("a checkpoint was not uploaded, which is tried again: {problem}");
                problem
            }
        })
    }

    /// Takes away what is no longer to be kept. What fails is logged, and tried again at the next call.
    pub async fn prune(&mut self) {
        if !self.is_to_prune {
            return;
        }
        let protected = self.protected.as_ref();
        match prune::prune(&self.store, &self.plan, protected, &self.damaged).await {
            Ok(()) => self.is_to_prune = false,
            Err(problem) => warn!(
                "checkpoints that are no longer to be kept were not taken away, which is tried again: {}",
                chain(&problem)
            ),
        }
    }

    async fn upload(&mut self, cancel: &CancellationToken) -> Result<(), CheckpointError> {
        let folder = self.plan.folder.clone();
        let Some(entry) = blocking(move || Entry::newest(&folder)).await? else {
            return Ok(());
        };
        if self
            .known
            .as_ref()
            .is_some_and(|known| !entry.is_news_after(known))
        {
            return Ok(());
        }
        let place = Place {
            attempt: self.plan.attempt,
            sequence: self.next_sequence().await?,
            name: entry.name.clone(),
        };
        match self.put(&place, &entry, cancel).await {
            Ok(files) => {
                info!(
                    files,
                    bytes = entry.bytes(),
                    "uploaded the checkpoint {place}"
                );
                self.known = Some(entry);
                self.is_to_prune = true;
                *self.last.lock().expect("no thread panics with it") = Some(place);
                Ok(())
            }
            Err(problem) => {
                // What it left is torn already, and goes at the next pruning if not now.
                if let Err(problem) = self.store.remove(&place).await {
                    warn!(
                        "{place} is left behind, without a manifest: {}",
                        chain(&problem)
                    );
                }
                Err(problem)
            }
        }
    }

    /// Puts the files there, then the manifest; how many files.
    async fn put(
        &self,
        place: &Place,
        entry: &Entry,
        cancel: &CancellationToken,
    ) -> Result<usize, CheckpointError> {
        let put = self.store.put(place, entry.files(), cancel).await;
        if cancel.is_cancelled() {
            return Err(CheckpointError::GivenUp);
        }
        // Looked at before an error is told: a file that is gone is the trainer's doing.
        let again = entry.clone();
        if !blocking(move || again.is_unchanged()).await? {
            return Err(CheckpointError::Changed {
                name: entry.name.clone(),
            });
        }
        let time = Timestamp::try_from(entry.modified).unwrap_or(Timestamp::UNIX_EPOCH);
        let manifest = Manifest::new(place, time, put?);
        let content = manifest.to_json();
        self.store.write_manifest(place, content).await?;
        Ok(manifest.files.len())
    }

    /// Counts on from what is there: an agent that is started twice in one attempt overwrites nothing.
    async fn next_sequence(&mut self) -> Result<u32, CheckpointError> {
        let last = if let Some(last) = self.sequence {
            last
        } else {
            let places = self.store.places(self.plan.attempt).await?;
            let own = places
                .iter()
                .filter(|place| place.attempt == self.plan.attempt);
            own.map(|place| place.sequence).max().unwrap_or(0)
        };
        let next = last.saturating_add(1);
        self.sequence = Some(next);
        Ok(next)
    }
}
