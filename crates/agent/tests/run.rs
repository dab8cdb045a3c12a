//! `windlass-agent run`, `fetch` and `install` on local files, as a pod runs them.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Place, names};
use windlass_api::agent::{FailureReason, Report};

const FLIGHTS: &str = "origin,delay\nJFK,3\nLGA,-1\n";

#[test]
fn a_trainer_finds_its_inputs_and_its_output_is_kept() {
    let place = Place::new();
    place.file("volumes/flights/2026/a.csv", FLIGHTS);
    let ended = place.train(
        &[
            "--input", "raw-data=pvc://flights/2026/", "--input-format", "raw-data=CSV",
            "--require-column", "raw-data=delay", "--parameter", "learning_rate=0.05",
            "--window-start", "2026-10-01T00:00:00Z", "--attempt", "2", "--output", "pvc://models/flights/1",
        ],
        r#"
        cat "$WINDLASS_INPUT_RAW_DATA"/a.csv > "$WINDLASS_OUTPUT/model"
        mkdir "$WINDLASS_OUTPUT/deep"
        echo "$WINDLASS_PARAMETER_learning_rate $WINDLASS_WINDOW_START $WINDLASS_WINDOW_END $WINDLASS_ATTEMPT" > "$WINDLASS_OUTPUT/deep/told"
        cp "$WINDLASS_PARAMETERS" "$WINDLASS_OUTPUT/parameters"
        echo '{"step": 3, "metrics": {"loss": 0.25}}' > "$WINDLASS_PROGRESS"
        echo to the log; echo to the errors >&2
        "#,
    );
    let training = ended.training();
    assert_eq!(place.read("volumes/models/flights/1/model"), FLIGHTS);
    assert_eq!(
        place.read("volumes/models/flights/1/deep/told"),
        "0.05 2026-10-01T00:00:00Z  2\n"
    );
    let parameters: serde_json::Value =
        serde_json::from_str(&place.read("volumes/models/flights/1/parameters")).expect("JSON");
    assert_eq!(parameters, serde_json::json!({"learning_rate": "0.05"}));
    assert_eq!(training.metrics.get("loss"), Some(&0.25));
    let output = training.output.as_ref().expect("an output");
    assert_eq!(
        (output.uri.as_str(), output.files),
        ("pvc://models/flights/1", 3)
    );
    assert_eq!(
        (
            training.inputs[0].name.as_str(),
            training.inputs[0].tree.bytes
        ),
        ("raw-data", FLIGHTS.len() as u64)
    );
    assert!(String::from_utf8_lossy(&ended.output.stdout).contains("to the log"));
    assert!(String::from_utf8_lossy(&ended.output.stderr).contains("to the errors"));

    // Who registers it by hand finds the same digest.
    let found = place.agent(&["digest", "pvc://models/flights/1"]).report;
    let Report::Fetch(found) = found else {
        panic!("{found:?}")
    };
    assert_eq!(training.output.as_ref(), Some(&found.tree));
    let nowhere = place.agent(&["digest", "pvc://models/flights/2"]);
    assert_eq!(nowhere.failure().reason, FailureReason::InputNotFound);
    assert_eq!(nowhere.output.status.code(), Some(66));
}

#[test]
fn references_in_the_command_are_expanded_from_what_the_agent_sets() {
    let place = Place::new();
    let input = place.file("data.csv", FLIGHTS);
    let (input, work) = (format!("data={}", input.display()), place.path("work"));
    let ended = place.agent(&[
        "run",
        "--work-dir",
        &work.to_string_lossy(),
        "--input",
        &input,
        "--parameter",
        "depth=7",
        "--",
        "sh",
        "-c",
        r#"echo "$1" > "$(WINDLASS_OUTPUT)/told""#,
        "sh",
        "$(WINDLASS_PARAMETER_depth) $(NOBODY) $$(WINDLASS_ATTEMPT) $(WINDLASS_INPUT_DATA)",
    ]);
    ended.training();
    let input = std::fs::canonicalize(&work)
        .expect("there")
        .join("inputs/data");
    assert_eq!(
        place.read("work/output/told"),
        format!("7 $(NOBODY) $(WINDLASS_ATTEMPT) {}\n", input.display())
    );
    assert_eq!(place.read("work/inputs/data/data.csv"), FLIGHTS);
}

