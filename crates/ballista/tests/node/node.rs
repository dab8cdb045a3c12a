//! A real node with the operator and a Ballista cluster of the chart's, by the programs that `make` names.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_windlass-ballista");

/// It is taken down with this.
pub struct Node {
    name: String,
}

fn variable(name: &str) -> PathBuf {
    let value = std::env::var_os(name);
    PathBuf::from(
        value.unwrap_or_else(|| panic!("{name} is not set; `make test-ballista-node` sets it")),
    )
}

/// What a program prints; it has to end well.
fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn testcluster(arguments: &[&str]) -> String {
    printed(Command::new(variable("TESTCLUSTER")).args(arguments))
}

/// Waits until something is so.
pub fn until(patience: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < patience,
            "after {patience:?}: not yet so: {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A time as Kubernetes writes it.
pub fn time(seconds: u64) -> String {
    let of = format!("@{seconds}");
    printed(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &of]))
}

/// Lets the agent's user write below a folder.
pub fn open(folder: &Path) {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).expect("it is opened");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            open(&path);
        }
    }
}

/// Makes the profile of data with the agent, and says its digest.
pub fn profile(data: &Path, output: &Path) -> String {
    let mut agent = Command::new(variable("WINDLASS_AGENT_BINARY"));
    agent
        .arg("profile")
        .arg(data)
        .args(["--unit", "user", "-o"])
        .arg(output);
    let said = printed(&mut agent);
    let digest = said
        .split("(sha256:")
        .nth(1)
        .and_then(|rest| rest.split(')').next());
    format!(
        "sha256:{}",
        digest.unwrap_or_else(|| panic!("no digest: {said}"))
    )
}

