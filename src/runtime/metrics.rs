//! What the operator counts, under Prometheus' naming rules.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::monitors::Monitors;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconciled {
    kind: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Written {
    kind: String,
    verb: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Asked {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    namespace: String,
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Attempted {
    namespace: String,
    model: String,
    reason: String,
}

/// What is counted of trainings, by namespace and model.
struct Training {
    queue_wait: Family<OfModel, Histogram, fn() -> Histogram>,
    start_up: Family<OfModel, Histogram, fn() -> Histogram>,
    run: Family<OfModel, Histogram, fn() -> Histogram>,
    attempts: Family<Attempted, Counter>,
    gpu_seconds: Family<OfModel, Counter>,
}

/// From seconds to days.
fn long() -> Histogram {
    Histogram::new([
        1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0, 86400.0, 604_800.0,
    ])
}

impl Training {
    fn registered(registry: &mut Registry) -> Self {
        let family = || Family::new_with_constructor(long as fn() -> Histogram);
        let training = Self {
            queue_wait: family(),
            start_up: family(),
            run: family(),
            attempts: Family::default(),
            gpu_seconds: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("training");
        registry.register(
            "queue_wait_seconds",
            "Seconds that an attempt waited in its queue until it was admitted",
            training.queue_wait.clone(),
        );
        registry.register(
            "start_up_seconds",
            "Seconds from the start or the admission of an attempt until all of its workers ran",
            training.start_up.clone(),
        );
        registry.register(
            "run_seconds",
            "Seconds that all workers of an attempt ran",
            training.run.clone(),
        );
        registry.register(
            "attempts",
            "Attempts that ended, by how they did",
            training.attempts.clone(),
        );
        registry.register(
            "gpu_seconds",
            "Seconds of GPUs that attempts held which ended",
            training.gpu_seconds.clone(),
        );
        training
    }
}

/// The trainings of one model in one namespace.
pub struct TrainingOf<'a> {
    training: &'a Training,
    of: OfModel,
}

impl TrainingOf<'_> {
    /// An attempt was admitted after so many seconds.
    pub fn queue_wait(&self, seconds: Option<f64>) {
        self.observe(&self.training.queue_wait, seconds);
    }

    /// All workers of an attempt ran after so many seconds.
    pub fn start_up(&self, seconds: Option<f64>) {
        self.observe(&self.training.start_up, seconds);
    }

    /// An attempt whose workers all ran ended after so many seconds.
    pub fn run(&self, seconds: Option<f64>) {
        self.observe(&self.training.run, seconds);
    }

    /// An attempt ended so, and had held GPUs for so many seconds.
    pub fn ended(&self, reason: &str, gpu_seconds: i64) {
        let OfModel { namespace, model } = self.of.clone();
        let reason = reason.to_owned();
        let attempted = Attempted {
            namespace,
            model,
            reason,
        };
        self.training.attempts.get_or_create(&attempted).inc();
        if let Ok(seconds) = u64::try_from(gpu_seconds) {
            let counter = self.training.gpu_seconds.get_or_create(&self.of);
            counter.inc_by(seconds);
        }
    }

    fn observe(
        &self,
        family: &Family<OfModel, Histogram, fn() -> Histogram>,
        seconds: Option<f64>,
    ) {
        if let Some(seconds) = seconds {
            family.get_or_create(&self.of).observe(seconds);
        }
    }
}

/// The metrics of the operator.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    resident: Gauge<i64, std::sync::atomic::AtomicI64>,
    reconciles: Family<Reconciled, Counter>,
    durations: Family<Kind, Histogram>,
    writes: Family<Written, Counter>,
    watch_failures: Family<Kind, Counter>,
    prometheus_queries: Family<Asked, Counter>,
    unreadable: Family<Kind, Counter>,
    leading: Gauge<i64, std::sync::atomic::AtomicI64>,
    cloud_events: Family<Asked, Counter>,
    training: Training,
    monitors: Arc<Monitors>,
}

