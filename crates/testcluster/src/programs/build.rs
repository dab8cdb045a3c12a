//! Building what is missing: one build at a time for each program, to a temporary name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::{Module, Program, Recipe};
use crate::paths;
use crate::process::output;

/// Builds those of the programs that are not built yet, and returns where each lies.
///
/// Shows what is being built, how far it is and an estimate; prints nothing when all are there.
pub fn ensure(programs: &[Program]) -> Result<BTreeMap<Program, PathBuf>> {
    let missing: Vec<Program> = programs
        .iter()
        .copied()
        .filter(|program| !program.path().is_ok_and(|path| path.is_file()))
        .collect();
    if !missing.is_empty() {
        let screen = Screen::new(&missing);
        for program in missing {
            build(program, &screen).with_context(|| format!("building {}", program.name()))?;
        }
        screen.whole.finish_and_clear();
    }
    programs
        .iter()
        .map(|program| Ok((*program, program.path()?)))
        .collect()
}

fn build(program: Program, screen: &Screen) -> Result<()> {
    let recipe = program.recipe();
    let path = program.path()?;
    let lock_name = format!("build-{}-{}", recipe.name, recipe.version);
    let _lock = paths::lock(&lock_name, || {
        screen.say(&format!(
            "{} is being built elsewhere: waiting",
            recipe.name
        ));
    })?;
    if path.is_file() {
        screen.advance(&recipe);
        return Ok(());
    }
    let module = write_module(recipe.module)?;
    let folder = path.parent().context("a program lies in a folder")?;
    paths::create(folder)?;
    let partial = folder.join(format!(".{}.partial", recipe.name));

    let mut bar = screen.begin(&recipe, packages(&recipe, &module));
    let started = Instant::now();
    let mut child = go(&recipe, &module)
        .arg("build")
        .args([
            "-v",
            "-mod=readonly",
            "-trimpath",
            "-tags",
            recipe.tags,
            "-ldflags",
            recipe.ldflags,
            "-o",
        ])
        .arg(&partial)
        .arg(recipe.package)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting `go`: is Go installed and on PATH?")?;
    let mut said = Vec::new();
    let messages = child.stderr.take().context("stderr is piped")?;
    for line in BufReader::new(messages).lines() {
        let line = line.context("reading what go says")?;
        if is_package(&line) {
            bar.step();
        } else {
            said.push(line);
        }
    }
    let status = child.wait().context("waiting for go")?;
    bar.finish();
    if !status.success() {
        let from = said.len().saturating_sub(20);
        bail!(
            "`go build {}` ended with {status}:\n{}",
            recipe.package,
            said[from..].join("\n")
        );
    }
    // Before the program: who finds that one finds these as well.
    keep_beside(&recipe, &module, folder)?;
    fs::rename(&partial, &path).with_context(|| format!("renaming {}", partial.display()))?;
    screen.advance(&recipe);
    screen.say(&format!(
        "built {} {} in {}",
        recipe.name,
        recipe.version,
        seconds(started.elapsed())
    ));
    Ok(())
}

/// `go build -v` names each package on a line of its own; all else is a message.
fn is_package(line: &str) -> bool {
    !line.is_empty()
        && !line.starts_with("go: ")
        && !line.starts_with('#')
        && !line.contains(' ')
        && !line.contains(".go:")
}

fn go(recipe: &Recipe, module: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module)
        .env("GOFLAGS", "-buildvcs=false")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", if recipe.cgo { "1" } else { "0" });
    command
}

/// Copies what the recipe names out of Go's module cache, so that a later `up` needs no Go.
fn keep_beside(recipe: &Recipe, module: &Path, folder: &Path) -> Result<()> {
    let Some(beside) = &recipe.beside else {
        return Ok(());
    };
    let source = output(
        go(recipe, module)
            .args(["list", "-m", "-mod=readonly", "-f", "{{.Dir}}"])
            .arg(beside.module),
    )?;
    let source = Path::new(source.trim());
    for kept in beside.paths {
        for entry in WalkDir::new(source.join(kept)) {
            let entry = entry.context("walking a module's folder")?;
            if entry.file_type().is_file() {
                let content = fs::read(entry.path())
                    .with_context(|| format!("reading {}", entry.path().display()))?;
                paths::write(&folder.join(entry.path().strip_prefix(source)?), content)?;
            }
        }
    }
    Ok(())
}