#[test]
fn a_missing_column_is_told_before_the_trainer_starts() {
    let place = Place::new();
    place.file("in/a.csv", FLIGHTS);
    let input = format!("flights={}", place.path("in").display());
    let ended = place.train(
        &[
            "--input",
            &input,
            "--input-format",
            "flights=CSV",
            "--require-column",
            "flights=carrier",
        ],
        &format!("touch {}", place.path("started").display()),
    );
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::ColumnNotFound);
    for word in ["flights", "carrier", "origin, delay", "a.csv"] {
        assert!(
            failure.message.contains(word),
            "{word}: {}",
            failure.message
        );
    }
    assert!(!place.path("started").exists());
}

#[test]
fn an_input_that_is_not_of_its_format_is_unreadable() {
    let place = Place::new();
    place.file("in/a", [0xff_u8, 0xfe, 0x00, 0x80, b'\n'].repeat(100));
    let input = format!("x={}", place.path("in").display());
    for format in ["x=CSV", "x=Parquet", "x=JSON"] {
        let ended = place.train(&["--input", &input, "--input-format", format], "true");
        assert_eq!(
            ended.failure().reason,
            FailureReason::InputUnreadable,
            "{format}: {:?}",
            ended.report
        );
        assert!(
            ended.failure().message.contains("'x'"),
            "{}",
            ended.failure().message
        );
    }
}

#[test]
fn an_input_that_is_not_there_is_named() {
    let place = Place::new();
    let ended = place.train(&["--input", "x=pvc://flights/nowhere"], "true");
    assert_eq!(ended.failure().reason, FailureReason::InputNotFound);
    assert!(ended.failure().message.contains("pvc://flights/nowhere"));
}

#[test]
fn a_failed_trainer_leaves_its_exit_code_and_last_lines() {
    let place = Place::new();
    let script = "for i in $(seq 100); do echo line $i; done; echo 'ValueError: no such column' >&2; sleep 0.2; exit 3";
    let ended = place.train(&["--output", "pvc://models/m"], script);
    let failure = ended.failure();
    assert_eq!(
        (failure.reason, failure.exit_code),
        (FailureReason::TrainerFailed, Some(3))
    );
    assert_eq!(ended.output.status.code(), Some(3));
    assert!(
        failure.log_tail.contains("line 100") && !failure.log_tail.contains("line 1\n"),
        "{}",
        failure.log_tail
    );
    assert!(failure.log_tail.contains("ValueError: no such column"));
    assert!(!place.path("volumes/models").exists());
}

#[test]
fn a_trainer_that_is_not_there_is_named() {
    let place = Place::new();
    let work = place.path("work");
    let ended = place.agent(&[
        "run",
        "--work-dir",
        &work.to_string_lossy(),
        "--",
        "/no/such/trainer",
        "--epochs",
        "3",
    ]);
    assert_eq!(ended.failure().reason, FailureReason::TrainerNotStarted);
    assert!(ended.failure().message.contains("/no/such/trainer"));
    assert_eq!(ended.output.status.code(), Some(1));
}

#[test]
fn a_trainer_that_writes_nothing_has_no_model() {
    let place = Place::new();
    let ended = place.train(
        &["--output", "pvc://models/m"],
        "mkdir \"$WINDLASS_OUTPUT/empty\"",
    );
    assert_eq!(ended.failure().reason, FailureReason::OutputMissing);
}

#[test]
fn a_worker_that_is_not_the_first_uploads_nothing() {
    let place = Place::new();
    let ended = place.train(&["--output", "pvc://models/m", "--rank", "1"], "true");
    assert_eq!(ended.training().output, None);
    assert!(!place.path("volumes/models").exists());
}

#[test]
fn the_same_files_have_the_same_digest_wherever_and_whenever() {
    let place = Place::new();
    let script =
        "mkdir $WINDLASS_OUTPUT/b; echo 1 > $WINDLASS_OUTPUT/b/x; echo 2 > $WINDLASS_OUTPUT/a";
    let one = place
        .train(&["--output", "pvc://models/1"], script)
        .training()
        .output
        .clone()
        .expect("an output");
    let two = place
        .train(&["--output", "pvc://models/2"], script)
        .training()
        .output
        .clone()
        .expect("an output");
    let other = place.train(
        &["--output", "pvc://models/3"],
        &format!("{script}; echo 3 > $WINDLASS_OUTPUT/a"),
    );
    assert_eq!(one.digest, two.digest);
    assert_ne!(
        one.digest,
        other.training().output.clone().expect("an output").digest
    );
}