impl Metrics {
    /// Metrics, all at zero.
    pub fn new() -> Self {
        let reconciles = Family::<Reconciled, Counter<u64, AtomicU64>>::default();
        let durations = Family::<Kind, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 10.0])
        });
        let (writes, watch_failures, unreadable, leading) = (
            Family::default(),
            Family::default(),
            Family::default(),
            Gauge::default(),
        );
        let mut all = Registry::default();
        let resident = Gauge::default();
        all.register(
            "process_resident_memory_bytes",
            "Memory of this process that is resident",
            resident.clone(),
        );
        let registry = all.sub_registry_with_prefix("windlass");
        registry.register(
            "reconciles",
            "Reconciles, by kind and outcome",
            reconciles.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Seconds that a reconcile took",
            durations.clone(),
        );
        registry.register(
            "writes",
            "Requests that change the cluster, by kind of object and verb",
            writes.clone(),
        );
        registry.register(
            "watch_failures",
            "Watches that failed and were taken up again",
            watch_failures.clone(),
        );
        registry.register(
            "unreadable_objects",
            "Objects that could not be read",
            unreadable.clone(),
        );
        registry.register("leading", "1 while this replica leads", leading.clone());
        let prometheus_queries = Family::default();
        registry.register(
            "prometheus_queries",
            "Queries of how far GPUs are used, by outcome",
            prometheus_queries.clone(),
        );
        let cloud_events = Family::default();
        registry.register(
            "cloud_events",
            "CloudEvents, by what became of them: sent, refused by who listens, or dropped",
            cloud_events.clone(),
        );
        let training = Training::registered(registry);
        let monitors = Arc::new(Monitors::default());
        let drift = registry.sub_registry_with_prefix("drift");
        drift.register_collector(Box::new(monitors.clone()));
        Self(Arc::new(Inner {
            registry: all,
            resident,
            reconciles,
            durations,
            writes,
            watch_failures,
            prometheus_queries,
            unreadable,
            leading,
            cloud_events,
            training,
            monitors,
        }))
    }

    /// A reconcile ended.
    pub fn reconciled(&self, kind: &str, outcome: &'static str, took: Duration) {
        self.0
            .reconciles
            .get_or_create(&Reconciled {
                kind: kind.to_owned(),
                outcome,
            })
            .inc();
        self.0
            .durations
            .get_or_create(&Kind {
                kind: kind.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    /// Something was written.
    pub fn written(&self, kind: &str, verb: &'static str) {
        self.0
            .writes
            .get_or_create(&Written {
                kind: kind.to_owned(),
                verb,
            })
            .inc();
    }

    /// A watch failed.
    pub fn watch_failed(&self, kind: &str) {
        self.0
            .watch_failures
            .get_or_create(&Kind {
                kind: kind.to_owned(),
            })
            .inc();
    }

    /// Prometheus was asked how far GPUs are used.
    pub fn asked_prometheus(&self, is_answered: bool) {
        let outcome = if is_answered { "ok" } else { "error" };
        let counter = self.0.prometheus_queries.get_or_create(&Asked { outcome });
        counter.inc();
    }

    /// A CloudEvent was sent, refused or dropped.
    pub fn cloud_event(&self, outcome: &'static str) {
        let counter = self.0.cloud_events.get_or_create(&Asked { outcome });
        counter.inc();
    }

    /// CloudEvents are sent from now on: each outcome is there from the start, since an increase from nothing is none.
    pub fn cloud_events_are_sent(&self) {
        for outcome in ["sent", "refused", "dropped"] {
            drop(self.0.cloud_events.get_or_create(&Asked { outcome }));
        }
    }

    /// What is shown of DriftMonitors.
    pub fn monitors(&self) -> &Monitors {
        &self.0.monitors
    }

    /// An object could not be read.
    pub fn unreadable(&self, kind: &str) {
        self.0
            .unreadable
            .get_or_create(&Kind {
                kind: kind.to_owned(),
            })
            .inc();
    }

    /// What is counted of the trainings of a model.
    pub fn training(&self, namespace: &str, model: &str) -> TrainingOf<'_> {
        TrainingOf {
            training: &self.0.training,
            of: OfModel {
                namespace: namespace.to_owned(),
                model: model.to_owned(),
            },
        }
    }

    /// Whether this replica leads.
    pub fn leading(&self, leads: bool) {
        self.0.leading.set(i64::from(leads));
    }

    /// All of them, in Prometheus' text format.
    pub fn text(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.0.resident.set(bytes);
        }
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a string does not fail");
        text
    }
}

/// What the kernel says of this process' memory; nothing where it does not say so as Linux does.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: i64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
