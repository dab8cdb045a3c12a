//! GPU-hours over a period.

use serde_json::{Value, json};
use windlass_api::condition::RETRAINING;

use super::world::World;
use crate::fixtures::{at, object};

/// Two GPUs a training, and so many GPU-hours in ten hours.
fn world(hours: &str, more: &Value) -> World {
    let mut retrain = json!({"budget": {"gpuHours": hours, "per": "10h"}, "cooldown": "0s", "maxConsecutiveRejects": 1000});
    retrain
        .as_object_mut()
        .expect("one")
        .extend(more.as_object().expect("one").clone());
    World::new(json!({ "retrain": retrain, "window": {"maxCatchUp": 1} }))
}

fn deadlines(world: &World) -> Vec<Option<i64>> {
    let jobs = world.training_jobs.iter();
    jobs.map(|job| job.spec.active_deadline_seconds).collect()
}

#[test]
fn a_training_may_take_what_is_left_of_the_budget_and_not_more_than_its_own_deadline() {
    let mut all = world("4", &json!({}));
    all.windows(&["Drifted", "Drifted"]);
    // 4 h of two GPUs, less the minute in which its pods end.
    assert_eq!(deadlines(&all), [Some(7200 - 60)]);
    assert_eq!(all.status().retrainings[0].gpu_seconds, 4 * 3600);
    all.trained(Some("Fail"), 3 * 3600).settle();
    assert_eq!(all.status().retrainings[0].gpu_seconds, 3 * 3600);

    // A TrainingJob's deadline is a year at most.
    let mut large = world("10000000", &json!({}));
    large.windows(&["Drifted", "Drifted"]);
    assert_eq!(deadlines(&large), [Some(31_536_000)]);

    let own = json!({"template": {"spec": {"activeDeadlineSeconds": 600}}});
    let mut own = world("4", &own);
    own.windows(&["Drifted", "Drifted"]);
    assert_eq!(deadlines(&own), [Some(600)]);
    assert_eq!(own.status().retrainings[0].gpu_seconds, 2 * 660);
}

#[test]
fn without_a_budget_the_deadline_is_the_template_s() {
    let mut world = World::new(json!({}));
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(deadlines(&world), [None]);
}

#[test]
fn no_training_is_asked_for_that_would_take_more_than_is_left_until_it_is_free_again() {
    let mut world = world("4", &json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("Fail"), 3 * 3600);
    let ended = world.now;
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    let said = world.said(RETRAINING);
    for part in [
        "False BudgetSpent",
        "3.0 of 4 GPU-hours are used or taken in 10h",
        "a training takes some 3.0",
        "free again at 2026-11-01T10:",
    ] {
        assert!(said.contains(part), "{said}");
    }
    // It looks again by itself.
    world.now = ended + 36_000 - 70;
    world.windows(&["Drifted"]);
    assert_eq!(world.made.len(), 1);
    let again =
        i64::try_from(world.plan(0).again.expect("it looks again").as_secs()).expect("seconds");
    world.now += again;
    world.settle();
    assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
}

#[test]
fn what_a_failed_training_used_counts_and_is_not_what_one_takes() {
    let mut world = world("4", &json!({}));
    world
        .windows(&["Drifted", "Drifted"])
        .trained(Some("TrainingFailed"), 3 * 3600);
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 2);
    assert_eq!(deadlines(&world)[1], Some(1800 - 60));
}

#[test]
fn a_training_that_was_deleted_counts_as_all_that_it_was_given() {
    let mut world = world("4", &json!({}));
    world.windows(&["Drifted", "Drifted"]);
    world.training_jobs.clear();
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    assert!(
        world.said(RETRAINING).contains("4.0 of 4 GPU-hours"),
        "{}",
        world.said(RETRAINING)
    );
    let said = deleted(&world);
    let expected = "DeletedBeforeItsEnd: TrainingJob churn-v1-r1 was deleted before it ended, so that nobody knows what it used: \
        4.0 GPU-hours count for the next 10h (spec.retrain.budget), since its deadline allowed as much; suspend a training \
        instead, and what it used is known";
    assert_eq!(said, [expected]);
}

/// What was told of trainings that were deleted.
fn deleted(world: &World) -> Vec<&str> {
    let notes = world.notes.iter().map(String::as_str);
    notes
        .filter(|note| note.starts_with("DeletedBeforeItsEnd"))
        .collect()
}

#[test]
fn a_training_that_nothing_bounded_and_that_was_deleted_counts_as_what_it_can_have_used() {
    let mut world = World::new(json!({"retrain": {"cooldown": "0s"}}));
    world.windows(&["Drifted", "Drifted"]);
    let asked = world.now;
    budget(&mut world, &json!({"gpuHours": "4", "per": "10h"}));
    world.windows(&["Drifted"; 5]);
    assert_eq!(world.made.len(), 1, "no other has a place beside it");
    world.training_jobs.clear();
    world.settle();
    let seconds = world.now - asked;
    assert!(seconds >= 300);
    let entry = world.status().retrainings[0].clone();
    assert_eq!(entry.gpu_seconds, 2 * (seconds + 60), "of two GPUs");
    let said = deleted(&world);
    assert!(
        said.len() == 1 && said[0].contains("0.2 GPU-hours count for the next 10h"),
        "{said:?}"
    );
    assert!(said[0].contains("no deadline within the budget bounded it"));
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
}

#[test]
fn a_suggestion_that_is_deleted_uses_nothing_and_nothing_is_told_of_it() {
    let mut world = World::new(
        json!({"mode": "Suggest", "retrain": {"cooldown": "0s", "budget": {"gpuHours": "4", "per": "10h"}}}),
    );
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 1);
    world.training_jobs.clear();
    world.settle();
    assert_eq!(world.status().retrainings[0].gpu_seconds, 0);
    assert!(deleted(&world).is_empty());
}

