//! How an attempt ends: what is kept then, and that the next one makes up for it.

use super::*;

#[test]
fn the_last_checkpoint_is_uploaded_when_the_agent_is_told_to_stop() {
    let place = Place::new();
    let script = "trap 'save last saved; exit 0' TERM; touch READY; while :; do sleep 0.01; done";
    let child = start(attempt(&place, 1, &NEVER, script));
    wait_for("a trainer that runs", || place.path("READY").exists());
    let (ended, _) = stopped(&place, child);
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::Interrupted);
    assert!(
        failure
            .message
            .ends_with("The last whole checkpoint is 000001/000001-last"),
        "{}",
        failure.message
    );
    assert_eq!(resumed(&ended).from, None);
    assert_eq!(whole(&place), ["000001/000001-last"]);
    assert_eq!(
        place.read(&format!("{STORE}/000001/000001-last/files/last")),
        "saved\n"
    );
}

#[test]
fn a_trainer_that_ignores_the_signal_is_killed_in_time_for_the_upload() {
    let place = Place::new();
    let script = "trap '' TERM; save step-1 one; touch READY; while :; do sleep 0.01; done";
    let mut arguments = NEVER.to_vec();
    arguments.extend(["--grace-period", "3s"]);
    let child = start(attempt(&place, 1, &arguments, script));
    wait_for("a trainer that runs", || place.path("READY").exists());
    let (ended, took) = stopped(&place, child);
    assert_eq!(ended.failure().reason, FailureReason::Interrupted);
    assert_eq!(whole(&place), ["000001/000001-step-1"]);
    let share = Duration::from_millis(1800);
    assert!(share <= took && took < Duration::from_secs(3), "{took:?}");
    let message = &ended.failure().message;
    assert!(message.contains("000001/000001-step-1"), "{message}");
}

#[test]
fn a_trainer_that_fails_leaves_its_newest_checkpoint() {
    let place = Place::new();
    let script = "save a one; sleep 0.02; save b two; save .c hidden; echo x > $C/d.tmp; echo sorry >&2; exit 7";
    let ended = run(&place, 1, &NEVER, script);
    let failure = ended.failure();
    assert_eq!(
        (failure.reason, failure.exit_code),
        (FailureReason::TrainerFailed, Some(7))
    );
    assert_eq!(
        failure.message,
        "the trainer ended with exit code 7; its last line: sorry. The last whole checkpoint is 000001/000001-b"
    );
    assert_eq!(whole(&place), ["000001/000001-b"]);
}

#[test]
fn a_trainer_that_never_ran_says_nothing_of_checkpoints() {
    let place = Place::new();
    let work = place.path("work");
    let ended = place.agent(&[
        "run",
        "--checkpoint",
        "pvc://claim/job",
        "--work-dir",
        &work.to_string_lossy(),
        "--",
        "/no/such/trainer",
    ]);
    let failure = ended.failure();
    assert_eq!(failure.reason, FailureReason::TrainerNotStarted);
    assert!(
        !failure.message.contains("checkpoint"),
        "{}",
        failure.message
    );
}

#[test]
fn an_upload_that_the_grace_period_is_too_short_for_is_told() {
    let place = Place::new();
    let script = "trap '' TERM; dd if=/dev/zero of=$C/big.tmp bs=1M count=200 2> /dev/null; mv $C/big.tmp $C/big
        touch READY; while :; do sleep 0.01; done";
    let mut arguments = NEVER.to_vec();
    arguments.extend(["--grace-period", "20ms"]);
    let child = start(attempt(&place, 1, &arguments, script));
    wait_for("a trainer that runs", || place.path("READY").exists());
    let (ended, _) = stopped(&place, child);
    let message = &ended.failure().message;
    assert!(
        message.ends_with(
            "No checkpoint is kept; a newer one is not: the grace period was over before its upload was"
        ),
        "{message}"
    );
    assert_eq!(whole(&place), Vec::<String>::new());
}

