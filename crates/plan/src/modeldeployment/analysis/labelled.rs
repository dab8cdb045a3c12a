//! What labels say of a canary.

use jiff::Unit;
use windlass_api::{Analysis, LabelledSeen};
use windlass_statistics::sequential::Shares;

use super::{Finding, Judged, Told, counts, float, higher, may_be_chance};
use crate::modeldeployment::labelled::Labels;
use crate::modeldeployment::pace::Pace;

impl Judged<'_> {
    /// What labels say. That they cannot be read holds a step, and says nothing of a canary.
    pub(super) fn labels(&self, checks: &[Analysis]) -> Finding {
        let Some(labels) = Labels::of(checks) else {
            return Finding::Good("labels are not judged".to_owned());
        };
        let field = format!("spec.rollout.analysis[{}].labels", labels.number);
        let Some(seen) = self.seen.labelled else {
            return Finding::Wait(format!("{field} has not been read yet"));
        };
        let comparison = labels.comparison(seen);
        let known = comparison.rollout;
        let first = seen.spans.first();
        let told = Told {
            words: |shares| {
                format!(
                    "labels call {} predictions wrong against {} of the stable version",
                    counts(shares.candidate),
                    counts(shares.stable)
                )
            },
            of: "wrong predictions",
            trials: "labelled predictions of the canary",
            pace: Pace {
                count: known.candidate.trials,
                since: first.map_or(self.seen.since, |span| span.start),
                now: self.seen.now,
            },
        };
        let finding = match self.shares(&comparison, &told) {
            // What is shown stays so, whether or not there is more to read.
            Finding::Harm(why) => return Finding::Harm(why),
            // Labels of one kind may have come first: what looks worse by those that are there waits for more.
            Finding::Good(words) if higher(&known) > known.allowed => {
                may_be_chance(&words, told.of, &known)
            }
            finding => finding,
        };
        let due = labels.due(seen, self.seen.since);
        let due = due.and_then(|due| due.round(Unit::Second).ok());
        let next = due.map_or_else(String::new, |due| format!(", next at about {due}"));
        if let Some(why) = &seen.problem {
            return Finding::Wait(format!(
                "{field} cannot be read, and the step waits: {why}; it is tried again{next}"
            ));
        }
        // Of what was read in the step before nobody knows whether it can still be.
        if seen.looked.is_none_or(|looked| looked <= self.seen.since) {
            return Finding::Wait(format!("{field} has not been read in this step yet{next}"));
        }
        let labelled = known.candidate.trials;
        let least = labels.asked.min_samples.unsigned_abs().max(1);
        if labelled < least {
            let wanted = told.pace.until(float(least - labelled));
            let come = have_come(seen, &known);
            return Finding::Wait(format!("{come}; {least} are needed ({wanted})"));
        }
        match finding {
            Finding::Wait(why) => Finding::Wait(format!("{}; {why}", have_come(seen, &known))),
            finding => finding,
        }
    }
}

/// How many labels have come; where none that could be compared has, why that may be.
fn have_come(seen: &LabelledSeen, known: &Shares) -> String {
    let (labelled, predictions) = (known.candidate.trials, seen.predictions);
    let words = format!(
        "{labelled} of {predictions} predictions of the canary could be compared by their labels yet"
    );
    match (labelled, seen.labels) {
        (0, 0) => format!("{words}: no label has come"),
        (0, all) => format!(
            "{words}: there are {all} labels, of other predictions or of those of one version alone. Where that stays so, look at the label's joinOn: it has to be the request's id, as the payload log has it"
        ),
        _ => words,
    }
}
