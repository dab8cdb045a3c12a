//! What edges there are, from small changes of the objects of the fixture.

use super::super::fixture;
use super::super::graph::Presence;
use super::*;

/// The edges as `kind from -relation-> kind to`.
fn edges(graph: &Graph<'_>) -> Vec<String> {
    let edges = graph.edges.keys();
    let written = |edge: &Edge| {
        let name = |id: &NodeId| match id.kind {
            Kind::Data => graph.node(id).name.clone(),
            _ => id.key.clone(),
        };
        format!(
            "{} -{:?}-> {}",
            name(&edge.from),
            edge.relation,
            name(&edge.to)
        )
    };
    edges.map(written).collect()
}

fn has(graph: &Graph<'_>, edge: &str) -> bool {
    edges(graph).iter().any(|one| one == edge)
}

fn note(graph: &Graph<'_>, relation: Relation) -> String {
    let mut notes = graph.edges.iter();
    let found = notes.find(|(edge, _)| edge.relation == relation);
    found.expect("such an edge").1.clone()
}

fn presence(graph: &Graph<'_>, kind: Kind, key: &str) -> Presence {
    graph.node(&id(kind, key)).presence
}

const JOB: &str = "churn-drift-1793610000";

#[test]
fn a_version_comes_from_its_run_and_that_from_data_code_images_attempts_and_a_monitor() {
    let objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-3");
    for edge in [
        format!("{JOB} -Made-> churn-3"),
        format!("churn-drift -Asked-> {JOB}"),
        "churn -Watched-> churn-drift".to_owned(),
        format!(
            "https://git.example.com/growth/churn.git@4f1c2d3e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d -Code-> {JOB}"
        ),
        format!(
            "registry.example.com/growth/churn@sha256:{} -Image-> {JOB}",
            "b".repeat(64)
        ),
        format!("{JOB}-1 -AttemptOf-> {JOB}"),
        format!("{JOB}-2 -AttemptOf-> {JOB}"),
        // The workers read what the last step wrote, and the steps the rest.
        format!("features -Input-> {JOB}"),
        format!("{JOB}-features -Wrote-> features"),
        format!("accounts -Input-> {JOB}-features"),
        format!("extract -Input-> {JOB}-features"),
        format!("{JOB}-extract -Wrote-> extract"),
        format!("events -Input-> {JOB}-extract"),
        format!("churn-weekly -TakenOver-> {JOB}-extract"),
    ] {
        assert!(
            has(&graph, &edge),
            "{edge} is not among {:#?}",
            edges(&graph)
        );
    }
    assert!(!has(&graph, &format!("events -Input-> {JOB}")));
    assert!(!has(&graph, &format!("accounts -Input-> {JOB}")));
}

#[test]
fn a_version_leads_to_its_validation_deployments_monitors_children_and_other_results() {
    let objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-3");
    for edge in [
        "churn-3 -Judged-> churn-3",
        "churn-2 -Compared-> churn-3",
        "held out -Input-> churn-3",
        "churn-3 -Serves-> churn",
        "churn-3 -WasTried-> churn",
        "churn-3 -Served-> churn-batch",
        "churn-3 -Monitored-> churn-drift",
        "churn-3 -Drifted-> churn-drift",
        "churn-drift -Asked-> churn-drift-1793696400",
        "churn-drift-1793696400 -Made-> churn-4",
        "churn-3 -Parent-> churn-4",
        "churn-3 -Result-> churn-again",
    ] {
        assert!(
            has(&graph, edge),
            "{edge} is not among {:#?}",
            edges(&graph)
        );
    }
    let written = graph
        .edges
        .keys()
        .filter(|edge| edge.from.kind == Kind::Validation);
    let written: Vec<Kind> = written.map(|edge| edge.to.kind).collect();
    assert_eq!(written, [Kind::Report, Kind::Baseline]);
    assert_eq!(note(&graph, Relation::Serves), "since 2026-11-02T11:20:00Z");
    assert_eq!(
        note(&graph, Relation::Served),
        "2026-11-02T11:02:00Z to 2026-11-02T18:00:00Z: the deployment was pointed at churn-2"
    );
    assert_eq!(
        note(&graph, Relation::Monitored),
        "3 windows, 2 Drifted; its baseline is the reference"
    );
}

#[test]
fn a_version_that_did_harm_was_tried_taken_back_and_is_kept_out_with_all_of_its_fingerprint() {
    let objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-4");
    for relation in ["WasTried", "RolledBack", "Quarantined"] {
        assert!(
            has(&graph, &format!("churn-4 -{relation}-> churn")),
            "{relation}"
        );
    }
    for relation in ["Serves", "Served", "Tried"] {
        assert!(
            !has(&graph, &format!("churn-4 -{relation}-> churn")),
            "{relation}"
        );
    }
    let same = fixture::graph(&objects, "churn-5");
    assert!(has(&same, "churn-5 -Quarantined-> churn"));
    assert!(note(&same, Relation::Quarantined).contains("the same as churn-4 by its fingerprint"));
}

