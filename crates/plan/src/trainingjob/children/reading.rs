//! What programs read: inputs and outputs of steps, by name, address and digest.

use windlass_api::{Address, InputRecord, StepStatus, TrainingJob};

use crate::pods::flag;

/// Of these records those that the workers read, in the order in which they read them.
pub fn read_by_workers(job: &TrainingJob, records: &[InputRecord]) -> Vec<InputRecord> {
    job.spec
        .read_by_workers()
        .into_iter()
        .filter_map(|name| records.iter().find(|record| record.name == name))
        .cloned()
        .collect()
}

/// What can be read by its digest: inputs that were checked, and what steps wrote that ended well.
pub fn records(inputs: &[InputRecord], steps: &[StepStatus]) -> Vec<InputRecord> {
    let written = steps.iter().filter_map(|step| {
        Some(InputRecord {
            name: step.name.clone(),
            uri: step.uri.clone()?,
            digest: step.digest.clone()?,
            ..InputRecord::default()
        })
    });
    inputs.iter().cloned().chain(written).collect()
}

/// Where each of these lies; of a step that has not ended it is not known yet.
pub fn addresses(job: &TrainingJob, names: &[&str], records: &[InputRecord]) -> Vec<Address> {
    let of = |name: &&str| address(job, name, records);
    names.iter().filter_map(of).collect()
}

fn address(job: &TrainingJob, name: &str, records: &[InputRecord]) -> Option<Address> {
    let mut inputs = job.spec.inputs.iter();
    if let Some(input) = inputs.find(|input| input.name == name) {
        return Some(input.uri.clone());
    }
    let mut records = records.iter();
    let record = records.find(|record| record.name == name)?;
    Some(Address(record.uri.clone()))
}

/// Tells the agent what to read, in this order.
pub fn tell(
    arguments: &mut Vec<String>,
    job: &TrainingJob,
    names: &[&str],
    records: &[InputRecord],
) {
    for name in names {
        let Some(uri) = address(job, name, records) else {
            continue;
        };
        let record = records.iter().find(|record| record.name == *name);
        tell_one(arguments, name, &uri, record);
        let mut inputs = job.spec.inputs.iter();
        let format = inputs.find(|input| input.name == *name);
        let format = format.and_then(|input| input.format);
        if let (None, Some(format)) = (record, format) {
            let format = format!("{name}={}", format.as_str());
            flag(arguments, "input-format", format);
        }
    }
}

/// The same of what lies in an object store or elsewhere on a network; whether there is any.
pub fn tell_remote(
    arguments: &mut Vec<String>,
    job: &TrainingJob,
    (names, records): (&[&str], &[InputRecord]),
) -> bool {
    let before = arguments.len();
    for name in names {
        let uri = address(job, name, records);
        if let Some(uri) = uri.filter(|uri| uri.claim().is_none()) {
            let record = records.iter().find(|record| record.name == *name);
            tell_one(arguments, name, &uri, record);
        }
    }
    arguments.len() > before
}

fn tell_one(arguments: &mut Vec<String>, name: &str, uri: &Address, record: Option<&InputRecord>) {
    flag(arguments, "input", format!("{name}={uri}"));
    if let Some(record) = record {
        // It is read as it was checked or written, or not at all.
        let digest = format!("{name}={}", record.digest);
        flag(arguments, "input-digest", digest);
        if let Some(as_of) = &record.as_of {
            flag(arguments, "input-as-of", format!("{name}={as_of}"));
        }
    }
}
