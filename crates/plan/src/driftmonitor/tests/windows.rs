//! Which windows are judged: each once, in order, of one version.

use serde_json::json;
use windlass_api::PassedOver;

use super::world::{World, report};
use crate::fixtures::{assert_restricted, at, digest, disrupted, ended, given, pod, waiting};
use kube::ResourceExt;
use std::sync::Arc;
use windlass_api::condition::{READY, STALLED};

/// The windows that were judged, as `version [start, end)` in seconds.
fn spans(world: &World) -> Vec<String> {
    let seconds = |time: jiff::Timestamp| time.duration_since(at(0)).as_secs();
    let known = world.known();
    let each = known.iter().map(|one| {
        format!(
            "{} {}..{}",
            one.version,
            seconds(one.start),
            seconds(one.end)
        )
    });
    each.collect()
}

#[test]
fn a_window_is_judged_once_in_order_and_known_by_the_job_that_was_made_for_it() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "NotEnoughData", "Healthy"]);
    assert_eq!(
        spans(&world),
        ["churn-1 -60..60", "churn-1 0..120", "churn-1 60..180"]
    );
    let writes = world.writes;
    world.settle();
    world.sides[0].jobs.reverse();
    world.settle();
    assert_eq!(
        world.writes, writes,
        "a restart over unchanged objects writes nothing"
    );
    world.window("Drifted");
    assert_eq!(world.status().windows[3].drifted, ["age"]);
    assert_eq!(world.status().windows[3].digest, Some(digest('d')));
}

#[test]
fn windows_without_a_size_are_fixed_and_by_a_schedule_they_end_by_the_clocks() {
    // 2026-11-01 00:00 UTC is 05:45 in Kathmandu.
    let rows = [
        (
            json!({"every": "60s", "size": null}),
            ["churn-1 0..60", "churn-1 60..120"],
        ),
        (
            json!({"every": null, "size": null, "schedule": "*/2 * * * *", "timeZone": "Asia/Kathmandu"}),
            ["churn-1 -60..60", "churn-1 60..180"],
        ),
        (
            json!({"every": null, "size": "30s", "schedule": "*/1 * * * *"}),
            ["churn-1 30..60", "churn-1 90..120"],
        ),
    ];
    for (window, expected) in rows {
        let mut world = World::new(json!({ "window": window }));
        for _ in 0..4 {
            world.window("Healthy");
        }
        assert_eq!(spans(&world)[..2], expected, "{window}");
    }
}

#[test]
fn a_window_is_looked_at_once_late_rows_have_had_their_time() {
    let mut world = World::new(json!({"window": {"lateness": "45s"}}));
    world.now = 104;
    world.settle();
    let first = world.sides[0].jobs[0].name_any();
    assert_eq!(first, format!("churn-{}", at(0).as_second()));
    world.judge(0, "Healthy").settle();
    let again = world.plan(0).again.expect("it looks again");
    assert_eq!(again.as_secs(), 1);
    world.now = 105;
    world.settle();
    let next = world.sides[0].jobs[1].name_any();
    assert_eq!(next, format!("churn-{}", at(60).as_second()));
}

