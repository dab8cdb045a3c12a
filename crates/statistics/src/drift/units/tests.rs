use super::*;
use crate::drift::table::{Distance, Table};
use crate::random::Random;

/// A cell from 0, of ten that are equally frequent.
fn cell(random: &mut Random) -> usize {
    usize::try_from(random.bits() % 10).expect("small")
}

/// A unit of so many draws, each of them so many rows.
fn unit(random: &mut Random, draws: usize, rows: u64) -> Vec<(usize, u64)> {
    let mut counts = [0; 10];
    for _ in 0..draws {
        counts[cell(random)] += rows;
    }
    let counts = counts.into_iter().enumerate();
    counts.filter(|(_, rows)| *rows > 0).collect()
}

fn seen(random: &mut Random, units: usize, draws: usize, rows: u64) -> (Units, Vec<u64>) {
    let (mut all, mut counts) = (Units::of_bins(10), vec![0; 10]);
    for _ in 0..units {
        let unit = unit(random, draws, rows);
        all.add(&unit);
        for (cell, rows) in unit {
            counts[cell] += rows;
        }
    }
    (all, counts)
}

#[test]
fn users_who_are_always_the_same_are_worth_one_row_each() {
    let mut random = Random::new(61);
    let (always, _) = seen(&mut random, 4000, 1, 20);
    let effect = always.design_effect();
    assert!((effect.of_shares / 20.0 - 1.0).abs() < 0.01, "{effect:?}");
    assert!(
        (effect.of_cumulated / 20.0 - 1.0).abs() < 0.01,
        "{effect:?}"
    );
    assert!(effect.unevenness < 1e-3 && effect.units == 4000);
    // Four answers, each of five rows; and twenty of one.
    let (partly, _) = seen(&mut random, 4000, 4, 5);
    let partly = partly.design_effect();
    assert!((partly.of_shares / 5.0 - 1.0).abs() < 0.05, "{partly:?}");
    let (independent, _) = seen(&mut random, 4000, 20, 1);
    let independent = independent.design_effect();
    assert!(independent.of_shares < 1.05, "{independent:?}");
    assert!(independent.of_cumulated < 1.1, "{independent:?}");
}

/// By hand: three units of 2, 2 and 4 rows, of which 2, 0 and 2 are in the first cell. The share is 1/2; the residuals are 1,
/// -1 and 0, so the variance is 2 · 3/2 / 64, that of eight independent rows is 1/32.
#[test]
fn an_effect_is_the_variance_over_units_over_that_of_rows() {
    let mut units = Units::of_bins(2);
    units.add(&[(0, 2)]);
    units.add(&[(1, 2)]);
    units.add(&[(0, 2), (1, 2)]);
    units.add(&[]);
    let effect = units.design_effect();
    assert_eq!(effect.units, 3);
    assert!((effect.of_shares - 1.5).abs() < 1e-12, "{effect:?}");
    assert!((effect.of_cumulated - 1.5).abs() < 1e-12, "{effect:?}");
}

#[test]
fn numbers_that_lie_close_together_in_a_unit_are_seen_by_cumulated_shares() {
    // A unit is low or high, and anywhere there: single bins tell less of it than halves do.
    let mut random = Random::new(62);
    let mut units = Units::of_bins(10);
    for _ in 0..3000 {
        let start = if random.bits().is_multiple_of(2) {
            0
        } else {
            5
        };
        let mut counts = [0_u64; 10];
        for _ in 0..20 {
            counts[start + cell(&mut random) / 2] += 1;
        }
        let counts: Vec<(usize, u64)> = counts.into_iter().enumerate().collect();
        units.add(&counts);
    }
    let effect = units.design_effect();
    assert!(
        effect.of_shares < 5.0 && effect.of_cumulated > 18.0,
        "{effect:?}"
    );
}

#[test]
fn parts_add_up_to_the_whole_in_any_order() {
    let mut random = Random::new(63);
    let all: Vec<_> = (0..100).map(|_| unit(&mut random, 3, 2)).collect();
    let of = |units: &[Vec<(usize, u64)>]| {
        let mut sums = Units::of_bins(10);
        for unit in units {
            sums.add(unit);
        }
        sums
    };
    let mut merged = of(&all[70..]);
    merged.merge(&of(&all[..70]));
    assert_eq!(merged, of(&all));
}

