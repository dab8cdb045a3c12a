//! A model check: every interleaving, within bounds, of what people, the world and crashes may do to one small world.
//!
//! ```text
//!   worlds ─> [ look | look, killed after k steps | event ] ─> worlds … until no new one is found
//!                │            each: is anything wrong? left alone, does it come to rest?
//!                └─> the transitions of what is said: docs/state-machine.md
//! ```
//!
//! Breadth first, so that the history that is told of a fault is a shortest one. The worlds are those of the other tests, with
//! what they assert themselves; a kind says what may happen, what is wrong, and what of a world two looks may tell apart.
//!
//! `stateright` (0.31, MIT) does the walk too, and was passed over. Its `eventually` holds on paths without cycles only, by
//! its own documentation, and a controller that looks again is nothing but cycles; its states have to be `Hash`, which objects
//! of Kubernetes are not; and it knows of no table.
//!
//! A test looks into the 2,000 worlds of a kind that are nearest to the beginning; what the docs say of a kind names the
//! number of looks, crashes and events within which that is all there is. `WINDLASS_MODEL_WORLDS=1000000` goes on until no
//! new one is found, and `WINDLASS_MODEL_BOUND=1` beyond, by one attempt, window or minute.

#![allow(clippy::disallowed_methods)] // a person tells a test how far to go by the environment; no decision reads it

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::{Debug, Write as _};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;
use serde_json::Value;
use windlass_api::{condition, find_condition, is_true};

/// So many worlds of a kind, those that are nearest to the beginning, are looked into.
const WORLDS: usize = 2_000;
/// What is said before the first status is written.
const NEW: &str = "(new)";
const AGAIN: &str = "it is looked at again";
const KILLED: &str = "the operator is killed before it has written the status";

/// A small world of one kind.
pub(crate) trait Model: Clone {
    /// The kind.
    const KIND: &'static str;
    /// After so many rounds in which all goes well, it is at rest.
    const ROUNDS: usize;
    /// What people and the world do.
    type Event: Copy + Debug;

    /// What may happen now, within the bounds.
    fn events(&self) -> Vec<Self::Event>;
    /// It happens.
    fn happens(&mut self, event: Self::Event);
    /// The same in words.
    fn words(event: Self::Event) -> &'static str;
    /// The steps of the next plan.
    fn steps(&self) -> usize;
    /// Plans and does it, stopped after so many steps.
    fn looks(&mut self, crash: usize);
    /// All that decisions rest on, and no more.
    fn state(&self) -> Value;
    /// The phase and reasons that are said.
    fn said(&self) -> Option<String>;
    /// What must never be, told from this world and the one before.
    fn wrong(&self, before: &Self) -> Option<String>;
    /// What is wrong with a world in which a look changes nothing any more.
    fn stuck(&self) -> Option<String>;
    /// A round in which no fault happens and whoever is awaited does his part.
    fn goes_well(&mut self);
    /// Whether it has come to its end, or waits for a person and says so.
    fn rests(&self) -> bool;
}

/// How many worlds are looked into.
fn most_worlds() -> usize {
    let said = std::env::var("WINDLASS_MODEL_WORLDS");
    said.map_or(WORLDS, |said| {
        said.parse().expect("WINDLASS_MODEL_WORLDS is a number")
    })
}

/// By how much more than usual is searched.
pub(crate) fn further() -> usize {
    let said = std::env::var("WINDLASS_MODEL_BOUND");
    said.map_or(0, |said| {
        said.parse().expect("WINDLASS_MODEL_BOUND is a number")
    })
}

/// What was found.
pub(crate) struct Explored {
    kind: &'static str,
    pub(crate) worlds: usize,
    /// Within so many looks, crashes and events these are all; nothing where there are no others at all.
    within: Option<usize>,
    edges: usize,
    /// The most rounds until rest.
    rounds: usize,
    /// From what is said to what is said next, and what happens between.
    rows: BTreeMap<(String, String), BTreeSet<&'static str>>,
}

struct Node<M> {
    /// Until it has been looked into.
    world: Option<M>,
    from: Option<(usize, String)>,
    said: String,
    /// What is said after a look.
    after: String,
    /// After how many looks, crashes and events it is reached.
    depth: usize,
}

