//! Whatever happens in whatever order, with crashes in between. That capacity never falls below what is asked
//! for, and that nothing in quarantine is applied, is asserted by the simulator itself at every reconcile.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::world::World;
use crate::fixtures::{readable, version};

#[derive(Clone, Copy, Debug)]
enum Event {
    Reconcile,
    Crash(usize),
    Sync,
    Ready(i64, i32),
    AllReady,
    Version(char),
    VersionIsDeleted,
    Traffic(u64, u64),
    Wait(i64),
    Replicas(i32),
    Fixed(i32),
    Latest,
    ClaimIsDeleted,
    ClaimIsMade,
    Upgrade,
    Shuffle,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => Just(Event::Reconcile),
        2 => (0usize..4).prop_map(Event::Crash),
        4 => Just(Event::Sync),
        2 => (1i64..5, -1i32..2).prop_map(|(number, by)| Event::Ready(number, by)),
        5 => Just(Event::AllReady),
        2 => (0u8..4).prop_map(|digit| Event::Version(char::from(b'1' + digit))),
        1 => Just(Event::VersionIsDeleted),
        3 => Just(Event::Traffic(500, 0)),
        1 => Just(Event::Traffic(500, 250)),
        3 => (1i64..100).prop_map(Event::Wait),
        1 => (0i32..6).prop_map(Event::Replicas),
        1 => (1i32..7).prop_map(Event::Fixed),
        2 => Just(Event::Latest),
        1 => Just(Event::ClaimIsDeleted),
        2 => Just(Event::ClaimIsMade),
        1 => Just(Event::Upgrade),
        1 => Just(Event::Shuffle),
    ];
    prop::collection::vec(event, 1..80)
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Reconcile => drop(world.reconcile()),
        Event::Crash(after) => drop(world.reconcile_until(after)),
        Event::Sync => drop(world.sync()),
        Event::Ready(number, by) => drop(world.ready(number, by)),
        Event::AllReady => drop(world.all_ready()),
        Event::Version(fingerprint) => {
            let newest = world
                .observed
                .versions
                .iter()
                .map(|version| version.spec.version)
                .max()
                .unwrap_or(0);
            world.add(version(newest + 1, fingerprint, Some("Pass")));
        }
        Event::VersionIsDeleted => drop(world.observed.versions.pop()),
        Event::Traffic(requests, errors) => drop(world.traffic(requests, errors)),
        Event::Wait(seconds) => drop(world.wait(seconds)),
        Event::Replicas(replicas) => drop(world.edit(|spec| spec.replicas = replicas)),
        Event::Fixed(number) => drop(world.edit(|spec| spec.version = IntOrString::Int(number))),
        Event::Latest => {
            world.edit(|spec| spec.version = IntOrString::String("Latest".to_owned()));
        }
        Event::ClaimIsDeleted => {
            Arc::make_mut(&mut world.observed.claims).remove("predictions");
        }
        Event::ClaimIsMade => {
            Arc::make_mut(&mut world.observed.claims).insert("predictions".to_owned());
        }
        Event::Upgrade => world.observed.agent_image.push('1'),
        Event::Shuffle => {
            world.observed.children.reverse();
            world.observed.versions.reverse();
            world.observed.pods.reverse();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn capacity_never_falls_below_what_is_asked_weights_rise_and_a_restart_writes_nothing(events in events()) {
        let mut world = World::serving(json!({}));
        for event in events {
            let before = world.status();
            happen(&mut world, event);
            let after = world.status();
            if let (Some(before), Some(after)) = (&before.canary, &after.canary) {
                prop_assert!(before.version != after.version || before.started != after.started || before.weight <= after.weight, "weights rise");
            }
            prop_assert!(before.stable.is_none() || after.stable.is_some(), "what serves is never forgotten");
        }
        let first = serde_json::to_string(&readable(&world.plan())).expect("JSON");
        happen(&mut world, Event::Shuffle);
        prop_assert_eq!(first, serde_json::to_string(&readable(&world.plan())).expect("JSON"), "the order of stores does not matter");
        world.settle();
        let writes = world.writes;
        world.reconcile();
        prop_assert_eq!(writes, world.writes);
    }
}