#[test]
fn a_torn_upload_leaves_nothing_under_the_final_name() {
    let place = Place::new();
    // A pipe with no one at its other end: the second file is never read to its end.
    let work = place.path("work");
    let mut child = place
        .command(&[
            "run",
            "--work-dir",
            &work.to_string_lossy(),
            "--output",
            "pvc://models/m",
            "--grace-period",
            "0s",
            "--",
        ])
        .args([
            "sh",
            "-c",
            "dd if=/dev/zero of=$WINDLASS_OUTPUT/a bs=1M count=400 2>/dev/null; echo done",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let models = place.path("volumes/models");
    wait_for(|| models.exists() && !names(&models).is_empty());
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!models.join("m").exists(), "{:?}", names(&models));
    assert!(
        names(&models)
            .iter()
            .all(|name| name.starts_with(".windlass-m.")),
        "{:?}",
        names(&models)
    );
    let again = place.train(
        &["--output", "pvc://models/m"],
        "echo 1 > $WINDLASS_OUTPUT/a",
    );
    assert_eq!(
        again.training().output.as_ref().expect("an output").files,
        1
    );
}

#[test]
fn an_output_is_replaced_when_the_agent_wrote_it_and_kept_when_it_did_not() {
    let place = Place::new();
    for content in ["1", "22"] {
        place
            .train(
                &["--output", "pvc://models/m"],
                &format!("echo {content} > $WINDLASS_OUTPUT/a"),
            )
            .training();
        assert_eq!(place.read("volumes/models/m/a"), format!("{content}\n"));
    }
    place.file("volumes/models/m/thesis", "years of work");
    let refused = place.train(
        &["--output", "pvc://models/m"],
        "echo 3 > $WINDLASS_OUTPUT/a",
    );
    assert_eq!(refused.failure().reason, FailureReason::OutputNotWritten);
    assert_eq!(place.read("volumes/models/m/thesis"), "years of work");
    assert_eq!(place.read("volumes/models/m/a"), "22\n");
}

#[test]
fn a_trainer_is_told_to_stop_and_may_finish() {
    let place = Place::new();
    let ended = interrupted(
        &place,
        "30s",
        "trap 'echo saved > \"$WINDLASS_OUTPUT/checkpoint\"; exit 0' TERM; touch READY; while :; do sleep 0.05; done",
    );
    assert_eq!(ended.0.failure().reason, FailureReason::Interrupted);
    assert_eq!(place.read("work/output/checkpoint"), "saved\n");
    assert!(!place.path("volumes/models").exists());
}

#[test]
fn a_trainer_that_will_not_stop_is_killed_with_what_it_started() {
    let place = Place::new();
    let ended = interrupted(
        &place,
        "300ms",
        "trap '' TERM; (while :; do sleep 0.05; touch ALIVE; done) & touch READY; while :; do sleep 0.05; done",
    );
    assert_eq!(ended.0.failure().reason, FailureReason::Interrupted);
    assert!(ended.1 < Duration::from_secs(10), "{:?}", ended.1);
    let alive = place.path("ALIVE");
    std::fs::remove_file(&alive).ok();
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        !alive.exists(),
        "a process that the trainer started lives on"
    );
}

