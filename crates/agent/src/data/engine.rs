//! The sessions of DataFusion's that inputs are read with, and how much memory they may use.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionContext;
use windlass_api::agent::{FailureReason, FailureReport};

use super::config;
use crate::report::failure;

/// How many consumers of memory a message names.
const NAMED_CONSUMERS: usize = 3;

/// Two sessions that share stores, memory and disk.
pub(crate) struct Engine {
    /// For what may be read in any order.
    pub parallel: SessionContext,
    /// For what is read in the order of its rows.
    pub serial: SessionContext,
}

impl Engine {
    /// Sessions of so many partitions, so many bytes, and a folder to spill to; without one, that of the system.
    pub(crate) fn new(
        partitions: usize,
        bytes: usize,
        work: Option<&Path>,
    ) -> Result<Self, FailureReport> {
        let pool = FairSpillPool::new(bytes);
        let named = NAMED_CONSUMERS.try_into().expect("a constant above 0");
        let mut builder = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, named)));
        if let Some(work) = work {
            builder = builder.with_temp_file_path(work);
        }
        let runtime = builder.build_arc().map_err(|problem| {
            let folder = work
                .map(|work| work.display().to_string())
                .unwrap_or_default();
            let message = format!(
                "the work folder {folder} cannot be used: {}",
                problem.strip_backtrace()
            );
            failure(FailureReason::Internal, message)
        })?;
        let session = |partitions| {
            SessionContext::new_with_config_rt(config(partitions), Arc::clone(&runtime))
        };
        Ok(Self {
            parallel: session(partitions),
            serial: session(1),
        })
    }
}
