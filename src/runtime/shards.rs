//! Shards: operators beside each other, each of which works in the namespaces that a label gives to it.
//!
//! ```text
//!   namespaces, by their label windlass.dev/shard ──> ours │ another's │ ours soon
//!                                                      │         │            │ a while after the label changed
//!                    objects of it are taken in <──────┘         │            │
//!                                                        left out ┘            └─> begins anew, with it
//! ```
//!
//! An operator that loses a namespace stops at once and begins anew without it; the one that gains it waits until the other
//! must have stopped, as long as a Lease holds without being renewed: so no object is worked on by two. A namespace that is
//! new was nobody's before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watcher_of};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use windlass_api::labels::SHARD;

use super::lease;

/// How long after its label changed a namespace is another operator's: longer than a Lease holds without being renewed.
const SETTLES: Duration = Duration::from_secs(20);
/// How long an object waits until its namespace is known: the watch of namespaces is behind that of objects, or it is gone.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// The Lease of the operator without a shard.
const LEASE: &str = "windlass";
/// On it: the shards that it has left namespaces to, with commas.
const LEFT: &str = "windlass.dev/shards";
/// How long a request may take, and how often one is made of what is waited for.
const REQUEST: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_secs(1);

/// What a watch brings.
type Brought<K> = watcher::Result<Event<K>>;

/// Which namespaces are one operator's.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
#[group(skip)]
pub struct Arguments {
    /// All shards that have an operator of their own, with commas. Each works in the namespaces with the label
    /// windlass.dev/shard of its name, and the operator without --shard in all others.
    #[arg(long, env = "WINDLASS_SHARDS", value_delimiter = ',', value_parser = name, conflicts_with = "watch_namespaces")]
    shards: Vec<String>,
    /// Which of --shards this operator is.
    #[arg(long, env = "WINDLASS_SHARD", value_parser = name, requires = "shards")]
    shard: Option<String>,
}

impl Arguments {
    /// What is wrong between the arguments.
    ///
    /// # Errors
    /// A shard that is not among all.
    pub fn check(&self) -> anyhow::Result<()> {
        let Some(name) = self
            .shard
            .as_ref()
            .filter(|name| !self.shards.contains(name))
        else {
            return Ok(());
        };
        let all = self.shards.join(",");
        anyhow::bail!(
            "--shard {name} is not one of --shards {all}: name it there, for every operator"
        )
    }

    /// The name of the Lease by which one replica of this shard leads.
    pub fn lease(&self) -> String {
        let shard = self.shard.as_deref();
        shard.map_or_else(|| LEASE.to_owned(), lease_of)
    }

    /// Waits, where this operator has just begun to lead, until every other has stopped that worked in namespaces that are
    /// its now. The Lease of the operator without a shard says which shards it has left namespaces to (`before`: what it said
    /// when it was taken).
    pub async fn handed_over(
        &self,
        client: &Client,
        namespace: &str,
        before: &BTreeMap<String, String>,
    ) {
        match &self.shard {
            Some(mine) => self.left_to(mine, client, namespace).await,
            None => self.leave(client, namespace, before).await,
        }
    }

    /// Until the operator without a shard has left its namespaces to this one.
    async fn left_to(&self, mine: &str, client: &Client, namespace: &str) {
        loop {
            match timeout(REQUEST, lease::annotations(client, namespace, LEASE)).await {
                Ok(Ok(said)) if left(&said).any(|shard| shard == mine) => return,
                Ok(Ok(_)) => tracing::info!(
                    shard = mine,
                    "the operator without a shard has not left its namespaces to this one yet"
                ),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the Lease of the operator without a shard cannot be read");
                }
                Err(_) => tracing::warn!("the API server does not answer"),
            }
            sleep(LOOK).await;
        }
    }

    /// Until shards that are no more have stopped; then says which there are.
    async fn leave(&self, client: &Client, namespace: &str, before: &BTreeMap<String, String>) {
        for gone in left(before).filter(|shard| !self.shards.iter().any(|one| one == shard)) {
            tracing::info!(
                shard = gone,
                "waiting until a shard that is no more has stopped"
            );
            lease::free(client, namespace, &lease_of(gone)).await;
        }
        let now = self.shards.join(",");
        while before.get(LEFT).map_or("", String::as_str) != now {
            match timeout(
                REQUEST,
                lease::annotate(client, namespace, LEASE, (LEFT, &now)),
            )
            .await
            {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "which shards there are cannot be written to the Lease");
                }
                Err(_) => tracing::warn!("the API server does not answer"),
            }
            sleep(LOOK).await;
        }
    }

    fn is_of(&self, label: Option<&String>) -> bool {
        let named = label.filter(|label| self.shards.contains(label));
        named == self.shard.as_ref()
    }
}

