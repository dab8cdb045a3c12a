use super::*;
use crate::drift::bounded::hash;
use crate::drift::tests_of_laws::{Law, law_of};
use crate::float;
use crate::random::Random;

/// Rows of normal numbers with these deviations, about a mean that is the same in each dimension.
#[derive(Clone)]
struct Source {
    deviations: Vec<f64>,
    mean: f64,
}

impl Source {
    fn even(width: usize) -> Self {
        Self {
            deviations: vec![1.0; width],
            mean: 0.0,
        }
    }

    fn row(&self, random: &mut Random) -> Vec<f64> {
        let all = self.deviations.iter();
        all.map(|deviation| self.mean + deviation * random.normal())
            .collect()
    }

    fn draw(&self, random: &mut Random, rows: usize) -> Embeddings {
        let mut all = Embeddings::new(self.deviations.len());
        for _ in 0..rows {
            let row = self.row(random);
            all.add(random.bits(), &row);
        }
        all
    }
}

fn law(source: &Source, rows: [usize; 2], runs: u32, seed: u64) -> Law {
    let mut random = Random::new(seed);
    let law = law_of(runs, || {
        let old = source.draw(&mut random, rows[0]);
        let new = source.draw(&mut random, rows[1]);
        distance(&old, &new).expect("rows").effect
    });
    println!("{rows:?} × {}: {law:?}", source.deviations.len());
    law
}

#[test]
fn without_drift_chance_is_taken_off_and_p_values_are_right_with_fewer_rows_than_dimensions_too() {
    let mut leaning = Source::even(30);
    leaning.deviations[0] = 10.0;
    let mut falling = Source::even(200);
    for (at, deviation) in falling.deviations.iter_mut().enumerate() {
        *deviation = 1.0 / (1.0 + float(at)).sqrt();
    }
    for (at, (source, rows, runs)) in [
        (Source::even(1), [400, 400], 500),
        (Source::even(2), [1000, 200], 500),
        (Source::even(300), [150, 80], 300),
        (falling, [200, 100], 300),
        (leaning, [300, 200], 500),
    ]
    .into_iter()
    .enumerate()
    {
        let law = law(&source, rows, runs, 501 + at as u64);
        let error = (0.05 * 0.95 / f64::from(runs)).sqrt();
        assert!((law.significant - 0.05).abs() < 3.0 * error, "{at} {law:?}");
        assert!(law.bias.abs() < 0.12 * law.excess, "{at} {law:?}");
        // Of few dimensions the variance is larger than need be, as it is of a square.
        assert!((0.75..2.5).contains(&law.ratio), "{at} {law:?}");
    }
}

/// One direction of most of the variance: two moments would find too much far out.
#[test]
fn small_p_values_are_as_seldom_as_they_say() {
    let mut source = Source::even(12);
    source.deviations[0] = 12.0;
    let mut random = Random::new(511);
    let (mut below, runs) = (0, 1500);
    for _ in 0..runs {
        let (old, new) = (source.draw(&mut random, 150), source.draw(&mut random, 150));
        let found = distance(&old, &new).expect("rows");
        below += u32::from(found.effect.p_value() <= 0.004);
    }
    println!("{below} of {runs}, 6 expected");
    assert!((1..=13).contains(&below), "{below} of {runs}");
}

#[test]
fn a_mean_that_has_moved_by_half_a_deviation_is_at_a_distance_of_a_half() {
    let mut random = Random::new(521);
    for width in [1, 10, 300] {
        let source = Source::even(width);
        let moved = Source {
            mean: 0.5,
            ..source.clone()
        };
        let old = source.draw(&mut random, 1000);
        let found = distance(&old, &moved.draw(&mut random, 1000)).expect("rows");
        let effect = found.effect;
        let near = if width == 1 { 0.15 } else { 0.06 };
        assert!((effect.value() - 0.5).abs() < near, "{width}: {effect:?}");
        assert!(effect.lower(0.95) > 0.35, "{width}: {effect:?}");
        assert!(effect.p_value() < 1e-9, "{width}: {effect:?}");
        assert!((found.spread - 1.0).abs() < 0.06);
        // In other units it is as far.
        let scaled = |source: &Source, random: &mut Random| {
            let mut all = Embeddings::new(width);
            for _ in 0..1000 {
                let row: Vec<f64> = source.row(random).iter().map(|x| 20.0 + 0.01 * x).collect();
                all.add(random.bits(), &row);
            }
            all
        };
        let (old, new) = (scaled(&source, &mut random), scaled(&moved, &mut random));
        let found = distance(&old, &new).expect("rows");
        assert!((found.effect.value() - 0.5).abs() < near, "{width}");
    }
}

