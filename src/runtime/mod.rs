//! What the four controllers share: stores, writes, backoff, the lease, Events, metrics.
//!
//! Absent on purpose: any decision (`crates/plan`), and anything that knows one kind from another beyond its type.

pub mod apply;
pub mod calm;
pub mod cloudevents;
pub mod controller;
pub mod discovery;
pub mod events;
mod follow;
mod gate;
mod guarded;
pub mod health;
pub mod index;
pub mod kept;
pub mod lease;
mod losses;
pub mod metrics;
pub mod monitors;
mod named;
mod namespaces;
mod outside;
pub mod pauses;
pub mod progress;
pub mod prometheus;
pub mod readings;
pub mod rooms;
pub mod scrape;
pub mod shards;
mod shelf;
pub mod stores;
pub mod triggers;
pub mod utilization;
pub mod watches;

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use kube::runtime::events::Reporter;
use kube::{Client, Config};
use windlass_plan::presets::Presets;
use windlass_plan::trainingjob::{InputCache, Schedulers};

use crate::ballista::Engines;
use calm::Calm;
use cloudevents::Listener;
use discovery::Served;
use events::Events;
use lease::Term;
use metrics::Metrics;
use pauses::Queue;
use progress::Said;
use prometheus::Prometheus;
use readings::Answers;
use rooms::Rooms;
use scrape::Scraper;
use shards::Shard;
use stores::Stores;
use triggers::{Senders, Triggers};
use utilization::Utilizations;

/// What the operator was started with.
pub struct Settings {
    /// The cluster.
    pub client: Client,
    /// How it is reached.
    pub config: Config,
    /// What it asks for.
    pub calm: Calm,
    /// Name of this replica.
    pub identity: String,
    /// The agent's image.
    pub agent_image: String,
    /// The Ballista clusters of namespaces.
    pub engines: Engines,
    /// Whether trainers are asked how far they are.
    pub ask_trainers: bool,
    /// The cache of inputs on the nodes.
    pub input_cache: Option<InputCache>,
    /// Who knows how far GPUs are used, and what roll-outs ask.
    pub prometheus: Option<Prometheus>,
    /// Who listens for CloudEvents.
    pub listener: Option<Listener>,
    /// The runtime presets.
    pub presets: Presets,
    /// What the cluster serves of what need not be there.
    pub served: Served,
    /// The namespaces that are worked in; none stands for all.
    pub namespaces: Vec<String>,
    /// Those of them that are this shard's.
    pub shard: Shard,
    /// The metrics.
    pub metrics: Metrics,
}

/// What every reconcile has at hand.
pub struct Context {
    /// The cluster, for writes only: see [`gate`].
    pub client: Client,
    /// What the API server asks for.
    pub calm: Calm,
    /// Who is tried again after its faults, one after the other.
    pub queue: Queue,
    /// All that is read.
    pub stores: Stores,
    /// Events.
    pub events: Events,
    /// The agent's image.
    pub agent_image: String,
    /// The Ballista clusters of namespaces.
    pub engines: Engines,
    /// Who listens for CloudEvents.
    pub listener: Option<Listener>,
    /// The runtime presets.
    pub presets: Presets,
    /// What the cluster schedules gangs with.
    pub schedulers: Schedulers,
    /// The metrics.
    pub metrics: Metrics,
    /// Until when this replica may write.
    pub term: Term,
    /// Since when it leads.
    pub leading_since: OnceLock<Timestamp>,
    /// Until when another did before it, as far as the Lease tells.
    pub led_until: OnceLock<Timestamp>,
    /// What proxies have seen.
    pub scraper: Scraper,
    /// What trainers have said.
    pub said: Said,
    /// Whether trainers are asked how far they are.
    pub ask_trainers: bool,
    /// The cache of inputs on the nodes.
    pub input_cache: Option<InputCache>,
    /// Who knows how far GPUs are used, and what roll-outs ask.
    pub prometheus: Option<Prometheus>,
    /// Whether an adapter serves metrics of pods.
    pub has_metrics_of_pods: bool,
    /// What it said of GPUs.
    pub utilizations: Utilizations,
    /// What it said to roll-outs.
    pub answers: Answers,
    /// What room the nodes have.
    pub rooms: Rooms,
    /// For news that no watch brings.
    pub senders: Senders,
}

impl Context {
    /// The context, the watches that fill its stores (to be polled), and the triggers that they give.
    pub fn new(
        settings: Settings,
    ) -> kube::Result<(Arc<Self>, impl Future<Output = ()> + Send + use<>, Triggers)> {
        let term = Term::default();
        let client = gate::client(settings.config, term.clone(), settings.calm.clone())?;
        let (stores, watches, senders, triggers) = watches::start(
            &settings.client,
            &settings.served,
            &settings.namespaces,
            &settings.shard,
            settings.metrics.clone(),
            &settings.calm,
        );
        let reporter = Reporter {
            controller: "windlass".to_owned(),
            instance: Some(settings.identity),
        };
        let context = Arc::new(Self {
            events: Events::new(client.clone(), reporter),
            client,
            calm: settings.calm,
            queue: Queue::default(),
            stores,
            agent_image: settings.agent_image,
            engines: settings.engines,
            listener: settings.listener,
            presets: settings.presets,
            schedulers: settings.served.schedulers,
            metrics: settings.metrics,
            term,
            leading_since: OnceLock::new(),
            led_until: OnceLock::new(),
            scraper: Scraper::default(),
            said: Said::default(),
            ask_trainers: settings.ask_trainers,
            input_cache: settings.input_cache,
            prometheus: settings.prometheus,
            has_metrics_of_pods: settings.served.metrics_of_pods,
            utilizations: Utilizations::default(),
            answers: Answers::default(),
            rooms: Rooms::new(settings.namespaces.is_empty()),
            senders,
        });
        Ok((context, watches, triggers))
    }
}
