//! What was written, and by whom: the audit log has one line a write, before its answer is sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};

use serde::Deserialize;
use windlass_testcluster::Cluster;

/// One request that changes the cluster.
#[derive(Clone, Debug)]
pub struct Write {
    /// Who, the one that is impersonated where one is.
    pub user: String,
    /// `create`, `patch`, `update`, `delete`.
    pub verb: String,
    /// The resource, with its subresource: `trainingjobs/status`.
    pub resource: String,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What was answered.
    pub code: u16,
    /// When it came in, RFC 3339 in UTC with microseconds: text compares as time does.
    pub at: String,
}

impl Write {
    /// Whether it counts: Leases and Events are apart.
    pub fn counts(&self) -> bool {
        self.resource != "leases" && self.resource != "events"
    }

    /// `patch trainingjobs/status`.
    pub fn kind(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }
}

/// A place in the log, to read on from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(u64);

/// The end of the log as it is now.
pub fn mark(cluster: &Cluster) -> Mark {
    Mark(
        std::fs::metadata(cluster.audit_log_path())
            .map(|file| file.len())
            .unwrap_or_default(),
    )
}

/// All writes of a user since a place in the log, Leases and Events apart.
pub fn writes_of(cluster: &Cluster, user: &str, since: Mark) -> Vec<Write> {
    let mut all = read(cluster, since);
    all.retain(|write| write.user == user && write.counts());
    all
}

/// All writes since a place in the log.
pub fn read(cluster: &Cluster, since: Mark) -> Vec<Write> {
    let mut file = File::open(cluster.audit_log_path()).expect("the cluster has an audit log");
    file.seek(SeekFrom::Start(since.0))
        .expect("a place in the file");
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| parse(&line))
        .collect()
}

/// How many of each kind.
pub fn by_kind(writes: &[Write]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for write in writes {
        *counts.entry(write.kind()).or_default() += 1;
    }
    counts
}

/// A line; none where it is being written at this moment.
fn parse(line: &str) -> Option<Write> {
    let line: Line = serde_json::from_str(line).ok()?;
    let object = line.object_ref.unwrap_or_default();
    let resource = if object.subresource.is_empty() {
        object.resource
    } else {
        format!("{}/{}", object.resource, object.subresource)
    };
    Some(Write {
        user: line.impersonated_user.unwrap_or(line.user).username,
        verb: line.verb,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: line.response_status.unwrap_or_default().code,
        at: line.request_received_timestamp,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    user: User,
    impersonated_user: Option<User>,
    verb: String,
    object_ref: Option<Object>,
    response_status: Option<Answer>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    code: u16,
}
