//! What a watch brings goes into the store; then it is told to those that it is news for, and what nobody will ask for
//! again is forgotten.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedReceiver;
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event};
use kube::{Resource, ResourceExt};
use tokio::sync::watch;
use windlass_api::{TrainingJob, labels};

use super::controller::words;
use super::index::same_others;
use super::kept::{Fact, Form};
use super::metrics::Metrics;
use super::shelf::{self, Place};
use super::stores::{Cache, OurCache};

/// Objects that are looked at in one turn.
const TURN: usize = 64;

/// Whether an object has ended.
pub(super) type HasEnded<K> = fn(&K) -> bool;
/// Whether two states of an object differ in what is kept.
pub(super) type Differs<K> = fn(&K, &K) -> bool;

/// Whether two states of an object differ in more than that one is the later.
pub(super) fn differs<K: ResourceExt + Clone + PartialEq>(before: &K, now: &K) -> bool {
    let mut before = before.clone();
    before.meta_mut().resource_version = now.resource_version();
    before != *now
}

/// Fills a store from a watch, and tells whom it concerns, after the store shows it.
pub(super) struct Follower<K, F: Form<K>, T> {
    pub cache: Cache<K, F>,
    pub writer: Writer<F>,
    pub metrics: Metrics,
    pub has_ended: Option<HasEnded<K>>,
    pub differs: Option<Differs<K>>,
    pub training_jobs: OurCache<TrainingJob>,
    /// Whether these have been listed once.
    pub are_listed: watch::Sender<bool>,
    pub touch: T,
}

