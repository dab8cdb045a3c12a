//! What model servers answer, as metrics take it.
//!
//! ```text
//!   a server's numbers or texts of a row ──Output──> one number, or one for each class
//! ```

use windlass_api::agent::Output;

/// What a server answered to some rows, one row after the other, as many to each.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Numbers.
    Numbers(Vec<f64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Raw {
    fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }
}

/// Answers to rows: rows × width, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Numbers of a row: 1, or as many as there are classes.
    pub width: usize,
    /// The numbers.
    pub values: Vec<f64>,
}

impl Answers {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// The numbers of a row.
    pub fn of(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..][..self.width]
    }

    /// The answers to some of the rows.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|row| self.of(*row)).copied();
        Self {
            width: self.width,
            values: values.collect(),
        }
    }

    /// Adds the answers to further rows.
    ///
    /// # Errors
    /// A sentence, where they are of another width.
    pub fn extend(&mut self, more: Self) -> Result<(), String> {
        if self.values.is_empty() {
            *self = more;
            return Ok(());
        }
        if self.width != more.width {
            return Err(other_width(more.width, self.width));
        }
        self.values.extend(more.values);
        Ok(())
    }

    /// A server's answer to `rows` rows.
    ///
    /// - No class is named: the one number of each row, or the one text as a number.
    /// - As many numbers as classes: of two classes the second, the probability of class 1; of more all.
    /// - One number: of two classes the probability of class 1, of more the class's place from 0.
    /// - Texts: names of classes. What is none is a class of its own, after the others, which no row has as its label: it
    ///   counts as wrong.
    ///
    /// # Errors
    /// A sentence, where the answer is none to so many rows, or does not fit the classes.
    pub fn read(output: &Output, raw: Raw, rows: usize) -> Result<Self, String> {
        let count = raw.len();
        if rows == 0 || count == 0 || !count.is_multiple_of(rows) {
            return Err(format!("its answer holds {count} values for {rows} rows"));
        }
        let (width, classes) = (count / rows, output.classes.len());
        match raw {
            _ if output.is_number() && width > 1 => Err(format!(
                "its answer holds {width} values a row, and the model's signature names no classes: name them in output.classes, in the order of the values"
            )),
            Raw::Numbers(numbers) if output.is_number() => Ok(Self::of_one(numbers)),
            Raw::Numbers(numbers) if width == classes && classes == 2 => {
                Ok(Self::of_one(numbers.into_iter().skip(1).step_by(2)))
            }
            Raw::Numbers(values) if width == classes => Ok(Self { width, values }),
            Raw::Numbers(numbers) if width == 1 && classes == 2 => Ok(Self::of_one(numbers)),
            Raw::Numbers(numbers) if width == 1 => of_codes(&numbers, classes),
            Raw::Numbers(_) => Err(format!(
                "its answer holds {width} numbers a row, but the signature names {classes} classes"
            )),
            Raw::Texts(texts) if output.is_number() => texts
                .iter()
                .enumerate()
                .map(|(row, text)| number(row, text))
                .collect::<Result<Vec<f64>, String>>()
                .map(Self::of_one),
            Raw::Texts(texts) => Ok(of_names(texts.iter().step_by(width), &output.classes)),
        }
    }

    fn of_one(values: impl IntoIterator<Item = f64>) -> Self {
        Self {
            width: 1,
            values: values.into_iter().collect(),
        }
    }
}

/// That rows are answered in another way than those before them.
pub fn other_width(width: usize, before: usize) -> String {
    format!("it answers with {width} numbers a row, and did with {before} before")
}

/// The place of the class that a text names.
pub fn class_of(text: &str, classes: &[String]) -> Option<usize> {
    let text = text.trim();
    let same = |class: &String| class.trim().eq_ignore_ascii_case(text);
    let exact = classes.iter().position(|class| class == text);
    exact.or_else(|| classes.iter().position(same))
}

fn number(row: usize, text: &str) -> Result<f64, String> {
    let number: Result<f64, _> = text.trim().parse();
    number.map_err(|_| {
        format!("its answer for the row {row} of the request is {text:?}, which is no number")
    })
}

fn of_codes(codes: &[f64], classes: usize) -> Result<Answers, String> {
    let mut values = vec![0.0; codes.len() * classes];
    for (row, code) in codes.iter().enumerate() {
        let place = place_of(*code)
            .filter(|place| *place < classes)
            .ok_or_else(|| {
                format!("its answer for the row {row} of the request is {code}, which is no place among {classes} classes")
            })?;
        values[row * classes + place] = 1.0;
    }
    Ok(Answers {
        width: classes,
        values,
    })
}

