//! Events of the fixture's objects.

use super::super::fixture;
use super::*;

fn events_of(name: &str) -> Vec<Value> {
    let objects = fixture::objects();
    let text = render(&fixture::graph(&objects, name)).expect("events");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON document a line"))
        .collect()
}

/// The names of data sets.
fn sets<'e>(event: &'e Value, which: &str) -> Vec<&'e str> {
    let sets = event[which].as_array().expect("a list");
    sets.iter()
        .map(|set| set["name"].as_str().expect("a name"))
        .collect()
}

const UID: &str = "00000031-0000-4000-8000-000000000031";

#[test]
fn runs_of_a_version_are_told_in_the_order_in_which_they_were() {
    let events = events_of("churn-3");
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}",
                word(&event["eventTime"]),
                word(&event["eventType"]),
                word(&event["job"]["name"])
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "2026-11-02T09:11:00Z START churn.training.features",
            "2026-11-02T09:19:00Z COMPLETE churn.training.features",
            "2026-11-02T09:10:00Z START churn.training",
            "2026-11-02T10:00:00Z COMPLETE churn.training",
            "2026-11-02T10:00:00Z START churn.validation",
            "2026-11-02T10:05:00Z COMPLETE churn.validation",
            "2026-11-02T11:20:00Z START churn.serving",
        ]
    );
}

#[test]
fn the_training_is_the_run_of_the_jobs_uid_with_its_data_code_and_monitor() {
    let events = events_of("churn-3");
    let training = &events[3];
    assert_eq!(training["run"]["runId"], UID);
    assert_eq!(training["job"]["namespace"], "growth");
    assert_eq!(
        sets(training, "inputs"),
        ["models/churn-drift-1793610000-00000031/steps/features"]
    );
    assert_eq!(
        sets(training, "outputs"),
        ["models/churn-drift-1793610000-00000031/2/model"]
    );
    let model = &training["outputs"][0];
    assert_eq!(model["namespace"], "s3://growth");
    assert_eq!(
        model["facets"]["version"]["datasetVersion"],
        format!("sha256:{}", "c".repeat(64))
    );
    assert_eq!(model["facets"]["datasetType"]["datasetType"], "MODEL");
    assert_eq!(model["outputFacets"]["outputStatistics"]["size"], 1_234_567);
    let parameters = &training["run"]["facets"]["executionParameters"]["parameters"];
    assert_eq!(
        parameters[0],
        serde_json::json!({"key": "learning_rate", "value": "0.05"})
    );
    let code = &training["job"]["facets"]["sourceCodeLocation"];
    assert_eq!(code["url"], "https://git.example.com/growth/churn.git");
    assert_eq!(code["version"], "4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d");
    let parent = &training["run"]["facets"]["parent"];
    assert_eq!(
        parent["run"]["runId"],
        "00000071-0000-4000-8000-000000000071"
    );
    assert_eq!(parent["job"]["name"], "churn-drift.drift");
    let step = &events[1];
    assert_eq!(step["run"]["facets"]["parent"]["run"]["runId"], UID);
    assert_eq!(
        sets(step, "inputs"),
        ["accounts", "models/churn-weekly-00000030/steps/extract"]
    );
    assert_eq!(step["inputs"][0]["namespace"], "pvc://growth/warehouse");
}

#[test]
fn a_validation_reads_the_model_and_the_held_out_rows_and_writes_what_it_found() {
    let events = events_of("churn-3");
    let judged = &events[5];
    assert_eq!(
        sets(judged, "inputs"),
        ["models/churn-drift-1793610000-00000031/2/model", "holdout"]
    );
    let written = sets(judged, "outputs");
    assert!(
        written[0].ends_with("report.json") && written[1].ends_with("baseline.json"),
        "{written:?}"
    );
    assert_eq!(events[4]["run"]["runId"], judged["run"]["runId"]);
    assert_ne!(judged["run"]["runId"], UID);
    let serving = &events[6];
    assert_eq!(sets(serving, "outputs"), ["payloads/churn-3"]);
    assert_eq!(
        serving["job"]["facets"]["jobType"]["processingType"],
        "SERVICE"
    );
}

