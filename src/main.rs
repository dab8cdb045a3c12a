//! `windlass`: the operator.
//!
//! ```text
//!   watches ──> stores ──> <kind>::observe ──> plan (crates/plan, pure) ──> runtime::apply ──> status, Events
//!                 │                                                              │
//!                 └── triggers ──> one controller a kind                         └── waits until the stores show it
//! ```
//!
//! Two replicas run, one leads by a Lease. The other has full stores and waits.

mod audit;
mod ballista;
mod driftmonitor;
mod input_cache;
mod modeldeployment;
mod modelversion;
mod runtime;
mod trainingjob;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use kube::client::ClientBuilder;
use windlass_plan::presets::Presets;

use crate::runtime::calm::{ANSWER, Calm, SparedLayer, Way};
use crate::runtime::cloudevents::{Address, Listener};
use crate::runtime::pauses::jittered;
use crate::runtime::prometheus::Prometheus;
use crate::runtime::shards::Shard;
use crate::runtime::{Context, health::Health, lease, metrics::Metrics};

/// How long Events that were taken may take to be published once nothing else is done.
const TELLING: Duration = Duration::from_secs(1);
/// How long the cluster may take to say what it serves; the pod is started again after that.
const DISCOVERY: Duration = Duration::from_secs(30);
/// How soon it is asked again.
const DISCOVERY_AGAIN: Duration = Duration::from_secs(2);

/// The operator of Windlass.
#[derive(Parser, Debug)]
#[command(version, about)]
struct Arguments {
    /// The agent's image, put into the pods that Windlass makes.
    #[arg(long, env = "WINDLASS_AGENT_IMAGE")]
    agent_image: String,
    /// A YAML file with the runtime presets.
    #[arg(long, env = "WINDLASS_PRESETS")]
    presets: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "WINDLASS_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Name of this replica, in the Lease and in Events.
    #[arg(long, env = "POD_NAME", default_value = "windlass")]
    identity: String,
    /// Whether the agents of trainers are asked how far they are; `false` where the operator cannot reach pods.
    #[arg(long, env = "WINDLASS_ASK_TRAINERS", default_value_t = true, action = clap::ArgAction::Set)]
    ask_trainers: bool,
    #[command(flatten)]
    ballista: ballista::Arguments,
    #[command(flatten)]
    input_cache: input_cache::Arguments,
    /// A Prometheus, such as http://prometheus.monitoring:9090. With DCGM's metrics, who holds GPUs and does not use them is
    /// told so; with the agents', KEDA is pointed to it for ModelDeployments that are scaled by concurrency or latency.
    #[arg(long, env = "WINDLASS_PROMETHEUS_URL")]
    prometheus_url: Option<String>,
    /// A file with the bearer token for Prometheus.
    #[arg(
        long,
        env = "WINDLASS_PROMETHEUS_TOKEN_FILE",
        requires = "prometheus_url"
    )]
    prometheus_token_file: Option<PathBuf>,
    /// A file with the certificates, in PEM, of who signs for an https:// Prometheus. Default: those of the system.
    #[arg(long, env = "WINDLASS_PROMETHEUS_CA_FILE", requires = "prometheus_url")]
    prometheus_ca_file: Option<PathBuf>,
    /// Who listens for CloudEvents of DriftMonitors, such as http://broker-ingress.knative-eventing/growth/default: a window's
    /// verdict that changed, a training that was asked for, a circuit that opened or closed.
    #[arg(long, env = "WINDLASS_EVENTS_URL")]
    events_url: Option<String>,
    /// A file with the bearer token for who listens.
    #[arg(long, env = "WINDLASS_EVENTS_TOKEN_FILE", requires = "events_url")]
    events_token_file: Option<PathBuf>,
    /// A file with the certificates, in PEM, of who signs for an https:// listener. Default: those of the system.
    #[arg(long, env = "WINDLASS_EVENTS_CA_FILE", requires = "events_url")]
    events_ca_file: Option<PathBuf>,
    /// The namespaces whose objects are worked on, with commas between them; all, where none is named. Nothing is asked of
    /// others, and nothing of nodes: what room they have is not known then.
    #[arg(long, env = "WINDLASS_WATCH_NAMESPACES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    #[command(flatten)]
    shards: runtime::shards::Arguments,
    /// The namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    namespace: String,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    // One thread: what is done between two requests takes less than a millisecond. A second one would cost memory for an
    // arena of its own, and a third of the time to hand work over. If it ever hangs, `/livez` does, and the Lease goes.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the runtime starts");
    match runtime.block_on(run(Arguments::parse())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    arguments.shards.check()?;
    let presets = match &arguments.presets {
        Some(path) => read_presets(path)?,
        None => Presets::default(),
    };
    let mut config = kube::Config::infer().await.context("finding the cluster")?;
    // A write that is retried for minutes could land after another replica has taken over.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    let calm = Calm::default();
    let client = reads(&config, &calm).context("connecting to the cluster")?;

    let prometheus = prometheus(&arguments)?;
    let address = listener(&arguments)?;

    let metrics = Metrics::new();
    let listener = address.map(|address| Listener::new(address, metrics.clone()));
    let health = Health::default();
    let server = runtime::health::serve(arguments.listen, health.clone(), metrics.clone()).await?;
    let mut shutdown = Box::pin(runtime::health::shutdown_signal());
    let serving = async {
        loop {
            let apis = apis(&client).await?;
            let settings = runtime::Settings {
                client: client.clone(),
                config: config.clone(),
                calm: calm.clone(),
                identity: arguments.identity.clone(),
                agent_image: arguments.agent_image.clone(),
                engines: arguments.ballista.engines(),
                ask_trainers: arguments.ask_trainers,
                input_cache: arguments.input_cache.cache(),
                prometheus: prometheus.clone(),
                listener: listener.clone(),
                presets: presets.clone(),
                served: apis,
                namespaces: arguments.watch_namespaces.clone(),
                shard: Shard::default(),
                metrics: metrics.clone(),
            };
            let turn = turn(settings, &arguments, &health, &mut shutdown);
            match turn.await? {
                Ended::ToldToStop => return Ok(()),
                // Other kinds are to be watched: from the start, in the same process.
                Ended::Changed => {}
            }
        }
    };
    tokio::select! {
        outcome = serving => outcome,
        ended = server => Err(anyhow::anyhow!("the health endpoint ended: {ended:?}")),
    }
}