fn lease_of(shard: &str) -> String {
    format!("{LEASE}-{shard}")
}

/// The shards that the operator without one has left namespaces to.
fn left(said: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let shards = said.get(LEFT).into_iter();
    shards
        .flat_map(|shards| shards.split(','))
        .filter(|shard| !shard.is_empty())
}

/// A value of a label that is a part of a Lease's name too.
fn name(text: &str) -> Result<String, String> {
    let is_word = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit();
    let inner = text.chars().all(|one| is_word(one) || one == '-');
    if inner && text.len() <= 20 && text.starts_with(is_word) && text.ends_with(is_word) {
        return Ok(text.to_owned());
    }
    Err(
        "a shard's name has 1 to 20 of a-z, 0-9 and -, and neither begins nor ends with -"
            .to_owned(),
    )
}

/// Whose a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Ours,
    Anothers,
    /// Ours from then on.
    Soon(Instant),
}

/// What is known of namespaces.
#[derive(Debug, Default)]
struct Known {
    all: HashMap<String, Whose>,
    /// Those that were deleted: what was in them goes later, or is told later.
    gone: HashSet<String>,
    is_listed: bool,
    /// When one that was ours was seen not to be any more.
    lost: Option<Instant>,
}

/// The namespaces of a shard, as they are known; all of them where there is one operator.
#[derive(Clone, Default)]
pub struct Shard(Option<Arc<watch::Sender<Known>>>);

impl Shard {
    /// The shard, and the watch of namespaces that fills it (to be polled).
    pub fn new(
        arguments: &Arguments,
        client: &Client,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let shard = Self((!arguments.shards.is_empty()).then(Arc::default));
        let (mine, arguments, client) = (shard.0.clone(), arguments.clone(), client.clone());
        let follow = async move {
            match mine {
                Some(known) => follow(&known, &arguments, client).await,
                None => pending().await,
            }
        };
        (shard, follow)
    }

    /// Whether objects of a namespace are to be taken in. Waits for a moment for one that is not known yet.
    pub async fn takes(&self, namespace: &str) -> bool {
        let Some(known) = &self.0 else {
            return true;
        };
        let mut known = known.subscribe();
        let _ = known.wait_for(|known| known.is_listed).await;
        let found = known.wait_for(|known| known.all.contains_key(namespace));
        match timeout(KNOWN_WITHIN, found).await {
            Ok(Ok(known)) => known.all.get(namespace) == Some(&Whose::Ours),
            // It was deleted, with all that is in it.
            _ => false,
        }
    }

    /// What a watch brings, less what is of others' namespaces.
    pub fn of<K: Resource, S: Stream<Item = Brought<K>>>(
        &self,
        brings: S,
    ) -> impl Stream<Item = Brought<K>> + use<K, S> {
        let shard = self.clone();
        brings.filter_map(move |event| {
            let shard = shard.clone();
            async move {
                let of = match &event {
                    _ if shard.0.is_none() => None,
                    Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                        object.namespace()
                    }
                    Ok(Event::Init | Event::InitDone) | Err(_) => None,
                };
                match of {
                    Some(namespace) if !shard.takes(&namespace).await => None,
                    _ => Some(event),
                }
            }
        })
    }

    /// Resolves when the shard's namespaces are others than those whose objects were taken in: one was lost, or one that was
    /// another's is ours by now.
    pub async fn changed(&self) {
        let Some(known) = &self.0 else {
            return pending().await;
        };
        let mut news = known.subscribe();
        loop {
            let at = news.borrow_and_update().begins_anew();
            let comes = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = comes => {
                    tracing::info!("this shard has other namespaces now");
                    return;
                }
                changed = news.changed() => if changed.is_err() {
                    return pending().await;
                },
            }
        }
    }
}

async fn follow(known: &watch::Sender<Known>, arguments: &Arguments, client: Client) {
    let api = Api::<PartialObjectMeta<Namespace>>::all(client);
    let mut events = watcher_of(api, Config::default().page_size(200))
        .default_backoff()
        .boxed();
    loop {
        match events.try_next().await {
            Ok(Some(event)) => {
                known.send_if_modified(|known| {
                    known.learn(arguments, event, Timestamp::now(), Instant::now())
                });
            }
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the namespaces cannot be watched, which is tried again");
            }
        }
    }
}

