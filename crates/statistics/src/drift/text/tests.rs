use super::*;
use crate::drift::bounded::hash;
use crate::random::Random;

/// A language of so many words, the first of them most frequent (as Zipf 1949 has it).
struct Language {
    words: Vec<String>,
    ends: Vec<f64>,
}

impl Language {
    fn new(count: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut sum = 0.0;
        let ends = (1..=count).map(|rank| {
            sum += 1.0 / f64::from(rank);
            sum
        });
        let ends = ends.collect();
        let letter = |random: &mut Random| {
            char::from(b'a' + u8::try_from(random.bits() % 26).expect("small"))
        };
        let word = |_| {
            let length = 3 + random.bits() % 6;
            (0..length).map(|_| letter(&mut random)).collect()
        };
        let words = (0..count).map(word).collect();
        Self { words, ends }
    }

    fn text(&self, random: &mut Random, words: u64) -> String {
        let total = self.ends[self.ends.len() - 1];
        let mut word = || {
            let at = random.uniform() * total;
            self.words[self.ends.partition_point(|end| *end < at)].as_str()
        };
        let all: Vec<&str> = (0..words).map(|_| word()).collect();
        all.join(" ")
    }
}

fn draw(
    random: &mut Random,
    rows: usize,
    mut text: impl FnMut(&mut Random) -> String,
) -> Bounded<String> {
    let mut all = Bounded::new(rows);
    for _ in 0..rows {
        let (key, what) = (random.bits(), text(random));
        all.add(key, key, || what);
    }
    all
}

fn usual(language: &Language) -> impl FnMut(&mut Random) -> String + '_ {
    |random| {
        let words = 8 + random.bits() % 10;
        language.text(random, words)
    }
}