struct Search<M> {
    nodes: Vec<Node<M>>,
    seen: HashMap<u64, usize>,
    /// Worlds that come to rest.
    well: HashSet<u64>,
    edges: Vec<(usize, &'static str, usize)>,
    rounds: usize,
}

/// Walks all that may become of these worlds.
///
/// # Panics
///
/// If anything is wrong in one, with the history that leads there.
pub(crate) fn explore<M: Model>(worlds: Vec<M>) -> Explored {
    let mut search = Search {
        nodes: Vec::new(),
        seen: HashMap::new(),
        well: HashSet::new(),
        edges: Vec::new(),
        rounds: 0,
    };
    for world in worlds {
        search.add(world, None);
    }
    let mut at = 0;
    let most = most_worlds();
    while at < search.nodes.len().min(most) {
        search.expand(at);
        at += 1;
    }
    search.explored()
}

impl<M: Model> Search<M> {
    fn add(&mut self, world: M, from: Option<(usize, String)>) -> usize {
        let key = key(&world);
        if let Some(known) = self.seen.get(&key) {
            return *known;
        }
        let at = self.nodes.len();
        self.seen.insert(key, at);
        let depth = from
            .as_ref()
            .map_or(0, |(from, _)| self.nodes[*from].depth + 1);
        self.nodes.push(Node {
            said: world.said().unwrap_or_else(|| NEW.to_owned()),
            after: String::new(),
            world: Some(world),
            from,
            depth,
        });
        at
    }

    fn expand(&mut self, at: usize) {
        let world = self.nodes[at].world.take().expect("looked into once");
        let looked = self.goes(&world, at, "a look", |next| next.looks(usize::MAX));
        self.nodes[at].after = looked.said().unwrap_or_else(|| NEW.to_owned());
        if key(&looked) == key(&world)
            && let Some(why) = world.stuck()
        {
            self.fails(at, "a look that changes nothing", &why);
        }
        self.comes_to_rest(at, &world);
        let to = self.add(looked, Some((at, "a look".to_owned())));
        self.edges.push((at, AGAIN, to));
        for crash in 1..=world.steps() {
            let what = format!("a look, killed after {crash} steps");
            let next = self.goes(&world, at, &what, |next| next.looks(crash));
            let to = self.add(next, Some((at, what)));
            self.edges.push((at, KILLED, to));
        }
        for event in world.events() {
            let what = format!("{event:?}");
            let next = self.goes(&world, at, &what, |next| next.happens(event));
            let to = self.add(next, Some((at, what)));
            self.edges.push((at, M::words(event), to));
        }
    }

    /// The world after this, in which nothing is wrong.
    fn goes(&self, world: &M, at: usize, what: &str, change: impl FnOnce(&mut M)) -> M {
        let mut next = world.clone();
        if catch_unwind(AssertUnwindSafe(|| change(&mut next))).is_err() {
            self.fails(at, what, "the world does not let it, as it said above");
        }
        if let Some(why) = next.wrong(world) {
            self.fails(at, what, &why);
        }
        next
    }

    /// From here on no fault happens.
    fn comes_to_rest(&mut self, at: usize, world: &M) {
        let mut left = world.clone();
        let mut passed = Vec::new();
        for round in 0..=M::ROUNDS {
            let now = key(&left);
            if self.well.contains(&now) || left.rests() {
                self.rounds = self.rounds.max(round);
                passed.push(now);
                self.well.extend(passed);
                return;
            }
            passed.push(now);
            left = self.goes(&left, at, "all that goes well", M::goes_well);
        }
        let said = left.said();
        let why = format!(
            "{} rounds went well, and it is not at rest: {said:?}",
            M::ROUNDS
        );
        self.fails(at, "all that goes well", &why);
    }

    fn fails(&self, at: usize, what: &str, why: &str) -> ! {
        let mut history = vec![what.to_owned()];
        let mut from = &self.nodes[at].from;
        while let Some((before, what)) = from {
            history.push(what.clone());
            from = &self.nodes[*before].from;
        }
        history.reverse();
        panic!("{}: {why}, after:\n  {}", M::KIND, history.join("\n  "));
    }

    fn explored(self) -> Explored {
        let mut rows: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let is_open = |node: &Node<M>| node.world.is_some();
        let left = self.nodes.iter().find(|node| is_open(node));
        for (from, what, to) in &self.edges {
            let (before, next) = (&self.nodes[*from], &self.nodes[*to]);
            // What a look would have come to anyway is not by what happened; but a look by itself leads on.
            if is_open(next) {
                continue;
            }
            let is_by_it = *what == AGAIN || before.after != next.after;
            if is_by_it && next.said != next.after {
                let row = (next.said.clone(), next.after.clone());
                rows.entry(row).or_default().insert(*what);
            }
        }
        // One that was made before has its beginning elsewhere.
        let is_new = |node: &&Node<M>| node.from.is_none() && node.said == NEW;
        for first in self.nodes.iter().filter(is_new) {
            let row = (first.said.clone(), first.after.clone());
            rows.entry(row).or_default().insert("it is made");
        }
        Explored {
            kind: M::KIND,
            worlds: self.nodes.iter().filter(|node| !is_open(node)).count(),
            within: left.map(|left| left.depth - 1),
            edges: self.edges.len(),
            rounds: self.rounds,
            rows,
        }
    }
}

impl Explored {
    /// A chapter of the docs.
    fn chapter(&self) -> String {
        let within = self.within.map_or_else(
            || "all that there are".to_owned(),
            |within| {
                format!("among them all that up to {within} looks, crashes and events lead to")
            },
        );
        let mut said = format!(
            "## {}\n\n{} worlds, {within}; {} ways from one to the next; left alone, each is at rest after {} rounds at most.\n\n| what is said | what happens | what is said next |\n|---|---|---|\n",
            self.kind, self.worlds, self.edges, self.rounds
        );
        for ((from, to), what) in &self.rows {
            let what: Vec<&str> = what.iter().copied().collect();
            let _ = writeln!(said, "| {from} | {} | {to} |", what.join("; "));
        }
        said
    }

