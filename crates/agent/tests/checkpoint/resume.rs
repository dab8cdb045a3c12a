//! What is gone on from, and what is not.

use super::*;

#[test]
fn the_next_attempt_goes_on_from_the_newest_under_the_trainers_own_name() {
    let place = Place::new();
    two_checkpoints(&place);
    let script = r#"cat "$WINDLASS_RESUME_FROM/deep/state" > READY; echo "$WINDLASS_RESUME_FROM $C $WINDLASS_RANK/$WINDLASS_WORLD_SIZE" >> READY
        ls "$WINDLASS_RESUME_FROM" >> READY; ls -A "$C" >> READY; echo 1 > "$WINDLASS_OUTPUT/model""#;
    let ended = run(
        &place,
        2,
        &["--world-size", "4", "--output", "pvc://models/m"],
        script,
    );
    ended.training();
    let folder = std::fs::canonicalize(place.path("work-2/checkpoints")).expect("there");
    let folder = folder.display();
    let told = place.read("READY");
    assert!(
        told.starts_with(&format!("two\n{folder}/step-2 {folder} 0/4\n")),
        "{told}"
    );
    assert!(told.ends_with("b\ndeep\nempty\nstep-2\n"), "{told}");
    assert_eq!(
        resumed(&ended).from.as_deref(),
        Some("000001/000002-step-2")
    );
    assert_eq!(resumed(&ended).skipped, Vec::<String>::new());
}

#[test]
fn the_first_attempt_starts_anew_and_without_checkpoints_nothing_is_said() {
    let place = Place::new();
    let script = r#"test -z "$WINDLASS_RESUME_FROM" && test -d "$WINDLASS_CHECKPOINTS""#;
    let ended = run(&place, 1, &NEVER, script);
    ended.training();
    assert_eq!(resumed(&ended), &Resumed::default());
    let ended = run(&place, 2, &NEVER, script);
    ended.training();
    assert_eq!(resumed(&ended), &Resumed::default());
    let script = r#"test -z "$WINDLASS_RESUME_FROM$WINDLASS_CHECKPOINTS""#;
    let ended = place.train(&[], script);
    assert_eq!(ended.training().resumed, None);
}

#[test]
fn what_is_torn_or_damaged_is_passed_over_and_said() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("has no manifest", |folder| {
            std::fs::remove_file(folder.join("manifest.json")).expect("removed");
        }),
        ("its manifest is damaged", |folder| {
            let manifest = std::fs::read(folder.join("manifest.json")).expect("read");
            std::fs::write(
                folder.join("manifest.json"),
                &manifest[..manifest.len() - 9],
            )
            .expect("written");
        }),
        ("its manifest is damaged", |folder| {
            std::fs::write(folder.join("manifest.json"), [0; 4096]).expect("written");
        }),
        ("step-2/deep/state has not the digest", |folder| {
            std::fs::write(folder.join("files/step-2/deep/state"), "tow\n").expect("written");
        }),
        ("step-2/deep/state has 3 bytes, and 4", |folder| {
            std::fs::write(folder.join("files/step-2/deep/state"), "two").expect("written");
        }),
        ("step-2/b is not there", |folder| {
            std::fs::remove_file(folder.join("files/step-2/b")).expect("removed");
        }),
        ("of another checkpoint", |folder| {
            let other = folder.with_file_name("000001-step-1");
            std::fs::copy(other.join("manifest.json"), folder.join("manifest.json"))
                .expect("copied");
        }),
    ];
    for (wanted, damage) in damages {
        let place = Place::new();
        two_checkpoints(&place);
        damage(&place.path(STORE).join("000001/000002-step-2"));
        let ended = run(
            &place,
            2,
            &NEVER,
            r#"cat "$WINDLASS_RESUME_FROM" > READY; ls "$C" >> READY"#,
        );
        ended.training();
        assert_eq!(place.read("READY"), "one\nstep-1\n", "{wanted}");
        assert_eq!(
            resumed(&ended).from.as_deref(),
            Some("000001/000001-step-1")
        );
        let [skipped] = &resumed(&ended).skipped[..] else {
            panic!("{:?}", ended.report)
        };
        assert!(skipped.starts_with("000001/000002-step-2: "), "{skipped}");
        assert!(skipped.contains(wanted), "{skipped} / {wanted}");
        let log = String::from_utf8_lossy(&ended.output.stderr);
        assert!(
            log.contains(skipped.split(": ").next().expect("a name")),
            "{log}"
        );
    }
}

