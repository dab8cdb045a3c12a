//! What is told to who listens elsewhere: CloudEvents (CNCF, version 1.0) of what is new in a status.
//!
//! What an event is known by is made of what it tells, so that one that is sent twice is seen as one.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};
use windlass_api::{DriftMonitor, DriftMonitorStatus};

/// An event, as it is sent in structured mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudEvent {
    /// The version of the specification.
    pub specversion: &'static str,
    /// What it is known by, at its source.
    pub id: String,
    /// Which object tells it.
    pub source: String,
    /// What it tells.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What of.
    pub subject: String,
    /// When that was so.
    pub time: Timestamp,
    /// Of `data`.
    pub datacontenttype: &'static str,
    /// In detail.
    pub data: Value,
}

/// A window's verdict that is another than that of the one before.
pub const VERDICT: &str = "dev.windlass.driftmonitor.verdict.changed";
/// A training was asked for.
pub const REQUESTED: &str = "dev.windlass.driftmonitor.training.requested";
/// Too many trainings in a row came to nothing.
pub const OPENED: &str = "dev.windlass.driftmonitor.circuit.opened";
/// The circuit is closed again.
pub const CLOSED: &str = "dev.windlass.driftmonitor.circuit.closed";

/// What is new in a status that was written.
pub fn told(monitor: &DriftMonitor, status: &DriftMonitorStatus) -> Vec<CloudEvent> {
    let nothing = DriftMonitorStatus::default();
    let before = monitor.status.as_ref().unwrap_or(&nothing);
    let mut events = verdicts(monitor, before, status);
    if let Some(circuit) = &status.circuit {
        let was = before.circuit.as_ref();
        let is_new = was.is_none_or(|was| was.open != circuit.open || was.since != circuit.since);
        let kind = if circuit.open { OPENED } else { CLOSED };
        // One that was open and closed between two writes tells only how it is.
        if is_new && (circuit.open || was.is_some()) {
            let data = json!({"trainingJob": circuit.training_job, "message": circuit.message});
            let job = &circuit.training_job;
            events.push(event(monitor, kind, job, circuit.since, data));
        }
    }
    let is_known = |name: &str| {
        let mut known = before.retrainings.iter();
        known.any(|entry| entry.training_job == name)
    };
    // What is taken over from a monitor that is gone was told by it.
    let made = monitor.metadata.creation_timestamp.as_ref();
    let is_own = |time: Timestamp| made.is_none_or(|made| time >= made.0);
    let new = status.retrainings.iter().filter(|entry| {
        entry.ended.is_none() && is_own(entry.time) && !is_known(&entry.training_job)
    });
    for entry in new {
        let name = &entry.training_job;
        let last = status.last_trigger.as_ref();
        let last = last.filter(|trigger| trigger.training_job == *name);
        let data = json!({
            "trainingJob": name, "cause": entry.cause, "window": entry.window, "digest": entry.digest,
            "version": last.map(|trigger| &trigger.version), "message": last.map(|trigger| &trigger.message),
        });
        events.push(event(monitor, REQUESTED, name, entry.time, data));
    }
    events
}

fn verdicts(
    monitor: &DriftMonitor,
    before: &DriftMonitorStatus,
    status: &DriftMonitorStatus,
) -> Vec<CloudEvent> {
    let known = before.windows.last();
    let mut previous = known.map(|window| (window.verdict, window.fallen));
    let mut events = Vec::new();
    let is_new = |end| known.is_none_or(|known| end > known.end);
    for window in status.windows.iter().filter(|window| is_new(window.end)) {
        let said = (window.verdict, window.fallen);
        if previous != Some(said) {
            let data = json!({
                "verdict": window.verdict, "previous": previous.map(|(verdict, _)| verdict), "fallen": window.fallen,
                "version": window.version, "window": {"start": window.start, "end": window.end}, "rows": window.rows,
                "drifted": window.drifted, "reason": window.reason, "message": window.message, "digest": window.digest,
            });
            let subject = window.end.to_string();
            events.push(event(monitor, VERDICT, &subject, window.end, data));
        }
        previous = Some(said);
    }
    events
}

fn event(
    monitor: &DriftMonitor,
    kind: &'static str,
    subject: &str,
    time: Timestamp,
    mut data: Value,
) -> CloudEvent {
    let (namespace, name) = (monitor.namespace().unwrap_or_default(), monitor.name_any());
    data["namespace"] = json!(namespace);
    data["monitor"] = json!(name);
    data["deployment"] = json!(monitor.spec.deployment);
    if let Value::Object(fields) = &mut data {
        fields.retain(|_, value| !value.is_null());
    }
    let uid = monitor.uid().unwrap_or_default();
    CloudEvent {
        specversion: "1.0",
        id: format!("{uid}/{kind}/{subject}/{}", time.as_second()),
        source: format!("/apis/windlass.dev/v1alpha1/namespaces/{namespace}/driftmonitors/{name}"),
        kind,
        subject: subject.to_owned(),
        time,
        datacontenttype: "application/json",
        data,
    }
}