/// How many packages are still to be compiled; zero if that cannot be told.
fn packages(recipe: &Recipe, module: &Path) -> u64 {
    let listed = go(recipe, module)
        .args([
            "list",
            "-deps",
            "-mod=readonly",
            "-trimpath",
            "-tags",
            recipe.tags,
            "-f",
            "{{if .Stale}}x{{end}}",
        ])
        .arg(recipe.package)
        .stderr(Stdio::null())
        .output();
    listed.map_or(0, |output| {
        u64::try_from(
            output
                .stdout
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
                .count(),
        )
        .unwrap_or(0)
    })
}

/// Writes the module out where `go` can work in it, once for each content.
fn write_module(module: &Module) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    digest.update(module.go_mod);
    digest.update(module.go_sum);
    let digest = format!("{:x}", digest.finalize());
    let folder = paths::cache()?
        .join("go")
        .join(format!("{}-{}", module.name, &digest[..12]));
    paths::write(&folder.join("go.mod"), module.go_mod)?;
    paths::write(&folder.join("go.sum"), module.go_sum)?;
    Ok(folder)
}

fn seconds(duration: Duration) -> String {
    format!("{:.0} s", duration.as_secs_f64())
}

/// What a person sees: bars on a terminal, lines elsewhere.
struct Screen {
    bars: MultiProgress,
    whole: ProgressBar,
    is_terminal: bool,
}

impl Screen {
    fn new(missing: &[Program]) -> Self {
        let tenths = missing
            .iter()
            .map(|program| tenths(&program.recipe()))
            .sum::<u64>();
        let is_terminal = std::io::stderr().is_terminal();
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new(tenths));
        whole.set_style(style(
            "{msg:32} {wide_bar} {percent:>3}%  {elapsed} of about {prefix}",
        ));
        whole.set_message(format!("{} programs to build", missing.len()));
        #[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
        let minutes = tenths as f64 / 10.0;
        whole.set_prefix(format!("{minutes:.0} min"));
        whole.enable_steady_tick(Duration::from_secs(1));
        let screen = Self {
            bars,
            whole,
            is_terminal,
        };
        let names: Vec<&str> = missing.iter().map(|program| program.name()).collect();
        screen.say(&format!(
            "building {} (about {minutes:.0} min on two cores from nothing; once for this version)",
            names.join(", ")
        ));
        screen
    }

    fn say(&self, line: &str) {
        if self.is_terminal {
            // A screen that has gone away must not end the build.
            let _ = self.bars.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    fn begin(&self, recipe: &Recipe, packages: u64) -> Bar {
        let name = format!("{} {}", recipe.name, recipe.version);
        if !self.is_terminal {
            eprintln!(
                "building {name}: {packages} packages, about {:.1} min",
                recipe.minutes
            );
        }
        let bar = self.bars.add(ProgressBar::new(packages));
        bar.set_style(style(
            "{msg:32} {wide_bar} {pos}/{len} packages  {elapsed}, {eta} left",
        ));
        bar.set_message(name.clone());
        bar.enable_steady_tick(Duration::from_secs(1));
        Bar {
            shown: bar,
            name,
            is_terminal: self.is_terminal,
            spoke: Instant::now(),
        }
    }

    fn advance(&self, recipe: &Recipe) {
        self.whole.inc(tenths(recipe));
    }
}

struct Bar {
    shown: ProgressBar,
    name: String,
    is_terminal: bool,
    spoke: Instant,
}

impl Bar {
    fn step(&mut self) {
        self.shown.inc(1);
        if !self.is_terminal && self.spoke.elapsed() > Duration::from_secs(30) {
            eprintln!(
                "building {}: {} of {} packages",
                self.name,
                self.shown.position(),
                self.shown.length().unwrap_or(0)
            );
            self.spoke = Instant::now();
        }
    }

    fn finish(self) {
        self.shown.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Tenths of a minute.
fn tenths(recipe: &Recipe) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and positive"
    )]
    let tenths = (recipe.minutes * 10.0) as u64;
    tenths
}