impl<K, F, T> Follower<K, F, T>
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
    F: Form<K>,
    T: Fn(&K) + Send,
{
    /// Follows it until it ends. `to_let_go` are TrainingJobs, by namespace and name, that are finished.
    pub async fn follow(
        mut self,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send,
        mut to_let_go: UnboundedReceiver<(String, String)>,
    ) {
        let kind = K::kind(&()).into_owned();
        if self.has_ended.is_some() {
            // Which of them are left behind is known by then: they are never all in memory at once.
            // Not by `Store::wait_until_ready`, which wakes one of those that wait.
            let _ = self.are_listed.subscribe().wait_for(|are| *are).await;
        }
        let mut stream = std::pin::pin!(stream);
        loop {
            tokio::select! {
                event = stream.next() => match event {
                    // What cannot be taken in is left alone: the others of its kind are not to go without for it.
                    Some(Ok(event)) => {
                        let taken = AssertUnwindSafe(self.take(event)).catch_unwind().await;
                        if let Err(panic) = taken {
                            self.metrics.unreadable(&kind);
                            let said = words(&*panic);
                            tracing::error!(kind, said, "a fault in the operator: what a watch brought is left alone; please report it");
                        }
                    }
                    Some(Err(error)) => {
                        self.metrics.watch_failed(&kind);
                        tracing::warn!(kind, %error, "a watch failed and is taken up again");
                    }
                    None => return,
                },
                Some((namespace, name)) = to_let_go.next() => self.let_go(&namespace, &name),
            }
        }
    }

    async fn take(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) if self.is_left_behind(&object) => self.forget(&object),
            Event::Apply(object) => match self.place(&object) {
                Some(place) => self.set_aside(&place, &object),
                None => self.keep(object),
            },
            Event::InitApply(object) if self.is_left_behind(&object) => {}
            Event::InitApply(object) => {
                if let Some(place) = self.place(&object) {
                    self.cache.shelf.list(&place, &object);
                    return;
                }
                let (namespace, name) = identity(&object);
                let (kept, _) = F::keep(object);
                self.index(&namespace, &name, &kept.found_by());
                self.store(&Event::InitApply(kept));
            }
            Event::Delete(object) => {
                self.forget(&object);
                if !self.is_left_behind(&object) {
                    (self.touch)(&object);
                }
            }
            Event::Init => {
                self.cache.shelf.begin();
                self.store(&Event::Init);
            }
            Event::InitDone => self.listed().await,
        }
    }

    /// Keeps an object by itself, and tells whom it concerns.
    fn keep(&mut self, object: K) {
        let (namespace, name) = identity(&object);
        if let Some(place) = shelf::place(&object) {
            self.cache.shelf.take(&place, &name);
        }
        let (kept, object) = F::keep(object);
        let before = self.index(&namespace, &name, &kept.found_by());
        let is_same = before.as_ref().and_then(|before| before.is_same(&kept));
        self.store(&Event::Apply(kept));
        let Some(now) = object.or_else(|| self.cache.get(&namespace, &name)) else {
            return;
        };
        let is_news = match (self.differs, before) {
            (Some(differs), Some(before)) => {
                is_same.map_or_else(|| differs(&before.object(), &now), |is_same| !is_same)
            }
            _ => true,
        };
        if is_news {
            (self.touch)(&now);
        }
    }

    /// Keeps what has ended of a window with the others of its monitor, and tells whom it concerns.
    fn set_aside(&mut self, place: &Place, object: &K) {
        let (namespace, name) = identity(object);
        let stored = self.cache.stored(&namespace, &name);
        let shelved = self.cache.shelf.put(place, object);
        if let Some(stored) = &stored {
            (self.cache.index).remove(&namespace, &name, &stored.found_by());
            let stored = F::clone(stored);
            self.writer.apply_watcher_event(&Event::Delete(stored));
        }
        self.cache.has_changed();
        let before = shelved.map(Arc::new);
        let before = before.or_else(|| stored.map(|stored| stored.object()));
        let is_news = match (self.differs, before) {
            (Some(differs), Some(before)) => differs(&before, object),
            _ => true,
        };
        if is_news {
            (self.touch)(object);
        }
    }

    /// Where an object is kept that has ended and is of a monitor's window; nothing of all others.
    fn place(&self, object: &K) -> Option<Place> {
        let has_ended = self.has_ended?;
        let is_of_window = label(object, labels::ROLE) == Some("drift") && has_ended(object);
        let place = shelf::place(object).filter(|_| is_of_window)?;
        // It is found by this alone.
        (label(object, labels::MONITOR) == Some(place.1.as_str())).then_some(place)
    }

    /// Brings an event into the store, and tells those who wait for it.
    fn store(&mut self, event: &Event<F>) {
        self.writer.apply_watcher_event(event);
        self.cache.has_changed();
    }

    /// Notes what an object is found by from now on; what it was before.
    fn index(&self, namespace: &str, name: &str, found_by: &[Fact]) -> Option<Arc<F>> {
        let before = self.cache.stored(namespace, name);
        if let Some(before) = &before {
            let found_before = before.found_by();
            if *found_before == *found_by {
                return Some(before.clone());
            }
            self.cache.index.remove(namespace, name, &found_before);
            if !same_others(&found_before, found_by) {
                // News for those that it no longer has to do with, too.
                (self.touch)(&before.object());
            }
        }
        self.cache.index.insert(namespace, name, found_by);
        before
    }

    /// What changed while the watch was away is seen only by looking at everything once, and at what is gone. Others have
    /// their turns in between: it takes seconds where there is much.
    async fn listed(&mut self) {
        // The store shows what a list brings only when the list is whole; until then it shows what was there before.
        let before = self.cache.store.state();
        let gone = self.cache.shelf.end();
        self.store(&Event::InitDone);
        if K::kind(&()) == TrainingJob::kind(&()) {
            self.are_listed.send_replace(true);
        }
        for before in before {
            let (namespace, name) = identity(&*before);
            if self.cache.stored(&namespace, &name).is_none() {
                let found_by = before.found_by();
                self.cache.index.remove(&namespace, &name, &found_by);
                (self.touch)(&before.object());
            }
        }
        for object in &gone {
            (self.touch)(object);
        }
        let stored = self.cache.store.state().into_iter();
        let stored = stored.map(|kept| kept.object());
        // What there is of a monitor is news for that one, once.
        let ended = self.cache.shelf.clone();
        let places = ended.places().into_iter();
        let shelved = places.filter_map(|(namespace, monitor)| {
            let one = ended.of(&namespace, &monitor).into_iter().next();
            one.map(Arc::new)
        });
        for (number, object) in stored.chain(shelved).enumerate() {
            (self.touch)(&object);
            if number % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether an object has ended and is of a TrainingJob that is finished: nothing will be decided on it any more.
    fn is_left_behind(&self, object: &K) -> bool {
        let Some(has_ended) = self.has_ended else {
            return false;
        };
        if label(object, labels::ROLE) != Some("training") || !has_ended(object) {
            return false;
        }
        let namespace = object.meta().namespace.as_deref().unwrap_or_default();
        label(object, labels::TRAINING_JOB)
            .and_then(|name| self.training_jobs.kept(namespace, name))
            .is_some_and(|job| job.is_finished())
    }

    /// Forgets what has ended of a TrainingJob that is finished.
    fn let_go(&mut self, namespace: &str, training_job: &str) {
        let its = (self.cache).labelled(namespace, labels::TRAINING_JOB, training_job);
        for object in its {
            if self.is_left_behind(&object) {
                self.forget(&object);
            }
        }
    }

    fn forget(&mut self, object: &K) {
        let (namespace, name) = identity(object);
        if let Some(place) = shelf::place(object)
            && self.cache.shelf.take(&place, &name).is_some()
        {
            self.cache.has_changed();
        }
        if let Some(kept) = self.cache.stored(&namespace, &name) {
            self.cache.index.remove(&namespace, &name, &kept.found_by());
            self.store(&Event::Delete(F::clone(&kept)));
        }
    }
}

fn label<'a>(object: &'a impl Resource, name: &str) -> Option<&'a str> {
    let labels = object.meta().labels.as_ref()?;
    labels.get(name).map(String::as_str)
}

