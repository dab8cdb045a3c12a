//! Frameworks on a real node, each with two workers that meet by the environment that Windlass gives: PyTorch with and
//! without torchrun, JAX, XGBoost. And the proof of checkpoints: a training that is killed three times at random steps
//! ends with the same bits as one that never was.
//!
//! Runs as root with the images of `make test-images`; says so and passes over it where they are not there.
//! What the workers run is in `tests/frameworks`: each program fails when what it computed with the others is wrong.

#[path = "support/node.rs"]
mod node;

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use node::{Bench, OUTPUT, PATIENCE, obstacle_for};
use serde_json::Value;

/// The image with the frameworks.
const IMAGE: &str = "frameworks";
/// Of the trainings that are killed.
const STEPS: u32 = 120;

#[test]
fn frameworks_meet_and_a_killed_training_ends_with_the_same_bits() {
    if let Some(why) = obstacle_for(IMAGE) {
        println!("skipped: {why}");
        return;
    }
    let bench = Bench::up_for(IMAGE, "frameworks", 0);
    std::thread::scope(|scope| {
        for case in [
            pytorch_averages_gradients_over_two_workers,
            pytorch_does_so_under_torchrun,
            jax_sums_over_two_processes,
            xgboost_grows_one_forest_from_two_halves,
            a_training_that_is_killed_three_times_ends_with_the_same_bits,
        ] {
            let bench = &bench;
            scope.spawn(move || case(bench));
        }
    });
}

/// A job of two workers. Their requests are small, and not nothing: a busy machine would give them next to nothing.
struct Job<'a> {
    namespace: &'a str,
    name: &'a str,
    framework: &'a str,
    command: &'a str,
    env: &'a str,
    more: &'a str,
}

impl Job<'_> {
    fn manifest(&self) -> String {
        let Self {
            namespace,
            name,
            framework,
            command,
            env,
            more,
        } = self;
        format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: TrainingJob\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n\
             \x20 framework: {framework}\n  model: {name}\n{OUTPUT}\n{more}\n  workers:\n    replicas: 2\n    template:\n      spec:\n\
             \x20       containers:\n        - name: trainer\n          image: localhost/{IMAGE}:dev\n          imagePullPolicy: IfNotPresent\n\
             \x20         command: [{command}]\n          env: [{env}]\n          resources: {{requests: {{cpu: 50m}}}}\n"
        )
    }
}

/// Waits, and looks less often than others do: kubectl would take the processor from what is waited for.
fn seldom(what: &str, mut is_so: impl FnMut() -> bool) {
    Bench::until(2 * PATIENCE, what, || {
        std::thread::sleep(Duration::from_secs(2));
        is_so()
    });
}

impl Bench {
    fn get(&self, namespace: &str, object: &str) -> Value {
        let text = self.kubectl(&["-n", namespace, "get", object, "-o", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits for a job's end; its status.
    fn completes(&self, namespace: &str, name: &str) -> Value {
        let mut status = Value::Null;
        seldom(&format!("{name} in {namespace} has ended"), || {
            status = self.get(namespace, &format!("tj/{name}"))["status"].clone();
            matches!(status["phase"].as_str(), Some("Complete" | "Failed"))
        });
        assert_eq!(status["phase"], "Complete", "{name}: {status:#}");
        status
    }

    fn folder(&self, namespace: &str) -> PathBuf {
        self.cluster
            .volume_path(namespace, "data")
            .expect("the claim's folder")
    }

    /// A file of a complete job's output.
    fn output(&self, namespace: &str, name: &str, file: &str) -> Vec<u8> {
        let version = self.get(namespace, &format!("mv/{name}-1"));
        let uri = version["spec"]["artifact"]["uri"].as_str().expect("a URI");
        let path = uri.strip_prefix("pvc://data/").expect("on the claim");
        let path = self.folder(namespace).join(path).join(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs a job to its end, in one attempt; what its program wrote into `result.json`.
    fn result(&self, namespace: &str, framework: &str, command: &str) -> Value {
        self.namespace(namespace);
        let job = Job {
            namespace,
            name: "job",
            framework,
            command,
            env: "",
            more: "  backoffLimit: 0",
        };
        self.apply(&job.manifest());
        let status = self.completes(namespace, "job");
        assert_eq!(status["attempt"], 1, "{status:#}");
        let attempts = status["attempts"].as_array().expect("a list");
        assert_eq!(attempts.len(), 1, "{status:#}");
        assert_eq!(attempts[0]["reason"], "Succeeded", "{status:#}");
        let result: Value =
            serde_json::from_slice(&self.output(namespace, "job", "result.json")).expect("JSON");
        println!("{namespace}: {result}");
        assert_eq!(result["workers"], 2);
        result
    }
}

fn pytorch_averages_gradients_over_two_workers(bench: &Bench) {
    let result = bench.result("pytorch", "PyTorch", "python3, torch_ddp.py");
    assert_eq!(result["launcher"], "none");
}

fn pytorch_does_so_under_torchrun(bench: &Bench) {
    let command = "python3, -m, torch.distributed.run, torch_ddp.py";
    let result = bench.result("torchrun", "PyTorch", command);
    assert_eq!(result["launcher"], "torchrun");
}

fn jax_sums_over_two_processes(bench: &Bench) {
    let result = bench.result("jax", "JAX", "python3, jax_processes.py");
    assert_eq!(result["sum"], 11.0);
}

fn xgboost_grows_one_forest_from_two_halves(bench: &Bench) {
    let result = bench.result("xgboost", "XGBoost", "python3, xgboost_tracker.py");
    assert!(result["digest"].is_string());
}

/// How a worker is lost.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Its pod is gone at once, as with its node.
    ForceDelete,
    /// Its trainer alone gets SIGKILL, as from the kernel when memory runs out.
    Kill,
    /// Its pod gets SIGTERM, and its grace period.
    Terminate,
}

/// Choices that can be made again: Steele, Lea and Flood (2014), SplitMix64.
struct Chance(u64);

impl Chance {
    /// Of `WINDLASS_SEED`, else of the clock.
    fn new() -> Self {
        let seed = std::env::var("WINDLASS_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(UNIX_EPOCH.elapsed().expect("a time").subsec_nanos()),
            |seed| seed.parse().expect("a number"),
        );
        println!("WINDLASS_SEED={seed} makes the same choices");
        Self(seed)
    }

    /// A number below `end`.
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(end)).expect("below a u32")
    }
}

/// Trainings of one program in one namespace.
struct Trainings<'a> {
    bench: &'a Bench,
    /// The claim's.
    folder: PathBuf,
}

impl Trainings<'_> {
    const SPACE: &'static str = "killed";

