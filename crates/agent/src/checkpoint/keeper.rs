//! Uploading beside the trainer: neither it nor a signal waits for an upload.
//!
//! ```text
//!   start ──> (interval, upload) … ──┬─ ended well ──> abandon: what is being uploaded is given up
//!                                    └─ ended badly ─> finish:  what is being uploaded, then the newest
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::upload::{Last, Uploader};
use super::{Plan, Restored};

/// How long an upload that was given up may take to clear away what it left.
const CLEARING: Duration = Duration::from_secs(5);

/// Keeps an attempt's checkpoints.
pub(crate) struct Keeper {
    /// No upload begins any more.
    quiet: CancellationToken,
    /// The one that runs is given up.
    cancel: CancellationToken,
    last: Last,
    attempt: u32,
    task: JoinHandle<Uploader>,
}

impl Keeper {
    /// Begins. Once `told_to_stop`, no upload begins of itself: the last one is the trainer's last checkpoint.
    pub fn start(plan: Plan, restored: Restored, told_to_stop: &CancellationToken) -> Self {
        let (quiet, cancel) = (told_to_stop.child_token(), CancellationToken::new());
        let (every, attempt) = (plan.every, plan.attempt);
        let mut uploader = Uploader::new(plan, restored);
        let last = uploader.last();
        let task = {
            let (quiet, cancel) = (quiet.clone(), cancel.clone());
            tokio::spawn(async move {
                while quiet
                    .run_until_cancelled(tokio::time::sleep(every))
                    .await
                    .is_some()
                {
                    // It has been logged, and comes again.
                    let _ = uploader.upload_newest(&cancel).await;
                    cancel.run_until_cancelled(uploader.prune()).await;
                }
                uploader
            })
        };
        Self {
            quiet,
            cancel,
            last,
            attempt,
            task,
        }
    }

    /// The trainer ended well: nothing more is uploaded.
    pub async fn abandon(self) {
        self.quiet.cancel();
        self.cancel.cancel();
        if timeout(CLEARING, self.task).await.is_err() {
            warn!("an upload of a checkpoint was given up, and what it left is not cleared away");
        }
    }

    /// The trainer ended badly: lets the upload that runs come to its end, then uploads the newest checkpoint.
    ///
    /// # Errors
    /// Why the newest was not uploaded.
    pub async fn finish(&mut self) -> Result<Finished, String> {
        self.quiet.cancel();
        let mut uploader = (&mut self.task)
            .await
            .map_err(|problem| problem.to_string())?;
        uploader.upload_newest(&self.cancel).await?;
        Ok(Finished(uploader))
    }

    /// Where the last whole checkpoint is noted.
    pub fn last(&self) -> Last {
        Arc::clone(&self.last)
    }

    /// The last whole checkpoint, as it is known now.
    pub fn last_word(&self) -> LastWord {
        let last = self.last.lock().expect("no thread panics with it");
        match &*last {
            None => LastWord::Nothing,
            Some(place) if place.attempt == self.attempt => LastWord::Kept(place.to_string()),
            Some(place) => LastWord::Earlier(place.to_string()),
        }
    }
}

/// The newest checkpoint is uploaded.
pub(crate) struct Finished(Uploader);

impl Finished {
    /// Takes away what is no longer to be kept, if that is worth the time.
    pub async fn prune(mut self) {
        self.0.prune().await;
    }
}

/// What the next attempt will go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastWord {
    /// A checkpoint of this attempt.
    Kept(String),
    /// The one that this attempt itself went on from.
    Earlier(String),
    /// There is none.
    Nothing,
}
