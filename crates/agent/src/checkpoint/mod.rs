//! Checkpoints: what the trainer saved while it ran, kept where the next attempt finds it.
//!
//! ```text
//!   trainer ──rename──> WORK/checkpoints/<name>                       one entry, a file or a folder, complete
//!                              │ newest, at each interval and at a bad end          ^
//!                              v                                                    │ newest whole one
//!   URI/<attempt>/<sequence>-<name>/files/<name>…                                   │ of an earlier attempt
//!                                  /manifest.json   last, so that it says "whole" ──┘
//! ```
//!
//! A checkpoint without a manifest, or whose files are not those of its manifest, is torn and never gone on from.
//! What cannot be read *now* is not torn: the attempt fails, so that no progress is lost to a store's bad minute.
//! Only attempts before this one are looked at, and the first worker of a gang to know which one it is tells the
//! others (`choice`): all go on from the same.
//!
//! Absent on purpose: checkpoints of which each worker has a part (rank 0's are kept, and all go on from these),
//! and taking them away when the job is done, which is its owner's to decide.

mod choice;
mod entry;
mod keeper;
mod manifest;
mod place;
mod prune;
mod resume;
mod store;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use crate::address::Address;
use crate::tree::TreeError;

pub(crate) use keeper::{Keeper, LastWord};
pub(crate) use resume::{Restored, resume};
pub(crate) use upload::Last;

/// What is kept of an attempt's checkpoints, and where.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The job's own folder or prefix.
    pub root: Address,
    /// This attempt, from 1.
    pub attempt: u32,
    /// The folder that the trainer puts its checkpoints into.
    pub folder: PathBuf,
    /// How often the newest is uploaded.
    pub every: Duration,
    /// How many whole ones are kept, at least 1.
    pub keep: usize,
    /// Whether other workers may still be reading the one that this attempt went on from.
    pub has_other_workers: bool,
}

/// Why a checkpoint was not kept. All of it is passing: it is tried again at the next interval.
#[derive(Debug, thiserror::Error)]
enum CheckpointError {
    /// Its files, or the store.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It did not stay as it was.
    #[error(
        "the trainer changed or removed '{name}' while it was uploaded. A checkpoint has to be complete when it is renamed into WINDLASS_CHECKPOINTS, and to stay until newer ones are there: keep the last two at least"
    )]
    Changed {
        /// The entry.
        name: String,
    },
    /// Nobody needs it any more.
    #[error("it was given up")]
    GivenUp,
}
