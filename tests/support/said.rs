//! What TrainingJobs say of themselves.

use std::time::{Duration, Instant};

use kube::api::Api;
use windlass_api::{TrainingJob, condition, find_condition};

/// `Ready` of a job as `reason: message`.
pub async fn said(jobs: &Api<TrainingJob>, name: &str) -> String {
    let job = jobs.get(name).await.expect("it is there");
    let conditions = job.status.map(|status| status.conditions);
    let ready = find_condition(conditions.as_deref().unwrap_or_default(), condition::READY);
    ready.map_or_else(String::new, |ready| {
        format!("{}: {}", ready.reason, ready.message)
    })
}

/// Waits until a job says all of these words, and returns what it says.
pub async fn until_said(
    jobs: &Api<TrainingJob>,
    name: &str,
    words: &[&str],
    patience: Duration,
) -> String {
    let end = Instant::now() + patience;
    loop {
        let said = said(jobs, name).await;
        if words.iter().all(|word| said.contains(word)) {
            return said;
        }
        assert!(
            Instant::now() < end,
            "{name} says {said:?} after {patience:?}, and not {words:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
