use super::*;
use crate::drift::tests_of_laws::law_of;
use crate::random::Random;

fn counted(values: &[f64]) -> Vec<(f64, u64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.into_iter().map(|value| (value, 1)).collect()
}

fn steps(reference: &[f64], window: &[f64]) -> Steps {
    Steps::new(counted(reference), counted(window))
}

fn repeated(values: &[f64], times: usize) -> Vec<f64> {
    values.repeat(times)
}

/// scipy 1.17: `kstwobign.sf`.
#[test]
fn tails_of_kolmogorovs_statistic_are_those_of_scipy() {
    for (x, expected) in [
        (0.3, 0.999_990_694_198_665_5),
        (0.5, 0.963_945_243_664_875_1),
        (0.8, 0.544_142_411_574_198_1),
        (1.1, 0.177_718_192_606_401_2),
        (1.2, 0.112_249_666_670_724_97),
        (1.5, 0.022_217_962_616_525_127),
        (2.5, 7.453_306_344_157_342e-6),
        (4.0, 2.532_833_109_818_835e-14),
    ] {
        let found = kolmogorov(x);
        assert!((found / expected - 1.0).abs() < 1e-9, "{x}: {found}");
    }
}

/// scipy 1.17: `ks_2samp(a, b, method='exact')` and `wasserstein_distance(a, b) / a.std(ddof=1)`.
#[test]
fn distances_of_tied_numbers_are_those_of_scipy() {
    let old = repeated(&[1.0, 2.0, 2.0, 3.0, 5.0, 8.0, 8.0, 8.0, 9.0, 12.0], 20);
    let new = [2.0, 2.0, 3.0, 3.0, 6.0, 8.0, 9.0, 9.0, 13.0, 15.0, 1.0, 4.0];
    let new = repeated(&new, 12);
    let steps = steps(&old, &new);
    let ks = steps.kolmogorov_smirnov();
    assert!((ks.raw() - 0.166_666_666_666_666_66).abs() < 1e-12);
    assert!(
        (ks.p_value() / 0.016_519_275_790_051_045 - 1.0).abs() < 0.02,
        "{}",
        ks.p_value()
    );
    let w = steps.wasserstein().expect("spread");
    assert!(
        (w.raw() - 0.288_456_871_913_866_9).abs() < 1e-12,
        "{}",
        w.raw()
    );
}

#[test]
fn the_same_numbers_are_no_distance_however_they_are_tied() {
    for values in [vec![1.0, 2.0, 3.0], vec![0.0; 50], vec![5.0, 5.0, 7.0]] {
        let steps = steps(&repeated(&values, 10), &repeated(&values, 3));
        let ks = steps.kolmogorov_smirnov();
        assert!(
            ks.raw().abs() < 1e-12 && ks.value() <= 0.0 && ks.p_value() > 0.999,
            "{ks:?}"
        );
        if let Some(w) = steps.wasserstein() {
            assert!(w.raw().abs() < 1e-12 && w.value() <= 0.0);
        } else {
            assert!(values.iter().all(|value| *value == 0.0));
        }
    }
}

#[test]
fn samples_that_do_not_overlap_are_as_far_apart_as_can_be() {
    let old: Vec<f64> = (0..200).map(f64::from).collect();
    let new: Vec<f64> = old.iter().map(|value| value + 1000.0).collect();
    let steps = steps(&old, &new);
    let ks = steps.kolmogorov_smirnov();
    assert!((ks.raw() - 1.0).abs() < 1e-12 && ks.lower(0.95) > 0.95 && ks.p_value() < 1e-80);
    let w = steps.wasserstein().expect("spread");
    assert!(
        (w.raw() - 1000.0 / 57.879_184_513_951_13).abs() < 1e-9,
        "{}",
        w.raw()
    );
    assert!(w.lower(0.95) > 15.0 && w.value() > 17.0);
    assert_eq!(Steps::new([], counted(&old)).wasserstein(), None);
    assert_eq!(Steps::new(counted(&old), []).wasserstein(), None);
    assert_eq!(
        Steps::new([], counted(&old)).kolmogorov_smirnov().p_value(),
        1.0
    );
}

