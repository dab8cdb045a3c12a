//! Summaries against the sorted numbers themselves.

#![allow(clippy::float_cmp, reason = "whole, or the very same numbers")]

use super::*;
use crate::random::Random;

const CELLS: usize = 1024;

fn of(numbers: &[f64]) -> Ranks {
    let mut ranks = Ranks::new(CELLS);
    ranks.add(numbers);
    ranks
}

/// Numbers of many kinds, so many of each.
fn kinds(count: usize) -> Vec<(&'static str, Vec<f64>)> {
    let mut random = Random::new(11);
    let normal: Vec<f64> = (0..count).map(|_| random.normal()).collect();
    let with = |change: &dyn Fn(usize, f64) -> f64| -> Vec<f64> {
        let numbered = normal.iter().enumerate();
        numbered.map(|(row, number)| change(row, *number)).collect()
    };
    let mut sorted = normal.clone();
    sorted.sort_by(f64::total_cmp);
    let reversed = sorted.iter().rev().copied().collect();
    let float = |row: usize| crate::float(row);
    // The tail of a number beyond which a share of all lies.
    let beyond = |z: f64| crate::normal::cdf(-z);
    let pareto = |shape: f64| with(&|_, z| beyond(z).powf(-1.0 / shape));
    let mut growing = pareto(0.9);
    growing.sort_by(f64::total_cmp);
    // From both ends of a sorted list to its middle.
    let inwards: Vec<f64> = (0..count)
        .map(|row| {
            let at = row / 2;
            sorted[if row % 2 == 0 { at } else { count - 1 - at }]
        })
        .collect();
    let outwards = inwards.iter().rev().copied().collect();
    vec![
        ("Pareto, of no variance", pareto(1.5)),
        ("Pareto, of no mean", pareto(0.9)),
        ("Pareto, of no mean, ever larger", growing),
        ("log-normal", with(&|_, z| (1.5 * z).exp())),
        ("from both ends inwards", inwards),
        ("from the middle outwards", outwards),
        (
            "ever closer to one number, by half 45 times",
            with(&|row, z| 0.3 + z * 0.5_f64.powf(45.0 * float(row) / float(count))),
        ),
        ("normal", normal.clone()),
        ("sorted", sorted),
        ("reversed", reversed),
        (
            "log-normal, over twenty powers of ten",
            with(&|_, z| (8.0 * z).exp()),
        ),
        (
            "both signs of it",
            with(&|row, z| {
                if row % 2 == 0 {
                    (8.0 * z).exp()
                } else {
                    -(8.0 * z).exp()
                }
            }),
        ),
        (
            "Cauchy",
            with(&|_, z| (std::f64::consts::PI * crate::normal::cdf(z)).tan()),
        ),
        (
            "half of them zero",
            with(&|row, z| if row % 2 == 0 { 0.0 } else { z }),
        ),
        ("narrow about a large one", with(&|_, z| 1e9 + z * 1e-3)),
        ("whole, with ties", with(&|_, z| (z * 3000.0).round())),
        (
            "first far apart, then close",
            with(&|row, z| if row < count / 3 { z } else { 0.5 + z * 1e-6 }),
        ),
        (
            "first close, then far apart",
            with(&|row, z| if row < count / 3 { 0.5 + z * 1e-6 } else { z }),
        ),
        (
            "drifting",
            with(&|row, z| z + float(row) / float(count) * 20.0),
        ),
        (
            "three clusters in turn",
            with(&|row, z| z * 0.01 + float(row * 3 / count)),
        ),
        ("huge", with(&|_, z| z * 1e307)),
        ("tiny", with(&|_, z| z * 1e-310)),
    ]
}

/// The largest difference of ranks, as a share of all numbers.
fn worst(ranks: &Ranks, numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |number: f64| {
        let below = sorted.partition_point(|one| *one < number);
        (ranks.below(number) - crate::float(below)).abs() / crate::float(sorted.len())
    };
    let looked_at = sorted.iter().step_by(97);
    looked_at.map(|number| at(*number)).fold(0.0, f64::max)
}

