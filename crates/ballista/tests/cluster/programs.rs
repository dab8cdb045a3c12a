//! The programs of a cluster on loopback, each with a port and a folder of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_windlass-ballista");

/// Ends with its program.
struct Running(Child);

impl Running {
    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// An executor.
pub struct Executor {
    program: Running,
    work: PathBuf,
    log: PathBuf,
}

impl Executor {
    /// How many parts it has said that it counted, those too that it has no more: as soon as all are brought together, they are
    /// removed.
    pub fn has_counted(&self) -> usize {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        // `Finished task : [TID JOB/STAGE.ATTEMPT/TASK.ATTEMPT] in …`
        let is_of_parts = |line: &&str| {
            let stage = line.split('/').nth(1);
            line.contains("Finished task") && stage.is_some_and(|stage| stage.starts_with("1."))
        };
        log.lines().filter(is_of_parts).count()
    }

    /// How many parts it has counted and holds.
    pub fn counted(&self) -> usize {
        // Written at once when all is counted.
        let is_written = |path: &PathBuf| path.metadata().is_ok_and(|of| of.len() > 0);
        self.answers()
            .iter()
            .filter(|path| is_written(path))
            .count()
    }

    /// How many parts it has begun to count: the file comes first.
    pub fn begun(&self) -> usize {
        self.answers().len()
    }

    /// The files of the first stage of plans, in which parts are counted: `JOB/1/…`.
    fn answers(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.work.clone()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(inner) = path.strip_prefix(&self.work)
                    && inner.iter().nth(1).is_some_and(|stage| stage == "1")
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// A scheduler and its executors.
pub struct Cluster {
    folder: PathBuf,
    address: String,
    scheduler: Running,
    executors: Vec<Executor>,
}

/// A port that nobody listens at now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn start(folder: &Path, name: &str, arguments: &[String]) -> Running {
    let log = std::fs::File::create(folder.join(format!("{name}.log"))).expect("a log");
    let program = Command::new(PROGRAM)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn();
    Running(program.expect("it starts"))
}

/// Runs a command of the client's.
pub fn client(address: &str, command: &str, arguments: &[&str]) -> Child {
    let client = Command::new(PROGRAM)
        .arg(command)
        .args(arguments)
        .args(["--engine", address])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    client.expect("it starts")
}

impl Cluster {
    /// So many executors, which count one part at a time, and are lost after a few seconds without a word.
    pub fn start(folder: &Path, executors: usize) -> Self {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let arguments = [
            "scheduler",
            "--listen",
            &listen,
            "--host",
            "127.0.0.1",
            "--lost-after",
            "5",
        ];
        let scheduler = start(folder, "scheduler", &arguments.map(str::to_owned));
        wait_for(port, &folder.join("scheduler.log"));
        let executors = (0..executors).map(|number| {
            let name = format!("executor-{number}");
            let work = folder.join(&name);
            std::fs::create_dir_all(&work).expect("a folder");
            let (port_of_answers, port_of_tasks) = (free_port(), free_port());
            let arguments = [
                ("--scheduler", "127.0.0.1".to_owned()),
                ("--scheduler-port", port.to_string()),
                ("--listen", "127.0.0.1".to_owned()),
                ("--host", "127.0.0.1".to_owned()),
                ("--port", port_of_answers.to_string()),
                ("--tasks-port", port_of_tasks.to_string()),
                ("--at-once", "1".to_owned()),
                ("--heartbeat", "1".to_owned()),
                ("--work-dir", work.to_str().expect("text").to_owned()),
            ];
            let arguments = arguments
                .into_iter()
                .flat_map(|(name, value)| [name.to_owned(), value]);
            let arguments: Vec<String> = std::iter::once("executor".to_owned())
                .chain(arguments)
                .collect();
            let program = start(folder, &name, &arguments);
            let log = folder.join(format!("{name}.log"));
            wait_for(port_of_answers, &log);
            Executor { program, work, log }
        });
        Self {
            folder: folder.to_owned(),
            address: format!("ballista://{listen}"),
            scheduler,
            executors: executors.collect(),
        }
    }

    /// Runs a command of the client's.
    pub fn client(&self, command: &str, arguments: &[&str]) -> Child {
        client(&self.address, command, arguments)
    }

    /// Those that run.
    pub fn executors(&self) -> &[Executor] {
        &self.executors
    }

    /// Kills one, with SIGKILL and by its id; how many parts it had counted, and had begun to.
    pub fn kill_executor(&mut self, at: usize) -> (usize, usize) {
        let mut killed = self.executors.remove(at);
        killed.program.end();
        (killed.counted(), killed.begun())
    }

    /// What its programs have logged, for who reads why a test failed.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
        {
            let path = entry.path();
            if path.extension().is_some_and(|is| is == "log") {
                let said = std::fs::read_to_string(&path).unwrap_or_default();
                let last = said.lines().rev().take(60).collect::<Vec<&str>>();
                let last = last.into_iter().rev().collect::<Vec<&str>>().join("\n");
                let name = path.display().to_string();
                all.extend(["\n", name.as_str(), ":\n", last.as_str(), "\n"]);
            }
        }
        all
    }

    /// Ends all programs.
    pub fn stop(&mut self) {
        self.executors.clear();
        self.scheduler.end();
    }
}

/// Waits until a program listens.
fn wait_for(port: u16, log: &Path) {
    let until = Instant::now() + Duration::from_mins(1);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        assert!(
            Instant::now() < until,
            "nothing listens at port {port}: {said}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