#[test]
fn when_all_are_damaged_the_training_starts_anew_and_three_are_named() {
    let place = Place::new();
    two_checkpoints(&place);
    for number in 3..=5 {
        place.file(
            &format!("{STORE}/000001/00000{number}-torn/files/torn"),
            "x",
        );
    }
    for number in ["1-step-1", "2-step-2"] {
        place.file(&format!("{STORE}/000001/00000{number}/manifest.json"), "{}");
    }
    let ended = run(&place, 2, &NEVER, r#"test -z "$WINDLASS_RESUME_FROM""#);
    ended.training();
    assert_eq!(resumed(&ended).from, None);
    let skipped = &resumed(&ended).skipped;
    assert_eq!(skipped.len(), 3);
    assert!(
        skipped[0].starts_with("000001/000005-torn: "),
        "{skipped:?}"
    );
}

#[test]
fn attempts_that_are_not_before_this_one_are_ignored() {
    let place = Place::new();
    two_checkpoints(&place);
    // As a worker of rank 0 of this attempt writes it while another is still being started.
    let script = "save step-3 three; exit 3";
    for number in [2, 3] {
        run(&place, number, &NEVER, script).failure();
    }
    assert_eq!(whole(&place).len(), 3);
    let ended = run(
        &place,
        2,
        &["--rank", "1", "--world-size", "2"],
        "ls $C > READY",
    );
    ended.training();
    assert_eq!(
        resumed(&ended).from.as_deref(),
        Some("000001/000002-step-2")
    );
}

#[test]
fn a_store_that_cannot_be_read_fails_the_attempt_and_starts_no_trainer() {
    let place = Place::new();
    two_checkpoints(&place);
    // Not missing: it is there and reading it fails.
    let manifest = place.path(STORE).join("000001/000002-step-2/manifest.json");
    std::fs::remove_file(&manifest).expect("removed");
    std::fs::create_dir(&manifest).expect("made");
    let ended = run(&place, 2, &NEVER, "touch READY");
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::CheckpointUnreadable);
    assert!(
        failure
            .message
            .contains("000001/000002-step-2 at pvc://claim/job"),
        "{}",
        failure.message
    );
    assert_eq!(failure.resumed, None);
    assert!(!place.path("READY").exists());
}

#[test]
fn a_worker_that_is_not_the_first_goes_on_from_the_same_and_uploads_nothing() {
    let place = Place::new();
    two_checkpoints(&place);
    let mut expected = names(&place.path(STORE));
    // What the others are told.
    expected.push("000002/from.json".to_owned());
    let script =
        r#"cp "$WINDLASS_RESUME_FROM/deep/state" READY; save step-3 three; sleep 0.2; exit 3"#;
    let mut arguments = OFTEN.to_vec();
    arguments.extend(["--rank", "1", "--world-size", "2"]);
    let ended = run(&place, 2, &arguments, script);
    ended.failure();
    assert_eq!(place.read("READY"), "two\n");
    assert_eq!(
        resumed(&ended).from.as_deref(),
        Some("000001/000002-step-2")
    );
    assert_eq!(names(&place.path(STORE)), expected);
}

/// A worker of a gang of two; what it went on from.
fn worker(place: &Place, attempt: u32, rank: &str) -> Option<String> {
    let mut arguments = NEVER.to_vec();
    arguments.extend(["--rank", rank, "--world-size", "2"]);
    let ended = run(place, attempt, &arguments, "ls $C > READY; exit 3");
    assert_eq!(ended.failure().exit_code, Some(3));
    resumed(&ended).from.clone()
}

