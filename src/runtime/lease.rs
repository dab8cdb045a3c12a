//! One replica leads.

use anyhow::Context as _;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch::Receiver;
use tokio::task::JoinHandle;

/// Name of the Lease.
const NAME: &str = "windlass";
/// Seconds that a Lease holds without being renewed. A write has a shorter deadline than what is left of it at worst.
const DURATION_SECONDS: u64 = 15;
/// Seconds before its end at which it is renewed.
const GRACE_SECONDS: u64 = 10;

/// That this replica leads.
pub struct Leadership {
    state: Receiver<bool>,
    manager: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

/// Waits until this replica leads.
pub async fn acquire(client: Client, namespace: &str, identity: &str) -> anyhow::Result<Leadership> {
    let manager = LeaseManagerBuilder::new(client, NAME)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_field_manager("windlass-lease")
        .with_duration(DURATION_SECONDS)
        .with_grace(GRACE_SECONDS)
        .build()
        .await
        .context("making the Lease")?;
    let (mut state, manager) = manager.watch().await;
    state.wait_for(|leads| *leads).await.context("waiting for the Lease")?;
    Ok(Leadership { state, manager })
}

impl Leadership {
    /// Ends when this replica no longer leads.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        let _ = state.wait_for(|leads| !*leads).await;
    }

    /// Gives the Lease back, so that another replica leads at once.
    pub async fn release(self) {
        drop(self.state);
        if let Err(error) = self.manager.await {
            tracing::warn!(%error, "the Lease was not given back; it runs out by itself");
        }
    }
}
