//! The name of a kept checkpoint: `<attempt>/<sequence>-<name>`.

use std::fmt;

/// Digits of an attempt and a sequence; more where the number needs them.
pub(super) const DIGITS: usize = 6;

/// Where a checkpoint lies below the job's address. Orders by age: by attempt, then by sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The attempt that made it.
    pub attempt: u32,
    /// Its number in the attempt, from 1.
    pub sequence: u32,
    /// The trainer's own name for it.
    pub name: String,
}

impl Place {
    /// What the two folders' names say; `None` for what no agent named.
    pub fn parse(attempt: &str, rest: &str) -> Option<Self> {
        let (sequence, name) = rest.split_once('-')?;
        Some(Self {
            attempt: number(attempt)?,
            sequence: number(sequence)?,
            name: is_name(name).then(|| name.to_owned())?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            attempt,
            sequence,
            name,
        } = self;
        write!(to, "{attempt:0DIGITS$}/{sequence:0DIGITS$}-{name}")
    }
}

/// The number that a folder's name is, where it is written as the agent writes it.
pub(super) fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (format!("{number:0DIGITS$}") == text).then_some(number)
}

/// Whether an entry of the trainer's folder is a checkpoint by its name: what begins with a dot or ends in `.tmp`
/// is not finished.
pub(super) fn is_name(name: &str) -> bool {
    let is_unfinished = name.starts_with('.') || name.strip_suffix(".tmp").is_some();
    !name.is_empty() && !is_unfinished && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_and_read_as_the_same() {
        for (attempt, rest, wanted) in [
            ("000002", "000004-step-300", Some((2, 4, "step-300"))),
            ("1234567", "000001-a", Some((1_234_567, 1, "a"))),
            ("2", "000004-step", None),
            ("000002", "4-step", None),
            ("0000002", "000004-step", None),
            ("+00002", "000004-step", None),
            ("000002", "000004", None),
            ("000002", "000004-", None),
            ("000002", "000004-.hidden", None),
            ("000002", "000004-x.tmp", None),
            ("lost+found", "000004-step", None),
        ] {
            let place = Place::parse(attempt, rest);
            let found = place
                .as_ref()
                .map(|place| (place.attempt, place.sequence, place.name.as_str()));
            assert_eq!(found, wanted, "{attempt}/{rest}");
            if let Some(place) = place {
                assert_eq!(place.to_string(), format!("{attempt}/{rest}"));
            }
        }
    }

    #[test]
    fn the_newest_is_of_the_last_attempt_and_then_the_last_in_it() {
        let place = |attempt, sequence, name: &str| Place {
            attempt,
            sequence,
            name: name.to_owned(),
        };
        let mut places = [place(2, 1, "a"), place(1, 10, "b"), place(1, 9, "z")];
        places.sort();
        assert_eq!(
            places,
            [place(1, 9, "z"), place(1, 10, "b"), place(2, 1, "a")]
        );
    }
}
