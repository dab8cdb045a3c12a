//! The commands that make images.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use windlass_testcluster::debian::Debian;
use windlass_testcluster::image::{self, Image};

/// Which image to make.
#[derive(Subcommand)]
pub enum Make {
    /// From a static program, and nothing else but CA certificates and a user.
    Scratch {
        /// PATH, or PATH:/destination (by default /NAME-OF-THE-FILE); may be given more than once.
        #[arg(long, required = true)]
        binary: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// From a folder, such as `debian-root` makes.
    Root {
        /// The folder.
        #[arg(long)]
        root: PathBuf,
        /// SOURCE:/destination, a file to be added; may be given more than once.
        #[arg(long)]
        file: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// A static busybox with a shell, for pods of tests.
    Busybox {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
pub struct Common {
    /// The image's name, such as localhost/windlass:dev.
    #[arg(long)]
    name: String,
    /// What it runs; once for each word.
    #[arg(long, allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Arguments that a pod's `args` replace; once for each word.
    #[arg(long = "cmd", allow_hyphen_values = true)]
    command: Vec<String>,
    /// NAME=VALUE; may be given more than once.
    #[arg(long)]
    env: Vec<String>,
    /// The user's number.
    #[arg(long, default_value = image::USER)]
    user: String,
    /// The folder in which it starts.
    #[arg(long, default_value = "/")]
    workdir: String,
    /// The tar to write.
    #[arg(short, long)]
    output: PathBuf,
}

impl Make {
    /// Makes it.
    pub fn run(self) -> Result<()> {
        match self {
            Self::Scratch { binary, common } => {
                let mut image = Image::scratch(&common.name);
                for binary in binary {
                    let (source, destination) =
                        if let Some((source, rest)) = binary.split_once(":/") {
                            (PathBuf::from(source), format!("/{rest}"))
                        } else {
                            let source = PathBuf::from(&binary);
                            let name = source.file_name().context("a binary is a file")?;
                            let destination = format!("/{}", name.to_string_lossy());
                            (source, destination)
                        };
                    image = image.with_binary(&source, &destination);
                }
                common.finish(image)
            }
            Self::Root { root, file, common } => {
                let mut image = Image::root(&common.name, root);
                for file in file {
                    let (source, destination) = file
                        .split_once(":/")
                        .context("a file is SOURCE:/destination")?;
                    image = image.with_file(source.as_ref(), destination, 0o755);
                }
                common.finish(image)
            }
            Self::Busybox { common } => {
                let image = image::busybox(&common.name)?;
                common.finish(image)
            }
        }
    }
}

impl Common {
    fn finish(self, mut image: Image) -> Result<()> {
        if !self.entrypoint.is_empty() {
            image = image.with_entrypoint(self.entrypoint);
        }
        for pair in self.env {
            let (name, value) = pair
                .split_once('=')
                .context("an environment variable is NAME=VALUE")?;
            image = image.with_env(name, value);
        }
        image
            .with_command(self.command)
            .with_user(self.user)
            .with_working_folder(self.workdir)
            .write(&self.output)
    }
}

/// What `debian-root` takes.
#[derive(Args)]
pub struct DebianRoot {
    /// Debian's release.
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Debian packages, separated by commas.
    #[arg(long, value_delimiter = ',')]
    include: Vec<String>,
    /// A Python package as pip takes it; may be given more than once.
    #[arg(long)]
    pip: Vec<String>,
    /// Where to link the root, which lies in the cache; by default its path is printed alone.
    link: Option<PathBuf>,
}

impl DebianRoot {
    /// Makes it, unless it is in the cache.
    pub fn run(self) -> Result<()> {
        let root = Debian {
            suite: self.suite,
            packages: self.include,
            wheels: self.pip,
        }
        .root()?;
        if let Some(link) = self.link {
            match std::fs::remove_file(&link) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("replacing {}", link.display()));
                }
                _ => {}
            }
            std::os::unix::fs::symlink(&root, &link)
                .with_context(|| format!("linking {}", link.display()))?;
        }
        println!("{}", root.display());
        Ok(())
    }
}