    fn start(&self, name: &str, env: &str) {
        let job = Job {
            namespace: Self::SPACE,
            name,
            framework: "PyTorch",
            command: "python3, torch_resumed.py",
            env: &format!("{{name: JOB, value: {name}}}, {{name: STEPS, value: \"{STEPS}\"}}{env}"),
            more: "  backoffLimit: 3\n  checkpoint: {uri: \"pvc://data/checkpoints\", every: 1s, keep: 2}",
        };
        self.bench.apply(&job.manifest());
    }

    /// Each step that rank 0 took, as attempt and step.
    fn steps(&self, name: &str) -> Vec<(u32, u32)> {
        let path = self.watched(name).join("steps");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let line = |line: &str| {
            let (attempt, step) = line.split_once(' ')?;
            Some((attempt.parse().ok()?, step.parse().ok()?))
        };
        whole.lines().filter_map(line).collect()
    }

    fn watched(&self, name: &str) -> PathBuf {
        self.folder.join("watched").join(name)
    }

    /// Whether a checkpoint of an attempt is kept whole.
    fn has_checkpoint(&self, name: &str, attempt: u32) -> bool {
        let jobs = std::fs::read_dir(self.folder.join("checkpoints"));
        jobs.into_iter()
            .flatten()
            .flatten()
            .filter(|job| job.file_name().to_string_lossy().starts_with(name))
            .filter_map(|job| std::fs::read_dir(job.path().join(format!("{attempt:06}"))).ok())
            .flatten()
            .flatten()
            .any(|place| place.path().join("manifest.json").exists())
    }

    /// Waits until an attempt has taken this step.
    fn reaches(&self, name: &str, attempt: u32, step: u32) {
        let what = format!("attempt {attempt} of {name} took step {step}");
        Bench::until(2 * PATIENCE, &what, || {
            self.steps(name)
                .iter()
                .any(|(of, taken)| *of == attempt && *taken >= step)
        });
    }

    /// Loses a worker; returns when the next attempt is there.
    fn lose(&self, name: &str, attempt: u32, rank: u32, way: Way) {
        let selector = format!(
            "windlass.dev/attempt={attempt},windlass.dev/training-job={name},batch.kubernetes.io/job-completion-index={rank}"
        );
        let path = "jsonpath={.items[0].metadata.name}";
        let kubectl = |arguments: &[&str]| {
            let mut all = vec!["-n", Self::SPACE];
            all.extend(arguments);
            self.bench.kubectl(&all)
        };
        let pod = kubectl(&["get", "pods", "-l", &selector, "-o", path]);
        match way {
            Way::ForceDelete => kubectl(&["delete", "pod", &pod, "--grace-period=0", "--force"]),
            Way::Terminate => kubectl(&["delete", "pod", &pod, "--wait=false"]),
            Way::Kill => {
                let file = self.watched(name).join(format!("pid-{attempt}-{rank}"));
                let pid = std::fs::read_to_string(file).expect("the trainer wrote its id");
                let kill = format!("kill -9 {pid}");
                kubectl(&["exec", &pod, "-c", "trainer", "--", "sh", "-c", &kill])
            }
        };
        seldom("the next attempt", || {
            self.bench.get(Self::SPACE, &format!("tj/{name}"))["status"]["attempt"] == attempt + 1
        });
    }

