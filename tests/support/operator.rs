//! The operator, as a process of its own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use windlass_testcluster::process::Identity;

use super::{Bed, NAMESPACE};

/// The agent's image that the operator puts into pods; nothing pulls it here.
pub const AGENT_IMAGE: &str = "localhost/windlass-agent:test";

/// By what an operator finds the cluster, and where its Lease is.
struct Place<'a> {
    kubeconfig: PathBuf,
    namespace: &'a str,
}

impl Place<'_> {
    fn usual(bed: &Bed, user: &str) -> Result<Self> {
        Ok(Self {
            kubeconfig: bed.kubeconfig_of(user)?,
            namespace: NAMESPACE,
        })
    }

    /// Of one who has no more rights than were given to it.
    fn of_user(bed: &Bed, user: &str) -> Result<Self> {
        Ok(Self {
            kubeconfig: bed.kubeconfig_of_user(user)?,
            namespace: NAMESPACE,
        })
    }
}

/// A running operator. It is killed when this is dropped.
pub struct Operator {
    process: Child,
    /// Its name: the audit log's user, and the Lease's holder.
    pub user: String,
    address: SocketAddr,
    log: PathBuf,
}

impl Operator {
    /// Starts one, under a name that is the audit log's user too, and waits until its caches are filled.
    pub fn start(bed: &Bed, user: &str) -> Result<Self> {
        Self::start_in(bed, user, &Place::usual(bed, user)?, &[])
    }

    fn start_in(
        bed: &Bed,
        user: &str,
        place: &Place<'_>,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let operator = Self::spawn(bed, user, place, variables)?;
        operator.until("ready", || {
            Ok(operator
                .get("/readyz")
                .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")))
        })?;
        Ok(operator)
    }

    /// Starts one, and waits until it leads.
    pub fn lead(bed: &Bed, user: &str) -> Result<Self> {
        Self::lead_with(bed, user, &[])
    }

    /// The same, with further variables in its environment.
    pub fn lead_with(bed: &Bed, user: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::lead_in(bed, user, &Place::usual(bed, user)?, variables)
    }

    /// The same, as a user who has no more rights than were given to it.
    pub fn lead_as(bed: &Bed, user: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::lead_in(bed, user, &Place::of_user(bed, user)?, variables)
    }

    /// The same, and does not wait until it leads.
    pub fn start_as(bed: &Bed, user: &str, variables: &[(&str, &str)]) -> Result<Self> {
        Self::start_in(bed, user, &Place::of_user(bed, user)?, variables)
    }

    /// The same, by way of an address that is not the API server's own ([`super::between`]), with its Lease in this
    /// namespace.
    pub fn lead_by(bed: &Bed, user: &str, server: &str, namespace: &str) -> Result<Self> {
        let place = Place {
            kubeconfig: bed.kubeconfig_by(user, server)?,
            namespace,
        };
        Self::lead_in(bed, user, &place, &[])
    }

    /// The same, without waiting until it leads.
    pub fn start_by(bed: &Bed, user: &str, server: &str, namespace: &str) -> Result<Self> {
        let place = Place {
            kubeconfig: bed.kubeconfig_by(user, server)?,
            namespace,
        };
        Self::start_in(bed, user, &place, &[])
    }

    /// The same, without waiting until its caches are filled.
    pub fn spawn_by(bed: &Bed, user: &str, server: &str, namespace: &str) -> Result<Self> {
        let place = Place {
            kubeconfig: bed.kubeconfig_by(user, server)?,
            namespace,
        };
        Self::spawn(bed, user, &place, &[])
    }

    fn lead_in(
        bed: &Bed,
        user: &str,
        place: &Place<'_>,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let operator = Self::start_in(bed, user, place, variables)?;
        operator.until("leading", || Ok(operator.leads()))?;
        Ok(operator)
    }

    fn spawn(bed: &Bed, user: &str, place: &Place<'_>, variables: &[(&str, &str)]) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = bed.folder.join(format!("{user}-{port}.log"));
        let mut command = Command::new(program());
        command
            .args([
                "--listen",
                &address.to_string(),
                "--identity",
                user,
                "--namespace",
                place.namespace,
            ])
            .env("KUBECONFIG", &place.kubeconfig)
            .env("WINDLASS_AGENT_IMAGE", AGENT_IMAGE)
            .env("WINDLASS_PRESETS", bed.folder.join("presets.yaml"))
            // kwok's pods have addresses that may be those of somebody.
            .env("WINDLASS_ASK_TRAINERS", "false")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        // Its log and its audit lines, as `kubectl logs` gives them.
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        let process = command
            .spawn()
            .with_context(|| format!("starting {}", program().display()))?;
        Ok(Self {
            process,
            user: user.to_owned(),
            address,
            log,
        })
    }

    fn until(&self, what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so()? {
            ensure!(
                Instant::now() < end,
                "{} is not {what} within 30 s; it said:\n{}",
                self.user,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The answer to a GET of one of its endpoints, head and body.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Whether it says that it leads.
    pub fn leads(&self) -> bool {
        self.get("/metrics")
            .is_ok_and(|text| text.lines().any(|line| line == "windlass_leading 1"))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let pid = i32::try_from(self.process.id()).expect("a process id");
        Identity::of(pid).is_none()
    }

    /// What it wrote to its log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its resident memory now and at its highest, in bytes.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(
            Path::new("/proc")
                .join(self.process.id().to_string())
                .join("status"),
        )?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace()
                .nth(1)?
                .parse::<u64>()
                .ok()
                .map(|kilobytes| kilobytes * 1024)
        };
        Ok((
            field("VmRSS:").context("VmRSS")?,
            field("VmHWM:").context("VmHWM")?,
        ))
    }

    /// The time that it has had on a processor, all its threads together.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_of(self.process.id())
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < end,
                "{} does not stop; it said:\n{}",
                self.user,
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as a crash would.
    pub fn kill(self) -> Result<()> {
        self.last_words().map(drop)
    }

    /// Ends it as a crash would, and returns all that it wrote to its log.
    pub fn last_words(mut self) -> Result<String> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(self.said())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Of one that has ended already, there is nothing left to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The operator under test: the one that was built with this program, or the one that `WINDLASS_OPERATOR` names.
fn program() -> PathBuf {
    std::env::var_os("WINDLASS_OPERATOR")
        .map_or_else(|| env!("CARGO_BIN_EXE_windlass").into(), PathBuf::from)
}

/// The time that a process has had on a processor, all its threads together.
pub fn cpu_of(process: u32) -> Result<Duration> {
    let path = Path::new("/proc").join(process.to_string()).join("stat");
    let stat = std::fs::read_to_string(path)?;
    // The program's name, in brackets, may hold spaces; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')').context("a name in brackets")?;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    // Linux counts in hundredths of a second here, on every machine.
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}