/// Heavy tails too.
#[test]
fn without_drift_what_is_taken_off_is_what_chance_adds() {
    let mut random = Random::new(83);
    for (m, n, tail) in [(1000, 500, false), (500, 500, true)] {
        let mut values = |rows: usize| -> Vec<f64> {
            let of = |random: &mut Random| {
                let normal = random.normal();
                if tail { (1.2 * normal).exp() } else { normal }
            };
            (0..rows).map(|_| of(&mut random)).collect()
        };
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.push(steps(&values(m), &values(n)));
        }
        let mut each = all.iter();
        let ks = law_of(1000, || each.next().expect("one").kolmogorov_smirnov());
        let mut each = all.iter();
        let w = law_of(1000, || {
            each.next().expect("one").wasserstein().expect("spread")
        });
        for law in [ks, w] {
            println!("{m} {n} {tail} {law:?}");
            assert!(law.bias.abs() < 0.2 * law.excess, "{law:?}");
            assert!((0.8..8.0).contains(&law.ratio), "{law:?}");
            assert!((0.03..0.07).contains(&law.significant), "{law:?}");
        }
    }
}

/// Of shifts by s deviations, D = 2Φ(s/2) - 1, and the distance of Wasserstein is s.
#[test]
fn with_drift_bounds_hold() {
    let mut random = Random::new(84);
    for shift in [0.25, 0.5, 1.0] {
        let truth = [2.0 * crate::normal::cdf(shift / 2.0) - 1.0, shift];
        let mut above = [0; 2];
        let mut sums = [0.0; 2];
        for _ in 0..1000 {
            let old: Vec<f64> = (0..1000).map(|_| random.normal()).collect();
            let new: Vec<f64> = (0..500).map(|_| random.normal() + shift).collect();
            let steps = steps(&old, &new);
            let both = [
                steps.kolmogorov_smirnov(),
                steps.wasserstein().expect("spread"),
            ];
            for (at, effect) in both.iter().enumerate() {
                above[at] += u32::from(effect.lower(0.95) > truth[at]);
                sums[at] += effect.value() / 1000.0;
            }
        }
        println!("{above:?} {sums:?} {truth:?}");
        for (at, above) in above.into_iter().enumerate() {
            assert!((10..=75).contains(&above), "{shift} {at}: {above} of 1000");
            assert!((sums[at] / truth[at] - 1.0).abs() < 0.08, "{at}: {sums:?}");
        }
    }
}

#[test]
fn cells_of_bounded_number_are_as_good_as_the_numbers() {
    let mut random = Random::new(85);
    let old: Vec<f64> = (0..20_000).map(|_| random.normal()).collect();
    let new: Vec<f64> = (0..20_000).map(|_| random.normal() * 1.2 + 0.3).collect();
    let exact = steps(&old, &new);
    let cells = |values: &[f64]| {
        let mut cells = Cells::new(1024);
        for value in values {
            cells.add(*value, 1);
        }
        cells.settle();
        cells
    };
    let bounded = Steps::of_cells(&cells(&old), &cells(&new));
    let (one, other) = (exact.kolmogorov_smirnov(), bounded.kolmogorov_smirnov());
    assert!(
        (one.raw() - other.raw()).abs() < 2.0 / 1024.0 + 1e-9,
        "{one:?} {other:?}"
    );
    let (one, other) = (exact.wasserstein().unwrap(), bounded.wasserstein().unwrap());
    assert!((one.raw() - other.raw()).abs() < 0.005, "{one:?} {other:?}");
}

#[test]
fn rows_that_repeat_each_other_tell_less() {
    let old: Vec<f64> = (0..400).map(f64::from).collect();
    let new: Vec<f64> = (0..400).map(|row| f64::from(row) + 60.0).collect();
    let plain = steps(&old, &new).kolmogorov_smirnov();
    let thinned = steps(&old, &new).thinned([20.0; 2]).kolmogorov_smirnov();
    assert!(plain.p_value() < 0.001 && thinned.p_value() > 0.3);
    assert!((plain.raw() - thinned.raw()).abs() < 1e-15);
    assert!(thinned.lower(0.95) < 0.0 && plain.lower(0.95) > 0.0);
}