    fn weights(&self, name: &str) -> Vec<u8> {
        self.bench.output(Self::SPACE, name, "weights")
    }
}

fn a_training_that_is_killed_three_times_ends_with_the_same_bits(bench: &Bench) {
    bench.namespace(Trainings::SPACE);
    let trainings = Trainings {
        bench,
        folder: bench.folder(Trainings::SPACE),
    };
    trainings.start("calm", "");
    trainings.start("killed", "");
    // The same program with a mistake: what this test would show if a checkpoint were not all that is needed.
    trainings.start("forgetful", ", {name: FORGET, value: optimizer}");
    std::thread::scope(|scope| {
        let trainings = &trainings;
        scope.spawn(move || {
            trainings.reaches("forgetful", 1, 30);
            Bench::until(PATIENCE, "a checkpoint of forgetful", || {
                trainings.has_checkpoint("forgetful", 1)
            });
            trainings.lose("forgetful", 1, 1, Way::Kill);
        });
        scope.spawn(move || kill_three_times(trainings, "killed"));
    });
    for name in ["calm", "killed", "forgetful"] {
        bench.completes(Trainings::SPACE, name);
        let version = bench.get(Trainings::SPACE, &format!("mv/{name}-1"));
        println!("{name}: {}", version["spec"]["artifact"]["digest"]);
    }
    let forgetful = bench.get(Trainings::SPACE, "tj/forgetful")["status"]["attempts"][1].clone();
    assert!(forgetful["resumedFrom"].is_string(), "{forgetful:#}");
    let calm = trainings.weights("calm");
    assert!(!calm.is_empty());
    assert!(trainings.weights("killed") == calm, "not the same bits");
    assert!(
        trainings.weights("forgetful") != calm,
        "a trainer that forgets its momentum ends with the same bits: this test sees nothing"
    );
}

fn kill_three_times(trainings: &Trainings<'_>, name: &str) {
    let mut chance = Chance::new();
    let mut ways = vec![Way::ForceDelete, Way::Kill, Way::Terminate];
    // From which attempt on there was a checkpoint to go on from.
    let mut kept_since = None;
    for attempt in 1..=3_u32 {
        // At most three times 33 steps: it is never at its end.
        let taken = trainings.steps(name).iter().map(|(_, step)| *step).max();
        let step = taken.unwrap_or(0) + 8 + chance.below(25);
        let choice = usize::try_from(chance.below(3)).expect("small") % ways.len();
        let (way, rank) = (ways.remove(choice), chance.below(2));
        let moment = Duration::from_millis(chance.below(200).into());
        trainings.reaches(name, attempt, step);
        std::thread::sleep(moment);
        if trainings.has_checkpoint(name, attempt) {
            kept_since.get_or_insert(attempt + 1);
        }
        println!("attempt {attempt}, {moment:?} after step {step}: {way:?} of rank {rank}");
        trainings.lose(name, attempt, rank, way);
    }
    let status = trainings.bench.completes(Trainings::SPACE, name);
    let attempts = status["attempts"].as_array().expect("a list");
    for attempt in attempts {
        let field = |name: &str| attempt[name].clone();
        println!(
            "attempt {}: {} from {}",
            field("number"),
            field("reason"),
            field("resumedFrom")
        );
    }
    assert_eq!(attempts.len(), 4, "{status:#}");
    if kept_since.is_some() {
        assert!(attempts[3]["resumedFrom"].is_string(), "{status:#}");
    }
    let steps = trainings.steps(name);
    println!(
        "{} steps taken for {STEPS}, {} of them again",
        steps.len(),
        steps.len() - STEPS as usize
    );
    // Going on from a checkpoint is not to begin anew. An attempt whose pod is gone may not have told that it did.
    for attempt in 2..=4_u32 {
        let first = steps.iter().find(|(of, _)| *of == attempt);
        let went_on = first.is_some_and(|(_, step)| *step > 1);
        let told = attempts[attempt as usize - 1]["resumedFrom"].is_string();
        let had_to = kept_since.is_some_and(|since| since <= attempt);
        assert!(went_on || !(told || had_to), "attempt {attempt}: {first:?}");
    }
}
