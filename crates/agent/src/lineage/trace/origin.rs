//! What a version came from: the run with its code, data, images, steps and attempts, who asked for it, and the versions
//! before it.

use std::collections::BTreeSet;

use kube::ResourceExt;
use windlass_api::{Attempt, InputRecord, StepPhase, StepStatus, TrainingJob};

use super::{Kind, Node, NodeId, Object, Relation, Trace, id, short, span};
use crate::lineage::graph::Place;

impl<'a> Trace<'a> {
    /// The version that served when it was made, the one before that, and so on. Objects that name each other in a
    /// circle, which only people can write, end it.
    pub(super) fn parents(&mut self) {
        let (objects, mut version) = (self.objects, self.version);
        let mut seen = BTreeSet::from([version.name_any()]);
        while let Some(parent) = &version.spec.parent {
            let child = id(Kind::ModelVersion, version.name_any());
            let parent_id = self.version_of(parent);
            self.join(&parent_id, Relation::Parent, &child, "");
            match objects.versions.get(parent) {
                Some(next) if seen.insert(parent.clone()) => version = next,
                Some(_) | None => return,
            }
        }
    }

    /// The run and all that went into it. A version that was registered has no run: what it names went into itself.
    pub(super) fn run(&mut self) {
        let (version, root) = (self.version, self.root());
        let (run, job) = match &version.spec.trained_by {
            Some(by) => {
                let (run, job) = self.job_of(&by.name, Some(&by.uid));
                self.join(&run, Relation::Made, &root, "");
                if let Some(monitor) = &by.monitor {
                    self.asked_by(monitor, &by.name, &run);
                }
                (run, job)
            }
            None => (root, None),
        };
        self.code_and_images(&run);
        match job {
            Some(job) => {
                self.read_by_steps_and_workers(&run, job);
                self.attempts(&run, job);
            }
            None => self.read_all(&run, &version.spec.inputs),
        }
    }

    /// The monitor that asked for a run, the deployment that it watches, and what it had found.
    fn asked_by(&mut self, monitor: &str, job: &str, run: &NodeId) {
        let (objects, monitor_id) = (self.objects, self.monitor_of(monitor));
        self.join(&monitor_id, Relation::Asked, run, "");
        let Some(monitor) = objects.monitors.get(monitor) else {
            return;
        };
        let deployment = self.deployment_of(&monitor.spec.deployment);
        self.join(&deployment, Relation::Watched, &monitor_id, "");
        let last = monitor
            .status
            .iter()
            .find_map(|one| one.last_trigger.as_ref());
        if let Some(last) = last.filter(|last| last.training_job == job) {
            let drifted = self.version_of(&last.version);
            let note = format!("{}: {}", last.time, last.message);
            self.join(&drifted, Relation::Drifted, &monitor_id, note);
        }
    }

    fn code_and_images(&mut self, run: &NodeId) {
        let version = self.version;
        let spec = &version.spec;
        if let Some(source) = &spec.source {
            let id = id(
                Kind::Code,
                format!("{}@{}", source.repository, source.revision),
            );
            let facts = vec![format!("revision {}", source.revision)];
            let node = Node::there(source.repository.as_str(), facts).of(Object::Code(source));
            self.put(id.clone(), node);
            self.join(&id, Relation::Code, run, "");
        }
        for image in &spec.images {
            let id = id(Kind::Image, image.as_str());
            self.put(id.clone(), Node::there(shown_image(image), Vec::new()));
            self.join(&id, Relation::Image, run, "");
        }
    }

    fn read_all(&mut self, run: &NodeId, records: &'a [InputRecord]) {
        for record in records {
            let data = self.data(record);
            self.join(&data, Relation::Input, run, "");
        }
    }

    /// An input as it was read. The same files under the same address are the same node, whoever read them.
    fn data(&mut self, record: &InputRecord) -> NodeId {
        let mut facts = vec![record.uri.clone(), short(&record.digest).to_owned()];
        if let Some(as_of) = record.as_of {
            facts.push(format!("as of {as_of}"));
        }
        let place = Place {
            uri: record.uri.clone(),
            digest: Some(record.digest.clone()),
        };
        let id = id(Kind::Data, format!("{} {}", record.uri, record.digest));
        self.put(
            id.clone(),
            Node::there(record.name.as_str(), facts).at(place),
        );
        id
    }