/// The client for all that is read, and for the Lease.
fn reads(config: &kube::Config, calm: &Calm) -> kube::Result<kube::Client> {
    let layer = SparedLayer(calm.clone(), Way::Reads(ANSWER));
    let client = ClientBuilder::try_from(config.clone())?;
    Ok(client.with_layer(&layer).build())
}

/// What the cluster serves of what need not be there. It is asked again for a while: who starts while the API server does,
/// and ended at its first error, would be kept from starting for longer and longer by the kubelet.
async fn apis(client: &kube::Client) -> anyhow::Result<runtime::discovery::Served> {
    let begun = tokio::time::Instant::now();
    loop {
        match runtime::discovery::served(client).await {
            Ok(served) => {
                tracing::info!(?served, "what the cluster serves");
                return Ok(served);
            }
            Err(error) if begun.elapsed() < DISCOVERY => {
                tracing::warn!(%error, "the cluster does not say what it serves, and is asked again");
            }
            Err(error) => return Err(error).context("asking the cluster what it serves"),
        }
        tokio::time::sleep(jittered(DISCOVERY_AGAIN)).await;
    }
}

fn prometheus(arguments: &Arguments) -> anyhow::Result<Option<Prometheus>> {
    let (token, ca) = (
        arguments.prometheus_token_file.as_deref(),
        arguments.prometheus_ca_file.as_deref(),
    );
    let url = arguments.prometheus_url.as_deref();
    url.map(|url| Prometheus::new(url, token, ca)).transpose()
}

