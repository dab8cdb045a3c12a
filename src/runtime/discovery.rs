//! What the cluster serves, asked once at the start.

use kube::Client;
use windlass_plan::trainingjob::GangScheduler;

/// The native gang scheduler's API.
const GANGS: &str = "scheduling.k8s.io/v1beta1";

/// The cluster's gang scheduler.
pub async fn gang_scheduler(client: &Client) -> Result<GangScheduler, kube::Error> {
    let absent = |why: String| GangScheduler::None(why);
    match client.list_api_group_resources(GANGS).await {
        Ok(resources)
            if resources
                .resources
                .iter()
                .any(|resource| resource.kind == "PodGroup") =>
        {
            Ok(GangScheduler::Native)
        }
        Ok(_) => Ok(absent(format!(
            "the cluster serves {GANGS} without PodGroup"
        ))),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(absent(format!(
            "the cluster does not serve {GANGS}: pods are scheduled one by one"
        ))),
        Err(error) => Err(error),
    }
}
