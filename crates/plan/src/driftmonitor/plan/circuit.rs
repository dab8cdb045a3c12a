//! Too many trainings in a row that came to nothing open the circuit; a person closes it, or a newer version that holds.

use kube::ResourceExt;
use windlass_api::{
    CLOSE_CIRCUIT, Circuit, DriftMonitorStatus, Outcome, Retraining, WindowStatus, annotations,
};

use super::Reconcile;
use super::ledger::holds;
use super::watched::Watched;
use crate::driftmonitor::children;
use crate::{Note, Plan};

impl Reconcile<'_> {
    /// Opens or closes the circuit.
    pub(super) fn keep_circuit(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        plan: &mut Plan<DriftMonitorStatus>,
    ) {
        let Some(retrain) = &self.monitor.spec.retrain else {
            return;
        };
        let before = plan.status.circuit.clone();
        if let Some(open) = before.as_ref().filter(|circuit| circuit.open) {
            let Some(why) = self.closed(watched, all, open) else {
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
        let forgiven = before.map(|circuit| circuit.training_job);
        let rejects = rejects(&plan.status.retrainings, forgiven.as_deref());
        let Some(last) = rejects.first() else {
            return;
        };
        let most = usize::try_from(retrain.max_consecutive_rejects).unwrap_or(1);
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
            "{} trainings in a row came to nothing: {}. No other is asked for until a person has looked at why, and says so: kubectl annotate --overwrite driftmonitor {} {CLOSE_CIRCUIT}={} {}=YOUR-USER-NAME; or until a newer version serves and holds",
            rejects.len(),
            each.join(", "),
            self.monitor.name_any(),
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

    /// Who or what closes it.
    fn closed(
        &self,
        watched: &Watched<'_>,
        all: &[WindowStatus],
        open: &Circuit,
    ) -> Option<String> {
        let said = self.monitor.annotations();
        if said.get(CLOSE_CIRCUIT) == Some(&open.training_job) {
            let by = said.get(annotations::BY).map_or("somebody", String::as_str);
            return Some(format!(
                "{by} closed the circuit after {}",
                open.training_job
            ));
        }
        // What is taken over from versions alone does not say which one drifted: any that serves since is newer.
        let last = self.before.last_trigger.as_ref();
        let drifted = last.and_then(|last| children::number_of(&last.version));
        let is_newer = drifted < Some(watched.version.spec.version);
        (is_newer && watched.since > open.since && holds(watched, all)).then(|| {
            format!(
                "the circuit is closed: {} serves since {}, and holds",
                watched.version.name_any(),
                watched.since.strftime("%FT%TZ")
            )
        })
    }
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