#[test]
fn windows_that_were_missed_are_judged_in_order_and_those_that_are_too_many_are_said() {
    let mut world = World::new(json!({"window": {"maxCatchUp": 3}}));
    world.window("Healthy");
    // Down from 120 to 600.
    world.now = 615;
    for _ in 0..5 {
        world.settle().judge(0, "Healthy").settle();
    }
    assert_eq!(
        spans(&world),
        [
            "churn-1 -60..60",
            "churn-1 360..480",
            "churn-1 420..540",
            "churn-1 480..600"
        ]
    );
    let passed = PassedOver {
        windows: 6,
        first: at(120),
        last: at(420),
    };
    assert_eq!(world.status().passed_over, Some(passed));
    let said: Vec<_> = world
        .notes
        .iter()
        .filter(|note| note.starts_with("WindowsPassedOver"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("6 windows"), "{}", said[0]);
    world.windows(&["Healthy"; 6]);
    assert_eq!(
        world.status().passed_over.map(|one| one.last),
        Some(at(420))
    );
}

#[test]
fn what_was_passed_over_is_said_though_we_stopped_just_after_the_next_window_began() {
    let mut world = World::new(json!({"window": {"maxCatchUp": 1}}));
    world.window("Healthy");
    world.now = 615;
    world.reconcile(0, 1);
    assert!(world.sides[0].jobs.len() == 2 && world.status().passed_over.is_none());
    world.settle();
    assert_eq!(world.status().passed_over.map(|one| one.windows), Some(8));
}

#[test]
fn a_new_monitor_begins_with_the_newest_window() {
    let mut world = World::new(json!({}));
    world.now = 1_000;
    world.settle().judge(0, "Healthy").settle();
    assert_eq!(spans(&world), ["churn-1 840..960"]);
    assert_eq!(world.status().passed_over, None);
}

#[test]
fn the_window_that_spans_a_promotion_is_split_by_version() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Healthy"]);
    world.now += 20;
    world.serves(2);
    let promoted = world.now;
    world.now += 40;
    for _ in 0..3 {
        world.settle().judge(0, "NotEnoughData").settle();
    }
    world.windows(&["Healthy", "Healthy"]);
    let expected = [
        "churn-1 -60..60".to_owned(),
        "churn-1 0..120".to_owned(),
        // What was the old version's, held against its own baseline, and what is the new one's.
        format!("churn-1 60..{promoted}"),
        format!("churn-2 {promoted}..180"),
        format!("churn-2 {promoted}..240"),
        "churn-2 180..300".to_owned(),
    ];
    assert_eq!(spans(&world), expected);
    let jobs = &world.sides[0].jobs;
    let reads = |job: usize| {
        let spec = jobs[job]
            .spec
            .as_ref()
            .and_then(|spec| spec.template.spec.clone());
        let arguments = spec.expect("pods").containers[0]
            .args
            .clone()
            .expect("arguments");
        let at = arguments
            .iter()
            .position(|one| one == "--version")
            .expect("one");
        arguments[at + 1].clone()
    };
    assert_eq!([reads(2), reads(3)], ["churn-1", "churn-2"]);
}

#[test]
fn of_a_version_whose_record_is_gone_no_window_is_looked_for() {
    let mut world = World::new(json!({}));
    world.windows(&["Healthy", "Healthy"]);
    world.now += 20;
    world.serves(2).versions.retain(|one| one.spec.version == 2);
    world.now += 40;
    for _ in 0..3 {
        world.settle().judge(0, "Healthy").settle();
    }
    assert_eq!(spans(&world)[2..], ["churn-2 150..180"]);
}

#[test]
fn an_evaluation_that_cannot_start_is_told() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let name = world.sides[0].jobs[0].name_any();
    let its = [("batch.kubernetes.io/job-name".to_owned(), name)].into();
    world.sides[0].pods = vec![Arc::new(waiting(pod("p", &its), "ImagePullBackOff"))];
    world.now += 119;
    let writes = world.writes;
    world.settle();
    assert_eq!(world.writes, writes, "it may be on its way");
    world.now += 1;
    world.settle();
    assert!(
        world.said(STALLED).starts_with("True ImageNotFound"),
        "{}",
        world.said(STALLED)
    );
}

#[test]
fn a_pod_that_was_evicted_before_another_came_to_a_verdict_says_nothing() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let name = world.sides[0].jobs[0].name_any();
    let its = [("batch.kubernetes.io/job-name".to_owned(), name)].into();
    let failure = r#"{"kind":"Failure","reason":"Interrupted","message":"stopped"}"#;
    let evicted = disrupted(ended(pod("a", &its), "windlass-agent", 1, failure));
    world.sides[0].pods.push(Arc::new(evicted));
    world.judged(0, &report("Healthy")).settle();
    assert!(world.is(READY), "{}", world.said(READY));
}

#[test]
fn every_pod_is_restricted_and_none_hangs_for_ever() {
    let mut world = World::new(json!({}));
    world.now += 60;
    world.settle();
    let spec = world.sides[0].jobs[0].spec.clone().expect("a spec");
    assert_restricted(spec.template.spec.as_ref().expect("pods"));
    assert!(spec.active_deadline_seconds.is_some());
    let arguments = spec
        .template
        .spec
        .and_then(|spec| spec.containers[0].args.clone());
    assert!(arguments.is_some_and(|arguments| arguments.contains(&digest('b'))));
}