#[test]
fn a_killed_agent_leaves_a_torn_upload_that_is_not_gone_on_from_and_later_goes() {
    let place = Place::new();
    two_checkpoints(&place);
    let script = "echo $$ > READY; dd if=/dev/zero of=$C/big.tmp bs=1M count=250 2> /dev/null; mv $C/big.tmp $C/big; sleep 100";
    let mut child = start(attempt(&place, 2, &OFTEN, script));
    let torn = place.path(STORE).join("000002/000001-big");
    wait_for("an upload", || torn.join("files/big").exists());
    kill(&place, &mut child);
    assert!(
        !torn.join("manifest.json").exists(),
        "it was too fast to be torn"
    );
    let ended = run(&place, 3, &NEVER, "save step-3 three; exit 3");
    let resumed = resumed(&ended);
    assert_eq!(resumed.from.as_deref(), Some("000001/000002-step-2"));
    assert_eq!(resumed.skipped.len(), 1);
    assert!(!torn.exists(), "it is taken away once a newer one is whole");
}

/// Kills the agent as a node does that is lost: with its trainer, and at once.
fn kill(place: &Place, child: &mut Child) {
    child.kill().expect("killed");
    let trainer: i32 = place.read("READY").trim().parse().expect("a number");
    let _ = kill_process_group(Pid::from_raw(trainer).expect("an id"), Signal::KILL);
    child.wait().expect("ended");
    std::fs::remove_file(place.path("READY")).expect("removed");
}

/// A training whose result depends on every step and on nothing else: a chain of hashes, with a history beside it.
/// A checkpoint has both, so that one of a wrong pair or of another time would be seen in the output.
const CHAIN: &str = r#"
step=0; state=seed; history=$WINDLASS_OUTPUT/../history
: > "$history"
if [ -n "$WINDLASS_RESUME_FROM" ]; then
  read -r step state < "$WINDLASS_RESUME_FROM/state"; cp "$WINDLASS_RESUME_FROM/history" "$history"
fi
echo $$ > READY
while [ $step -lt 120 ]; do
  state=$(printf '%s %s' "$step" "$state" | sha256sum | cut -d ' ' -f 1)
  step=$((step + 1)); echo "$step $state" >> "$history"
  if [ $((step % 3)) = 0 ]; then
    mkdir $C/at.tmp; echo "$step $state" > $C/at.tmp/state; cp "$history" $C/at.tmp/history
    mv $C/at.tmp "$C/step-$step"; rm -rf "$C/step-$((step - 9))"
  fi
done
cp "$history" "$WINDLASS_OUTPUT/model"
"#;

#[test]
fn a_training_that_is_killed_three_times_ends_as_one_that_nobody_disturbed() {
    let undisturbed = Place::new();
    let arguments = |output| ["--checkpoint-every", "30ms", "--output", output];
    run(&undisturbed, 1, &arguments("pvc://models/m"), CHAIN).training();

    let place = Place::new();
    // Whichever moment it is: a different one on each machine and in each run.
    let is_on = |attempt: u32| {
        let prefix = format!("{attempt:06}/");
        let kept = whole(&place);
        kept.iter().any(|name| name.starts_with(&prefix))
    };
    for attempt_number in 1..=3 {
        let command = attempt(&place, attempt_number, &arguments("pvc://models/m"), CHAIN);
        let mut child = start(command);
        wait_for("a checkpoint of the attempt", || is_on(attempt_number));
        std::thread::sleep(Duration::from_millis(u64::from(child.id() % 7) * 10 + 5));
        if attempt_number == 2 {
            kill(&place, &mut child);
        } else {
            let (ended, _) = stopped(&place, child);
            assert_eq!(ended.failure().reason, FailureReason::Interrupted);
        }
    }
    let last = run(&place, 4, &arguments("pvc://models/m"), CHAIN);
    let training = last.training();
    let from = resumed(&last).from.as_deref().expect("it went on");
    assert!(from.starts_with("000003/"), "{from}");
    let model = "volumes/models/m/model";
    assert_eq!(place.read(model), undisturbed.read(model));
    assert_eq!(place.read(model).lines().count(), 120);
    let output = training.output.as_ref().expect("an output");
    assert_eq!(output.files, 1);
}