#[test]
fn traits_of_texts_in_many_scripts() {
    for (text, expected) in [
        ("", [0.0; 8]),
        // Seven letters, a space, a mark; two capitals.
        (
            "Hey Joe!",
            [8.0, 2.0, 1.0, 6.0 / 8.0, 0.0, 1.0 / 8.0, 0.0, 2.0 / 6.0],
        ),
        (
            "Um 12 Uhr. Größe?",
            [
                17.0,
                4.0,
                2.0,
                10.0 / 17.0,
                2.0 / 17.0,
                2.0 / 17.0,
                0.2,
                0.3,
            ],
        ),
        // A flag and a family are a character each, of two and of five code points; a sentence has words.
        ("🇩🇪👩‍👩‍👧", [2.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
        ("日本語", [3.0, 3.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]),
    ] {
        let found = Trait::of(text);
        for ((found, expected), of) in found.into_iter().zip(expected).zip(Trait::ALL) {
            assert!((found - expected).abs() < 1e-12, "{text:?} {of:?}: {found}");
        }
    }
    let names: std::collections::BTreeSet<&str> = Trait::ALL.map(Trait::name).into();
    assert_eq!(names.len(), Trait::ALL.len());
}

#[test]
fn words_are_in_small_letters_and_numbers_are_one_word() {
    let words = |text| -> Vec<String> {
        vocabulary::words(text)
            .map(std::borrow::Cow::into_owned)
            .collect()
    };
    assert_eq!(
        words("Can't PAY 12,50 € — order 4711!"),
        ["can't", "pay", "#", "order", "#"]
    );
    assert_eq!(words("ÄPFEL и груши"), ["äpfel", "и", "груши"]);
}

#[test]
fn a_vocabulary_has_the_words_of_most_texts() {
    let texts = ["a b c", "a b b b b", "a d", "c a"];
    let two = Vocabulary::of(texts, 2);
    assert_eq!(two.len(), 2);
    // b is in two texts, as c is, and comes first.
    assert_eq!(two.unknown("a B c c"), Some(0.5));
    assert_eq!(two.unknown("a"), Some(0.0));
    assert_eq!(two.unknown("..."), None);
    assert!(Vocabulary::of([], 5).is_empty());
}

#[test]
fn an_excerpt_ends_with_a_whole_character() {
    let long = "ä".repeat(5000);
    assert_eq!(excerpt(&long).len(), 4096);
    assert_eq!(excerpt(&format!("a{long}")).len(), 4095);
    assert_eq!(excerpt("short"), "short");
}

#[test]
fn without_drift_texts_are_not_told_apart_and_nothing_is_named() {
    let language = Language::new(3000, 701);
    let mut random = Random::new(702);
    let (mut significant, mut named, mut far, runs) = (0, 0, 0, 40);
    for run in 0..runs {
        let rows = if run % 2 == 0 { 200 } else { 500 };
        let old = draw(&mut random, rows, usual(&language));
        let new = draw(&mut random, rows, usual(&language));
        let found = compare(&old, &new).expect("texts");
        significant += u32::from(found.told.effect.p_value() <= 0.05);
        far += u32::from(found.told.effect.lower(0.95) > 0.1);
        let is_named =
            !found.words.is_empty() || !found.traits.is_empty() || found.unknown.is_some();
        named += u32::from(is_named);
    }
    println!("{significant}, {named} and {far} of {runs}");
    assert!(significant <= 6, "{significant} of {runs}");
    assert!(named <= 4, "{named} of {runs}");
    assert!(far <= 1, "{far} of {runs}");
}

#[test]
fn a_topic_that_has_come_up_is_found_and_named() {
    let language = Language::new(3000, 711);
    let mut random = Random::new(712);
    let with = |share: f64| {
        let language = &language;
        move |random: &mut Random| {
            let text = usual(language)(random);
            if random.uniform() < share {
                format!("{text} Refund")
            } else {
                text
            }
        }
    };
    let old = draw(&mut random, 1000, with(0.02));
    let new = draw(&mut random, 1000, with(0.4));
    let start = std::time::Instant::now();
    let found = compare(&old, &new).expect("texts");
    println!("{:?}: {:?}: {}", start.elapsed(), found.told, found.words());
    assert!(found.told.effect.p_value() < 1e-4, "{:?}", found.told);
    assert!(found.told.effect.lower(0.95) > 0.1, "{:?}", found.told);
    assert_eq!(found.words[0].word, "refund");
    let [before, after] = found.words[0].shares;
    assert!((before - 0.02).abs() < 0.015 && (after - 0.4).abs() < 0.05);
    assert!(found.words().starts_with("'refund' "), "{}", found.words());
    // Its capital too, and that is nothing to name.
    assert!(found.words().ends_with("% of texts"), "{}", found.words());
}

#[test]
fn another_language_longer_texts_and_capitals_are_named_by_what_they_are() {
    let language = Language::new(3000, 721);
    let other = Language::new(3000, 722);
    let mut random = Random::new(723);
    let old = draw(&mut random, 500, usual(&language));
    let mut words = |name: &str, text: &mut dyn FnMut(&mut Random) -> String| {
        let new = draw(&mut random, 500, text);
        let found = compare(&old, &new).expect("texts");
        println!("{name}: {:?}: {}", found.told, found.words());
        assert!(
            found.told.effect.lower(0.95) > 0.2,
            "{name}: {:?}",
            found.told
        );
        found
    };
    let found = words("other words", &mut usual(&other));
    let [before, after] = found.unknown.expect("many");
    assert!(before < 0.4 && after > 0.9, "{before} {after}");
    let found = words("longer", &mut |random| language.text(random, 40));
    let first = found.traits[0];
    assert!(
        matches!(first.of, Trait::Characters | Trait::Words),
        "{first:?}"
    );
    let found = words("capitals", &mut |random| {
        usual(&language)(random).to_uppercase()
    });
    assert_eq!(found.traits[0].of, Trait::Capitals);
    assert!(
        found.words.is_empty() && found.unknown.is_none(),
        "{found:?}"
    );
    assert_eq!(found.words(), "capitals 0% → 100%");
}

/// Users who say the same again and again.
#[test]
fn texts_of_users_are_counted_by_users() {
    let language = Language::new(500, 731);
    let mut random = Random::new(732);
    let mut draw = |users: u64| {
        let mut all = Bounded::new(2000);
        for user in 0..users {
            let text = usual(&language)(&mut random);
            let unit = hash(random.bits(), &user.to_le_bytes());
            for _ in 0..10 {
                all.add(random.bits(), unit, || text.clone());
            }
        }
        all
    };
    let (mut significant, mut named) = (0, 0);
    for _ in 0..20 {
        let found = compare(&draw(60), &draw(60)).expect("users");
        significant += u32::from(found.told.effect.p_value() <= 0.05);
        named += u32::from(!found.words.is_empty());
    }
    println!("{significant} and {named} of 20");
    assert!(
        significant <= 4 && named <= 2,
        "{significant} and {named} of 20"
    );
}

#[test]
fn no_texts_and_texts_without_words_have_no_verdict_or_no_words() {
    let empty = Bounded::new(10);
    assert_eq!(compare(&empty, &empty), None);
    let mut random = Random::new(741);
    let old = draw(&mut random, 100, |_| String::new());
    let new = draw(&mut random, 100, |random| {
        "!".repeat(1 + usize::from(random.uniform() < 0.5))
    });
    let found = compare(&old, &new).expect("texts");
    assert!(found.told.area > 0.9, "{found:?}");
    assert!(found.words.is_empty() && found.unknown.is_none());
    let same = compare(&old, &old);
    assert!(same.is_none_or(|found| found.told.effect.p_value() > 0.3));
}