/// Starts a trainer, tells the agent to stop once it is ready, and how long the end took.
fn interrupted(place: &Place, grace: &str, script: &str) -> (common::Ended, Duration) {
    let script = script.replace("READY", &place.path("READY").to_string_lossy());
    let script = script.replace("ALIVE", &place.path("ALIVE").to_string_lossy());
    let work = place.path("work");
    let mut command = place.command(&[
        "run",
        "--work-dir",
        &work.to_string_lossy(),
        "--grace-period",
        grace,
        "--output",
        "pvc://models/m",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_for(|| place.path("READY").exists());
    let told = Instant::now();
    terminate(&child);
    let output = child.wait_with_output().expect("ended");
    (
        common::Ended {
            report: place.report(&output),
            output,
        },
        told.elapsed(),
    )
}

fn terminate(child: &std::process::Child) {
    let id = i32::try_from(child.id()).expect("an id");
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told");
}

fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "it did not come"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn arguments_that_make_no_sense_end_with_64_and_a_report() {
    let place = Place::new();
    for arguments in [
        &["--input", "nonsense"][..],
        &["--input", "../up=/tmp"],
        &["--input", "x=/tmp", "--input", "x=/tmp"],
        &["--input", "x=gopher://x"],
        &["--input-format", "x=CSV"],
        &["--input", "x=/tmp", "--require-column", "x=a"],
        &["--input", "x=pvc://claim/../../etc"],
        &["--no-such-argument"],
    ] {
        let ended = place.train(arguments, "true");
        assert_eq!(
            ended.failure().reason,
            FailureReason::InvalidArguments,
            "{arguments:?}"
        );
        assert_eq!(ended.output.status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn a_model_is_fetched_only_when_it_is_the_one_that_was_recorded() {
    let place = Place::new();
    let trained = place.train(
        &["--output", "pvc://models/m"],
        "mkdir $WINDLASS_OUTPUT/d; echo 1 > $WINDLASS_OUTPUT/d/a",
    );
    let digest = trained
        .training()
        .output
        .as_ref()
        .expect("an output")
        .digest
        .clone();
    let to = place.path("model");
    let arguments = [
        "fetch",
        "--uri",
        "pvc://models/m",
        "--digest",
        &digest,
        "--to",
        &to.to_string_lossy(),
    ];
    // A pod's second start finds what the first one fetched.
    for _ in 0..2 {
        let Report::Fetch(fetched) = place.agent(&arguments).report else {
            panic!("not fetched")
        };
        assert_eq!(fetched.tree.digest, digest);
        assert_eq!(names(&to), ["d/a"]);
    }
    place.file("volumes/models/m/d/a", "changed");
    std::fs::remove_dir_all(&to).expect("removed");
    let refused = place.agent(&arguments);
    assert_eq!(refused.failure().reason, FailureReason::DigestMismatch);
    assert_eq!(names(&to), Vec::<String>::new());
}

#[test]
fn a_model_is_verified_where_it_is_mounted_and_nothing_beside_it_is_let_through() {
    let place = Place::new();
    place.file("model/d/a", "1");
    std::os::unix::fs::symlink("d/a", place.path("model/link")).expect("linked");
    let mounted = place.path("model").to_string_lossy().into_owned();
    let uri = "oci://registry.example/churn:1#model";
    let digested = place.agent(&["digest", uri, "--mounted", &mounted]);
    let Report::Fetch(digested) = digested.report else {
        panic!("not digested")
    };
    assert_eq!((digested.tree.files, &*digested.tree.uri), (2, uri));
    let digest = digested.tree.digest;
    let arguments = [
        "fetch",
        "--uri",
        uri,
        "--digest",
        &digest,
        "--mounted",
        &mounted,
    ];
    let before = names(&place.path("model"));
    let Report::Fetch(verified) = place.agent(&arguments).report else {
        panic!("not verified")
    };
    assert_eq!(verified.tree.digest, digest);
    assert_eq!(names(&place.path("model")), before, "it stays as it is");

    // Copied from there, it is the same as copied from anywhere.
    let to = place.path("to");
    let copied = to.to_string_lossy();
    let copying = [&arguments[..], &["--to", &copied]].concat();
    let Report::Fetch(_) = place.agent(&copying).report else {
        panic!("not copied")
    };
    assert_eq!(names(&to), ["d/a", "link"]);

    let refused = |what: &str, words: &str| {
        let failure = place.agent(&arguments).failure().clone();
        assert_eq!(failure.reason, FailureReason::DigestMismatch, "{what}");
        assert!(failure.message.contains(words), "{what}: {failure:?}");
        assert!(failure.message.contains(uri), "{what}: {failure:?}");
    };
    // None of these changes the digest, or what is seen here, and a server may well load them.
    place.file("model/.windlass-x/model.json", "{}");
    refused(
        "a name of the agent's own",
        "no digest speaks of: .windlass-x.",
    );
    std::fs::remove_dir_all(place.path("model/.windlass-x")).expect("removed");
    place.file("outside", "1");
    std::fs::remove_file(place.path("model/d/a")).expect("removed");
    std::os::unix::fs::symlink("../../outside", place.path("model/d/a")).expect("linked");
    refused(
        "a link out of the folder",
        "no digest speaks of: d/a, link.",
    );
    std::fs::remove_file(place.path("model/d/a")).expect("removed");
    place.file("model/d/a", "2");
    refused("another content", "is not what was recorded");
}

#[test]
fn what_is_mounted_is_a_folder_and_an_image_is_read_nowhere_else() {
    let place = Place::new();
    place.file("model.onnx", "1");
    let mounted = place.path("model.onnx").to_string_lossy().into_owned();
    let uri = "oci://registry.example/churn:1#model.onnx";
    for (arguments, words) in [
        (
            &["digest", uri, "--mounted", &mounted][..],
            "is a file, and a folder is what can be mounted",
        ),
        (&["digest", uri], "only where it is mounted"),
        (
            &["delete", "--uri", uri, "--digest", "sha256:0"],
            "can only be read",
        ),
        (
            &[
                "fetch",
                "--uri",
                uri,
                "--digest",
                "sha256:0",
                "--mounted",
                "/no/where",
            ],
            "there is nothing at oci://registry.example/churn:1#model.onnx",
        ),
    ] {
        let failure = place.agent(arguments).failure().clone();
        assert!(
            failure.message.contains(words),
            "{arguments:?}: {failure:?}"
        );
    }
}

#[test]
fn a_fetch_that_is_told_to_stop_stops() {
    let place = Place::new();
    // A server that takes connections and never answers.
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let uri = format!("http://{}/model", server.local_addr().expect("an address"));
    let to = place.path("model");
    let mut command = place.command(&[
        "fetch",
        "--uri",
        &uri,
        "--digest",
        "sha256:0",
        "--to",
        &to.to_string_lossy(),
    ]);
    let child = command
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (_connection, _) = server.accept().expect("it comes");
    terminate(&child);
    let output = child.wait_with_output().expect("ended");
    let Report::Failure(failure) = place.report(&output) else {
        panic!("no failure")
    };
    assert_eq!(failure.reason, FailureReason::Interrupted);
}

#[test]
fn the_program_installs_itself() {
    let place = Place::new();
    let bin = place.path("bin");
    assert!(
        place
            .command(&["install", &bin.to_string_lossy()])
            .status()
            .expect("started")
            .success()
    );
    let output = std::process::Command::new(bin.join("windlass-agent"))
        .arg("--version")
        .output()
        .expect("it runs");
    assert!(output.status.success());
}

#[test]
fn how_far_the_trainer_is_can_be_asked_while_it_runs() {
    let place = Place::new();
    let (work, checkpoints) = (place.path("work"), place.path("checkpoints"));
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let address = format!("127.0.0.1:{port}");
    let script = r#"
        mkdir "$WINDLASS_CHECKPOINTS/step-100"; echo 1 > "$WINDLASS_CHECKPOINTS/step-100/a"
        say() { echo "{\"step\": $1, \"steps\": 1000.0, \"epoch\": null, \"metrics\": {\"loss\": 0.5, \"name\": \"x\"}}" > "$WINDLASS_PROGRESS"; }
        say 100; sleep 2; say 200; sleep 60
    "#;
    let (work, checkpoints) = (work.to_string_lossy(), checkpoints.to_string_lossy());
    let mut child = place
        .command(&[
            "run",
            "--work-dir",
            &work,
            "--attempt",
            "3",
            "--progress-listen",
            &address,
            "--checkpoint",
            &checkpoints,
            "--checkpoint-every",
            "1s",
            "--grace-period",
            "2s",
            "--",
            "sh",
            "-c",
            script,
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let started = Instant::now();
    let progress = loop {
        assert!(
            started.elapsed() < Duration::from_secs(40),
            "it says nothing"
        );
        std::thread::sleep(Duration::from_millis(100));
        let Some(progress) = asked(&address) else {
            continue;
        };
        if progress.step == Some(200) && progress.checkpoint.is_some() {
            break progress;
        }
    };
    assert_eq!(
        (progress.attempt, progress.steps, progress.epoch),
        (3, Some(1000), None)
    );
    assert!(
        progress
            .seconds_left
            .is_some_and(|left| (8..=60).contains(&left)),
        "{progress:?}"
    );
    assert_eq!(progress.metrics, [("loss".to_owned(), 0.5)].into());
    let (name, _) = progress.checkpoint.expect("it is kept");
    assert!(name.ends_with("step-100"), "{name}");
    child.kill().expect("it is stopped");
    child.wait().expect("it ends");
}

/// What is answered at `/progress`.
fn asked(address: &str) -> Option<windlass_api::agent::Progress> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .write_all(b"GET /progress HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}
