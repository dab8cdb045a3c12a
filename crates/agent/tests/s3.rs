//! The agent with a real S3: `versitygw` over a folder, on loopback.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::gateway::Gateway;
use common::{Ended, Place, names};
use windlass_api::agent::{FailureReason, Report};

#[test]
fn a_model_goes_to_s3_and_comes_back_the_same() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    place.file("s3/bucket/data/2026/a.csv", "origin,delay\nJFK,3\n");
    place.file("s3/bucket/data/2026/b.csv", "origin,delay\nLGA,4\n");
    let trained = gateway.train(
        &place,
        &[
            "--input",
            "flights=s3://bucket/data/2026/",
            "--input-format",
            "flights=CSV",
            "--require-column",
            "flights=delay",
            "--output",
            "s3://bucket/models/m",
        ],
        r#"
        cat "$WINDLASS_INPUT_FLIGHTS"/*.csv > "$WINDLASS_OUTPUT/a name # with %41 signs"
        mkdir "$WINDLASS_OUTPUT/deep"
        dd if=/dev/urandom of="$WINDLASS_OUTPUT/deep/large" bs=1M count=25 2> /dev/null
        touch "$WINDLASS_OUTPUT/empty"
        "#,
    );
    let training = trained.training();
    assert_eq!(training.inputs[0].tree.files, 2);
    let output = training.output.as_ref().expect("an output");
    assert_eq!((output.files, output.bytes), (3, 38 + (25 << 20)));
    let to = place.path("model");
    let arguments = [
        "fetch",
        "--uri",
        "s3://bucket/models/m",
        "--digest",
        &output.digest,
        "--to",
        &to.to_string_lossy(),
    ];
    let fetched = gateway.agent(&place, &arguments);
    let Report::Fetch(fetched) = &fetched.report else {
        panic!("{:?}", fetched.report)
    };
    assert_eq!(fetched.tree.digest, output.digest);
    assert_eq!(
        names(&to),
        ["a name # with %41 signs", "deep/large", "empty"]
    );
    // What is in a folder and what is in S3 has one digest.
    let local = place.train(&["--input", &format!("m={}", to.display())], "true");
    assert_eq!(local.training().inputs[0].tree.digest, output.digest);

    place.file("s3/bucket/models/m/empty", "no more");
    std::fs::remove_dir_all(&to).expect("removed");
    assert_eq!(
        gateway.agent(&place, &arguments).failure().reason,
        FailureReason::DigestMismatch
    );
    assert_eq!(names(&to), Vec::<String>::new());
}

#[test]
fn an_output_in_s3_is_replaced_when_the_agent_wrote_it_and_kept_when_it_did_not() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let output = ["--output", "s3://bucket/models/m"];
    gateway
        .train(
            &place,
            &output,
            "echo 1 > $WINDLASS_OUTPUT/a; echo 1 > $WINDLASS_OUTPUT/b",
        )
        .training();
    let second = gateway.train(&place, &output, "echo 2 > $WINDLASS_OUTPUT/a");
    assert_eq!(
        second.training().output.as_ref().expect("an output").files,
        1
    );
    assert_eq!(place.read("s3/bucket/models/m/a"), "2\n");
    assert!(!place.path("s3/bucket/models/m/b").exists());
    place.file("s3/bucket/models/m/thesis", "years of work");
    let refused = gateway.train(&place, &output, "echo 3 > $WINDLASS_OUTPUT/a");
    assert_eq!(refused.failure().reason, FailureReason::OutputNotWritten);
    assert_eq!(place.read("s3/bucket/models/m/a"), "2\n");
}

#[test]
fn a_bucket_or_key_that_is_not_there_is_named() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    for input in [
        "x=s3://nowhere/data/",
        "x=s3://bucket/nowhere/",
        "x=s3://bucket/nowhere",
    ] {
        let ended = gateway.train(&place, &["--input", input], "true");
        assert_eq!(
            ended.failure().reason,
            FailureReason::InputNotFound,
            "{input}"
        );
        assert!(
            ended.failure().message.contains(&input[2..]),
            "{}",
            ended.failure().message
        );
    }
    let ended = gateway.train(
        &place,
        &["--output", "s3://nowhere/m"],
        "echo 1 > $WINDLASS_OUTPUT/a",
    );
    assert_eq!(ended.failure().reason, FailureReason::OutputNotWritten);
}

#[test]
fn what_is_added_to_a_bucket_after_a_check_belongs_to_a_later_training() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    place.file("s3/bucket/data/a.csv", "n\n1\n");
    let input = "in=s3://bucket/data";
    let checked = gateway.agent(
        &place,
        &["check", "--input", input, "--input-format", "in=CSV"],
    );
    let Report::Check(report) = &checked.report else {
        panic!("{:?}", checked.report)
    };
    place.file("s3/bucket/data/b.csv", "n\n2\n");
    let as_of = report.inputs[0].as_of.expect("a folder has a time");
    let (digest, as_of) = (
        format!("in={}", report.inputs[0].tree.digest),
        format!("in={as_of}"),
    );
    let ended = gateway.train(
        &place,
        &[
            "--input",
            input,
            "--input-digest",
            &digest,
            "--input-as-of",
            &as_of,
            "--output",
            "s3://bucket/out",
        ],
        r#"ls "$WINDLASS_INPUT_IN" > "$WINDLASS_OUTPUT/seen""#,
    );
    ended.training();
    assert_eq!(place.read("s3/bucket/out/seen"), "a.csv\n");
}

/// An attempt with checkpoints in the bucket.
fn attempt(place: &Place, gateway: &Gateway, number: u32, more: &[&str], script: &str) -> Command {
    let work = place.path(&format!("work-{number}"));
    let (work, number) = (work.to_string_lossy(), number.to_string());
    let mut all = vec!["run", "--work-dir", &work, "--attempt", &number];
    all.extend(["--checkpoint", "s3://bucket/checkpoints/job-1"]);
    all.extend(more);
    all.extend(["--", "sh", "-c", script]);
    gateway.command(place, &all)
}

const JOB: &str = "s3/bucket/checkpoints/job-1";

/// A checkpoint with all that is hard to keep in a store.
const AWKWARD: &str = r#"
    C="$WINDLASS_CHECKPOINTS"; N="step #1 %41 é"
    mkdir -p "$C/$N.tmp/deep er"
    dd if=/dev/urandom of="$C/$N.tmp/deep er/large" bs=1M count=25 2> /dev/null
    touch "$C/$N.tmp/empty"; echo 1 > "$C/$N.tmp/a%2Fb"; cp -r "$C/$N.tmp" "$SAVED"; mv "$C/$N.tmp" "$C/$N"
    exit 3
"#;

fn resumed_from(ended: &Ended) -> Option<String> {
    let resumed = match &ended.report {
        Report::Failure(failure) => failure.resumed.clone(),
        Report::Training(training) => training.resumed.clone(),
        other => panic!("{other:?}"),
    };
    resumed.expect("it was asked to go on").from
}

#[test]
fn checkpoints_in_s3_come_back_as_they_were_and_torn_ones_do_not() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let saved = place.path("saved");
    let first = place.ended(attempt(&place, &gateway, 1, &[], AWKWARD).env("SAVED", &saved));
    let message = &first.failure().message;
    let name = "000001/000001-step #1 %41 é";
    assert!(message.ends_with(name), "{message}");

    let script = r#"diff -r "$WINDLASS_RESUME_FROM" "$SAVED" && echo two > "$WINDLASS_CHECKPOINTS/step-2" && exit 3"#;
    let second = place.ended(attempt(&place, &gateway, 2, &[], script).env("SAVED", &saved));
    assert_eq!(second.failure().exit_code, Some(3), "{:?}", second.report);
    assert_eq!(resumed_from(&second).as_deref(), Some(name));

    // Torn: its manifest never came. Then a third attempt that ends the same way, whose file is bent.
    let torn = place.path(&format!("{JOB}/000002/000001-step-2"));
    std::fs::remove_file(torn.join("manifest.json")).expect("removed");
    let script = r#"diff -r "$WINDLASS_RESUME_FROM" "$SAVED" && echo 3 > "$WINDLASS_CHECKPOINTS/step-3"; exit 4"#;
    let third = place.ended(attempt(&place, &gateway, 3, &[], script).env("SAVED", &saved));
    assert_eq!(resumed_from(&third).as_deref(), Some(name));
    assert!(!torn.exists(), "it goes once a newer one is whole");
    place.file(&format!("{JOB}/000003/000001-step-3/files/step-3"), "?\n");
    let more = ["--checkpoint-keep", "1"];
    let script = "echo 4 > $WINDLASS_CHECKPOINTS/step-4; exit 5";
    let fourth = place.ended(&mut attempt(&place, &gateway, 4, &more, script));
    let resumed = fourth.failure().resumed.as_ref().expect("it went on");
    assert_eq!(resumed.from.as_deref(), Some(name));
    assert!(
        resumed.skipped[0].contains("step-3 has not the digest in its manifest"),
        "{resumed:?}"
    );
    assert_eq!(
        names(&place.path(JOB)),
        [
            "000004/000001-step-4/files/step-4",
            "000004/000001-step-4/manifest.json"
        ]
    );
}

#[test]
fn checkpoints_go_to_s3_while_the_trainer_runs_and_once_more_when_it_is_told_to_stop() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let script = format!(
        "cd $WINDLASS_CHECKPOINTS; trap 'echo 2 > .b; mv .b last; exit 0' TERM; echo 1 > .a; mv .a first
        for i in $(seq 2000); do test -e {}/000001/000001-first/manifest.json && break; sleep 0.01; done; test $i -lt 2000 || exit 99
        touch {}; while :; do sleep 0.01; done",
        place.path(JOB).display(),
        place.path("READY").display()
    );
    let more = ["--checkpoint-every", "50ms"];
    let child = attempt(&place, &gateway, 1, &more, &script)
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let started = Instant::now();
    while !place.path("READY").exists() {
        assert!(started.elapsed() < Duration::from_secs(30), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = i32::try_from(child.id()).expect("an id");
    let id = rustix::process::Pid::from_raw(id).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told");
    let output = child.wait_with_output().expect("ended");
    let Report::Failure(failure) = place.report(&output) else {
        panic!("no failure")
    };
    assert_eq!(failure.reason, FailureReason::Interrupted);
    assert!(
        failure.message.ends_with("000001/000002-last"),
        "{}",
        failure.message
    );
}

#[test]
fn a_store_that_refuses_is_no_reason_to_start_anew() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let trainer = format!("touch {}", place.path("READY").display());
    let mut refused = attempt(&place, &gateway, 2, &[], &trainer);
    let ended = place.ended(refused.env("AWS_SECRET_ACCESS_KEY", "wrong"));
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::CheckpointUnreadable);
    let uri = "s3://bucket/checkpoints/job-1";
    assert!(failure.message.contains(uri), "{}", failure.message);
    let mut nowhere = attempt(&place, &gateway, 2, &[], &trainer);
    // A bucket that is not there is no empty one.
    std::fs::remove_dir_all(place.path("s3/bucket")).expect("removed");
    let ended = place.ended(&mut nowhere);
    assert_eq!(ended.failure().reason, FailureReason::CheckpointUnreadable);
    assert!(!place.path("READY").exists());
}

#[test]
fn a_model_in_s3_goes_if_it_is_what_was_recorded_and_nothing_beside_it() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let script = r#"
        echo a > "$WINDLASS_OUTPUT/a name # with %41 signs"
        mkdir "$WINDLASS_OUTPUT/deep"; echo b > "$WINDLASS_OUTPUT/deep/b"; touch "$WINDLASS_OUTPUT/empty"
    "#;
    let output = ["--output", "s3://bucket/models/m"];
    let trained = gateway.train(&place, &output, script);
    let tree = trained.training().output.clone().expect("an output");
    place.file("s3/bucket/models/m2/a", "another model");
    place.file("s3/bucket/models/m-evaluation/report.json", "{}");
    let delete = |uri: &str, digest: &str| {
        gateway.agent(&place, &["delete", "--uri", uri, "--digest", digest])
    };

    place.file("s3/bucket/models/m/more", "of somebody else");
    let refused = delete("s3://bucket/models/m", &tree.digest);
    assert_eq!(refused.failure().reason, FailureReason::DigestMismatch);
    assert_eq!(names(&place.path("s3/bucket/models/m")).len(), 4);
    std::fs::remove_file(place.path("s3/bucket/models/m/more")).expect("removed");

    for files in [3, 0] {
        let Report::Delete(report) = delete("s3://bucket/models/m", &tree.digest).report else {
            panic!("it was not deleted")
        };
        assert_eq!(report.deleted[0].files, files);
    }
    assert_eq!(
        names(&place.path("s3/bucket/models")),
        ["m-evaluation/report.json", "m2/a"]
    );

    // A single object, whose digest is that of a tree of one.
    let refused = delete("s3://bucket/models/m-evaluation/report.json", &tree.digest);
    let message = &refused.failure().message;
    let (_, rest) = message.split_once("its digest is ").expect("its digest");
    let digest = rest.split(' ').next().expect("a word");
    let Report::Delete(report) =
        delete("s3://bucket/models/m-evaluation/report.json", digest).report
    else {
        panic!("it was not deleted")
    };
    assert_eq!((report.deleted[0].files, report.deleted[0].bytes), (1, 2));

    // A bucket that is not there is no empty one, and a store that refuses has not said that nothing is there.
    let nowhere = delete("s3://nowhere/models/m", &tree.digest);
    assert_eq!(nowhere.failure().reason, FailureReason::NotDeleted);
    let arguments = [
        "delete",
        "--uri",
        "s3://bucket/models/m2",
        "--digest",
        digest,
    ];
    let mut refused = gateway.command(&place, &arguments);
    let refused = place.ended(refused.env("AWS_SECRET_ACCESS_KEY", "wrong"));
    assert_eq!(refused.failure().reason, FailureReason::NotDeleted);
    assert_eq!(names(&place.path("s3/bucket/models")), ["m2/a"]);
}

#[test]
fn a_deletion_in_s3_that_was_cut_short_goes_on() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let output = ["--output", "s3://bucket/models/m"];
    let script = "printf hello > $WINDLASS_OUTPUT/a; printf hello > $WINDLASS_OUTPUT/b";
    let trained = gateway.train(&place, &output, script);
    let tree = trained.training().output.clone().expect("an output");
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let files = ["a", "b"]
        .map(|path| format!(r#"{{"path":"{path}","size":5,"sha256":"{hello}"}}"#))
        .join(",");
    let note = format!(r#"{{"digest":"{}","files":[{files}]}}"#, tree.digest);
    place.file("s3/bucket/models/.windlass-m.deleting.json", note);
    std::fs::remove_file(place.path("s3/bucket/models/m/a")).expect("removed");
    let arguments = [
        "delete",
        "--uri",
        "s3://bucket/models/m",
        "--digest",
        &tree.digest,
    ];
    let Report::Delete(report) = gateway.agent(&place, &arguments).report else {
        panic!("it was not deleted")
    };
    assert_eq!(report.deleted[0].files, 1);
    assert_eq!(names(&place.path("s3/bucket/models")), Vec::<String>::new());
}