impl Node {
    /// Brings one up, with a namespace under the *restricted* standard that has a claim, `data`, and a cluster.
    pub fn up(name: &str, space: &str) -> Self {
        testcluster(&["up", "--name", name, "--shape", "node", "--gpus", "0"]);
        let node = Self {
            name: name.to_owned(),
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (operator, agent) = (
            variable("WINDLASS_BINARY"),
            variable("WINDLASS_AGENT_BINARY"),
        );
        node.load(folder.path(), "windlass", &[&operator]);
        node.load(
            folder.path(),
            "windlass-ballista",
            &[Path::new(PROGRAM), &agent],
        );
        for namespace in ["windlass-system", space] {
            node.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}, labels: {{pod-security.kubernetes.io/enforce: restricted}}}}}}"));
        }
        node.apply(&format!("{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: data, namespace: {space}}}, spec: {{accessModes: [ReadWriteMany], resources: {{requests: {{storage: 1Gi}}}}}}}}"));
        until(Duration::from_mins(3), "the claim is bound", || {
            node.get(space, "pvc/data", "{.status.phase}") == "Bound"
        });
        node.apply(&manifests(space));
        node.rolled_out("windlass-system", "windlass");
        node.rolled_out(space, "windlass-ballista");
        node.rolled_out(space, "windlass-ballista-executors");
        node
    }

    fn load(&self, folder: &Path, image: &str, programs: &[&Path]) {
        let tar = folder.join(format!("{image}.tar"));
        let mut arguments = vec!["image".to_owned(), "scratch".to_owned()];
        for program in programs {
            let name = program.file_name().expect("a file").to_str().expect("text");
            let stripped = folder.join(name);
            let mut strip = Command::new("strip");
            printed(
                strip
                    .args(["--strip-all", "-o"])
                    .arg(&stripped)
                    .arg(program),
            );
            arguments.extend([
                "--binary".to_owned(),
                format!("{}:/{name}", stripped.display()),
            ]);
        }
        let tar = tar.to_str().expect("text");
        let name = format!("localhost/{image}:dev");
        arguments.extend(["--name", &name, "--output", tar].map(str::to_owned));
        arguments.extend(["--entrypoint".to_owned(), format!("/{image}")]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        testcluster(&arguments);
        testcluster(&["load-image", "--name", &self.name, tar]);
    }

    fn kubectl(&self) -> Command {
        let mut command = Command::new(variable("TESTCLUSTER"));
        command.args(["kubectl", "--name", &self.name, "--"]);
        command
    }

    /// Applies manifests.
    pub fn apply(&self, manifests: &str) {
        let mut command = self.kubectl();
        command.args(["apply", "--server-side", "--validate=strict", "-f", "-"]);
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("it starts");
        let mut to = child.stdin.take().expect("a pipe");
        to.write_all(manifests.as_bytes()).expect("it reads");
        drop(to);
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{manifests}");
    }

    /// A field of an object, by its path; nothing where there is none.
    pub fn get(&self, space: &str, object: &str, path: &str) -> String {
        let path = format!("jsonpath={path}");
        printed(
            self.kubectl()
                .args(["-n", space, "get", object, "-o", &path]),
        )
    }

    /// What a monitor says of itself.
    pub fn said(&self, space: &str, monitor: &str) -> String {
        self.get(space, &format!("driftmonitor/{monitor}"), "{.status}")
    }

    /// Plays who writes an object's status.
    pub fn patch_status(&self, space: &str, object: &str, status: &str) {
        let patch = format!(r#"{{"status": {status}}}"#);
        printed(self.kubectl().args([
            "-n",
            space,
            "patch",
            object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ]));
    }

    /// Waits until all pods of a Deployment are ready.
    pub fn rolled_out(&self, space: &str, deployment: &str) {
        let deployment = format!("deployment/{deployment}");
        printed(self.kubectl().args([
            "-n",
            space,
            "rollout",
            "status",
            &deployment,
            "--timeout=300s",
        ]));
    }

    /// The folder of a claim.
    pub fn volume(&self, space: &str, claim: &str) -> PathBuf {
        let claim = format!("{space}/{claim}");
        testcluster(&["volume-path", "--name", &self.name, &claim]).into()
    }

    /// The executors that run.
    pub fn executors(&self, space: &str) -> Vec<String> {
        let component = "app.kubernetes.io/component=ballista-executor";
        let running = "--field-selector=status.phase=Running";
        let names = printed(self.kubectl().args([
            "-n", space, "get", "pods", "-l", component, running, "-o", "name",
        ]));
        names.lines().map(str::to_owned).collect()
    }

    /// How many parts an executor has said that it counted: `Finished task : [TID JOB/STAGE.ATTEMPT/TASK.ATTEMPT] in …`.
    pub fn counted(&self, space: &str, executor: &str) -> usize {
        let log = printed(self.kubectl().args(["-n", space, "logs", executor]));
        let is_of_parts = |line: &&str| {
            let stage = line
                .split_once("Finished task")
                .and_then(|(_, task)| task.split('/').nth(1));
            stage.is_some_and(|stage| stage.starts_with("1."))
        };
        log.lines().filter(is_of_parts).count()
    }

    /// Ends an executor at once, with all that it holds.
    pub fn kill(&self, space: &str, executor: &str) {
        printed(self.kubectl().args([
            "-n",
            space,
            "delete",
            executor,
            "--grace-period=0",
            "--force",
            "--wait=false",
        ]));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing is to hide why the test failed.
        let _ = Command::new(variable("TESTCLUSTER"))
            .args(["down", "--name", &self.name])
            .status();
    }
}

/// The chart, with the images of this node.
fn manifests(space: &str) -> String {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/windlass");
    let values = [
        "image.repository=localhost/windlass,image.tag=dev,replicas=1".to_owned(),
        "agent.image.repository=localhost/windlass-ballista,agent.image.tag=dev".to_owned(),
        "ballista.image.repository=localhost/windlass-ballista,ballista.image.tag=dev".to_owned(),
        "ballista.enabled=true,ballista.partsAtOnce=1,ballista.resources.requests.cpu=100m"
            .to_owned(),
        format!("ballista.namespaces[0].name={space},ballista.namespaces[0].claims={{data}}"),
    ];
    let mut helm = Command::new(testcluster(&["which", "helm"]));
    helm.args([
        "template",
        "windlass",
        chart,
        "--namespace",
        "windlass-system",
    ]);
    for value in &values {
        helm.args(["--set", value]);
    }
    printed(&mut helm)
}
