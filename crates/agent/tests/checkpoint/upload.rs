//! What is uploaded and kept while the trainer runs.

use super::*;

#[test]
fn checkpoints_are_uploaded_while_the_trainer_runs_and_only_the_newest_ones_are_kept() {
    let place = Place::new();
    // Torn left-overs of an attempt before.
    place.file(&format!("{STORE}/000001/000007-torn/files/torn"), "x");
    place.file(&format!("{STORE}/notes"), "somebody's");
    let script = "for step in 1 2 3 4 5; do save step-$step $step; kept \"*/*-step-$step\"; done
        until_true '! ls STORE/000002/*-step-3 > /dev/null 2>&1'";
    let mut arguments = OFTEN.to_vec();
    arguments.extend(["--checkpoint-keep", "2"]);
    run(&place, 2, &arguments, script).training();
    assert_eq!(
        names(&place.path(STORE)),
        [
            "000002/000004-step-4/files/step-4",
            "000002/000004-step-4/manifest.json",
            "000002/000005-step-5/files/step-5",
            "000002/000005-step-5/manifest.json",
            "notes"
        ]
    );
    let manifest = place.read(&format!("{STORE}/000002/000005-step-5/manifest.json"));
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    for (field, wanted) in [
        ("version", serde_json::json!(1)),
        ("attempt", serde_json::json!(2)),
        ("sequence", serde_json::json!(5)),
        ("name", serde_json::json!("step-5")),
    ] {
        assert_eq!(manifest[field], wanted);
    }
    assert_eq!(manifest["files"][0]["path"], "step-5");
    assert_eq!(manifest["files"][0]["size"], 2);
}

#[test]
fn a_trainer_that_ends_well_leaves_no_further_checkpoint() {
    let place = Place::new();
    run(&place, 1, &NEVER, "save step-1 one").training();
    assert!(!place.path(STORE).exists());
}

#[test]
fn an_upload_that_runs_when_the_trainer_ends_well_is_given_up_and_cleared_away() {
    let place = Place::new();
    let script = "dd if=/dev/zero of=$C/big.tmp bs=1M count=250 2> /dev/null; mv $C/big.tmp $C/big
        until_true 'test -e STORE/000001/000001-big/files/big'";
    run(&place, 1, &["--checkpoint-every", "1ms"], script).training();
    assert_eq!(names(&place.path(STORE)), Vec::<String>::new());
}

#[test]
fn a_second_start_in_one_attempt_overwrites_nothing() {
    let place = Place::new();
    for (number, content) in ["first", "second"].iter().enumerate() {
        let script = format!("save step {content}; exit 3");
        run(&place, 1, &NEVER, &script).failure();
        assert_eq!(whole(&place).len(), number + 1);
    }
    let stored = |number: u32| place.read(&format!("{STORE}/000001/00000{number}-step/files/step"));
    assert_eq!(
        (stored(1).as_str(), stored(2).as_str()),
        ("first\n", "second\n")
    );
}

#[test]
fn what_is_not_finished_is_not_uploaded() {
    let place = Place::new();
    let script = "save .a hidden; echo x > $C/b.tmp; mkdir $C/c.tmp; echo x > $C/c.tmp/x; mkdir $C/empty; exit 7";
    let ended = run(&place, 1, &NEVER, script);
    let message = &ended.failure().message;
    assert!(message.ends_with("No checkpoint is kept"), "{message}");
    assert!(!place.path(STORE).exists());
}

#[test]
fn what_was_gone_on_from_is_not_uploaded_again_until_it_changes() {
    let place = Place::new();
    two_checkpoints(&place);
    let ended = run(&place, 2, &OFTEN, "sleep 0.3; exit 3");
    assert_eq!(whole(&place).len(), 2, "{:?}", whole(&place));
    let message = &ended.failure().message;
    assert!(
        message.contains("No newer checkpoint than 000001/000002-step-2 is kept"),
        "{message}"
    );
    run(
        &place,
        3,
        &NEVER,
        "echo three > $C/step-2/deep/state; exit 3",
    )
    .failure();
    assert_eq!(whole(&place).last().expect("one"), "000003/000001-step-2");
    assert_eq!(
        place.read(&format!(
            "{STORE}/000003/000001-step-2/files/step-2/deep/state"
        )),
        "three\n"
    );
}

#[test]
fn an_older_one_is_not_uploaded_when_the_newest_is_taken_away() {
    let place = Place::new();
    let script = "save step-1 one; sleep 0.02; save step-2 two; kept '*/*-step-2'; rm $C/step-2; sleep 0.3; exit 3";
    run(&place, 1, &OFTEN, script).failure();
    assert_eq!(whole(&place).last().expect("one"), "000001/000002-step-2");
}

#[test]
fn the_one_that_other_workers_may_still_read_stays_while_the_attempt_lasts() {
    for (workers, wanted) in [
        ("2", &["000001/000002-step-2", "000002/000001-step-3"][..]),
        ("1", &["000002/000001-step-3"]),
    ] {
        let place = Place::new();
        two_checkpoints(&place);
        let arguments = ["--world-size", workers, "--checkpoint-keep", "1"];
        run(&place, 2, &arguments, "save step-3 three; exit 3").failure();
        assert_eq!(whole(&place), wanted, "{workers} workers");
    }
}

#[test]
fn a_damaged_one_does_not_take_the_place_of_a_whole_one() {
    let place = Place::new();
    two_checkpoints(&place);
    place.file(&format!("{STORE}/000001/000002-step-2/files/step-2/b"), "?");
    let arguments = ["--checkpoint-keep", "2"];
    run(&place, 2, &arguments, "save step-3 three; exit 3").failure();
    assert_eq!(
        whole(&place),
        ["000001/000001-step-1", "000002/000001-step-3"]
    );
}

#[test]
fn an_upload_that_fails_fails_no_training_and_is_tried_again() {
    let place = Place::new();
    // Where the folder of checkpoints is to be made there is a file, until the trainer takes it away.
    std::fs::create_dir_all(place.path("volumes/claim")).expect("made");
    let script = "echo x > STORE; save step-1 one; sleep 0.3; rm STORE; kept '*/*-step-1'";
    let ended = run(&place, 1, &OFTEN, script);
    ended.training();
    let log = String::from_utf8_lossy(&ended.output.stderr);
    assert!(
        log.contains("a checkpoint was not uploaded, which is tried again"),
        "{log}"
    );
}

#[test]
fn an_entry_that_changes_during_its_upload_is_not_kept_until_it_rests() {
    let place = Place::new();
    // Not put there complete: it grows all the time, and more than once while it is read.
    let script = "dd if=/dev/zero of=$C/grows.tmp bs=1M count=100 2> /dev/null; mv $C/grows.tmp $C/grows
        (until test -e $C/.rest; do for i in 1 2 3 4 5 6 7 8 9; do echo x >> $C/grows; done; done) &
        sleep 1; ls STORE/*/*/manifest.json > READY 2>/dev/null; touch $C/.rest; wait; kept '*/*-grows'";
    let ended = run(&place, 1, &OFTEN, script);
    ended.training();
    assert_eq!(place.read("READY"), "", "none is whole while it grows");
    let log = String::from_utf8_lossy(&ended.output.stderr);
    assert!(log.contains("changed or removed 'grows'"), "{log}");
    let [kept] = &whole(&place)[..] else {
        panic!("{:?}", whole(&place))
    };
    let stored = place.read(&format!("{STORE}/{kept}/files/grows"));
    assert!(stored == place.read("work-1/checkpoints/grows"));
}
