//! Whether a prediction is wrong, by its label.

use windlass_statistics::sample::THRESHOLD;

/// Letters of a label that are told.
const MOST_LETTERS: usize = 24;

/// How answers and labels are stored.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// Answers are texts: names of classes.
    pub are_texts: bool,
    /// So are labels, or what could be read as no number.
    pub labels_are_texts: bool,
}

/// Whether an answer is wrong. Names of classes are compared without regard to upper and lower case. A number is the class of
/// that number; where the label is 0 or 1, one in between is the probability of 1.
///
/// # Errors
/// The end of a sentence that begins with whose label it is, where it is no answer that the model could give: to compare what
/// cannot be alike would call all of them wrong, of every version. The answer itself is not told, which may be a person's own
/// words; of the label no more than its beginning.
pub fn is_wrong(answer: &str, label: &str, stored: Answers) -> Result<bool, String> {
    let answer = answer.trim();
    let told = beginning(label);
    match (number(answer), number(label)) {
        (Some(answer), Some(label)) => is_other_class(answer, label),
        _ if stored.are_texts && stored.labels_are_texts => Ok(!answer.eq_ignore_ascii_case(label)),
        (None, _) if stored.are_texts => Err(format!(
            "is {told}, a number, where the model answered a text: give the class by its name"
        )),
        _ => Err(format!(
            "is '{told}', which is no number, where the model answered one: give the class by its number, from 0, or 0 and 1 where it answers with the probability of 1"
        )),
    }
}

#[allow(clippy::float_cmp)] // both are whole numbers
fn is_other_class(answer: f64, label: f64) -> Result<bool, String> {
    if label.fract() != 0.0 {
        return Err(format!(
            "is {label}, which is no class: models that answer with a value are not judged by their share of wrong answers"
        ));
    }
    if (0.0..=1.0).contains(&answer) && (label == 0.0 || label == 1.0) {
        return Ok((answer >= THRESHOLD) != (label == 1.0));
    }
    if answer.fract() == 0.0 {
        return Ok(answer != label);
    }
    Err(format!(
        "is {label}, where the model answered a number that is no class: a label has to be 0 or 1 where an answer is a probability, and answers that are no class are not judged by their share of wrong ones"
    ))
}

/// As much of a label as names it.
fn beginning(label: &str) -> String {
    let mut letters = label.chars();
    let beginning: String = letters.by_ref().take(MOST_LETTERS).collect();
    if letters.next().is_none() {
        beginning
    } else {
        beginning + "…"
    }
}

/// A number, as truth values are as well.
fn number(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(1.0),
        "false" => Some(0.0),
        other => other.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: Answers = Answers {
        are_texts: false,
        labels_are_texts: false,
    };

    #[test]
    fn a_prediction_is_wrong_where_it_is_another_class() {
        let texts = Answers {
            are_texts: true,
            labels_are_texts: true,
        };
        for (answer, label, stored, expected) in [
            ("0.5", "1", NUMBERS, false),
            ("0.49", "1", NUMBERS, true),
            ("0.49", "0", NUMBERS, false),
            ("0.9", "false", NUMBERS, true),
            ("1.0", "true", NUMBERS, false),
            ("0.0", "0.0", NUMBERS, false),
            ("2.0", "2", NUMBERS, false),
            ("2.0", "0", NUMBERS, true),
            ("1.0", "2", NUMBERS, true),
            ("-1", "1", NUMBERS, true),
            ("cat", "Cat", texts, false),
            (" cat ", "dog", texts, true),
            // Some names of classes are numbers.
            ("7", "seven", texts, true),
            ("seven", "7", texts, true),
            ("7", "7.0", texts, false),
        ] {
            let found = is_wrong(answer, label, stored);
            assert_eq!(found, Ok(expected), "{answer} {label} {stored:?}");
        }
    }

    #[test]
    fn what_can_never_be_alike_is_told_and_not_called_wrong() {
        let names = Answers {
            are_texts: true,
            labels_are_texts: false,
        };
        let words = Answers {
            are_texts: false,
            labels_are_texts: true,
        };
        for (answer, label, stored, part) in [
            ("3.4", "3.5", NUMBERS, "is 3.5, which is no class"),
            ("3.4", "3", NUMBERS, "answered a number that is no class"),
            ("0.7", "2", NUMBERS, "has to be 0 or 1"),
            ("cat", "3", names, "give the class by its name"),
            ("0.7", "late", words, "is 'late', which is no number"),
        ] {
            let why = is_wrong(answer, label, stored).expect_err("no answer");
            assert!(why.contains(part), "{answer} {label}: {why}");
            assert!(!why.contains(answer), "{answer} is somebody's: {why}");
        }
        let long = is_wrong("0.7", &"word ".repeat(20), words).expect_err("no answer");
        assert!(long.starts_with("is 'word word word word word…'"), "{long}");
    }
}