/// The variance that is said of a distance is the one that it has, with drift too.
#[test]
fn a_distance_is_known_as_well_as_is_said() {
    let source = Source::even(40);
    let moved = Source {
        mean: 0.3,
        ..source.clone()
    };
    let mut random = Random::new(531);
    let law = law_of(300, || {
        let old = source.draw(&mut random, 300);
        let new = moved.draw(&mut random, 150);
        distance(&old, &new).expect("rows").effect
    });
    println!("{law:?}");
    assert!((law.bias - 0.09).abs() < 0.004, "{law:?}");
    assert!((0.75..1.3).contains(&law.ratio), "{law:?}");
}

/// Of a shift of many deviations, how large a deviation is, is what is least known.
#[test]
fn that_the_deviation_is_an_estimate_too_is_known() {
    let source = Source::even(1);
    let far = Source {
        mean: 4.0,
        ..source.clone()
    };
    let mut random = Random::new(535);
    let law = law_of(300, || {
        let old = source.draw(&mut random, 80);
        let new = far.draw(&mut random, 1000);
        distance(&old, &new).expect("rows").effect
    });
    println!("{law:?}");
    assert!((0.6..1.4).contains(&law.ratio), "{law:?}");
}

#[test]
fn large_numbers_are_summed_as_small_ones_are() {
    let mut random = Random::new(537);
    let mut draw = |mean: f64| {
        let mut all = Embeddings::new(3);
        for _ in 0..2000 {
            let row: Vec<f64> = (0..3).map(|_| 1e5 * (mean + random.normal())).collect();
            all.add(random.bits(), &row);
        }
        all
    };
    let found = distance(&draw(5.0), &draw(5.5)).expect("rows");
    assert!((found.effect.value() - 0.5).abs() < 0.06, "{found:?}");
}

#[test]
fn small_shifts_of_all_dimensions_are_found_together_and_what_leaves_the_mean_is_not() {
    let mut random = Random::new(541);
    let source = Source::even(200);
    let old = source.draw(&mut random, 500);
    let moved = Source {
        mean: 0.05,
        ..source.clone()
    };
    let found = distance(&old, &moved.draw(&mut random, 500)).expect("rows");
    assert!(found.effect.p_value() < 1e-4, "{found:?}");
    assert!(found.effect.lower(0.95) < 0.06, "{found:?}");
    let wider = Source {
        deviations: vec![1.5; 200],
        mean: 0.0,
    };
    let found = distance(&old, &wider.draw(&mut random, 500)).expect("rows");
    assert!(found.effect.p_value() > 0.01, "{found:?}");
    assert!((found.spread - 1.5).abs() < 0.03, "{found:?}");
    assert!(
        found.words().ends_with("deviation × 1.5"),
        "{}",
        found.words()
    );
}

/// Users of ten rows each that are nearly the same. By users five of a hundred windows are significant, by rows most.
#[test]
fn rows_of_users_are_counted_by_users() {
    let mut random = Random::new(551);
    let source = Source::even(20);
    let mut draw = |users: usize| {
        let (mut by_users, mut by_rows) = (Embeddings::new(20), Embeddings::new(20));
        for user in 0..users {
            let usual = source.row(&mut random);
            for row in 0..10_u64 {
                let vector: Vec<f64> = usual.iter().map(|x| x + 0.3 * random.normal()).collect();
                by_users.add(hash(3, &user.to_le_bytes()), &vector);
                by_rows.add(hash(row, &user.to_le_bytes()), &vector);
            }
        }
        (by_users, by_rows)
    };
    let (mut of_users, mut of_rows, mut effect, runs) = (0, 0, 0.0, 300);
    for _ in 0..runs {
        let ((old, old_rows), (new, new_rows)) = (draw(150), draw(100));
        let found = distance(&old, &new).expect("rows");
        of_users += u32::from(found.effect.p_value() <= 0.05);
        effect += found.design_effects[0] / f64::from(runs);
        let wrong = distance(&old_rows, &new_rows).expect("rows");
        of_rows += u32::from(wrong.effect.p_value() <= 0.05);
    }
    println!("{of_users} and {of_rows} of {runs}, design effect {effect}");
    assert!((4..=27).contains(&of_users), "{of_users} of {runs}");
    assert!(of_rows > runs / 2, "{of_rows} of {runs}");
    // (1 + 0.09 / 10) / (1 + 0.09) of ten.
    assert!((effect - 9.26).abs() < 0.3, "{effect}");
}

