//! Being told to stop, and the time that is left then.
//!
//! ```text
//!   SIGTERM ──────────────> patience is over ─────────> the grace period is over
//!            the trainer may save      its last checkpoint is uploaded
//! ```

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use windlass_api::agent::{FailureReason, FailureReport};

use crate::report::failure;

/// SIGTERM and SIGINT, heard from the first moment on.
pub(super) struct Interruption {
    terminate: Signal,
    interrupt: Signal,
    grace: Grace,
    /// When the agent was told to stop.
    told_at: Option<Instant>,
    told: CancellationToken,
}

/// How much time there is after a signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// In all.
    pub period: Duration,
    /// For the trainer, before it is killed.
    pub for_trainer: Duration,
}

impl Interruption {
    /// Begins to listen.
    pub fn new(grace: Grace) -> Result<Self, FailureReport> {
        let listen = |kind| {
            signal(kind).map_err(|problem| {
                failure(
                    FailureReason::Internal,
                    format!("signals cannot be heard: {problem}"),
                )
            })
        };
        let terminate = listen(SignalKind::terminate())?;
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self {
            terminate,
            interrupt,
            grace,
            told_at: None,
            told: CancellationToken::new(),
        })
    }

    /// Cancelled as soon as it is heard here that the agent is told to stop.
    pub fn told(&self) -> &CancellationToken {
        &self.told
    }

    /// Resolves once the agent is told to stop; to when that was.
    pub async fn told_to_stop(&mut self) -> Instant {
        if let Some(at) = self.told_at {
            return at;
        }
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        let now = Instant::now();
        self.told_at = Some(now);
        self.told.cancel();
        now
    }

    /// Resolves once the trainer has had its time after that.
    pub async fn patience_is_over(&mut self) {
        let told = self.told_to_stop().await;
        sleep_until(told + self.grace.for_trainer).await;
    }

    /// Resolves once the grace period after that is over.
    pub async fn is_over(&mut self) {
        let told = self.told_to_stop().await;
        sleep_until(told + self.grace.period).await;
    }

    /// The work's outcome, unless the agent is told to stop first.
    pub async fn unless<T>(
        &mut self,
        before: &str,
        work: impl Future<Output = Result<T, FailureReport>>,
    ) -> Result<T, FailureReport> {
        tokio::select! {
            outcome = work => outcome,
            _ = self.told_to_stop() => Err(interrupted(before)),
        }
    }

    /// The work's outcome, unless the grace period is over first: what took hours to make is worth finishing.
    pub async fn unless_over<T>(
        &mut self,
        before: &str,
        work: impl Future<Output = Result<T, FailureReport>>,
    ) -> Result<T, FailureReport> {
        tokio::select! {
            outcome = work => outcome,
            () = self.is_over() => Err(interrupted(before)),
        }
    }
}

fn interrupted(before: &str) -> FailureReport {
    failure(
        FailureReason::Interrupted,
        format!("the agent was told to stop before {before}"),
    )
}
