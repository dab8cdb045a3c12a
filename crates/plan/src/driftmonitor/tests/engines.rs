//! What counts the rows of windows: their own pods, or the Ballista cluster of the namespace.

use serde_json::json;
use windlass_api::condition::{DRIFTED, READY, STALLED};
use windlass_api::labels;

use super::world::World;
use crate::driftmonitor::Engine;

fn engine(address: &str) -> Engine {
    Engine {
        address: address.to_owned(),
        image: "windlass-ballista:1".to_owned(),
    }
}

/// The image of the newest window's Job, and the engine that it was told.
fn newest(world: &World) -> (String, Option<String>) {
    let job = world.sides[0].jobs.last().expect("a Job");
    let pod = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.clone());
    let container = pod.expect("a pod").containers.remove(0);
    let mut arguments = container.args.into_iter().flatten();
    let told = arguments.find(|argument| argument == "--engine");
    let told = told.and_then(|_| arguments.next());
    (container.image.expect("an image"), told)
}

#[test]
fn a_window_is_counted_by_the_cluster_of_the_namespace_only_where_the_monitor_asks_for_it() {
    let address = "ballista://ballista.growth:50050";
    let rows = [
        (json!({}), None, ("agent:1", None)),
        (json!({}), Some(address), ("agent:1", None)),
        (
            json!({"engine": "DataFusion"}),
            Some(address),
            ("agent:1", None),
        ),
        (
            json!({"engine": "Ballista"}),
            Some(address),
            ("windlass-ballista:1", Some(address)),
        ),
    ];
    for (spec, there, (image, told)) in rows {
        let mut world = World::new(spec.clone());
        world.engine = there.map(engine);
        world.now = 70;
        world.settle();
        let expected = (image.to_owned(), told.map(str::to_owned));
        assert_eq!(newest(&world), expected, "{spec} where there is {there:?}");
        world.judge(0, "Healthy").settle();
        assert!(world.is(READY), "{}", world.said(READY));
    }
}

#[test]
fn where_no_cluster_is_set_up_that_is_said_once_and_it_goes_on_when_one_is() {
    let mut world = World::new(json!({"engine": "Ballista"}));
    world.now = 70;
    world.settle();
    for type_ in [READY, STALLED] {
        let said = world.said(type_);
        let (_, said) = said.split_once(' ').expect("a status");
        assert!(
            said.starts_with("EngineNotConfigured: spec.engine: "),
            "{said}"
        );
        for part in ["\"growth\"", "ballista.namespaces", "DataFusion"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
    assert!(world.is(STALLED) && !world.is(READY));
    assert!(world.said(DRIFTED).starts_with("Unknown"), "not 'no drift'");
    assert!(world.sides[0].jobs.is_empty());
    assert_eq!(world.writes, 1);
    // Nothing is tried again: only what changes wakes it.
    assert_eq!(world.plan(0).again, None);
    world.now = 700;
    world.settle();
    assert_eq!(world.writes, 1);

    world.engine = Some(engine("ballista://ballista.growth:50050"));
    world.settle().judge(0, "Healthy").settle();
    assert!(world.is(READY), "{}", world.said(READY));
    assert_eq!(newest(&world).0, "windlass-ballista:1");
}

/// By these, the chart's NetworkPolicy lets pods of windows in to the cluster.
#[test]
fn the_pod_of_a_window_has_the_labels_by_which_a_cluster_knows_it() {
    let mut world = World::new(json!({"engine": "Ballista"}));
    world.engine = Some(engine("ballista://ballista.growth:50050"));
    world.now = 70;
    world.settle();
    let job = &world.sides[0].jobs[0];
    let template = job.spec.as_ref().map(|spec| &spec.template);
    let metadata = template.and_then(|template| template.metadata.as_ref());
    let found = metadata.and_then(|metadata| metadata.labels.as_ref());
    let found = found.expect("labels");
    assert_eq!(found[labels::MANAGED_BY], "windlass");
    assert_eq!(found[labels::ROLE], "drift");
}

/// It is taken away while a window is counted: what that finds is not lost.
#[test]
fn a_window_that_is_counted_when_the_cluster_goes_is_written_down() {
    let mut world = World::new(json!({"engine": "Ballista"}));
    world.engine = Some(engine("ballista://ballista.growth:50050"));
    world.now = 70;
    world.settle();
    world.engine = None;
    world.judge(0, "Healthy").settle();
    assert_eq!(world.status().windows.len(), 1);
    assert!(world.said(STALLED).starts_with("True EngineNotConfigured"));
    assert_eq!(world.sides[0].jobs.len(), 1);
}
