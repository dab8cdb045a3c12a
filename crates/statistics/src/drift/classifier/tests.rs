use std::time::Instant;

use super::*;
use crate::drift::bounded::{self, hash};
use crate::drift::tests_of_laws::law_of;
use crate::mean::Mean;
use crate::random::Random;

/// Independent rows, each as it is drawn.
fn draw(
    random: &mut Random,
    rows: usize,
    mut row: impl FnMut(&mut Random) -> Vec<f32>,
) -> Bounded<Vec<f32>> {
    let mut all = Bounded::new(rows);
    for _ in 0..rows {
        let (key, what) = (random.bits(), row(random));
        all.add(key, key, || what);
    }
    all
}

#[allow(clippy::cast_possible_truncation)] // of the size of 1
fn normal(width: usize, mean: f64) -> impl FnMut(&mut Random) -> Vec<f32> {
    move |random| {
        (0..width)
            .map(|_| (mean + random.normal()) as f32)
            .collect()
    }
}

#[test]
fn without_drift_the_area_is_a_half_on_average_and_p_values_are_right() {
    for (rows, width, runs, seed) in [
        ([200, 200], 2, 400, 601),
        ([200, 200], 50, 200, 602),
        ([500, 200], 300, 30, 603),
        ([200, 200], 1000, 16, 604),
        ([2000, 1000], 8, 30, 605),
        ([5000, 5000], 2, 25, 606),
    ] {
        let mut random = Random::new(seed);
        let law = law_of(runs, || {
            let old = draw(&mut random, rows[0], normal(width, 0.0));
            let new = draw(&mut random, rows[1], normal(width, 0.0));
            let effect = of_vectors(&old, &new).expect("rows").effect;
            // What tells worse than chance is no evidence.
            assert!(
                (effect.p_value() > 0.5) == (effect.raw() < 0.0),
                "{effect:?}"
            );
            effect
        });
        println!("{rows:?} × {width}: {law:?}");
        let error = (0.05 * 0.95 / f64::from(runs)).sqrt();
        let of = format!("{rows:?} × {width}: {law:?}");
        assert!((law.significant - 0.05).abs() < 3.0 * error, "{of}");
        let variance = f64::from(u32::try_from(rows[0] + rows[1]).expect("few"))
            / f64::from(u32::try_from(rows[0] * rows[1]).expect("few"))
            / 2.0;
        assert!(
            law.bias.abs() < 3.5 * (variance / f64::from(runs)).sqrt(),
            "{of}"
        );
        let doubt = 3.5 * (2.0 / f64::from(runs)).sqrt();
        assert!((law.ratio - 1.0).abs() < doubt.min(0.8), "{of}");
    }
}

#[test]
fn a_mean_that_has_moved_is_found_whatever_the_number_of_dimensions() {
    let mut random = Random::new(611);
    for (rows, width, mean, least) in [
        (500, 2, 0.5, 0.60),
        (500, 100, 0.1, 0.58),
        (1000, 1000, 0.05, 0.60),
    ] {
        let old = draw(&mut random, rows, normal(width, 0.0));
        let new = draw(&mut random, rows, normal(width, mean));
        let found = of_vectors(&old, &new).expect("rows");
        println!("{rows} × {width}: {found:?}");
        assert!(
            found.area > least && found.effect.p_value() < 1e-4,
            "{found:?}"
        );
        assert!(found.effect.lower(0.95) > 0.1, "{found:?}");
        let interval = found.interval(0.95);
        assert!(interval.lower < found.area && found.area < interval.upper);
    }
}

