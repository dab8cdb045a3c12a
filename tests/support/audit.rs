//! What was written, and by whom: the audit log has one line a write, before its answer is sent. What operators asked for
//! is there as well, where the cluster writes reads down.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::time::Duration;

use jiff::Timestamp;
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
    /// When its answer was ready.
    pub answered: String,
}

impl Write {
    /// How long the API server took for it.
    pub fn took(&self) -> Duration {
        let time = |text: &str| text.parse::<Timestamp>().unwrap_or_default();
        let took = time(&self.answered).duration_since(time(&self.at));
        took.try_into().unwrap_or_default()
    }

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
    let mut all = lines(cluster, since, parse);
    all.retain(|write| !matches!(write.verb.as_str(), "get" | "list" | "watch"));
    all
}

/// All requests of those in a group, reads too, since a place in the log.
pub fn requests_of(cluster: &Cluster, group: &str, since: Mark) -> Vec<Request> {
    let mut all = lines(cluster, since, parse_request);
    all.retain(|request| request.groups.iter().any(|one| one == group));
    all
}

fn lines<T>(cluster: &Cluster, since: Mark, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut file = File::open(cluster.audit_log_path()).expect("the cluster has an audit log");
    file.seek(SeekFrom::Start(since.0))
        .expect("a place in the file");
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| parse(&line))
        .collect()
}

/// One request, a read or a write.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who.
    pub user: String,
    /// The groups of who.
    pub groups: Vec<String>,
    /// `list`, `watch`, `create`, …
    pub verb: String,
    /// The resource's group; empty for Kubernetes' first one.
    pub group: String,
    /// The resource, with its subresource; empty where it is no resource that was asked for.
    pub resource: String,
    /// Its namespace; empty for all of them.
    pub namespace: String,
    /// What was answered.
    pub code: u16,
    /// Why the authorizer let it not pass, where it did not.
    pub denied: Option<String>,
}

impl Request {
    /// `list jobs.batch in growth: 200`.
    pub fn said(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!(
            "{} {}{dot}{} in '{}': {} {}",
            self.verb,
            self.resource,
            self.group,
            self.namespace,
            self.code,
            self.denied.as_deref().unwrap_or_default()
        )
    }
}

fn parse_request(line: &str) -> Option<Request> {
    let line: Line = serde_json::from_str(line).ok()?;
    let object = line.object_ref.unwrap_or_default();
    let (code, message) = line
        .response_status
        .map(|answer| (answer.code, answer.message))
        .unwrap_or_default();
    let decided = line.annotations.get("authorization.k8s.io/decision");
    // Who applies what is not there has to be allowed to create it, which is asked only then.
    let is_denied = decided.is_some_and(|decision| decision == "forbid")
        || code == 403 && message.contains(" cannot ") && message.contains(" resource ");
    let user = line.impersonated_user.unwrap_or(line.user);
    Some(Request {
        user: user.username,
        groups: user.groups,
        verb: line.verb,
        resource: whole(object.resource, &object.subresource),
        group: object.api_group,
        namespace: object.namespace,
        code,
        denied: is_denied.then_some(message),
    })
}

/// `trainingjobs/status`.
fn whole(resource: String, subresource: &str) -> String {
    if subresource.is_empty() {
        resource
    } else {
        format!("{resource}/{subresource}")
    }
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
    let resource = whole(object.resource, &object.subresource);
    Some(Write {
        user: line.impersonated_user.unwrap_or(line.user).username,
        verb: line.verb,
        resource,
        namespace: object.namespace,
        name: object.name,
        code: line.response_status.unwrap_or_default().code,
        at: line.request_received_timestamp,
        answered: line.stage_timestamp,
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
    stage_timestamp: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    code: u16,
    message: String,
}