/// A whole number of at least 0 as a place.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked: a small whole number
pub fn place_of(code: f64) -> Option<usize> {
    let is_place = code.fract() == 0.0 && (0.0..1e9).contains(&code);
    is_place.then_some(code as usize)
}

fn of_names<'a>(texts: impl Iterator<Item = &'a String>, classes: &[String]) -> Answers {
    let width = classes.len() + 1;
    let mut values = Vec::new();
    for text in texts {
        let class = class_of(text, classes).unwrap_or(classes.len());
        values.extend((0..width).map(|place| f64::from(u8::from(place == class))));
    }
    Answers { width, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(classes: &[&str], raw: Raw, rows: usize) -> Result<(usize, Vec<f64>), String> {
        let output = Output {
            classes: classes.iter().map(|&class| class.to_owned()).collect(),
        };
        let answers = Answers::read(&output, raw, rows)?;
        assert_eq!(answers.rows(), rows);
        Ok((answers.width, answers.values))
    }

    fn texts(all: &[&str]) -> Raw {
        Raw::Texts(all.iter().map(|&text| text.to_owned()).collect())
    }

    #[test]
    fn numbers_are_read_by_the_classes_of_the_signature() {
        use Raw::Numbers;
        let (two, three) = (["no", "yes"], ["a", "b", "c"]);
        assert_eq!(
            read(&[], Numbers(vec![0.1, 0.8]), 2),
            Ok((1, vec![0.1, 0.8]))
        );
        // Which of two is meant is not for us to guess.
        let refused = read(&[], Numbers(vec![0.1, 0.2, 0.8, 0.3]), 2).expect_err("refused");
        assert!(refused.contains("output.classes"), "{refused}");
        assert_eq!(
            read(&two, Numbers(vec![0.1, 0.9, 0.7, 0.3]), 2),
            Ok((1, vec![0.9, 0.3]))
        );
        assert_eq!(
            read(&two, Numbers(vec![0.1, 0.9]), 2),
            Ok((1, vec![0.1, 0.9]))
        );
        assert_eq!(
            read(&three, Numbers(vec![0.1, 0.2, 0.7]), 1),
            Ok((3, vec![0.1, 0.2, 0.7]))
        );
        assert_eq!(
            read(&three, Numbers(vec![2.0, 0.0]), 2),
            Ok((3, vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]))
        );
    }

    #[test]
    fn texts_are_classes_or_numbers() {
        assert_eq!(
            read(&["no", "yes"], texts(&[" Yes\n", "no", "perhaps"]), 3),
            Ok((3, vec![0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
        );
        assert_eq!(
            read(&[], texts(&["1.5", " 2 "]), 2),
            Ok((1, vec![1.5, 2.0]))
        );
        assert_eq!(class_of("A", &["a".to_owned(), "A".to_owned()]), Some(1));
    }

    #[test]
    fn what_is_no_answer_to_the_rows_is_told() {
        use Raw::Numbers;
        let three = ["a", "b", "c"];
        for (classes, raw, rows, why) in [
            (
                &[][..],
                Numbers(vec![0.1, 0.9, 0.3]),
                2,
                "3 values for 2 rows",
            ),
            (&[], Numbers(vec![]), 2, "0 values for 2 rows"),
            (&three, Numbers(vec![0.1, 0.9]), 1, "2 numbers a row"),
            (&three, Numbers(vec![3.0]), 1, "no place among 3"),
            (&three, Numbers(vec![f64::NAN]), 1, "no place among 3"),
            (&[], texts(&["late"]), 1, "no number"),
        ] {
            let problem = read(classes, raw, rows).expect_err("a problem");
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn batches_are_of_one_width() {
        let of = |width, values: &[f64]| Answers {
            width,
            values: values.to_vec(),
        };
        let mut all = Answers::default();
        assert_eq!(all.extend(of(2, &[0.1, 0.9])), Ok(()));
        assert_eq!(all.extend(of(2, &[0.2, 0.8])), Ok(()));
        assert_eq!((all.rows(), all.of(1)), (2, &[0.2, 0.8][..]));
        assert_eq!(all.select(&[1]), of(2, &[0.2, 0.8]));
        assert!(all.extend(of(1, &[0.2])).is_err());
    }
}