    /// Holds the chapter of the docs against what was found; with `INSTA_UPDATE=always`, writes it.
    pub(crate) fn is_in_the_docs(&self) {
        let path = format!("{}/../../docs/state-machine.md", env!("CARGO_MANIFEST_DIR"));
        let docs = std::fs::read_to_string(&path).expect("docs/state-machine.md");
        let found = self.chapter();
        println!("{}", &found[..found.find('|').unwrap_or(0)]);
        if further() > 0 || most_worlds() != WORLDS {
            return;
        }
        let start = format!("## {}\n", self.kind);
        let from = docs.find(&start).expect("a chapter of this kind");
        let rest = &docs[from + start.len()..];
        let until = rest
            .find("\n## ")
            .map_or(docs.len(), |end| from + start.len() + end + 1);
        let known = docs[from..until].trim_end();
        if known == found.trim_end() {
            return;
        }
        if std::env::var("INSTA_UPDATE").is_ok_and(|said| said == "always") {
            let gap = if until == docs.len() { "" } else { "\n" };
            let all = format!("{}{found}{gap}{}", &docs[..from], &docs[until..]);
            std::fs::write(&path, all).expect("docs/state-machine.md");
            return;
        }
        let known: BTreeSet<&str> = known.lines().collect();
        let now: BTreeSet<&str> = found.lines().collect();
        let more: Vec<_> = now.difference(&known).collect();
        let less: Vec<_> = known.difference(&now).collect();
        panic!(
            "{}: docs/state-machine.md differs from what the planner does; write it anew with INSTA_UPDATE=always and --test-threads=1.\nnew: {more:#?}\ngone: {less:#?}",
            self.kind
        );
    }
}

fn key(world: &impl Model) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.state().to_string().hash(&mut hasher);
    hasher.finish()
}

/// A status as a state has it: without words, and without when what is said began, which no decision reads.
pub(crate) fn status(status: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(status).expect("JSON");
    let Value::Object(fields) = &mut value else {
        return value;
    };
    for said in fields
        .get_mut("conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Value::Object(said) = said {
            said.retain(|name, _| ["type", "status", "reason"].contains(&name.as_str()));
        }
    }
    fields.retain(|name, _| name != "observedGeneration");
    value
}

/// Every time in it as its age; past the oldest, all are alike.
pub(crate) fn aged(value: &mut Value, now: jiff::Timestamp, oldest: i64) {
    match value {
        Value::String(text) => {
            let is_like = text.len() >= 20 && text.ends_with('Z') && text.as_bytes()[4] == b'-';
            if is_like && let Ok(time) = text.parse::<jiff::Timestamp>() {
                let age = now.duration_since(time).as_secs();
                *text = age.clamp(-oldest, oldest).to_string();
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| aged(one, now, oldest)),
        Value::Object(all) => all.values_mut().for_each(|one| aged(one, now, oldest)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The phase, and the reasons of these conditions.
pub(crate) fn said(
    phase: Option<&String>,
    conditions: &[Condition],
    types: &[&str],
) -> Option<String> {
    let reasons = types.iter().filter_map(|type_| {
        let found = find_condition(conditions, type_)?;
        Some(format!("{type_} {}: {}", found.status, found.reason))
    });
    let all: Vec<String> = phase.cloned().into_iter().chain(reasons).collect();
    (!all.is_empty()).then(|| all.join(" · "))
}

/// What is wrong with what is said of an object that does not change by itself any more; `is_awaited` is whether anything is
/// under way, or it is looked at again.
pub(crate) fn unexplained(conditions: &[Condition], is_awaited: bool) -> Option<String> {
    let Some(ready) = find_condition(conditions, condition::READY) else {
        return Some("nothing is said".to_owned());
    };
    let is = |type_| is_true(conditions, type_);
    let (gets_on, stalls) = (is(condition::RECONCILING), is(condition::STALLED));
    if ready.reason.is_empty() || ready.message.is_empty() {
        return Some("it does not say why".to_owned());
    }
    if ready.status != "True" && !gets_on && !stalls && !is(condition::SUSPENDED) {
        return Some(format!(
            "it is not ready ({}), and says neither that it gets on nor what stands against it",
            ready.reason
        ));
    }
    (gets_on && !is_awaited).then(|| {
        format!(
            "it says that it gets on ({}), and waits for nothing",
            ready.reason
        )
    })
}
