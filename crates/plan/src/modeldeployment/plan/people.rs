//! What people say of a roll-out, by annotations; who may say what is checked by a policy when they are written.

use kube::ResourceExt;
use windlass_api::{CanaryStatus, ModelVersion, annotations};

use super::Reconcile;
use crate::modelversion::fingerprint;

impl Reconcile<'_> {
    fn annotation(&self, name: &str) -> Option<&str> {
        let said = self.deployment.annotations().get(name)?;
        (!said.is_empty()).then_some(said)
    }

    /// Who said it.
    pub(super) fn who(&self) -> &str {
        self.annotation(annotations::BY).unwrap_or("somebody")
    }

    /// What the annotations say before a roll-out begins: of that they say nothing.
    pub(super) fn said_so_far(&self) -> Vec<String> {
        [annotations::PROMOTE, annotations::ABORT]
            .iter()
            .filter_map(|name| Some(format!("{name}={}", self.annotation(name)?)))
            .collect()
    }

    /// What was said before the roll-out began and still stands: what is taken off and put on again is said of this one.
    pub(super) fn still_said(&self, before: &[String]) -> Vec<String> {
        let now = self.said_so_far();
        let stands = |said: &&String| now.contains(said);
        before.iter().filter(stands).cloned().collect()
    }

    /// Whether an annotation says this, and did not before the roll-out began.
    fn says(&self, canary: &CanaryStatus, name: &str, wanted: &str) -> bool {
        self.annotation(name) == Some(wanted)
            && !canary.said_before.contains(&format!("{name}={wanted}"))
    }

    /// Whether a person has said that the stage that the canary is at may pass.
    pub(super) fn is_let_pass(&self, canary: &CanaryStatus) -> bool {
        self.says(canary, annotations::PROMOTE, &self.passage(canary))
    }

    /// What is said of a stage that waits for a person.
    pub(super) fn waits_for_a_person(&self, canary: &CanaryStatus) -> String {
        format!(
            "it has passed, and waits for a person to let it go on: {}",
            self.how_to_say(annotations::PROMOTE, &self.passage(canary))
        )
    }

    /// What a person may say of a roll-out that is held.
    pub(super) fn how_to_decide(&self, canary: &CanaryStatus) -> String {
        format!(
            "To take it back for good: {}. To have the step begin anew: {}",
            self.how_to_say(annotations::ABORT, &canary.version),
            self.how_to_say(annotations::PROMOTE, &self.passage(canary))
        )
    }

    /// The command by which a person says something, which counts only from now on.
    fn how_to_say(&self, name: &str, value: &str) -> String {
        let off = if self.annotation(name) == Some(value) {
            format!("take {name} off, which was said before, and then: ")
        } else {
            String::new()
        };
        format!("{off}{}", self.how_to(name, value))
    }

    /// The command by which a person says something.
    fn how_to(&self, name: &str, value: &str) -> String {
        format!(
            "kubectl annotate --overwrite modeldeployment {} {name}={value} {}=YOUR-USER-NAME",
            self.deployment.name_any(),
            annotations::BY
        )
    }

    /// Why a canary is taken back at once, if a person wants that.
    pub(super) fn aborted(&self, canary: &CanaryStatus) -> Option<String> {
        let held = canary.failure.as_ref();
        let held = held.map_or_else(String::new, |why| format!("; it was held since {why}"));
        self.says(canary, annotations::ABORT, &canary.version)
            .then(|| format!("{} took it back ({}){held}", self.who(), annotations::ABORT))
    }

    /// Whether a version that is in quarantine is to be tried all the same.
    pub(super) fn is_forced(&self, version: &ModelVersion) -> bool {
        self.annotation(annotations::FORCE) == Some(&self.force(version))
    }

    /// What is said of a version that is in quarantine and named by its number.
    pub(super) fn how_to_force(&self, version: &ModelVersion) -> String {
        self.how_to(annotations::FORCE, &self.force(version))
    }

    /// The version and how often it was taken back: what forces it once does not force it again.
    fn force(&self, version: &ModelVersion) -> String {
        let of_version = fingerprint(version);
        let times = self
            .before
            .quarantine
            .iter()
            .filter(|entry| entry.fingerprint == of_version)
            .count();
        format!("{}/{times}", version.name_any())
    }

    /// The stage that a canary is at, as a person names it: the last one, also when all have passed.
    fn passage(&self, canary: &CanaryStatus) -> String {
        let stages = i32::try_from(self.stages.len()).unwrap_or(i32::MAX);
        format!("{}/{}", canary.version, (canary.step + 1).min(stages))
    }
}
