//! Watches of a few namespaces, as one watch of all of them would be.
//!
//! ```text
//!   growth: list, changes, list, …  ──┐
//!   risk:   list, changes, …        ──┴──> one list of both, then changes: a later list of one is told as what it changed
//! ```
//!
//! A store knows one list at a time. So the first lists come one after the other, as one; nothing of a namespace is told
//! as a change before all are listed.

use std::collections::{BTreeSet, VecDeque};

use futures::stream::{self, BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};

use super::kept::Form;
use super::stores::Cache;

/// What a watch brings.
type Brought<K> = watcher::Result<Event<K>>;
/// What any of several watches brings, with the place of the watch.
type Together<K> = SelectAll<BoxStream<'static, (usize, Brought<K>)>>;

/// The watch of one namespace.
pub(super) struct Watch<K> {
    namespace: String,
    brings: BoxStream<'static, Brought<K>>,
    /// Names that the list under way, or the last one, has.
    listed: BTreeSet<String>,
}

impl<K> Watch<K> {
    /// A watch, and the namespace that it is of.
    pub fn new(namespace: &str, brings: impl Stream<Item = Brought<K>> + Send + 'static) -> Self {
        Self {
            namespace: namespace.to_owned(),
            brings: brings.boxed(),
            listed: BTreeSet::new(),
        }
    }
}

/// The watches as one. `known` is the cache that is filled from it.
pub(super) fn merged<K, F>(
    watches: Vec<Watch<K>>,
    known: Cache<K, F>,
) -> impl Stream<Item = Brought<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    F: Form<K>,
{
    let merged = Merged {
        known,
        unlisted: watches.into(),
        listed: Vec::new(),
        told: BTreeSet::new(),
        gone: Vec::new(),
        together: None,
        ready: VecDeque::from([Ok(Event::Init)]),
    };
    stream::unfold(merged, async |mut merged| {
        let brought = merged.next().await?;
        Some((brought, merged))
    })
}

struct Merged<K, F: Form<K>> {
    known: Cache<K, F>,
    /// The first is listed now.
    unlisted: VecDeque<Watch<K>>,
    listed: Vec<Watch<K>>,
    /// Names that were told of the namespace that is listed now.
    told: BTreeSet<String>,
    /// What was told of first lists and was gone before they ended, by namespace and name.
    gone: Vec<(String, String)>,
    /// Once all are listed: what they bring, each with the place of its watch.
    together: Option<Together<K>>,
    ready: VecDeque<Brought<K>>,
}

impl<K, F> Merged<K, F>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    F: Form<K>,
{
    async fn next(&mut self) -> Option<Brought<K>> {
        loop {
            if let Some(brought) = self.ready.pop_front() {
                return Some(brought);
            }
            let Some(together) = &mut self.together else {
                self.list().await?;
                continue;
            };
            // The store shows by now what the first lists brought.
            for (namespace, name) in std::mem::take(&mut self.gone) {
                let known = self.known.get(&namespace, &name);
                self.ready
                    .extend(known.map(|known| Ok(Event::Delete(K::clone(&known)))));
            }
            if self.ready.is_empty() {
                let (at, brought) = together.next().await?;
                self.take(at, brought);
            }
        }
    }

