//! Which checkpoints are taken away, once a newer one is whole.
//!
//! Looked at are those of this attempt and of earlier ones. The newest whole ones stay, as many as are to be kept;
//! older ones go, and what is torn and older than the newest whole one. What is left of an attempt that was lost takes
//! nothing away from the gang that goes on: it may be reading just that.

use std::collections::BTreeSet;

use tracing::info;

use super::Plan;
use super::manifest::Manifest;
use super::place::Place;
use super::store::Store;
use crate::tree::TreeError;

/// Takes away what is no longer to be kept. `damaged` counts as torn, whatever its manifest says; `protected` stays.
pub(super) async fn prune(
    store: &Store,
    plan: &Plan,
    protected: Option<&Place>,
    damaged: &[Place],
) -> Result<(), TreeError> {
    if store
        .choice(plan.attempt.saturating_add(1))
        .await?
        .is_some()
    {
        return Ok(());
    }
    let mut places = Vec::new();
    for place in store.places(plan.attempt).await? {
        let is_whole = !damaged.contains(&place)
            && store
                .manifest(&place)
                .await?
                .is_some_and(|content| Manifest::parse(&content, &place).is_ok());
        places.push((place, is_whole));
    }
    for place in no_longer_kept(&places, plan.keep, protected) {
        store.remove(&place).await?;
        info!("took away the checkpoint {place}");
    }
    Ok(())
}

/// Those that go, the oldest first, of places of which it is known whether they are whole.
fn no_longer_kept(
    places: &[(Place, bool)],
    keep: usize,
    protected: Option<&Place>,
) -> BTreeSet<Place> {
    let mut whole: Vec<&Place> = places
        .iter()
        .filter_map(|(place, is_whole)| is_whole.then_some(place))
        .collect();
    whole.sort_by(|a, b| b.cmp(a));
    let Some(newest) = whole.first() else {
        return BTreeSet::new();
    };
    let kept: BTreeSet<&Place> = whole.iter().take(keep).copied().collect();
    places
        .iter()
        .map(|(place, _)| place)
        .filter(|place| place < newest && !kept.contains(place) && Some(*place) != protected)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(attempt: u32, sequence: u32) -> Place {
        Place {
            attempt,
            sequence,
            name: "step".to_owned(),
        }
    }

    #[test]
    fn the_newest_whole_ones_stay() {
        const WHOLE: bool = true;
        const TORN: bool = false;
        for (what, places, keep, protected, wanted) in [
            ("nothing at all", vec![], 1, None, vec![]),
            ("fewer than are kept", vec![(1, 1, WHOLE)], 3, None, vec![]),
            (
                "older ones go, of earlier attempts too",
                vec![(1, 1, WHOLE), (1, 2, WHOLE), (2, 1, WHOLE), (2, 2, WHOLE)],
                2,
                None,
                vec![(1, 1), (1, 2)],
            ),
            (
                "a torn one counts for nothing and goes",
                vec![(1, 1, WHOLE), (1, 2, TORN), (2, 1, WHOLE)],
                2,
                None,
                vec![(1, 2)],
            ),
            (
                "a torn one that is newer stays: it may be being written",
                vec![(1, 1, WHOLE), (1, 2, TORN)],
                1,
                None,
                vec![],
            ),
            (
                "only torn ones stay",
                vec![(1, 1, TORN), (1, 2, TORN)],
                1,
                None,
                vec![],
            ),
            (
                "the one that others may be reading stays",
                vec![(1, 1, WHOLE), (1, 2, WHOLE), (2, 1, WHOLE)],
                1,
                Some((1, 2)),
                vec![(1, 1)],
            ),
        ] {
            let places: Vec<(Place, bool)> = places
                .into_iter()
                .map(|(attempt, sequence, is_whole)| (place(attempt, sequence), is_whole))
                .collect();
            let protected = protected.map(|(attempt, sequence)| place(attempt, sequence));
            let gone: Vec<(u32, u32)> = no_longer_kept(&places, keep, protected.as_ref())
                .into_iter()
                .map(|place| (place.attempt, place.sequence))
                .collect();
            assert_eq!(gone, wanted, "{what}");
        }
    }
}