/// Means, and each column by itself, are as they were.
#[test]
#[allow(clippy::cast_possible_truncation)]
fn correlations_variances_and_mixtures_that_leave_the_mean_are_found() {
    let mut random = Random::new(621);
    let correlated = |sign: f64| {
        move |random: &mut Random| -> Vec<f32> {
            let one = random.normal();
            let other = sign * 0.5 * one + 0.75_f64.sqrt() * random.normal();
            let rest = (0..6).map(|_| random.normal());
            [one, other]
                .into_iter()
                .chain(rest)
                .map(|x| x as f32)
                .collect()
        }
    };
    // Of all dimensions by little: nothing of it is seen in sixteen of them, but in the length.
    let wider = |deviation: f64| {
        move |random: &mut Random| -> Vec<f32> {
            (0..300)
                .map(|_| (deviation * random.normal()) as f32)
                .collect()
        }
    };
    // Two topics, of which each row is of one or in between: in a direction of much variance.
    let mixed = |is_split: bool| {
        move |random: &mut Random| -> Vec<f32> {
            let along = if is_split {
                2.0_f64.copysign(random.uniform() - 0.5) + 0.2 * random.normal()
            } else {
                1.3 * random.normal()
            };
            let value = |at: usize| along * f64::from(u8::from(at.is_multiple_of(2)));
            (0..100)
                .map(|at| (value(at) + random.normal()) as f32)
                .collect()
        }
    };
    let found = |name: &str, old: Bounded<Vec<f32>>, new: Bounded<Vec<f32>>| {
        let found = of_vectors(&old, &new).expect("rows");
        println!("{name}: {found:?}");
        assert!(found.effect.p_value() < 1e-4, "{name}: {found:?}");
        assert!(found.effect.lower(0.95) > 0.1, "{name}: {found:?}");
    };
    let (old, new) = (
        draw(&mut random, 1000, correlated(1.0)),
        draw(&mut random, 1000, correlated(-1.0)),
    );
    found("correlation", old, new);
    let (old, new) = (
        draw(&mut random, 500, wider(1.0)),
        draw(&mut random, 500, wider(1.05)),
    );
    found("deviation", old, new);
    let (old, new) = (
        draw(&mut random, 1000, mixed(false)),
        draw(&mut random, 1000, mixed(true)),
    );
    found("mixture", old, new);
}

/// As the module says: third moments of forty dimensions.
#[test]
#[allow(clippy::cast_possible_truncation)]
fn what_leaves_means_and_products_as_they_are_is_not_seen() {
    let mut random = Random::new(631);
    let skew = |sign: f64| {
        move |random: &mut Random| -> Vec<f32> {
            let one = |random: &mut Random| sign * (-random.uniform().ln() - 1.0);
            (0..40).map(|_| one(random) as f32).collect()
        }
    };
    let (old, new) = (
        draw(&mut random, 500, skew(1.0)),
        draw(&mut random, 500, skew(-1.0)),
    );
    let found = of_vectors(&old, &new).expect("rows");
    assert!(found.effect.lower(0.95) < 0.1, "{found:?}");
}

/// Users of eight rows that are nearly the same, in a draw of them. By users five of a hundred windows are significant; by
/// rows, of which some of a user are learned of and some tried, too many.
#[test]
#[allow(clippy::cast_possible_truncation)]
fn rows_of_users_are_counted_by_users() {
    let mut random = Random::new(641);
    let users = |count: u64, is_by_user: bool, random: &mut Random| {
        let mut all = Bounded::new(2000);
        for _ in 0..count {
            let (user, usual) = (random.bits(), normal(10, 0.0)(random));
            for _ in 0..8 {
                let key = random.bits();
                let near = |x: &f32| x + (0.2 * random.normal()) as f32;
                let row: Vec<f32> = usual.iter().map(near).collect();
                all.add(key, if is_by_user { user } else { key }, || row);
            }
        }
        all
    };
    let (mut significant, runs) = ([0, 0], 200);
    let mut effects = Mean::default();
    for _ in 0..runs {
        for (at, is_by_user) in [true, false].into_iter().enumerate() {
            let old = users(80, is_by_user, &mut random);
            let new = users(60, is_by_user, &mut random);
            let found = of_vectors(&old, &new).expect("users");
            significant[at] += u32::from(found.effect.p_value() <= 0.05);
            if is_by_user {
                effects.add(found.design_effect);
            }
        }
    }
    println!("{significant:?} of {runs}, {effects:?}");
    assert!((2..=20).contains(&significant[0]), "{significant:?}");
    assert!(significant[1] > 60, "{significant:?}");
    assert!(effects.value().expect("runs") > 5.0, "{effects:?}");
}

