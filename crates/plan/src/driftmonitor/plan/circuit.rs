//! Too many trainings in a row that came to nothing open the circuit; a person closes it, or a newer version that holds.

use kube::ResourceExt;
use windlass_api::{
    CLOSE_CIRCUIT, Circuit, DriftMonitor, DriftMonitorStatus, Outcome, Retraining, WindowStatus,
    annotations,
};

use super::Reconcile;
use super::ledger::holds;
use super::watched::Watched;
use crate::driftmonitor::children;
use crate::{Note, Plan};

impl Reconcile<'_> {
    /// Opens or closes the circuit. While nothing can be watched, a person closes it.
    pub(super) fn keep_circuit(
        &self,
        watched: Option<(&Watched<'_>, &[WindowStatus])>,
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        let before = plan.status.circuit.clone();
        if let Some(open) = before.as_ref().filter(|circuit| circuit.open) {
            let held = watched.filter(|(watched, all)| holds(watched, all));
            let Some(why) = closed(self.monitor, open, held.map(|(watched, _)| watched)) else {
                return;
            };
            plan.notes.push(Note::normal("CircuitClosed", &why));
            plan.status.circuit = Some(Circuit {
                open: false,
                since: self.now,
                training_job: open.training_job.clone(),
                message: why,
            });
            return;
        }
        let (Some(retrain), Some(_)) = (&self.monitor.spec.retrain, watched) else {
            return;
        };
        let most = usize::try_from(retrain.max_consecutive_rejects).unwrap_or(1);
        let entries = &plan.status.retrainings;
        let forgiven = match &before {
            Some(circuit) => Some(circuit.training_job.as_str()),
            None => self.closed_before(entries, most),
        };
        let rejects = rejects(entries, forgiven);
        let Some(last) = rejects.first() else {
            return;
        };
        if rejects.len() < most {
            return;
        }
        let each: Vec<String> = rejects
            .iter()
            .rev()
            .map(|entry| {
                let word = entry.outcome.map(|outcome| format!("{outcome:?}"));
                format!("{} ({})", entry.training_job, word.unwrap_or_default())
            })
            .collect();
        let message = format!(
            "{} trainings in a row came to nothing: {}. No other is asked for until a person has looked at why, and says so: kubectl annotate --overwrite driftmonitor {} -n {} {CLOSE_CIRCUIT}={} {}=YOUR-USER-NAME; or until a newer version serves and holds",
            rejects.len(),
            each.join(", "),
            self.monitor.name_any(),
            self.monitor.namespace().unwrap_or_default(),
            last.training_job,
            annotations::BY,
        );
        plan.notes.push(Note::warning("CircuitOpen", &message));
        plan.status.circuit = Some(Circuit {
            open: true,
            since: self.now,
            training_job: last.training_job.clone(),
            message,
        });
    }

    /// The last training of those that opened a circuit which this monitor never knew, since it was another's, and which was
    /// closed: a person says so, or another training was asked for after it.
    fn closed_before<'b>(&'b self, entries: &'b [Retraining], most: usize) -> Option<&'b str> {
        let said = self.monitor.annotations().get(CLOSE_CIRCUIT);
        if let Some(said) = said
            && entries.iter().any(|entry| entry.training_job == *said)
        {
            return Some(said);
        }
        let mut in_a_row = 0;
        let mut closed = None;
        for pair in entries.windows(2) {
            let entry = &pair[0];
            match entry.outcome {
                Some(Outcome::Held) => in_a_row = 0,
                Some(outcome) if outcome.is_reject() => in_a_row += 1,
                Some(_) | None => {}
            }
            // That a version drifted again is known only once the next one serves.
            let is_known = entry.outcome != Some(Outcome::DriftedAgain);
            let is_asked_after = entry.ended.is_some_and(|ended| ended < pair[1].time);
            if in_a_row >= most && is_known && is_asked_after && !self.is_own(entry) {
                closed = Some(entry.training_job.as_str());
                in_a_row = 0;
            }
        }
        closed
    }
}

/// Who or what closes the circuit of a monitor; `held` is the version that serves, where it has shown that it holds.
pub(super) fn closed(
    monitor: &DriftMonitor,
    open: &Circuit,
    held: Option<&Watched<'_>>,
) -> Option<String> {
    let said = monitor.annotations();
    if said.get(CLOSE_CIRCUIT) == Some(&open.training_job) {
        let by = said.get(annotations::BY).map_or("somebody", String::as_str);
        return Some(format!(
            "{by} closed the circuit after {}",
            open.training_job
        ));
    }
    let held = held?;
    // What is taken over from versions alone does not say which one drifted: any that serves since is newer.
    let status = monitor.status.as_ref();
    let last = status.and_then(|status| status.last_trigger.as_ref());
    let drifted = last.and_then(|last| children::number_of(&last.version));
    let is_newer = drifted < Some(held.version.spec.version);
    (is_newer && held.since > open.since).then(|| {
        format!(
            "the circuit is closed: {} serves since {}, and holds",
            held.version.name_any(),
            held.since.strftime("%FT%TZ")
        )
    })
}

/// The trainings that came to nothing since one did not, the newest first; up to `forgiven` none counts.
fn rejects<'a>(entries: &'a [Retraining], forgiven: Option<&str>) -> Vec<&'a Retraining> {
    entries
        .iter()
        .rev()
        .take_while(|entry| {
            Some(entry.training_job.as_str()) != forgiven && entry.outcome != Some(Outcome::Held)
        })
        .filter(|entry| entry.outcome.is_some_and(Outcome::is_reject))
        .collect()
}