#[test]
fn sums_are_the_same_to_the_last_bit_in_any_order_and_as_text() {
    let mut random = Random::new(561);
    let rows: Vec<(u64, Vec<f32>)> = (0..500)
        .map(|_| {
            #[allow(clippy::cast_possible_truncation)]
            let row: Vec<f32> = (0..7).map(|_| (1e3 * random.normal()) as f32).collect();
            (random.bits(), row)
        })
        .collect();
    let of = |rows: &[(u64, Vec<f32>)]| {
        let mut all = Embeddings::new(7);
        for (unit, row) in rows {
            all.add(*unit, row);
        }
        all
    };
    let all = of(&rows);
    let mut parts = of(&rows[400..]);
    parts.merge(&of(&rows[..123]));
    parts.merge(&of(&rows[123..400]));
    assert_eq!(parts, all);
    let text = serde_json::to_string(&all).expect("JSON");
    let back: Embeddings = serde_json::from_str(&text).expect("JSON");
    assert_eq!(back, all);
    let broken =
        serde_json::from_str::<Embeddings>(&text.replacen("\"squares\":\"", "\"squares\":\"x ", 1));
    assert!(
        broken
            .expect_err("no number")
            .to_string()
            .contains("not whole")
    );
}

#[test]
fn what_is_no_vector_is_counted_and_too_little_has_no_distance() {
    let mut all = Embeddings::new(2);
    all.add(1, &[1.0, 2.0]);
    all.add(2, &[1.0]);
    all.add(3, &[1.0, f64::NAN]);
    all.add(4, &[f64::INFINITY, 1.0]);
    all.add(5, &[LARGEST, 1.0]);
    assert_eq!((all.rows(), all.unfit()), (1, 4));
    assert_eq!(distance(&all, &all), None);
    let mut random = Random::new(571);
    let (two, three) = (
        Source::even(2).draw(&mut random, 100),
        Source::even(3).draw(&mut random, 100),
    );
    assert_eq!(distance(&two, &three), None);
    let mut constant = Embeddings::new(2);
    (0..100).for_each(|unit| constant.add(unit, &[3.0, -4.0]));
    assert_eq!(distance(&constant, &two), None);
    assert!(distance(&two, &constant).expect("spread").effect.p_value() < 1e-6);
    // A unit that has most of the rows says nothing of others.
    let mut of_one = Source::even(2).draw(&mut random, 100);
    (0..100).for_each(|_| of_one.add(7, &[0.5, 0.5]));
    assert_eq!(distance(&two, &of_one), None);
    assert_eq!(distance(&Embeddings::new(2), &two), None);
}

#[test]
fn the_dimension_that_moved_most_is_named_with_its_direction() {
    let mut random = Random::new(581);
    let source = Source::even(5);
    let old = source.draw(&mut random, 2000);
    let mut new = Embeddings::new(5);
    for _ in 0..2000 {
        let mut row = source.row(&mut random);
        row[3] -= 2.0;
        new.add(random.bits(), &row);
    }
    let found = distance(&old, &new).expect("rows");
    let (at, by) = found.foremost.expect("spread");
    assert!(at == 3 && (by + 2.0).abs() < 0.15, "{found:?}");
    let said = found.words();
    assert!(
        said.starts_with("mean moved by 0.8") && said.contains("dimension 3 (-2."),
        "{said}"
    );
}

#[test]
fn vectors_that_are_all_the_same_are_told_from_those_that_differ_by_little() {
    let of = |rows: &[[f64; 2]]| {
        let mut all = Embeddings::new(2);
        for (unit, row) in (0..).zip(rows) {
            all.add(unit, row);
        }
        all
    };
    for (first, second) in [(0.0, 0.0), (0.1, -0.3), (1e-3, 7e5), (4e6, -4e6)] {
        let same = of(&[[first, second]; 700]);
        assert!(same.is_constant(), "{first} {second}");
        assert_eq!(same.is_zero(), first == 0.0);
        let mut rows = [[first, second]; 700];
        rows[5][1] += second.abs().max(0.01) / 100.0;
        assert!(!of(&rows).is_constant(), "{first} {second}");
    }
    let none = Embeddings::new(2);
    assert!(!none.is_constant() && !none.is_zero());
    assert_eq!((none.groups(), of(&[[1.0, 2.0]; 3]).groups()), (0, 3));
}
