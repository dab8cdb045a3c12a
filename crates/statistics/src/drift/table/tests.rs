use super::*;
use crate::drift::tests_of_laws::{Law, draw, law_of};
use crate::random::Random;

fn table() -> Table {
    Table::new(&[100, 200, 300, 400, 0], &[90, 110, 150, 140, 10])
}

/// scipy 1.17 and numpy: `jensenshannon(p, q, base=2)`; the others by their sums.
#[test]
fn distances_are_those_of_scipy() {
    for (distance, expected) in [
        (Distance::JensenShannon, 0.162_423_940_913_378_08),
        (Distance::Hellinger, 0.146_322_045_852_127_44),
        (Distance::TotalVariation, 0.12),
        (Distance::ChiSquare, 0.180_258_140_451_075_2),
    ] {
        let raw = table().effect(distance).raw();
        assert!((raw - expected).abs() < 1e-12, "{distance:?}: {raw}");
    }
}

/// scipy 1.17: `chi2_contingency`, and Bergsma's (2013) equations from its statistic.
#[test]
fn chi_square_and_cramers_v_are_those_of_scipy() {
    let found = table().chi_square();
    assert!((found.statistic - 50.820_599_886_813_8).abs() < 1e-9);
    assert!((found.p_value / 2.433_437_994_425_042e-10 - 1.0).abs() < 1e-9);
    assert!((found.degrees - 4.0).abs() < 1e-12);
    let v = table().effect(Distance::CramersV);
    assert!((v.value() - 0.176_728_011_488_423_6).abs() < 1e-9, "{v:?}");
    assert!((v.raw() - 0.184_127_719_298_167_5).abs() < 1e-9);
    assert_eq!(v.p_value(), found.p_value);
}

/// scipy 1.17: `chi2.sf`.
#[test]
fn tails_of_chi_square_are_those_of_scipy() {
    for (degrees, x, expected) in [
        (9.0, 3.0, 0.964_294_972_685_089_1),
        (9.0, 30.0, 0.000_438_721_770_979_479_4),
        (200.0, 260.0, 0.002_750_408_367_306_518),
        (900.0, 2000.0, 2.388_088_486_893_714_4e-85),
    ] {
        let found = gamma_ur(degrees / 2.0, x / 2.0);
        assert!(
            (found / expected - 1.0).abs() < 1e-8,
            "{degrees} {x} {found}"
        );
    }
    assert!(gamma_ur(1.5, 1e6) < 1e-300);
}

#[test]
fn distances_lie_between_none_and_one_and_do_not_care_for_the_order_of_cells() {
    let apart = Table::new(&[500, 500, 0, 0], &[0, 0, 300, 700]);
    let same = Table::new(&[100, 300, 600], &[50, 150, 300]);
    let turned = Table::new(&[0, 400, 300, 200, 100], &[10, 140, 150, 110, 90]);
    for distance in Distance::ALL {
        let (none, one) = (same.effect(distance), apart.effect(distance));
        // PSI and the corrected sides of Cramér's V are off by half a row.
        assert!(none.raw() < 1e-3, "{distance:?} {none:?}");
        assert!(none.value() < 1e-3 && (none.p_value() - 1.0).abs() < 1e-9);
        assert!(one.p_value() < 1e-99, "{distance:?}");
        if distance == Distance::Psi {
            assert!(one.raw() > 5.0 && one.lower(0.95) > 5.0);
        } else {
            assert!((one.raw() - 1.0).abs() < 1e-3, "{distance:?} {one:?}");
            assert!(one.lower(0.95) > 0.9, "{distance:?} {one:?}");
        }
        let (here, there) = (table().effect(distance), turned.effect(distance));
        assert!((here.raw() - there.raw()).abs() < 1e-12);
        assert!((here.standard_error() - there.standard_error()).abs() < 1e-12);
    }
}

#[test]
fn nothing_to_compare_is_no_distance_and_no_evidence() {
    for void in [
        Table::new(&[], &[]),
        Table::new(&[5, 5], &[0, 0]),
        Table::new(&[0, 0], &[5, 5]),
        Table::new(&[7, 0], &[9, 0]),
    ] {
        for distance in Distance::ALL {
            let effect = void.effect(distance);
            assert_eq!(
                (effect.value(), effect.p_value()),
                (0.0, 1.0),
                "{distance:?}"
            );
            assert!(effect.lower(0.95) <= 0.0 && effect.p_within(0.1) > 0.5);
        }
        assert_eq!(void.chi_square().p_value, 1.0);
    }
}