impl Known {
    /// When the operator has to begin anew.
    fn begins_anew(&self) -> Option<Instant> {
        let soon = self.all.values().filter_map(|whose| match whose {
            Whose::Soon(at) => Some(*at),
            Whose::Ours | Whose::Anothers => None,
        });
        // With the last of them, the others come as well.
        self.lost.or(soon.max())
    }

    /// Learns what the watch brings; whether that is news.
    fn learn(
        &mut self,
        arguments: &Arguments,
        event: Event<PartialObjectMeta<Namespace>>,
        time: Timestamp,
        now: Instant,
    ) -> bool {
        match event {
            // A later list comes after a gap: who has gone in it has no objects that could be taken in.
            Event::Init => false,
            Event::InitDone => !std::mem::replace(&mut self.is_listed, true),
            Event::Delete(namespace) => {
                self.gone.insert(namespace.name_any());
                false
            }
            Event::InitApply(namespace) | Event::Apply(namespace) => {
                let is_ours = arguments.is_of(namespace.labels().get(SHARD));
                let name = namespace.name_any();
                let is_another = self.gone.remove(&name);
                let whose = match self.all.get(&name).filter(|_| !is_another) {
                    _ if !is_ours => Whose::Anothers,
                    Some(Whose::Anothers) => Whose::Soon(now + SETTLES),
                    Some(before) => *before,
                    None => match settles(&namespace.metadata, time) {
                        Some(rest) => Whose::Soon(now + rest),
                        None => Whose::Ours,
                    },
                };
                let before = self.all.insert(name, whose);
                if before == Some(Whose::Ours) && whose == Whose::Anothers {
                    self.lost = self.lost.or(Some(now));
                }
                before != Some(whose)
            }
        }
    }
}

