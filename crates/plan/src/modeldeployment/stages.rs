//! What a roll-out goes through, whatever its strategy: told once from the spec, so that nothing else asks what it left out.

use jiff::SignedDuration;
use windlass_api::{GoDuration, Rollout, Strategy};

use crate::digest;

/// One stage of a roll-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The share of the traffic that the new version is to have, in percent.
    pub weight: i32,
    /// How long it lasts at least.
    pub hold: SignedDuration,
    /// Whether a person has to say that it may go on.
    pub pause: bool,
}

/// The stages of a roll-out; none where the new version is only awaited.
pub fn stages(rollout: &Rollout) -> Vec<Stage> {
    match rollout.strategy {
        Strategy::Canary => {
            let mut weight = 0;
            let stage = |step: &windlass_api::RolloutStep| {
                weight = step.weight.unwrap_or(weight);
                Stage {
                    weight,
                    hold: span(&step.hold),
                    pause: step.pause,
                }
            };
            rollout.steps.iter().map(stage).collect()
        }
        Strategy::BlueGreen | Strategy::Shadow => vec![Stage {
            weight: 0,
            hold: span(&rollout.preview.hold),
            pause: rollout.preview.pause,
        }],
        Strategy::Recreate => Vec::new(),
    }
}

/// By what it is told whether a roll-out still goes through the same stages.
pub fn stages_digest(rollout: &Rollout) -> String {
    let routed = rollout.traffic.is_some();
    digest::of(&(rollout.strategy, &rollout.steps, &rollout.preview, routed))
}

/// A duration of a spec, which the API server has checked.
pub fn span(duration: &GoDuration) -> SignedDuration {
    duration
        .value()
        .ok()
        .and_then(|span| SignedDuration::try_from(span).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_without_a_weight_keeps_that_of_the_one_before() {
        let rollout = json!({"steps": [{"weight": 5, "hold": "10s"}, {"pause": true}, {"weight": 50, "hold": "1m"}, {"hold": "2m"}]});
        let rollout: Rollout = serde_json::from_value(rollout).expect("a roll-out");
        let told: Vec<(i32, i64, bool)> = stages(&rollout)
            .iter()
            .map(|stage| (stage.weight, stage.hold.as_secs(), stage.pause))
            .collect();
        let expected = [
            (5, 10, false),
            (5, 0, true),
            (50, 60, false),
            (50, 120, false),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_preview_is_one_stage_and_a_swap_none() {
        let of = |strategy: &str| {
            let rollout = json!({"strategy": strategy, "preview": {"hold": "30s", "pause": true}});
            stages(&serde_json::from_value(rollout).expect("a roll-out"))
        };
        let preview = Stage {
            weight: 0,
            hold: SignedDuration::from_secs(30),
            pause: true,
        };
        assert_eq!(
            (of("BlueGreen"), of("Shadow")),
            (vec![preview], vec![preview])
        );
        assert_eq!(of("Recreate"), []);
    }
}
