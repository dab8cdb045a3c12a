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
    unreadable: Family<Kind, Counter>,
    leading: Gauge<i64, std::sync::atomic::AtomicI64>,
}

impl Metrics {
    /// Metrics, all at zero.
    pub fn new() -> Self {
        let reconciles = Family::<Reconciled, Counter<u64, AtomicU64>>::default();
        let durations = Family::<Kind, Histogram>::new_with_constructor(|| {
            Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0])
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
        Self(Arc::new(Inner {
            registry: all,
            resident,
            reconciles,
            durations,
            writes,
            watch_failures,
            unreadable,
            leading,
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

    /// An object could not be read.
    pub fn unreadable(&self, kind: &str) {
        self.0
            .unreadable
            .get_or_create(&Kind {
                kind: kind.to_owned(),
            })
            .inc();
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