#[test]
fn few_numbers_are_kept_as_they_are() {
    let ranks = of(&[3.0, -0.0, 1.5, 3.0, 0.0, 7.0]);
    let cells: Vec<(f64, f64, u64)> = ranks
        .cells()
        .map(|cell| (cell.first, cell.last, cell.rows))
        .collect();
    assert_eq!(
        cells,
        [(0.0, 0.0, 2), (1.5, 1.5, 1), (3.0, 3.0, 2), (7.0, 7.0, 1)]
    );
    assert!(ranks.is_exact() && ranks.rank_error() == 0.0);
    assert_eq!(ranks.most_frequent(), Some((3.0, 2)));
    assert_eq!((ranks.least(), ranks.greatest()), (Some(0.0), Some(7.0)));
    assert_eq!(
        [-1.0, 0.0, 0.1, 3.0, 3.1, 8.0].map(|number| ranks.below(number)),
        [0.0, 0.0, 2.0, 3.0, 5.0, 6.0]
    );
    let none = of(&[]);
    assert_eq!(
        (none.rows(), none.quantile(0.5), none.below(1.0)),
        (0, None, 0.0)
    );
}

#[test]
fn a_thousand_different_numbers_are_exact_however_often_they_come() {
    let mut random = Random::new(3);
    let numbers: Vec<f64> = (0..200_000)
        .map(|_| (random.normal() * 100.0).round())
        .collect();
    let ranks = of(&numbers);
    assert!(ranks.is_exact());
    assert_eq!(worst(&ranks, &numbers), 0.0);
}

/// The bound that is known when all is done holds, and is below the 1.33% that KLL promises by default (k = 200), but for the
/// hardest orders.
#[test]
fn ranks_are_right_to_what_is_known_of_their_error() {
    for (kind, numbers) in kinds(300_000) {
        let ranks = of(&numbers);
        let (worst, known) = (worst(&ranks, &numbers), ranks.rank_error());
        println!(
            "{kind}: {worst:.5}, at most {known:.5}, {} cells",
            ranks.cells.len()
        );
        assert!(ranks.cells.len() <= CELLS, "{kind}");
        assert_eq!(
            ranks.cells().map(|cell| cell.rows).sum::<u64>(),
            300_000,
            "{kind}"
        );
        assert!(worst <= known, "{kind}: {worst} {known}");
        // All that comes lies in one gap of what came before: nothing is promised of it, and that is told.
        if kind == "from both ends inwards" || kind.starts_with("ever closer") {
            assert!(worst <= 0.03 && known > 0.0133, "{kind}: {worst} {known}");
            continue;
        }
        // Numbers that come ever closer together are the hardest, and those that wander.
        let is_hard =
            kind.starts_with("first ") || ["drifting", "three clusters in turn"].contains(&kind);
        let (most, known_at_most) = if is_hard {
            (0.01, 0.02)
        } else {
            (0.0025, 0.003)
        };
        assert!(worst <= most, "{kind}: {worst}");
        assert!(known <= known_at_most, "{kind}: {known}");
        let mut last = f64::NEG_INFINITY;
        for cell in ranks.cells() {
            assert!(cell.first > last && cell.first <= cell.last, "{kind}");
            last = cell.last;
        }
    }
}

#[test]
fn parts_add_up() {
    for (kind, numbers) in kinds(300_000) {
        let parts: Vec<Ranks> = numbers.chunks(20_000).map(of).collect();
        let mut ranks = Ranks::new(CELLS);
        ranks.merge(&parts);
        let mut one_by_one = Ranks::new(CELLS);
        for part in &parts {
            one_by_one.merge([part]);
        }
        let (worst, known) = (worst(&ranks, &numbers), ranks.rank_error());
        println!("{kind}: {worst:.5}, at most {known:.5}");
        assert_eq!(ranks.rows(), 300_000);
        assert!(ranks.cells.len() <= CELLS, "{kind}");
        assert!(
            worst <= known && worst <= 0.004 && known <= 0.0133,
            "{kind}: {worst} {known}"
        );
        let (apart, known) = (self::worst(&one_by_one, &numbers), one_by_one.rank_error());
        println!("    one by one: {apart:.5}, at most {known:.5}");
        assert!(apart <= known && apart <= 0.006, "{kind}: {apart} {known}");
    }
    // Few numbers stay exact.
    let mut both = of(&[1.0, 2.0]);
    both.merge([&of(&[2.0, 3.0]), &Ranks::new(CELLS)]);
    assert!(both.is_exact());
    assert_eq!(both.counts(&[2.0, 3.0]), [1, 2, 1]);
}