/// How long one that is seen for the first time may still be another operator's: somebody changed it a moment ago, and it
/// had been there before.
fn settles(namespace: &ObjectMeta, now: Timestamp) -> Option<Duration> {
    let created = namespace.creation_timestamp.as_ref()?.0;
    let entries = namespace.managed_fields.iter().flatten();
    let labels = entries.filter(|entry| entry.subresource.is_none());
    let changed = labels
        .filter_map(|entry| Some(entry.time.as_ref()?.0))
        .max()?;
    if changed <= created {
        return None;
    }
    let since = Duration::try_from(now.duration_since(changed)).unwrap_or_default();
    SETTLES.checked_sub(since).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
        /// Stands for that of the operator.
        #[arg(long)]
        watch_namespaces: Vec<String>,
    }

    fn parsed(arguments: &[&str]) -> Result<Arguments, String> {
        let parsed = Command::try_parse_from([&["windlass"], arguments].concat());
        let arguments = parsed.map_err(|error| error.to_string())?.arguments;
        let checked = arguments.check().map_err(|error| error.to_string());
        checked.map(|()| arguments)
    }

    fn of(shard: &str) -> Arguments {
        let which: &[&str] = if shard.is_empty() {
            &[]
        } else {
            &["--shard", shard]
        };
        parsed(&[&["--shards", "a,b"], which].concat()).expect("arguments")
    }

    /// The time of the tests.
    fn now() -> Timestamp {
        "2026-10-01T00:01:00Z".parse().expect("a time")
    }

    /// A namespace that was made, and whose labels were changed, so many seconds ago.
    fn namespace(
        label: Option<&str>,
        made: u64,
        changed: u64,
    ) -> Event<PartialObjectMeta<Namespace>> {
        let time = |ago: u64| (now() - Duration::from_secs(ago)).to_string();
        let labels = label.map(|label| json!({(SHARD): label}));
        let object = json!({"metadata": {
            "name": "growth", "creationTimestamp": time(made), "labels": labels,
            "managedFields": [
                {"manager": "kubectl", "operation": "Update", "time": time(changed)},
                {"manager": "somebody", "operation": "Update", "time": time(0), "subresource": "status"},
            ],
        }});
        Event::Apply(serde_json::from_value(object).expect("a namespace"))
    }

    /// What is known after these were learnt one after the other, with what each said was news.
    fn learnt(
        arguments: &Arguments,
        events: Vec<Event<PartialObjectMeta<Namespace>>>,
        at: Instant,
    ) -> (Known, Vec<bool>) {
        let mut known = Known::default();
        let news = events
            .into_iter()
            .map(|event| known.learn(arguments, event, now(), at))
            .collect();
        (known, news)
    }

    #[test]
    fn a_shard_is_one_of_all_and_a_part_of_a_lease_s_name() {
        assert_eq!(of("a").lease(), "windlass-a");
        assert_eq!(of("").lease(), "windlass");
        let rows: [(&[&str], &str); 5] = [
            (
                &["--shards", "a,b", "--shard", "c"],
                "--shard c is not one of --shards a,b",
            ),
            (&["--shard", "a"], "--shards"),
            (&["--shards", "a,B"], "a-z, 0-9 and -"),
            (&["--shards", "a,-b"], "neither begins nor ends with -"),
            (
                &["--shards", "a", "--watch-namespaces", "growth"],
                "cannot be used with",
            ),
        ];
        for (arguments, expected) in rows {
            let said = parsed(arguments).expect_err(expected);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_namespace_is_of_one_shard_alone() {
        for label in [None, Some("a"), Some("b"), Some("unknown")] {
            let whose = |shard: &str| {
                learnt(&of(shard), vec![namespace(label, 90, 90)], Instant::now())
                    .0
                    .all["growth"]
            };
            let ours = ["", "a", "b"].map(|shard| whose(shard) == Whose::Ours);
            assert_eq!(
                ours.iter().filter(|ours| **ours).count(),
                1,
                "{label:?}: {ours:?}"
            );
        }
    }

    #[test]
    fn one_that_moves_is_left_at_once_and_begun_with_when_the_other_must_have_stopped() {
        let at = Instant::now();
        let moves = || vec![namespace(None, 90, 90), namespace(Some("a"), 90, 0)];
        let (left, news) = learnt(&of(""), moves(), at);
        assert_eq!(
            (left.begins_anew(), left.all["growth"], news),
            (Some(at), Whose::Anothers, vec![true, true])
        );
        let (gained, news) = learnt(&of("a"), moves(), at);
        let whose = gained.all["growth"];
        assert_eq!(
            (gained.begins_anew(), whose, news),
            (
                Some(at + SETTLES),
                Whose::Soon(at + SETTLES),
                vec![true, true]
            )
        );
        let (not_asked, news) = learnt(&of("b"), moves(), at);
        assert_eq!(
            (not_asked.begins_anew(), not_asked.all["growth"], news),
            (None, Whose::Anothers, vec![true, false])
        );
        // It goes back before it was begun with.
        let back = [moves(), vec![namespace(None, 90, 0)]].concat();
        let (back, _) = learnt(&of("a"), back, at);
        assert_eq!(
            (back.begins_anew(), back.all["growth"]),
            (None, Whose::Anothers)
        );
    }

    #[test]
    fn one_that_may_have_moved_before_it_was_seen_is_begun_with_later() {
        let at = Instant::now();
        let first = |made, changed| {
            learnt(&of("a"), vec![namespace(Some("a"), made, changed)], at)
                .0
                .all["growth"]
        };
        assert_eq!(first(5, 5), Whose::Ours, "it is new");
        assert_eq!(first(90, 90), Whose::Ours);
        assert_eq!(first(90, 20), Whose::Ours, "the other has stopped by now");
        assert_eq!(
            first(90, 5),
            Whose::Soon(at + SETTLES - Duration::from_secs(5))
        );
    }

    #[test]
    fn one_that_is_made_again_is_nobody_s_and_what_was_in_the_one_before_still_goes() {
        let at = Instant::now();
        let gone = |label| {
            let Event::Apply(namespace) = namespace(label, 90, 90) else {
                unreachable!()
            };
            Event::Delete(namespace)
        };
        let (known, _) = learnt(
            &of("a"),
            vec![namespace(Some("a"), 90, 90), gone(Some("a"))],
            at,
        );
        assert_eq!(known.all["growth"], Whose::Ours);
        let again = vec![
            namespace(None, 90, 90),
            gone(None),
            namespace(Some("a"), 1, 1),
        ];
        assert_eq!(learnt(&of("a"), again, at).0.all["growth"], Whose::Ours);
    }

    #[tokio::test]
    async fn objects_wait_for_their_namespace() {
        let known = Arc::<watch::Sender<Known>>::default();
        let shard = Shard(Some(known.clone()));
        let learn = |event| {
            known.send_if_modified(|known| known.learn(&of("a"), event, now(), Instant::now()))
        };
        let waits = async |namespace| {
            let taken = shard.takes(namespace);
            timeout(Duration::from_millis(50), taken).await.is_err()
        };
        assert!(waits("growth").await, "nothing is listed");
        learn(namespace(Some("a"), 90, 90));
        assert!(waits("growth").await, "not all are listed");
        learn(Event::InitDone);
        assert!(shard.takes("growth").await);
        assert!(
            waits("unknown").await,
            "the watch of namespaces may be behind"
        );
        learn(namespace(Some("b"), 90, 90));
        assert!(!shard.takes("growth").await);
        assert!(Shard::default().takes("any").await, "one operator has all");
    }
}