    /// What is known of an input or of a step's output by its name: as the version has it, else as the job does.
    fn data_named(&mut self, name: &str, job: &TrainingJob) -> Option<NodeId> {
        let (version, status) = (self.version, job.status.as_ref());
        let of_job = status.into_iter().flat_map(|status| &status.inputs);
        let mut records = version.spec.inputs.iter().chain(of_job);
        if let Some(record) = records.find(|record| record.name == name) {
            return Some(self.data(record));
        }
        let mut steps = status.into_iter().flat_map(|status| &status.steps);
        let step = steps.find(|step| step.name == name)?;
        let record = InputRecord {
            name: step.name.clone(),
            uri: step.uri.clone()?,
            digest: step.digest.clone()?,
            ..InputRecord::default()
        };
        Some(self.data(&record))
    }

    /// What each step read and wrote, and what the workers read. A record that none of them names is the run's.
    fn read_by_steps_and_workers(&mut self, run: &NodeId, job: &'a TrainingJob) {
        let version = self.version;
        for name in job.spec.read_by_workers() {
            if let Some(data) = self.data_named(name, job) {
                self.join(&data, Relation::Input, run, "");
            }
        }
        let steps = job.status.iter().flat_map(|status| &status.steps);
        for step in steps {
            self.step(run, job, step);
        }
        for record in &version.spec.inputs {
            let data = self.data(record);
            let mut edges = self.graph.edges.keys();
            if !edges.any(|edge| edge.from == data && edge.relation == Relation::Input) {
                self.join(&data, Relation::Input, run, "");
            }
        }
    }

    fn step(&mut self, run: &NodeId, job: &'a TrainingJob, step: &'a StepStatus) {
        let mut facts = vec![phase(step.phase).to_owned()];
        facts.extend(span(step.started, step.ended));
        let id = id(Kind::Step, format!("{}-{}", run.key, step.name));
        let node = Node::there(step.name.as_str(), facts).of(Object::Step(step));
        self.put(id.clone(), node);
        let mut of_spec = job.spec.steps.iter();
        let of_spec = of_spec.find(|one| one.name == step.name);
        for name in of_spec.into_iter().flat_map(|one| &one.inputs) {
            if let Some(data) = self.data_named(name, job) {
                self.join(&data, Relation::Input, &id, "");
            }
        }
        if let Some(other) = &step.reused_from {
            let (other, _) = self.job_of(other, None);
            self.join(&other, Relation::TakenOver, &id, "");
        }
        let is_read = job.spec.read_by_workers().contains(&step.name.as_str())
            || job
                .spec
                .steps
                .iter()
                .any(|one| one.inputs.contains(&step.name));
        match self.data_named(&step.name, job) {
            Some(data) if is_read => self.join(&id, Relation::Wrote, &data, ""),
            Some(_) | None => self.join(&id, Relation::StepOf, run, ""),
        }
    }

    fn attempts(&mut self, run: &NodeId, job: &'a TrainingJob) {
        for attempt in job.status.iter().flat_map(|status| &status.attempts) {
            let id = id(Kind::Attempt, format!("{}-{}", run.key, attempt.number));
            let node = Node::there(attempt.number.to_string(), attempt_facts(attempt))
                .of(Object::Attempt(attempt));
            self.put(id.clone(), node);
            self.join(&id, Relation::AttemptOf, run, "");
        }
    }
}

/// An image with its digest as a person is shown it.
fn shown_image(image: &str) -> String {
    match image.split_once('@') {
        Some((repository, digest)) => format!("{repository}@{}", short(digest)),
        None => image.to_owned(),
    }
}

fn phase(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Waiting => "Waiting",
        StepPhase::Running => "Running",
        StepPhase::Complete => "Complete",
        StepPhase::Reused => "Reused",
        StepPhase::Failed => "Failed",
    }
}

fn attempt_facts(attempt: &Attempt) -> Vec<String> {
    let mut facts = Vec::new();
    if !attempt.reason.is_empty() {
        facts.push(attempt.reason.clone());
    }
    if let Some(code) = attempt.exit_code.filter(|code| *code != 0) {
        facts.push(format!("exit code {code}"));
    }
    facts.extend(span(attempt.started, attempt.ended));
    if let Some(workers) = attempt.workers {
        facts.push(format!("workers: {workers}"));
    }
    if let Some(gpus) = &attempt.gpus_per_worker {
        facts.push(format!("GPUs of each: {gpus}"));
    }
    if let Some(checkpoint) = &attempt.resumed_from {
        facts.push(format!("went on from checkpoint {checkpoint}"));
    }
    facts
}