#[test]
fn full_results_go_beside_the_payload_log_or_where_it_is_said() {
    let end = at(60).as_second();
    let rows = [
        (
            json!({}),
            format!("pvc://predictions/churn/drift/churn/{end}"),
        ),
        (
            json!({"reports": {"uri": "s3://reports/drift"}}),
            format!("s3://reports/drift/churn/{end}"),
        ),
    ];
    for (spec, expected) in rows {
        let mut world = World::new(spec);
        world.now += 60;
        world.settle();
        let spec = world.sides[0].jobs[0].spec.clone().expect("a spec");
        let pods = spec.template.spec.expect("pods");
        let arguments = pods.containers[0].args.clone().expect("arguments");
        let at = arguments
            .iter()
            .position(|one| one == "--output")
            .expect("one");
        assert_eq!(arguments[at + 1], expected);
    }
}

/// The arguments of the first window's Job, in one line.
fn arguments_of(spec: serde_json::Value) -> String {
    let mut world = World::new(spec);
    world.now += 60;
    world.settle();
    let spec = world.sides[0].jobs[0].spec.clone().expect("a spec");
    let pods = spec.template.spec.expect("pods");
    pods.containers[0]
        .args
        .clone()
        .expect("arguments")
        .join(" ")
}

#[test]
fn how_columns_are_measured_and_what_is_asked_of_data_goes_to_the_agent() {
    let arguments = arguments_of(json!({
        "features": {"default": {"method": "Hellinger"}, "overrides": [
            {"column": "age", "threshold": "0.5"}, {"column": "fare", "method": "KolmogorovSmirnov"},
            {"column": "plan", "method": "PSI", "threshold": "0.2"}]},
        "predictions": {"method": "JensenShannon", "threshold": "0.15"},
        "unit": "user_id", "segments": ["country = 'DE'", "plan = 'free'"],
        "quality": {"maxNullFraction": "0.05", "maxNullIncrease": "0.01", "newCategories": "Break", "range": "Ignore",
            "duplicates": "Warn", "volume": "Break", "maxAge": "1h"},
        "triggerWhen": {"confidence": "0.99", "falseDiscoveryRate": "0.1"}
    }));
    // A threshold that a person gave goes along, also where it is what is usual of the method; and no other does.
    let expected = "--method Hellinger --column-threshold age=0.5 --column-method fare=KolmogorovSmirnov \
        --column-method plan=PSI --column-threshold plan=0.2 --drifted-share 0.3 \
        --prediction-method JensenShannon --prediction-threshold 0.15 --confidence 0.99 --false-discovery-rate 0.1 \
        --unit user_id --segment country = 'DE' --segment plan = 'free' --max-null-fraction 0.05 --max-null-increase 0.01 \
        --new-categories Break --beyond-range Ignore --duplicates Warn --volume Break --max-age 1h";
    assert!(arguments.contains(expected), "{arguments}");
}

#[test]
fn what_a_manifest_does_not_say_is_left_to_the_agent() {
    let arguments = arguments_of(json!({"predictions": {}}));
    let expected = "--min-samples 100 --drifted-share 0.3 --prediction-threshold 0.2 --labels";
    assert!(arguments.contains(expected), "{arguments}");
    let arguments = arguments_of(json!({"features": {"default": {"threshold": "0.2"}}}));
    let expected = "--min-samples 100 --threshold 0.2 --drifted-share 0.3 --labels";
    assert!(arguments.contains(expected), "{arguments}");
}

#[test]
fn the_storage_is_handed_to_the_evaluation_and_the_training_has_its_own() {
    let mut world =
        World::new(json!({"storage": {"secretName": "keys", "serviceAccountName": "reader"}}));
    world.windows(&["Drifted", "Drifted"]);
    let spec = world.sides[0].jobs[0].spec.clone().expect("a spec");
    let pods = spec.template.spec.expect("pods");
    assert_eq!(given(&pods, "keys"), ["windlass-agent"]);
    assert_eq!(pods.service_account_name.as_deref(), Some("reader"));
    assert_restricted(&pods);
    assert_eq!(world.training_jobs[0].spec.storage, None);
    let own = json!({"template": {"spec": {"storage": {"secretName": "of-the-training"}}}});
    let mut world = World::new(json!({ "retrain": own }));
    world.windows(&["Drifted", "Drifted"]);
    let made = world.training_jobs[0].spec.storage.clone();
    assert_eq!(
        made.and_then(|storage| storage.secret_name).as_deref(),
        Some("of-the-training")
    );
}