fn identity(object: &impl ResourceExt) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use k8s_openapi::api::batch::v1::Job;
    use serde_json::json;

    use super::*;

    fn job(name: &str, owner: &str) -> Job {
        let mut job = Job::default();
        job.metadata.name = Some(name.to_owned());
        job.metadata.namespace = Some("growth".to_owned());
        let labels = [(labels::TRAINING_JOB, owner), (labels::ROLE, "training")];
        let all = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
        job.metadata.labels = Some(all.into());
        job
    }

    /// A TrainingJob `a` that has ended well, and `b` that has not.
    pub(in crate::runtime) fn training_jobs() -> OurCache<TrainingJob> {
        let (cache, mut writer, _) = OurCache::new();
        for (name, is_complete) in [("a", "True"), ("b", "False")] {
            let job = serde_json::from_value(json!({
                "apiVersion": "windlass.dev/v1alpha1", "kind": "TrainingJob",
                "metadata": {"name": name, "namespace": "growth"},
                "spec": {"workers": {"template": {}}},
                "status": {"conditions": [{
                    "type": "Complete", "status": is_complete, "reason": "Test", "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }]},
            }));
            let job: TrainingJob = job.expect("a TrainingJob");
            writer.apply_watcher_event(&Event::InitApply(Form::keep(job).0));
        }
        writer.apply_watcher_event(&Event::InitDone);
        cache
    }

    /// What the cache holds after these events, and after what is left behind by `a` was let go where that is asked
    /// for; and what was touched, in order.
    fn followed(
        events: Vec<Event<Job>>,
        has_ended: Option<HasEnded<Job>>,
        let_go: bool,
    ) -> (Cache<Job>, Vec<(String, String)>) {
        let (cache, writer, _) = Cache::<Job>::new();
        let touched = Mutex::new(Vec::new());
        let touch = |job: &Job| {
            let of = [labels::TRAINING_JOB, labels::MONITOR];
            let mut owners = of.iter().filter_map(|of| job.labels().get(*of));
            let owner = owners.next().cloned().expect("it is of one");
            touched
                .lock()
                .expect("a list")
                .push((job.name_any(), owner));
        };
        let mut follower = Follower {
            cache: cache.clone(),
            writer,
            metrics: Metrics::new(),
            has_ended,
            differs: Some(differs),
            training_jobs: training_jobs(),
            are_listed: watch::Sender::new(false),
            touch,
        };
        for event in events {
            futures::executor::block_on(follower.take(event));
        }
        if let_go {
            follower.let_go("growth", "a");
        }
        drop(follower);
        (cache, touched.into_inner().expect("a list"))
    }

    fn pair(name: &str, owner: &str) -> (String, String) {
        (name.to_owned(), owner.to_owned())
    }

    #[test]
    fn what_went_while_the_watch_was_away_is_news_for_its_owner() {
        let (cache, touched) = followed(
            vec![
                Event::Init,
                Event::InitApply(job("a-1", "a")),
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
                Event::Init,
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
            ],
            None,
            false,
        );
        assert_eq!(touched[2..], [pair("a-1", "a"), pair("b-1", "b")]);
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["b-1"]);
    }

    #[test]
    fn an_object_whose_label_was_changed_is_found_by_the_new_one_alone_and_is_news_for_both() {
        let (cache, touched) = followed(
            vec![Event::Apply(job("a-1", "a")), Event::Apply(job("a-1", "b"))],
            None,
            false,
        );
        let names = |owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        assert!(names("a").is_empty());
        assert_eq!(names("b"), ["a-1"]);
        assert_eq!(touched[1..], [pair("a-1", "a"), pair("a-1", "b")]);
    }

    #[test]
    fn what_has_ended_is_forgotten_with_a_training_job_that_is_finished_and_not_before() {
        let ended = |job: &Job| job.name_any().ends_with('1');
        let all = || {
            vec![
                Event::Init,
                Event::InitApply(job("a-1", "a")),
                Event::InitApply(job("a-2", "a")),
                Event::InitApply(job("b-1", "b")),
                Event::InitDone,
                Event::Apply(job("a-1", "a")),
                Event::Delete(job("a-1", "a")),
            ]
        };
        let names =
            |cache: &Cache<Job>, owner| cache.index.names("growth", labels::TRAINING_JOB, owner);
        let (cache, touched) = followed(all(), Some(ended), false);
        assert_eq!(names(&cache, "a"), ["a-2"]);
        assert_eq!(names(&cache, "b"), ["b-1"]);
        assert!(cache.get("growth", "a-1").is_none());
        // It is no news, either.
        assert!(!touched.contains(&pair("a-1", "a")));

        // It ends only after all were read.
        let mut later = all();
        later.truncate(5);
        let (cache, _) = followed(later, Some(|_| false), true);
        assert_eq!(names(&cache, "a"), ["a-1", "a-2"]);
    }

    /// The Job of a window, at this version of it; it has ended or not.
    fn window(monitor: &str, end: i64, version: &str, has_ended: bool) -> Job {
        let conditions = has_ended.then(|| json!([{"type": "Complete", "status": "True"}]));
        let job = serde_json::from_value(json!({
            "metadata": {
                "name": format!("{monitor}-{end}"), "namespace": "growth", "resourceVersion": version,
                "labels": {labels::MONITOR: monitor, labels::ROLE: "drift", labels::VERSION: "churn-1"},
            },
            "status": {"conditions": conditions},
        }));
        job.expect("a Job")
    }

    /// The windows of a monitor that the cache finds.
    fn found(cache: &Cache<Job>, monitor: &str) -> Vec<String> {
        let mut all: Vec<_> = cache
            .labelled("growth", labels::MONITOR, monitor)
            .iter()
            .map(|job| job.name_any())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn what_has_ended_of_a_window_is_found_by_its_monitor_and_its_name_though_no_store_has_it() {
        let ended = windlass_plan::jobs::has_ended;
        let mut events = vec![
            Event::Apply(window("churn", 60, "1", false)),
            Event::Apply(window("churn", 60, "2", true)),
            Event::Apply(window("churn", 120, "3", false)),
        ];
        let (cache, touched) = followed(events.clone(), Some(ended), false);
        assert_eq!(touched.len(), 3);
        assert_eq!(cache.store.state().len(), 1);
        assert_eq!(found(&cache, "churn"), ["churn-120", "churn-60"]);
        let by_version = cache.labelled("growth", labels::VERSION, "churn-1");
        assert_eq!(by_version.len(), 1, "nobody else asks for it");
        assert!(ended(&cache.get("growth", "churn-60").expect("a Job")));
        let kept = cache.kept("growth", "churn-60").expect("a Job");
        assert_eq!(kept.metadata.resource_version.as_deref(), Some("2"));

        // That it is the later is no news; that it goes is.
        events.push(Event::Apply(window("churn", 60, "4", true)));
        let (cache, touched) = followed(events.clone(), Some(ended), false);
        assert_eq!(touched.len(), 3);
        let kept = cache.kept("growth", "churn-60").expect("a Job");
        assert_eq!(kept.metadata.resource_version.as_deref(), Some("4"));
        events.push(Event::Delete(window("churn", 60, "5", true)));
        let (cache, touched) = followed(events.clone(), Some(ended), false);
        assert_eq!(touched[3..], [pair("churn-60", "churn")]);
        assert_eq!(found(&cache, "churn"), ["churn-120"]);
        assert!(cache.get("growth", "churn-60").is_none());

        // Another of the same name has not ended.
        events.push(Event::Apply(window("churn", 120, "6", true)));
        events.push(Event::Apply(window("churn", 120, "7", false)));
        let (cache, touched) = followed(events, Some(ended), false);
        assert_eq!(touched.len(), 6);
        assert_eq!(found(&cache, "churn"), ["churn-120"]);
        assert!(!ended(&cache.get("growth", "churn-120").expect("a Job")));
    }

    #[test]
    fn what_has_ended_of_windows_is_what_the_newest_list_brought() {
        let ended = windlass_plan::jobs::has_ended;
        let (cache, touched) = followed(
            vec![
                Event::Init,
                Event::InitApply(window("churn", 60, "1", true)),
                Event::InitApply(window("churn", 120, "2", false)),
                Event::InitApply(window("fraud", 60, "3", true)),
                Event::InitDone,
                Event::Init,
                Event::InitApply(window("churn", 120, "4", true)),
                Event::InitApply(window("churn", 180, "5", true)),
                Event::InitDone,
            ],
            Some(ended),
            false,
        );
        assert_eq!(found(&cache, "churn"), ["churn-120", "churn-180"]);
        assert!(found(&cache, "fraud").is_empty());
        let stored = cache.index.names("growth", labels::MONITOR, "churn");
        assert!(stored.is_empty(), "{stored:?}");
        let of = |monitor: &str| touched.iter().filter(|(_, of)| of == monitor).count();
        // Each time once for what is there, and for what is not any more.
        assert_eq!((of("churn"), of("fraud")), (4, 2), "{touched:?}");
    }

    #[test]
    fn what_differs_in_nothing_that_is_kept_is_no_news() {
        let of = |version: &str, active| {
            let mut job = job("b-1", "b");
            job.metadata.resource_version = Some(version.to_owned());
            job.status.get_or_insert_default().active = Some(active);
            Event::Apply(job)
        };
        let events = vec![of("1", 0), of("2", 0), of("3", 1)];
        let (cache, touched) = followed(events, None, false);
        assert_eq!(touched.len(), 2);
        let kept = cache.get("growth", "b-1").expect("a Job");
        assert_eq!(kept.metadata.resource_version.as_deref(), Some("3"));
    }

    #[test]
    fn an_object_of_ours_comes_out_as_it_went_in() {
        let kept = training_jobs();
        let job = kept.get("growth", "a").expect("a TrainingJob");
        assert_eq!(job.name_any(), "a");
        assert_eq!(
            job.status.as_ref().map(|status| status.conditions.len()),
            Some(1)
        );
        let packed = kept.kept("growth", "a").expect("a TrainingJob");
        assert!(packed.is_finished());
        assert!(
            !kept
                .kept("growth", "b")
                .expect("a TrainingJob")
                .is_finished()
        );
    }
}