#[test]
fn one_unit_is_worth_one_row_and_one_cell_is_no_surprise() {
    let mut units = Units::of_levels(3);
    units.add(&[(0, 50), (2, 50)]);
    assert_eq!(units.design_effect().of_shares, 100.0);
    assert_eq!(Units::of_levels(3).design_effect().of_shares, 1.0);
    let mut constant = Units::of_levels(3);
    constant.add(&[(1, 10)]);
    constant.add(&[(1, 30)]);
    assert_eq!(constant.design_effect().of_shares, 1.0);
}

/// p-values are below 0.05 in 5 of 100 windows with the effect taken into account, and in nearly all without.
#[test]
fn evidence_that_counts_units_is_right_and_that_counts_rows_is_not() {
    let mut random = Random::new(64);
    let (mut by_units, mut by_rows, runs) = (0, 0, 500);
    for run in 0..runs {
        // Users differ in how long they stay, too.
        let mut window = |units: usize| {
            let (mut all, mut counts) = seen(&mut random, units, 1, 20);
            let (more, of_more) = seen(&mut random, units / 5, 2, 40);
            all.merge(&more);
            counts
                .iter_mut()
                .zip(of_more)
                .for_each(|(all, more)| *all += more);
            (all.design_effect(), counts)
        };
        let ((one, old), (two, new)) = (window(1000), window(300));
        let table = Table::new(&old, &new);
        by_rows += u32::from(table.chi_square().p_value <= 0.05);
        let thinned = table.thinned([one.of_shares, two.of_shares]);
        by_units += u32::from(thinned.chi_square().p_value <= 0.05);
        let psi = thinned.effect(Distance::Psi);
        assert!(psi.lower(0.95) < 0.1, "{run}: {psi:?}");
    }
    println!("{by_units} and {by_rows} of {runs}");
    assert!((10..=42).contains(&by_units), "{by_units} of {runs}");
    assert!(by_rows > runs * 9 / 10, "{by_rows} of {runs}");
}

#[test]
fn means_of_users_who_are_always_the_same_are_known_by_their_number() {
    let mut random = Random::new(65);
    let (mut always, mut independent) = (UnitMeans::default(), UnitMeans::default());
    let mut halves = [UnitMeans::default(); 2];
    for at in 0..3000 {
        let value = random.normal();
        always.add(20, 20.0 * value, 20.0 * value * value);
        let values: Vec<f64> = (0..20).map(|_| random.normal()).collect();
        let (sum, squares) = (
            values.iter().sum(),
            values.iter().map(|value| value * value).sum(),
        );
        independent.add(20, sum, squares);
        halves[at % 2].add(20, sum, squares);
    }
    assert!((always.design_effect() / 20.0 - 1.0).abs() < 0.01);
    assert!(independent.design_effect() < 1.1);
    let [mut one, two] = halves;
    one.merge(&two);
    assert!((one.design_effect() - independent.design_effect()).abs() < 1e-9);
    assert_eq!(UnitMeans::default().design_effect(), 1.0);
}

/// A thousand levels of one user each, who is always the same: none keeps a cell where users are counted, and all would where
/// rows are. In the window each user is of any of them.
#[test]
fn levels_that_no_user_shares_are_worth_users_and_not_rows() {
    use crate::drift::levels::{self, kept};
    use crate::psi::Categories;

    let mut random = Random::new(66);
    let mut levels = [Categories::default(), Categories::default()];
    let mut users: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (side, (levels, users)) in levels.iter_mut().zip(&mut users).enumerate() {
        for user in 0..1000 {
            let others = random.bits() % 1000;
            let level = format!("{:03}", [user, others][side]);
            *levels.levels.entry(level.clone()).or_default() += 20;
            users.push(level);
        }
    }
    let rows = |side: usize, worth: DesignEffect| float(levels[side].rows()) / worth.of_shares;
    let measured = |side: usize, worth: [f64; 2]| {
        let kept = kept(&levels[0], worth);
        let mut units = Units::of_levels(kept.len() + 2);
        for level in &users[side] {
            let place = kept.iter().position(|one| one == level);
            units.add(&[(place.unwrap_or(kept.len()), 20)]);
        }
        units.design_effect()
    };
    let reference = DesignEffect::of_levels(|worth| measured(0, [rows(0, worth); 2]));
    let of_reference = rows(0, reference);
    let window = DesignEffect::of_levels(|worth| measured(1, [of_reference, rows(1, worth)]));
    assert!((reference.of_shares - 20.0).abs() < 0.1, "{reference:?}");
    let worth = [reference.of_shares, window.of_shares];
    let psi = levels::table(&levels[0], &levels[1], worth).effect(Distance::Psi);
    assert!(psi.lower(0.95) < 0.1 && psi.p_value() > 1e-3, "{psi:?}");
}
