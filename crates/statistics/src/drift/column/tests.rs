//! Columns that were summed up, against distances of the numbers themselves.

use super::*;
use crate::bins;
use crate::random::Random;

struct Side {
    numbers: Vec<f64>,
    ranks: Ranks,
    mean: Mean,
}

impl Side {
    fn number(&self) -> Number<'_> {
        Number {
            ranks: &self.ranks,
            mean: &self.mean,
            nulls: 0,
            worth: Worth::INDEPENDENT,
        }
    }
}

fn sides(count: usize, shift: f64, scale: f64) -> [Side; 2] {
    let mut random = Random::new(21);
    let mut draw = |shift: f64, scale: f64| -> Vec<f64> {
        (0..count)
            .map(|_| random.normal() * scale + shift)
            .collect()
    };
    let (old, new) = (draw(0.0, 1.0), draw(shift, scale));
    let mut all = Ranks::new(1024);
    all.add(&old);
    let reference = all.shrunk(256);
    let mut window = Ranks::beside(reference.starts(), 1024);
    window.add(&new);
    [(old, reference), (new, window)].map(|(numbers, ranks)| Side {
        mean: Mean::of(&numbers),
        numbers,
        ranks,
    })
}

fn exact(sides: &[Side; 2]) -> Steps {
    let sorted = |side: &Side| {
        let mut numbers = side.numbers.clone();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let [old, new] = [&sides[0], &sides[1]].map(sorted);
    let counted = |numbers: Vec<f64>| numbers.into_iter().map(|number| (number, 1));
    Steps::new(counted(old), counted(new))
}

fn measured(sides: &[Side; 2], method: Method) -> Measured {
    let (edges, _) = sides[0].ranks.bins(10);
    of_number(&sides[0].number(), &sides[1].number(), &edges, method)
}

#[test]
fn a_number_is_as_far_as_its_values_are() {
    for (shift, scale) in [(0.0, 1.0), (0.3, 1.0), (0.0, 1.6), (12.0, 1.0)] {
        let sides = sides(50_000, shift, scale);
        let exact = exact(&sides);
        let ks = measured(&sides, Method::KolmogorovSmirnov);
        let (found, true_one) = (ks.effect.raw(), exact.kolmogorov_smirnov().raw());
        assert!(found <= true_one + 0.002, "{found} {true_one}");
        assert!(true_one - found < 0.008, "{found} {true_one}");
        let wasserstein = measured(&sides, Method::Wasserstein).effect.raw();
        let true_one = exact.wasserstein().expect("spread").raw();
        assert!(
            (wasserstein - true_one).abs() < 0.005 + 0.001 * true_one,
            "{wasserstein} {true_one}"
        );
        let (edges, _) = sides[0].ranks.bins(10);
        let counts = |side: usize| bins::counts(&edges, sides[side].numbers.iter().copied());
        let psi = measured(&sides, Method::Psi);
        let window: Vec<u64> = psi.cells.iter().map(|cell| cell[1]).collect();
        assert_eq!(window[..window.len() - 1], counts(1));
        let moved = psi.mean_shift.expect("spread");
        assert!((moved - shift).abs() < 0.05, "{moved} {shift}");
    }
}

/// A shift of 0.4 deviations has a PSI of 0.16.
#[test]
fn a_mean_that_moved_is_enough_beside_psi_and_a_quiet_one_is_not() {
    let judged = |shift: f64, method, threshold| {
        let asked = measured(&sides(20_000, shift, 1.0), method).asked("x", threshold);
        decide::judge(&[asked], decide::Rule::default()).remove(0)
    };
    let moved = judged(0.4, Method::Psi, 0.2);
    assert!(moved.has_drifted && moved.is_beside, "{moved:?}");
    assert!((moved.value - 0.4).abs() < 0.03, "{moved:?}");
    // PSI's own, where that passes too; and nothing beside other distances.
    let further = judged(0.8, Method::Psi, 0.2);
    assert!(further.has_drifted && !further.is_beside, "{further:?}");
    for (shift, method, threshold) in [
        (0.1, Method::Psi, 0.2),
        (0.4, Method::Psi, 0.5),
        (0.4, Method::Hellinger, 0.2),
    ] {
        assert!(!judged(shift, method, threshold).has_drifted, "{method}");
    }
    let by_itself = judged(0.4, Method::MeanShift, 0.3);
    assert!(by_itself.has_drifted && !by_itself.is_beside);
}

#[test]
fn values_beyond_the_reference_keep_their_distance() {
    let sides = sides(2000, -50.0, 1.0);
    let wasserstein = measured(&sides, Method::Wasserstein);
    assert!((wasserstein.effect.raw() - 50.0).abs() < 0.5 * 50.0 / 10.0);
    assert!((measured(&sides, Method::KolmogorovSmirnov).effect.raw() - 1.0).abs() < 1e-12);
    assert!(wasserstein.mean_shift.is_some_and(|shift| shift < -45.0));
}

#[test]
fn a_constant_that_moved_has_moved_by_any_distance() {
    let of = |number: f64| {
        let mut ranks = Ranks::new(64);
        ranks.add(&[number; 500]);
        ranks
    };
    let (old, new) = (of(3.0), of(3.5));
    let mean = Mean::default();
    let side = |ranks| Number {
        ranks,
        mean: &mean,
        nulls: 0,
        worth: Worth::INDEPENDENT,
    };
    let (edges, _) = old.bins(10);
    for method in Method::ALL {
        let moved = of_number(&side(&old), &side(&new), &edges, method);
        assert!(
            moved.effect.lower(0.95) > 0.3,
            "{method} {:?}",
            moved.effect
        );
        let same = of_number(&side(&old), &side(&old), &edges, method);
        assert!(
            same.effect.raw() < 1e-12 && same.effect.p_value() > 0.99,
            "{method}"
        );
    }
}

#[test]
fn a_category_has_distances_of_tables_alone() {
    let categories = |levels: &[(&str, u64)]| Categories {
        levels: levels
            .iter()
            .map(|(level, rows)| ((*level).to_owned(), *rows))
            .collect(),
        nulls: 0,
    };
    let (old, new) = (
        categories(&[("a", 500), ("b", 500)]),
        categories(&[("a", 800), ("b", 200)]),
    );
    let of = |levels| Category {
        levels,
        worth: DesignEffect::NONE,
    };
    let kept = kept(&of(&old), &of(&new));
    let moved = of_category(&of(&old), &of(&new), &kept, Method::KolmogorovSmirnov);
    assert_eq!(moved.method, Method::TotalVariation);
    assert!((moved.effect.raw() - 0.3).abs() < 1e-12);
    assert_eq!(moved.cells, [[500, 800], [500, 200], [0, 0], [0, 0]]);
}

/// Rows that repeat each other tell as much as they are worth.
#[test]
fn what_rows_are_worth_is_taken_into_account() {
    let sides = sides(5000, 0.1, 1.0);
    let worth = |effect: f64| Worth {
        shares: DesignEffect {
            units: 250,
            of_shares: effect,
            unevenness: 0.0,
            of_cumulated: effect,
        },
        mean: effect,
    };
    let (edges, _) = sides[0].ranks.bins(10);
    for method in [Method::Psi, Method::KolmogorovSmirnov, Method::Wasserstein] {
        let of = |effect: f64| {
            let [old, new] = [&sides[0], &sides[1]].map(|side| Number {
                worth: worth(effect),
                ..side.number()
            });
            of_number(&old, &new, &edges, method).effect
        };
        assert!(of(20.0).p_value() > 100.0 * of(1.0).p_value(), "{method}");
        assert!(
            of(20.0).standard_error() > 3.0 * of(1.0).standard_error(),
            "{method}"
        );
    }
}
