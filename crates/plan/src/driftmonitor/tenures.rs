//! Which version served when: windows are of one version, so that the one that spans a promotion is two.

use jiff::Timestamp;
use windlass_api::{Action, ModelDeploymentStatus};

/// A version, while all traffic went to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Name of the ModelVersion.
    pub version: String,
    /// Since when, to the second.
    pub from: Timestamp,
    /// Until when; absent of the one that serves.
    pub until: Option<Timestamp>,
}

impl Tenure {
    /// Whether what ends then is still of this version.
    pub fn ends_within(&self, end: Timestamp) -> bool {
        self.from < end && self.until.is_none_or(|until| end <= until)
    }
}

/// The versions that served, as far as the deployment remembers; the one that serves is the last.
pub fn tenures(status: &ModelDeploymentStatus) -> Vec<Tenure> {
    let Some(stable) = &status.stable else {
        return Vec::new();
    };
    let mut begun: Vec<(Timestamp, &str)> = status
        .history
        .iter()
        .filter(|event| event.action == Action::Promoted && event.time < stable.since)
        .map(|event| (event.time, event.version.as_str()))
        .collect();
    begun.sort();
    begun.push((stable.since, &stable.version));
    // A window is known by the second of its end.
    for (time, _) in &mut begun {
        *time = Timestamp::from_second(time.as_second()).unwrap_or(*time);
    }
    let ends = begun.iter().skip(1).map(|(time, _)| Some(*time));
    let ends = ends.chain([None]);
    begun
        .iter()
        .zip(ends)
        .map(|((from, version), until)| Tenure {
            version: (*version).to_owned(),
            from: *from,
            until,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{at, object};
    use serde_json::json;

    #[test]
    fn each_version_serves_until_the_next_one_does() {
        let event = |version: &str, action: &str, time: i64| json!({"version": version, "action": action, "time": at(time), "reason": "r"});
        let status = object(json!({
            "stable": {"version": "churn-1", "since": at(90)},
            "history": [
                event("churn-1", "Promoted", 10), event("churn-2", "CanaryStarted", 20), event("churn-2", "Promoted", 50),
                event("churn-2", "RolledBack", 90), event("churn-1", "Promoted", 90),
            ]
        }));
        let tenure = |version: &str, from: i64, until: Option<i64>| Tenure {
            version: version.to_owned(),
            from: at(from),
            until: until.map(at),
        };
        assert_eq!(
            tenures(&status),
            [
                tenure("churn-1", 10, Some(50)),
                tenure("churn-2", 50, Some(90)),
                tenure("churn-1", 90, None)
            ]
        );
        let one = tenure("churn-2", 50, Some(90));
        assert_eq!(
            [50, 51, 90, 91].map(|end| one.ends_within(at(end))),
            [false, true, true, false]
        );
        assert_eq!(tenures(&ModelDeploymentStatus::default()), []);
    }
}