fn listener(arguments: &Arguments) -> anyhow::Result<Option<Address>> {
    let (token, ca) = (
        arguments.events_token_file.as_deref(),
        arguments.events_ca_file.as_deref(),
    );
    let url = arguments.events_url.as_deref();
    url.map(|url| Address::new(url, token, ca)).transpose()
}

/// Why the operator stopped its work.
enum Ended {
    /// By a signal.
    ToldToStop,
    /// The cluster serves something else than at the start.
    Changed,
}

/// Fills the caches, waits for the Lease and works.
async fn turn(
    mut settings: runtime::Settings,
    arguments: &Arguments,
    health: &Health,
    shutdown: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<Ended> {
    let (client, served) = (settings.client.clone(), settings.served.clone());
    let (shard, namespaces) = Shard::new(&arguments.shards, &client);
    settings.shard = shard.clone();
    let mut changed = Box::pin(async {
        tokio::select! {
            () = runtime::discovery::changed(&client, &served) => {}
            () = shard.changed() => {}
        }
    });
    let context = Context::new(settings).context("connecting to the cluster")?;
    let (context, watches, triggers) = context;
    // They end with this turn.
    let mut watching = tokio::task::JoinSet::new();
    watching.spawn(watches);
    watching.spawn(namespaces);
    tokio::select! {
        filled = context.stores.wait_until_ready() => filled.context("filling the caches")?,
        () = &mut *shutdown => return Ok(Ended::ToldToStop),
        () = &mut changed => return Ok(Ended::Changed),
    }
    health.set_ready();
    tracing::info!("the caches are filled");

    let (namespace, identity) = (&arguments.namespace, &arguments.identity);
    let name = arguments.shards.lease();
    let lease = lease::acquire(
        client.clone(),
        (namespace, &name),
        identity,
        context.term.clone(),
    );
    let mut leadership = tokio::select! {
        leadership = lease => leadership?,
        () = &mut *shutdown => return Ok(Ended::ToldToStop),
        () = &mut changed => return Ok(Ended::Changed),
    };
    let before = &leadership.annotations.clone();
    let handed_over = arguments.shards.handed_over(&client, namespace, before);
    let early = tokio::select! {
        () = handed_over => None,
        () = leadership.lost() => anyhow::bail!("the lease was lost: another replica may lead now"),
        () = &mut *shutdown => Some(Ended::ToldToStop),
        () = &mut changed => Some(Ended::Changed),
    };
    if let Some(ended) = early {
        leadership.release().await;
        return Ok(ended);
    }
    tracing::info!(identity, "leading");
    context.metrics.leading(true);
    let now = jiff::Timestamp::now();
    let _ = context.leading_since.set(now);
    if let Some(until) = leadership.before {
        let _ = context.led_until.set(until);
    }
    audit::log_recent(&context, now);
    let controllers = runtime::controller::run_all(context.clone(), triggers);
    let outcome = tokio::select! {
        () = controllers => Err(anyhow::anyhow!("the controllers ended")),
        () = leadership.lost() => Err(anyhow::anyhow!("the lease was lost: another replica may lead now")),
        ended = watching.join_next() => Err(anyhow::anyhow!("the watches ended: {ended:?}")),
        () = &mut *shutdown => Ok(Ended::ToldToStop),
        () = &mut changed => Ok(Ended::Changed),
    };
    // The controllers are dropped by now: nothing is written any more but what was to be told, so that another may lead.
    context.metrics.leading(false);
    context.metrics.monitors().clear();
    if outcome.is_ok() {
        context.events.published(TELLING).await;
        if let Some(listener) = &context.listener {
            listener.sent(TELLING).await;
        }
        leadership.release().await;
        tracing::info!("stopped");
    }
    outcome
}

fn read_presets(path: &std::path::Path) -> anyhow::Result<Presets> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("reading the runtime presets, {}", path.display()))?;
    serde_saphyr::from_str(&text)
        .with_context(|| format!("{}: these are not runtime presets", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        super::Arguments::command().debug_assert();
    }
}