#[test]
fn what_is_no_longer_there_is_a_node_that_is_gone() {
    let objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-3");
    assert_eq!(
        presence(&graph, Kind::ModelVersion, "churn-1"),
        Presence::Gone
    );
    assert_eq!(
        presence(&graph, Kind::ModelVersion, "churn-2"),
        Presence::There
    );
    assert_eq!(
        presence(&graph, Kind::ModelDeployment, "churn-batch"),
        Presence::Gone
    );

    // A job that has the name of the one that made it, and another uid, did not make it.
    let graph = fixture::graph(&objects, "churn-2");
    let made = graph
        .edges
        .keys()
        .find(|edge| edge.relation == Relation::Made);
    let made_by = graph.node(&made.expect("it was made").from);
    assert_eq!(
        (made_by.name.as_str(), made_by.presence),
        ("churn-weekly", Presence::Gone)
    );
    assert!(
        made_by.facts[1].contains("another one"),
        "{:?}",
        made_by.facts
    );
    assert!(
        edges(&graph)
            .iter()
            .any(|edge| edge.starts_with("events -Input-> churn-weekly"))
    );

    let mut alone = fixture::objects();
    alone.jobs.clear();
    alone.monitors.clear();
    alone.deployments.clear();
    alone.versions.retain(|name, _| name == "churn-3");
    let graph = fixture::graph(&alone, "churn-3");
    let gone = graph
        .nodes
        .iter()
        .filter(|(_, node)| node.presence == Presence::Gone);
    let gone: Vec<&str> = gone
        .map(|(id, _)| id.key.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(
        gone,
        [JOB, "churn-2", "churn", "churn-batch", "churn-drift"]
    );
}

#[test]
fn parents_are_followed_to_the_end_and_a_circle_has_one() {
    let mut objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-4");
    for edge in [
        "churn-3 -Parent-> churn-4",
        "churn-2 -Parent-> churn-3",
        "churn-1 -Parent-> churn-2",
    ] {
        assert!(has(&graph, edge), "{edge}");
    }
    objects
        .versions
        .get_mut("churn-2")
        .expect("there")
        .spec
        .parent = Some("churn-4".to_owned());
    let graph = fixture::graph(&objects, "churn-4");
    assert!(has(&graph, "churn-4 -Parent-> churn-2"));
    assert!(!super::super::text::render(&graph).is_empty());

    objects
        .versions
        .get_mut("churn-4")
        .expect("there")
        .spec
        .parent = Some("churn-4".to_owned());
    let graph = fixture::graph(&objects, "churn-4");
    assert!(has(&graph, "churn-4 -Parent-> churn-4"));
    assert!(!super::super::text::render(&graph).is_empty());
}

#[test]
fn what_was_registered_comes_from_what_it_names() {
    let objects = fixture::objects();
    let graph = fixture::graph(&objects, "churn-5");
    assert!(has(
        &graph,
        "git@git.example.com:growth/churn.git@main -Code-> churn-5"
    ));
    assert!(
        graph
            .edges
            .keys()
            .all(|edge| edge.relation != Relation::Made)
    );
}

#[test]
fn a_step_that_nothing_reads_belongs_to_its_job() {
    let mut objects = fixture::objects();
    let job = objects.jobs.get_mut(JOB).expect("there");
    job.spec.steps[1].inputs.retain(|name| name != "extract");
    job.spec.workers.inputs = Some(vec!["features".to_owned()]);
    let graph = fixture::graph(&objects, "churn-3");
    assert!(has(&graph, &format!("{JOB}-extract -StepOf-> {JOB}")));
}

#[test]
fn the_graph_does_not_depend_on_the_order_of_the_objects() {
    let mut list: serde_json::Value = serde_json::from_str(fixture::GROWTH).expect("JSON");
    list["items"].as_array_mut().expect("items").reverse();
    let reversed = Objects::parse(&list.to_string(), "churn-3", None).expect("objects");
    let objects = fixture::objects();
    assert_eq!(
        fixture::graph(&reversed, "churn-3"),
        fixture::graph(&objects, "churn-3")
    );
}

#[test]
fn each_edge_is_in_the_tree_once() {
    fn count(branches: &[super::super::tree::Branch<'_>]) -> usize {
        branches
            .iter()
            .map(|branch| 1 + count(&branch.branches))
            .sum()
    }
    let objects = fixture::objects();
    for name in ["churn-2", "churn-3", "churn-4", "churn-5"] {
        let graph = fixture::graph(&objects, name);
        let tree = super::super::tree::tree(&graph);
        let shown = count(&tree.came_from) + count(&tree.led_to);
        assert_eq!(shown, graph.edges.len(), "{name}");
    }
}