    /// Goes on with the first list of a namespace, or from the last of them to what comes afterwards.
    async fn list(&mut self) -> Option<()> {
        let Some(watch) = self.unlisted.front_mut() else {
            self.ready.push_back(Ok(Event::InitDone));
            let each = self.listed.iter_mut().enumerate().map(|(at, watch)| {
                let brings = std::mem::replace(&mut watch.brings, stream::empty().boxed());
                brings.map(move |brought| (at, brought)).boxed()
            });
            self.together = Some(stream::select_all(each));
            return Some(());
        };
        match watch.brings.next().await? {
            // Again, where the list broke off.
            Ok(Event::Init) => watch.listed.clear(),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                watch.listed.insert(object.name_any());
                self.told.insert(object.name_any());
                self.ready.push_back(Ok(Event::InitApply(object)));
            }
            Ok(Event::Delete(object)) => {
                watch.listed.remove(&object.name_any());
            }
            Ok(Event::InitDone) => {
                let told = std::mem::take(&mut self.told);
                let gone = told.difference(&watch.listed);
                self.gone
                    .extend(gone.map(|name| (watch.namespace.clone(), name.clone())));
                self.listed.extend(self.unlisted.pop_front());
            }
            Err(error) => self.ready.push_back(Err(error)),
        }
        Some(())
    }

    /// Takes what one of the watches brings: a list of it is told as what it changed.
    fn take(&mut self, at: usize, brought: Brought<K>) {
        let watch = &mut self.listed[at];
        match brought {
            Ok(Event::Init) => watch.listed.clear(),
            Ok(Event::InitApply(object)) => {
                watch.listed.insert(object.name_any());
                self.ready.push_back(Ok(Event::Apply(object)));
            }
            Ok(Event::InitDone) => {
                let mut gone = self.known.within(&watch.namespace);
                gone.retain(|object| !watch.listed.contains(&object.name_any()));
                let gone = gone
                    .iter()
                    .map(|object| Ok(Event::Delete(K::clone(object))));
                self.ready.extend(gone);
            }
            other => self.ready.push_back(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use futures::channel::mpsc::{UnboundedSender, unbounded};
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::reflector::store::Writer;

    use super::*;

    fn service(namespace: &str, name: &str) -> Service {
        let mut service = Service::default();
        service.metadata.namespace = Some(namespace.to_owned());
        service.metadata.name = Some(name.to_owned());
        service
    }

    /// What is in the store after each event, until nothing more comes.
    fn follow(
        stream: &mut (impl Stream<Item = Brought<Service>> + Unpin),
        cache: &Cache<Service>,
        writer: &mut Writer<Service>,
    ) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(Some(brought)) = stream.next().now_or_never() {
            let event = brought.expect("an event");
            told.push(match &event {
                Event::Init => "init".to_owned(),
                Event::InitApply(object) => format!("list {}", object.name_any()),
                Event::InitDone => "listed".to_owned(),
                Event::Apply(object) => format!("apply {}", object.name_any()),
                Event::Delete(object) => format!("delete {}", object.name_any()),
            });
            writer.apply_watcher_event(&event);
        }
        cache.has_changed();
        told
    }

    #[test]
    fn two_namespaces_are_one_list_and_a_later_list_of_one_leaves_the_other_alone() {
        let (cache, mut writer, _) = Cache::<Service>::new();
        let (growth, growth_brings) = unbounded();
        let (risk, risk_brings) = unbounded();
        let watches = vec![
            Watch::new("growth", growth_brings),
            Watch::new("risk", risk_brings),
        ];
        let mut stream = std::pin::pin!(merged(watches, cache.clone()));
        let list = |sender: &UnboundedSender<_>, namespace, names: &[&str]| {
            sender.unbounded_send(Ok(Event::Init)).expect("open");
            for name in names {
                let object = service(namespace, name);
                let event = Ok(Event::InitApply(object));
                sender.unbounded_send(event).expect("open");
            }
        };
        let done = |sender: &UnboundedSender<_>| {
            sender.unbounded_send(Ok(Event::InitDone)).expect("open");
        };

        // One that is quick waits for one that is slow; a list that broke off is told from its beginning.
        list(&risk, "risk", &["c"]);
        done(&risk);
        let change = Ok(Event::Apply(service("risk", "d")));
        risk.unbounded_send(change).expect("open");
        list(&growth, "growth", &["a", "b"]);
        let told = follow(&mut stream, &cache, &mut writer);
        assert_eq!(told, ["init", "list a", "list b"]);
        list(&growth, "growth", &["a"]);
        done(&growth);
        let told = follow(&mut stream, &cache, &mut writer);
        assert_eq!(told, ["list a", "list c", "listed", "delete b", "apply d"]);

        // What went while a watch was away is gone, in its own namespace alone; also what is kept beside the store.
        for namespace in ["growth", "risk"] {
            let place = (namespace.to_owned(), "churn".to_owned());
            cache.shelf.put(&place, &service(namespace, "churn-60"));
        }
        list(&risk, "risk", &["d", "e"]);
        done(&risk);
        let told = follow(&mut stream, &cache, &mut writer);
        let expected = ["apply d", "apply e", "delete c", "delete churn-60"];
        assert_eq!(told, expected);
        let mut names: Vec<_> = cache.store.state().iter().map(|it| it.name_any()).collect();
        names.sort();
        assert_eq!(names, ["a", "d", "e"]);
    }
}