/// What `OpenLineage.json` of 2-0-2 asks of each event, data set and facet.
#[test]
fn every_event_has_what_the_schema_requires() {
    fn facets(facets: &Value) {
        for (name, facet) in facets.as_object().into_iter().flatten() {
            let of = |field: &str| facet[field].as_str().unwrap_or_default().to_owned();
            assert!(
                of("_producer").starts_with("https://windlass.dev/"),
                "{name}"
            );
            assert!(
                of("_schemaURL").starts_with("https://openlineage.io/spec/facets/"),
                "{name}"
            );
        }
    }
    fn set(set: &Value) {
        for field in ["namespace", "name"] {
            assert!(!set[field].as_str().expect("text").is_empty(), "{set}");
        }
        facets(&set["facets"]);
        facets(&set["inputFacets"]);
        facets(&set["outputFacets"]);
    }
    for name in ["churn-2", "churn-3", "churn-4"] {
        for event in events_of(name) {
            let time = event["eventTime"].as_str().expect("a time");
            assert!(time.parse::<Timestamp>().is_ok());
            let schema = event["schemaURL"].as_str().expect("a schema");
            assert!(
                schema.ends_with("2-0-2/OpenLineage.json#/$defs/RunEvent"),
                "{schema}"
            );
            let id = event["run"]["runId"].as_str().expect("an id");
            assert!(Uuid::parse_str(id).is_ok(), "{id}");
            for field in ["namespace", "name"] {
                assert!(event["job"][field].is_string());
            }
            facets(&event["run"]["facets"]);
            facets(&event["job"]["facets"]);
            for which in ["inputs", "outputs"] {
                event[which]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .for_each(set);
            }
        }
    }
}

#[test]
fn what_was_registered_is_a_data_set_without_a_run() {
    let events = events_of("churn-5");
    assert_eq!(events.len(), 1);
    assert!(
        events[0]["schemaURL"]
            .as_str()
            .expect("text")
            .ends_with("DatasetEvent")
    );
    assert_eq!(events[0]["dataset"]["name"], "models/run-5/1/model");
    assert!(events[0].get("run").is_none());
}

#[test]
fn a_run_whose_job_is_gone_is_still_told() {
    let events = events_of("churn-2");
    assert_eq!(events[0]["eventType"], "START");
    assert_eq!(
        events[1]["run"]["runId"],
        "00000030-0000-4000-8000-000000000030"
    );
    assert_eq!(sets(&events[1], "inputs"), ["events"]);
}

#[test]
fn without_a_time_there_is_no_event() {
    let mut objects = fixture::objects();
    let version = objects.versions.get_mut("churn-3").expect("there");
    version.metadata.creation_timestamp = None;
    let problem = render(&fixture::graph(&objects, "churn-3")).expect_err("no time");
    assert!(
        problem
            .to_string()
            .contains("ModelVersion churn-3 has no metadata.creationTimestamp")
    );
}

#[test]
fn files_are_named_by_their_store_and_their_path() {
    for (uri, namespace, name) in [
        ("s3://bucket/a/b/", "s3://bucket", "a/b"),
        ("s3://bucket", "s3://bucket", "/"),
        ("pvc://claim/a", "pvc://growth/claim", "a"),
        ("oci://host:5000/a/b:1#m", "oci://host:5000", "a/b:1#m"),
        ("https://host:8443/a.csv", "https://host:8443", "a.csv"),
        ("file:///a/b", "file", "/a/b"),
        ("models/1", "file", "models/1"),
    ] {
        assert_eq!(
            named(uri, "growth"),
            (namespace.to_owned(), name.to_owned())
        );
    }
}

#[test]
fn code_is_where_its_repository_is() {
    let of = |repository: &str| {
        let found = location(&Source {
            repository: repository.to_owned(),
            revision: "main".to_owned(),
        });
        found.map(|found| found["url"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(
        of("https://a.example/b.git").as_deref(),
        Some("https://a.example/b.git")
    );
    assert_eq!(
        of("git@a.example:b/c.git").as_deref(),
        Some("ssh://git@a.example/b/c.git")
    );
    assert_eq!((of("in a drawer"), of("c/d@e:f")), (None, None));
}

#[test]
fn a_uid_that_is_none_gives_an_id_that_is_always_the_same() {
    assert_eq!(run_id(UID).to_string(), UID);
    assert_eq!(run_id("x"), run_id("x"));
    assert_ne!(run_id("x"), run_id("y"));
    assert_eq!(run_id("x").get_version_num(), 8);
}