/// Of folds that learn of each other: the reason for blocks in a row.
#[test]
fn areas_of_folds_that_learn_of_each_other_vary_twice_as_much_as_they_seem_to() {
    let mut random = Random::new(651);
    let (mut areas, mut seems) = (Mean::default(), Mean::default());
    let mut significant = 0;
    let (width, rows, folds) = (30, 200, 5);
    for _ in 0..400 {
        let all: Vec<Vec<f32>> = (0..rows).map(|_| normal(width, 0.0)(&mut random)).collect();
        let side = |at: usize| (at / folds) % 2;
        let mut blocks = Vec::new();
        for fold in 0..folds {
            let learned: Vec<usize> = (0..rows).filter(|at| at % folds != fold).collect();
            let values = learned.iter().flat_map(|at| all[*at].iter().copied());
            let sides: Vec<usize> = learned.iter().map(|at| side(*at)).collect();
            let learned = Matrix::new(width, values.collect());
            let direction = discriminant::fit(&learned, &sides).expect("rows");
            let tried = (0..rows)
                .filter(|at| at % folds == fold)
                .map(|at| area::Tried {
                    score: matrix::dot(&all[at], &direction),
                    side: side(at),
                    unit: at as u64,
                });
            blocks.extend(Block::of(tried.collect()));
        }
        let found = together(&blocks).expect("blocks");
        areas.add(found.area);
        significant += u32::from(found.effect.p_value() <= 0.05);
        seems.add((found.effect.standard_error() / 2.0).powi(2));
    }
    let ratio = areas.variance().expect("runs") / seems.value().expect("runs");
    println!("{ratio}, {significant} of 400");
    assert!((1.4..2.6).contains(&ratio), "{ratio}");
    assert!(significant > 32, "{significant} of 400");
}

#[test]
fn what_is_found_is_the_same_whichever_way_the_rows_came() {
    let mut random = Random::new(661);
    let rows: Vec<(u64, Vec<f32>)> = (0..1500)
        .map(|at| (hash(1, &u64::to_le_bytes(at)), normal(4, 0.1)(&mut random)))
        .collect();
    let of = |rows: &[(u64, Vec<f32>)]| {
        let mut all = Bounded::new(300);
        for (key, row) in rows {
            all.add(*key, *key, || row.clone());
        }
        all
    };
    let old = draw(&mut random, 300, normal(4, 0.0));
    let mut parts = of(&rows[900..]);
    parts.merge(of(&rows[..900]));
    let found = of_vectors(&old, &parts).expect("rows");
    assert_eq!(Some(found), of_vectors(&old, &of(&rows)));
    assert!(found.rows[1] < 300 && found.rows[1] > 150, "{found:?}");
}

#[test]
fn an_area_of_one_is_not_certain_and_words_say_what_it_is() {
    let mut random = Random::new(671);
    let old = draw(&mut random, 100, normal(3, 0.0));
    let new = draw(&mut random, 100, normal(3, 20.0));
    let found = of_vectors(&old, &new).expect("rows");
    assert!(found.area > 0.999 && found.effect.standard_error() > 0.0);
    assert!(
        (0.9..0.9999).contains(&found.effect.lower(0.95)),
        "{found:?}"
    );
    assert_eq!(found.words(), "told apart in 100% of pairs");
}

#[test]
fn too_few_units_and_vectors_of_other_lengths_are_not_compared() {
    let mut random = Random::new(681);
    let (few, many) = (
        draw(&mut random, 29, normal(3, 0.0)),
        draw(&mut random, 100, normal(3, 0.0)),
    );
    assert_eq!(of_vectors(&few, &many), None);
    assert_eq!(
        of_vectors(&many, &draw(&mut random, 100, normal(4, 0.0))),
        None
    );
    assert_eq!(of_vectors(&Bounded::new(5), &Bounded::new(5)), None);
    // Constant vectors cannot be told apart.
    let constant = |random: &mut Random| draw(random, 100, |_| vec![1.0, 2.0]);
    let (old, new) = (constant(&mut random), constant(&mut random));
    assert_eq!(of_vectors(&old, &new), None);
}

/// As many rows a side as are kept, of a thousand numbers: seconds, on one core.
#[test]
#[allow(clippy::cast_possible_truncation)]
fn four_thousand_rows_of_a_thousand_numbers_take_seconds() {
    let mut random = Random::new(691);
    let mut even =
        |random: &mut Random| -> Vec<f32> { (0..1000).map(|_| random.uniform() as f32).collect() };
    let old = draw(&mut random, bounded::ROWS, &mut even);
    let new = draw(&mut random, bounded::ROWS, &mut even);
    let start = Instant::now();
    let found = of_vectors(&old, &new).expect("rows");
    println!("{:?}: {found:?}", start.elapsed());
    assert!(found.effect.p_value() > 0.001, "{found:?}");
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
