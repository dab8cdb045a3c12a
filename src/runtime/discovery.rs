//! What the cluster serves: asked at the start, and again from time to time, since CRDs come and go.

use std::time::Duration;

use kube::Client;
use windlass_plan::gpus::claims::DeviceClaims;
use windlass_plan::modeldeployment::{
    CUSTOM_METRICS_GROUP, GATEWAY_GROUP, GATEWAY_VERSION, KEDA_GROUP, KEDA_VERSION,
};
use windlass_plan::trainingjob::{Schedulers, gang};

/// How often the cluster is asked again.
const AGAIN: Duration = Duration::from_secs(30);
/// The group of Kubernetes' own gang scheduling.
const NATIVE: &str = "scheduling.k8s.io";

/// What the cluster serves of what need not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// What it schedules gangs with.
    pub schedulers: Schedulers,
    /// Whether it has HTTPRoutes of the Gateway API.
    pub routes: bool,
    /// Whether it has ScaledObjects of KEDA's.
    pub keda: bool,
    /// Whether an adapter serves metrics of pods.
    pub metrics_of_pods: bool,
}

impl Served {
    /// Whether it is another than before, as far as anybody has to begin anew for it. An adapter is gone whenever its pods
    /// are: nothing is done for that.
    fn is_other_than(&self, before: &Self) -> bool {
        let same = Self {
            metrics_of_pods: self.metrics_of_pods || before.metrics_of_pods,
            ..self.clone()
        };
        same != *before
    }
}

/// Asks the cluster what it serves.
///
/// # Errors
/// When the API server does not answer.
pub async fn served(client: &Client) -> Result<Served, kube::Error> {
    let groups = client.list_api_groups().await?.groups;
    let serves = |group: &str, version: &str| {
        let found = groups.iter().find(|one| one.name == group);
        found.is_some_and(|one| one.versions.iter().any(|served| served.version == version))
    };
    let mut versions = Vec::new();
    for group in groups.iter().filter(|group| group.name == NATIVE) {
        for served in &group.versions {
            let resources = client
                .list_api_group_resources(&served.group_version)
                .await?;
            let kinds = resources.resources.into_iter().map(|one| one.kind);
            versions.push((served.version.clone(), kinds.collect()));
        }
    }
    let schedulers = Schedulers {
        kueue: serves("kueue.x-k8s.io", "v1beta2"),
        native: gang::native(&versions),
        kai: serves("scheduling.run.ai", "v2"),
        volcano: serves("scheduling.volcano.sh", "v1beta1"),
        device_claims: if serves("resource.k8s.io", "v1") {
            DeviceClaims::Served
        } else {
            DeviceClaims::NotServed
        },
    };
    Ok(Served {
        schedulers,
        routes: serves(GATEWAY_GROUP, GATEWAY_VERSION),
        keda: serves(KEDA_GROUP, KEDA_VERSION),
        metrics_of_pods: groups.iter().any(|one| one.name == CUSTOM_METRICS_GROUP),
    })
}

/// Resolves when the cluster serves something else than it did. That it does not answer is no change.
pub async fn changed(client: &Client, before: &Served) {
    loop {
        tokio::time::sleep(AGAIN).await;
        match served(client).await {
            Ok(now) if now.is_other_than(before) => {
                tracing::info!(
                    ?before,
                    ?now,
                    "the cluster serves something else than before"
                );
                return;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "asking the cluster what it serves"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_goes_is_no_news_and_one_that_comes_is() {
        let without = Served {
            schedulers: Schedulers {
                kueue: false,
                native: gang::native(&[]),
                kai: false,
                volcano: false,
                device_claims: DeviceClaims::NotServed,
            },
            routes: false,
            keda: true,
            metrics_of_pods: false,
        };
        let with = Served {
            metrics_of_pods: true,
            ..without.clone()
        };
        let no_keda = Served {
            keda: false,
            ..with.clone()
        };
        assert!(with.is_other_than(&without));
        assert!(!without.is_other_than(&with));
        assert!(no_keda.is_other_than(&with) && with.is_other_than(&no_keda));
    }
}