#[test]
fn what_is_compared_is_counted_exactly_between_the_cells_of_the_other() {
    let mut random = Random::new(7);
    let mut draw = |count: usize, shift: f64| -> Vec<f64> {
        (0..count).map(|_| random.normal() + shift).collect()
    };
    let reference = of(&draw(100_000, 0.0)).shrunk(256);
    assert!((100..=256).contains(&reference.cells.len()));
    let (edges, counts) = reference.bins(10);
    assert!(
        counts.iter().all(|rows| rows.abs_diff(10_000) < 800),
        "{counts:?}"
    );
    let numbers = draw(50_000, 0.4);
    let parts: Vec<Ranks> = numbers
        .chunks(7000)
        .map(|part| {
            let mut ranks = Ranks::beside(reference.starts(), CELLS);
            ranks.add(part);
            ranks
        })
        .collect();
    let mut window = Ranks::beside(reference.starts(), CELLS);
    window.merge(&parts);
    assert_eq!(
        window.counts(&edges),
        crate::bins::counts(&edges, numbers.iter().copied())
    );
    for start in reference.starts() {
        let below = numbers.iter().filter(|number| **number < start).count();
        assert_eq!(window.below(start), crate::float(below));
    }
}

#[test]
fn a_number_that_is_half_of_all_has_a_cell_of_its_own() {
    let mut random = Random::new(5);
    let numbers: Vec<f64> = (0..100_000)
        .map(|row| if row % 2 == 0 { 0.25 } else { random.normal() })
        .collect();
    let ranks = of(&numbers);
    assert_eq!(ranks.most_frequent(), Some((0.25, 50_000)));
    let constant = of(&vec![4.0; 5000]);
    assert_eq!(
        constant.bins(10),
        (vec![4.0, 4.0_f64.next_up()], vec![0, 5000, 0])
    );
    let flag: Vec<f64> = (0..1000)
        .map(|row| f64::from(u8::from(row % 20 > 0)))
        .collect();
    assert_eq!(of(&flag).bins(10), (vec![1.0], vec![50, 950]));
    // The same bins as of the numbers themselves.
    let tied: Vec<f64> = numbers
        .iter()
        .map(|number| (number * 3.0).round())
        .collect();
    let (edges, counts) = of(&tied).bins(10);
    assert_eq!(edges, crate::bins::edges(&tied, 10));
    assert_eq!(counts, crate::bins::counts(&edges, tied));
}

#[test]
fn quantiles_are_those_of_the_numbers() {
    let mut random = Random::new(6);
    let mut numbers: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
    let ranks = of(&numbers);
    numbers.sort_by(f64::total_cmp);
    for share in [0.001, 0.1, 0.5, 0.9, 0.999] {
        let found = ranks.quantile(share).expect("numbers");
        let rank = numbers.partition_point(|number| *number < found);
        let apart = (crate::float(rank) / 1e5 - share).abs();
        assert!(apart < 0.003, "{share}: {apart}");
    }
}

#[test]
fn the_same_numbers_in_the_same_order_make_the_same_summary() {
    for (kind, numbers) in kinds(50_000) {
        let ranks = of(&numbers);
        assert_eq!(ranks, of(&numbers), "{kind}");
        let again = Ranks::of_cells(ranks.cells());
        assert_eq!((again.rows(), again.least()), (ranks.rows(), ranks.least()));
    }
}