#[test]
fn a_budget_that_no_training_fits_in_is_told_of_as_such_and_not_as_spent() {
    let mut world = world("0.05", &json!({}));
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 0);
    let said = world.said(RETRAINING);
    let expected = "False BudgetSpent: the budget is too small for any training (spec.retrain.budget): 0.05 GPU-hours in 10h are \
        less than two minutes of the 2 GPUs that spec.retrain.template asks for; give more";
    assert_eq!(said, expected);
}

/// The ledger keeps twenty; what those before used is not forgotten while it counts.
#[test]
fn what_trainings_used_that_are_no_longer_listed_counts_on() {
    let mut world = world(
        "100",
        &json!({"template": {"spec": {"activeDeadlineSeconds": 60}}}),
    );
    for _ in 0..30 {
        world
            .windows(&["Drifted", "Drifted"])
            .trained(Some("Fail"), 100);
    }
    world.settle();
    let status = world.status();
    assert!(status.retrainings.len() <= 20);
    let ended = status.retrainings.iter().filter(|one| one.ended.is_some());
    let used: i64 = ended.map(|one| one.gpu_seconds).sum();
    let ended = world.made.len() - world.under_way().len();
    assert!(ended > 20);
    assert_eq!(used, i64::try_from(ended).expect("few") * 100);
}

#[test]
fn a_training_that_is_resumed_or_lengthened_beyond_the_budget_is_told_of() {
    type Change = fn(&mut windlass_api::TrainingJobSpec);
    let rows: [(&str, Change); 2] = [
        ("8.0 of 4", |spec| {
            spec.active_deadline_seconds = Some(14_340);
        }),
        (
            "since TrainingJob churn-v1-r1 has no deadline, so that nothing bounds it",
            |spec| spec.active_deadline_seconds = None,
        ),
    ];
    for (expected, change) in rows {
        let mut world = world("4", &json!({}));
        world.windows(&["Drifted", "Drifted"]);
        assert!(!world.said(RETRAINING).contains("budget"));
        change(&mut world.training("churn-v1-r1").spec);
        world.settle();
        let said = world.said(RETRAINING);
        assert!(
            said.starts_with("True TrainingUnderWay") && said.contains(expected),
            "{said}"
        );
        world.windows(&["Drifted"; 4]);
        let told = world.notes.iter();
        let told = told.filter(|note| note.starts_with("BudgetPassed"));
        assert_eq!(told.count(), 1, "once");
    }

    // What it has used counts, and the deadline begins anew.
    let mut world = world("4", &json!({}));
    world.windows(&["Drifted", "Drifted"]);
    let job = world.training("churn-v1-r1");
    job.status = Some(object(
        json!({"gpuSeconds": 3600, "attempts": [{"number": 1, "startTime": at(0)}]}),
    ));
    world.settle();
    let said = world.said(RETRAINING);
    assert!(said.contains("5.0 of 4 GPU-hours"), "{said}");
}

/// The budget of the monitor is another, or there is one now.
fn budget(world: &mut World, budget: &Value) {
    let monitor = std::sync::Arc::make_mut(&mut world.sides[0].monitor);
    let generation = monitor.metadata.generation.unwrap_or(0);
    monitor.metadata.generation = Some(generation + 1);
    let retrain = monitor.spec.retrain.as_mut().expect("one");
    retrain.budget = Some(object(budget.clone()));
}

fn told(world: &World) -> usize {
    let notes = world.notes.iter();
    notes
        .filter(|note| note.starts_with("BudgetPassed"))
        .count()
}

#[test]
fn a_training_from_before_there_was_a_budget_takes_the_whole_of_it_and_not_a_year() {
    let mut world = World::new(json!({"retrain": {"cooldown": "0s"}}));
    world.windows(&["Drifted", "Drifted"]);
    budget(&mut world, &json!({"gpuHours": "4", "per": "10h"}));
    world.settle();
    let entry = world.status().retrainings[0].clone();
    assert_eq!(
        entry.gpu_seconds,
        4 * 3600 + 2 * 60,
        "no other has a place beside it"
    );
    let said = world.said(RETRAINING);
    assert!(said.contains("churn-v1-r1 has no deadline"), "{said}");
    assert_eq!(told(&world), 1);
    // What it has used is more by now.
    let job = world.training("churn-v1-r1");
    job.status = Some(object(json!({"gpuSeconds": 5 * 3600})));
    world.settle();
    assert_eq!(world.status().retrainings[0].gpu_seconds, 5 * 3600);
    // And in the end it is what it used.
    world.trained(Some("Fail"), 600).settle();
    assert_eq!(world.status().retrainings[0].gpu_seconds, 600);
    world.windows(&["Drifted", "Drifted"]);
    assert_eq!(world.made.len(), 2, "{}", world.said(RETRAINING));
}

#[test]
fn a_budget_that_is_cut_below_what_is_used_is_told_of_once() {
    for is_stopped in [false, true] {
        let mut world = world("8", &json!({}));
        world.windows(&["Drifted", "Drifted"]);
        assert_eq!(told(&world), 0);
        if is_stopped {
            world.claims.clear();
        }
        budget(&mut world, &json!({"gpuHours": "4", "per": "10h"}));
        world.settle();
        assert_eq!(told(&world), 1, "stopped: {is_stopped}");
        world.claims = World::new(json!({})).claims;
        world.windows(&["Drifted"; 4]);
        assert_eq!(told(&world), 1, "stopped: {is_stopped}");
        if !is_stopped {
            let said = world.said(RETRAINING);
            assert!(said.contains("8.0 of 4 GPU-hours"), "{said}");
        }
    }
}