/// What is left of an attempt on a node that did not answer finishes its last upload.
fn late_upload(place: &Place, attempt: u32) {
    run(place, attempt, &NEVER, "save late late; exit 3").failure();
}

#[test]
fn workers_go_on_from_the_same_though_an_upload_ends_between_them() {
    for [first, second] in [["0", "1"], ["1", "0"]] {
        let place = Place::new();
        two_checkpoints(&place);
        let from = worker(&place, 2, first);
        assert_eq!(from.as_deref(), Some("000001/000002-step-2"));
        late_upload(&place, 1);
        assert!(whole(&place).contains(&"000001/000003-late".to_owned()));
        assert_eq!(worker(&place, 2, second), from, "{second} after {first}");
        assert_eq!(place.read("READY"), "step-2\n");
        let from = worker(&place, 3, first);
        assert_eq!(from.as_deref(), Some("000001/000003-late"));
    }
}

#[test]
fn workers_start_anew_together() {
    let place = Place::new();
    assert_eq!(worker(&place, 2, "0"), None);
    late_upload(&place, 1);
    assert_eq!(worker(&place, 2, "1"), None);
}

#[test]
fn a_worker_that_cannot_have_what_the_others_go_on_from_takes_no_other() {
    let place = Place::new();
    two_checkpoints(&place);
    worker(&place, 2, "0");
    place.file(&format!("{STORE}/000001/000002-step-2/files/step-2/b"), "?");
    std::fs::remove_file(place.path("READY")).expect("removed");
    let arguments = ["--rank", "1", "--world-size", "2"];
    let ended = run(&place, 2, &arguments, "touch READY");
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::CheckpointUnreadable);
    let named = "the checkpoint 000001/000002-step-2, cannot be used by this one";
    assert!(failure.message.contains(named), "{}", failure.message);
    assert!(!place.path("READY").exists());
}

#[test]
fn what_is_left_of_a_lost_attempt_takes_nothing_away_from_the_next() {
    let place = Place::new();
    two_checkpoints(&place);
    let from = worker(&place, 2, "0");
    let arguments = ["--world-size", "2", "--checkpoint-keep", "1"];
    run(&place, 1, &arguments, "save late late; exit 3").failure();
    assert_eq!(worker(&place, 2, "1"), from);
}

#[test]
fn a_path_is_an_address_for_checkpoints_too() {
    let place = Place::new();
    let folder: PathBuf = place.path("a folder with %20 and ü");
    let address = folder.to_string_lossy().into_owned();
    let arguments = ["--checkpoint", &address];
    let script = "echo 1 > \"$WINDLASS_CHECKPOINTS/step #1 %41 é\"; exit 3";
    place.train(&arguments, script).failure();
    let ended = place.train(
        &["--checkpoint", &address, "--attempt", "2"],
        "cat \"$WINDLASS_RESUME_FROM\"",
    );
    ended.training();
    assert_eq!(
        resumed(&ended).from.as_deref(),
        Some("000001/000001-step #1 %41 é")
    );
    assert!(String::from_utf8_lossy(&ended.output.stdout).contains('1'));
}

#[test]
fn arguments_about_checkpoints_that_make_no_sense_are_refused() {
    let place = Place::new();
    let file = place.file("file", "x");
    for arguments in [
        &["--checkpoint", "https://host/folder"][..],
        &["--checkpoint", "gopher://host/folder"],
        &["--checkpoint", &file.to_string_lossy()],
        &[
            "--checkpoint",
            "pvc://claim/job",
            "--checkpoint-every",
            "0s",
        ],
        &[
            "--checkpoint",
            "pvc://claim/job",
            "--checkpoint-every",
            "soon",
        ],
        &["--checkpoint", "pvc://claim/job", "--checkpoint-keep", "0"],
        &["--world-size", "0"],
    ] {
        let ended = place.train(arguments, "true");
        let failure = ended.failure();
        assert_eq!(
            failure.reason,
            FailureReason::InvalidArguments,
            "{arguments:?}"
        );
        assert_eq!(ended.output.status.code(), Some(64), "{arguments:?}");
    }
}
