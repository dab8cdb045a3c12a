//! The command line: what each command takes, and which call of the library it is.

mod image;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use windlass_testcluster::programs::{self, Program};
use windlass_testcluster::{Addition, Cluster, Options, Shape, down, names, supervise};

/// A real Kubernetes on one machine, for tests and for the demo.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring a cluster up, building first what is not built yet.
    Up(Up),
    /// Take a cluster down: no process, mount, cgroup, namespace or file is left.
    Down {
        #[command(flatten)]
        name: Name,
        /// Every cluster that is written down.
        #[arg(long)]
        all: bool,
    },
    /// Say which clusters there are, and which of their programs run.
    Status,
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig(Name),
    /// Print where the gateway of a cluster listens, on loopback.
    Gateway(Name),
    /// Run kubectl as the administrator: `testcluster kubectl -- get pods`.
    Kubectl {
        #[command(flatten)]
        name: Name,
        /// What kubectl is given.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Load an image into a real node.
    LoadImage {
        #[command(flatten)]
        name: Name,
        /// Tars that `testcluster image` made.
        #[arg(required = true)]
        tars: Vec<PathBuf>,
    },
    /// Make an image's tar, without a registry or a container engine.
    #[command(subcommand)]
    Image(image::Make),
    /// Make a folder with Debian and Python packages in it, once for the same arguments.
    DebianRoot(image::DebianRoot),
    /// Print the host folder behind a bound claim of a real node.
    VolumePath {
        #[command(flatten)]
        name: Name,
        /// NAMESPACE/CLAIM
        claim: String,
    },
    /// Build programs, bring nothing up, and print where they lie.
    Programs {
        /// Those of one shape; by default those of every shape, helm and versitygw.
        #[arg(long)]
        shape: Option<Shape>,
        /// Those of an addition too.
        #[arg(long, value_name = "ADDITION")]
        with: Vec<Addition>,
    },
    /// Build one program if it is not built, and print where it lies.
    Which {
        /// Such as helm.
        program: String,
    },
    /// What a cluster's own supervisor runs.
    #[command(hide = true)]
    Supervise {
        /// The cluster's name.
        name: String,
    },
}

#[derive(Args)]
struct Name {
    /// The cluster's name.
    #[arg(long, default_value = "windlass", env = "TESTCLUSTER_NAME")]
    name: String,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    name: Name,
    /// api: a control plane; kwok: also fake nodes; node: a real node.
    #[arg(long, default_value = "api")]
    shape: Shape,
    /// Have the API server write down every write.
    #[arg(long)]
    audit_log: bool,
    /// Fake GPUs of each node.
    #[arg(long, default_value_t = 8)]
    gpus: u32,
    /// How many nodes kwok plays.
    #[arg(long, default_value_t = 10)]
    fake_nodes: u32,
    /// What it has besides; may be repeated.
    #[arg(long, value_name = "ADDITION")]
    with: Vec<Addition>,
    /// A feature gate of the control plane that is on; may be repeated.
    #[arg(long, value_name = "NAME")]
    feature_gate: Vec<String>,
    /// Take it down when this process has ended; by default it stays until `down`.
    #[arg(long = "while", value_name = "PID")]
    owner: Option<i32>,
}

impl Arguments {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Up(up) => bring_up(&up)?,
            Command::Down { name, all } => take_down(&name, all)?,
            Command::Status => status()?,
            Command::Kubeconfig(name) => {
                println!("{}", Cluster::open(&name.name)?.kubeconfig_path().display());
            }
            Command::Gateway(name) => {
                let address = Cluster::open(&name.name)?.gateway().with_context(|| {
                    format!(
                        "'{}' has no gateway: bring it up with `--shape node --with gateway`",
                        name.name
                    )
                })?;
                println!("http://{address}");
            }
            Command::Kubectl { name, arguments } => {
                let status = Cluster::open(&name.name)?
                    .kubectl()?
                    .command()
                    .args(arguments)
                    .status()?;
                return Ok(status
                    .code()
                    .and_then(|code| u8::try_from(code).ok())
                    .map_or(ExitCode::FAILURE, ExitCode::from));
            }
            Command::LoadImage { name, tars } => {
                let cluster = Cluster::open(&name.name)?;
                for tar in tars {
                    cluster.load_image(&tar)?;
                }
            }
            Command::Image(make) => make.run()?,
            Command::DebianRoot(root) => root.run()?,
            Command::VolumePath { name, claim } => {
                let (namespace, claim) = claim
                    .split_once('/')
                    .context("a claim is NAMESPACE/CLAIM")?;
                println!(
                    "{}",
                    Cluster::open(&name.name)?
                        .volume_path(namespace, claim)?
                        .display()
                );
            }
            Command::Programs { shape, with } => {
                let mut wanted = shape
                    .map_or(Program::of_every_shape(), Program::of)
                    .to_vec();
                wanted.extend(with.into_iter().map(Addition::program));
                for path in programs::ensure(&wanted)?.values() {
                    println!("{}", path.display());
                }
            }
            Command::Which { program } => {
                let program = Program::named(&program)
                    .with_context(|| format!("there is no program '{program}'"))?;
                println!("{}", programs::ensure(&[program])?[&program].display());
            }
            Command::Supervise { name } => supervise(&name)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn bring_up(up: &Up) -> Result<()> {
    let mut options = Options::new(&up.name.name, up.shape)
        .with_gpus(up.gpus)
        .with_fake_nodes(up.fake_nodes);
    options.audit_log = up.audit_log;
    options.with.extend(&up.with);
    options
        .feature_gates
        .extend(up.feature_gate.iter().cloned());
    programs::ensure(&options.programs())?;
    let started = Instant::now();
    let cluster = match up.owner {
        Some(pid) => Cluster::up_while(&options, pid)?,
        None => Cluster::up_and_stay(&options)?,
    };
    eprintln!(
        "'{}' is up after {:.1} s; its kubeconfig:",
        cluster.name(),
        started.elapsed().as_secs_f64()
    );
    println!("{}", cluster.kubeconfig_path().display());
    Ok(())
}

fn take_down(name: &Name, all: bool) -> Result<()> {
    let names = if all {
        names()?
    } else {
        vec![name.name.clone()]
    };
    names.iter().try_for_each(|name| down(name))
}

fn status() -> Result<()> {
    for name in names()? {
        match Cluster::open(&name) {
            Ok(cluster) => {
                println!("{name}: {:?}, {}", cluster.shape(), cluster.server());
                if let Some(gateway) = cluster.gateway() {
                    println!("  gateway: http://{gateway}");
                }
                for (component, is_alive) in cluster.components() {
                    println!(
                        "  {component}: {}",
                        if is_alive { "runs" } else { "has ended" }
                    );
                }
            }
            Err(error) => println!("{name}: {error:#}"),
        }
    }
    Ok(())
}