#[test]
fn neighbouring_bins_are_one_where_few_rows_are_expected_and_nulls_stay_alone() {
    let of = |reference: &[u64], effective| {
        let window = vec![10; reference.len()];
        Table::of_bins(reference, &window, [3, 7], [1e4, effective])
    };
    // 0.05 of 103 rows are 5 of 100 effective ones.
    let cells = |table: &Table| -> Vec<f64> { table.cells.iter().map(|cell| cell.0).collect() };
    assert_eq!(cells(&of(&[25; 4], 1000.0)), [25.0, 25.0, 25.0, 25.0, 3.0]);
    assert_eq!(cells(&of(&[25; 4], 10.0)), [100.0, 3.0]);
    assert_eq!(cells(&of(&[25; 4], 11.0)), [50.0, 50.0, 3.0]);
    // What is left over at the end goes to the last.
    assert_eq!(cells(&of(&[40, 30, 5], 25.0)), [40.0, 35.0, 3.0]);
    assert_eq!(cells(&of(&[], 25.0)), [3.0]);
}

#[test]
fn a_design_effect_takes_evidence_away_and_leaves_shares() {
    let (plain, thinned) = (table(), table().thinned([20.0; 2]));
    for distance in [Distance::JensenShannon, Distance::TotalVariation] {
        let (one, other) = (plain.effect(distance), thinned.effect(distance));
        assert!((one.raw() - other.raw()).abs() < 1e-12);
        assert!(other.excess() > 2.0 * one.excess());
        assert!(other.standard_error() > 4.0 * one.standard_error());
    }
    let (one, other) = (plain.chi_square(), thinned.chi_square());
    assert!((one.statistic / other.statistic - 20.0).abs() < 1e-9);
    let uneven = table().thinned([20.0; 2]).uneven(1.0).chi_square();
    assert!((uneven.degrees - 2.0).abs() < 1e-12);
    assert!((other.statistic / uneven.statistic - 2.0).abs() < 1e-9);
}

/// On average 0 where there is no drift, and a p-value that is below 0.05 in 5 of 100.
#[test]
fn without_drift_what_is_taken_off_is_what_chance_adds() {
    let mut random = Random::new(81);
    for (cells, m, n) in [(10, 2000, 500), (10, 1000, 1000), (40, 5000, 1000)] {
        let shares = vec![1.0; cells];
        for distance in Distance::ALL {
            let law = law_of(1500, || {
                let (old, new) = (draw(&mut random, &shares, m), draw(&mut random, &shares, n));
                Table::new(&old, &new).effect(distance)
            });
            let Law {
                bias,
                excess,
                ratio,
                significant,
                ..
            } = law;
            println!("{distance:?} {cells} {m} {n}: {law:?}");
            assert!(bias.abs() < 0.2 * excess, "{distance:?} {cells}: {law:?}");
            assert!((0.8..2.6).contains(&ratio), "{distance:?} {cells}: {law:?}");
            assert!(
                (0.033..0.067).contains(&significant),
                "{distance:?} {cells}: {law:?}"
            );
        }
    }
}

/// The lower bound at 95% lies above the truth in about one of twenty.
#[test]
fn with_drift_bounds_hold() {
    let mut random = Random::new(82);
    let (old, new) = ([1.0, 2.0, 3.0, 4.0], [2.5, 2.5, 2.5, 2.5]);
    for distance in Distance::ALL {
        // Of very many rows, in the same proportion of sizes.
        let many = |tenths: [u64; 4], by: u64| tenths.map(|rows| rows * by);
        let truth = Table::new(
            &many([10, 20, 30, 40], 20_000_000),
            &many([25; 4], 10_000_000),
        );
        let truth = truth.effect(distance).value();
        let mut above = 0;
        let law = law_of(2000, || {
            let (old, new) = (draw(&mut random, &old, 1000), draw(&mut random, &new, 500));
            let effect = Table::new(&old, &new).effect(distance);
            above += u32::from(effect.lower(0.95) > truth);
            effect
        });
        println!("{distance:?}: above in {above} of 2000, truth {truth}, {law:?}");
        assert!((40..=140).contains(&above), "{distance:?}: {above} of 2000");
        assert!(
            (law.value / truth - 1.0).abs() < 0.03,
            "{distance:?} {truth}: {law:?}"
        );
    }
}
