//! The baseline: the profile of the rows that a model was judged on, and of its answers.

use windlass_api::agent::{Encoding, Profile, Scores, SegmentProfile, Signature};
use windlass_statistics::cells::Cells;
use windlass_statistics::sample::{THRESHOLD, most_probable};

use super::segments::Members;
use crate::data::answers::Answers;
use crate::data::encode::{RawFeature, Values};
use crate::profile::column::Kind;
use crate::profile::sketch::Asked;
use crate::profile::{PREDICTION, Profiles};

/// In how many cells scores are counted, where there are more of them; and in how many bins they are told.
const SCORE_CELLS: usize = 1024;
const SCORE_BINS: u64 = 100;

/// The profile of the rows as the payload log would have them: there, a category that the model does not know is null,
/// of several classes the most probable is the prediction, and a text that is not there is the empty one that the model is asked.
/// Of texts some rows are kept, as [`crate::profile::room`] has it.
pub struct Baseline<'a> {
    signature: &'a Signature,
    profiles: Profiles,
    /// Of the rows that meet a predicate.
    segments: Vec<(String, Profiles)>,
    /// Rows by score: all, and those of class 1; absent where labels and answers are not of two classes.
    scores: Option<Cells<[u64; 2]>>,
}

impl<'a> Baseline<'a> {
    /// Of a model's rows, and of those that meet one of these predicates; by the time in this column, where one has it.
    pub fn new(signature: &'a Signature, segments: &[String], time: Option<&str>) -> Self {
        let profiles = || {
            let inputs = signature.inputs.iter();
            let inputs = inputs.map(|input| asked(&input.name, kind(&input.encoding)));
            let all = inputs.chain([asked(PREDICTION, Kind::Number)]);
            Profiles::new(all.collect(), segments.len(), time)
        };
        Self {
            signature,
            profiles: profiles(),
            segments: segments
                .iter()
                .map(|segment| (segment.clone(), profiles()))
                .collect(),
            scores: Some(Cells::new(SCORE_CELLS)),
        }
    }

    /// Takes the features of rows, which are in the order of the signature, their times, where a column has them, the answers,
    /// the labels, and which rows are of which segment: those of predicates are the first.
    pub fn add(
        &mut self,
        mut features: Vec<RawFeature>,
        times: &[Option<i64>],
        answers: &Answers,
        labels: &[f64],
        members: &Members,
    ) {
        let inputs = &self.signature.inputs;
        for (input, feature) in inputs.iter().zip(&mut features) {
            match (&input.encoding, &mut feature.values) {
                (Encoding::Category { categories }, Values::Category(texts)) => {
                    for text in texts {
                        text.take_if(|text| !categories.contains(text));
                    }
                }
                (Encoding::Text, Values::Category(texts)) => {
                    for text in texts {
                        text.get_or_insert_default();
                    }
                }
                (_, Values::Number(_) | Values::Vector { .. })
                | (Encoding::Number | Encoding::Vector { .. }, Values::Category(_)) => {}
            }
        }
        features.push(RawFeature {
            name: PREDICTION.to_owned(),
            values: predictions(&self.signature.output.classes, answers),
        });
        let first = self.profiles.rows() as u64;
        let places: Vec<u64> = (first..).take(answers.rows()).collect();
        self.profiles.add(&places, times, &features);
        for (segment, rows) in members.all() {
            if let Some((_, profiles)) = self.segments.get_mut(segment) {
                let part: Vec<RawFeature> =
                    features.iter().map(|feature| only(feature, rows)).collect();
                let places: Vec<u64> = rows.iter().map(|row| first + u64::from(*row)).collect();
                let times = rows.iter().filter_map(|row| times.get(*row as usize));
                let times: Vec<Option<i64>> = times.copied().collect();
                profiles.add(&places, &times, &part);
            }
        }
        self.score(answers, labels);
    }

    fn score(&mut self, answers: &Answers, labels: &[f64]) {
        let is_of_two = |label: &f64| [0.0, 1.0].contains(label);
        let is_score = |answer: &f64| (0.0..=1.0).contains(answer);
        let is_classifier = answers.width == 1
            && labels.len() == answers.values.len()
            && labels.iter().all(is_of_two)
            && answers.values.iter().all(is_score);
        if !is_classifier {
            self.scores = None;
        }
        if let Some(scores) = &mut self.scores {
            for (label, answer) in labels.iter().zip(&answers.values) {
                scores.add(*answer, [1, u64::from(*label > 0.5)]);
            }
        }
    }

    /// What was counted.
    pub fn profile(self) -> Profile {
        let segments = self.segments.into_iter().map(|(segment, profiles)| {
            let profile = profiles.profile();
            SegmentProfile {
                segment,
                rows: profile.rows,
                columns: profile.columns,
                times: profile.times,
            }
        });
        Profile {
            segments: segments.collect(),
            scores: self.scores.and_then(binned),
            ..self.profiles.profile()
        }
    }
}

/// Rows by score, in bins of about equal counts of which one begins where answers become class 1.
fn binned(mut cells: Cells<[u64; 2]>) -> Option<Scores> {
    cells.settle();
    let total: u64 = cells.all().map(|[rows, _]| rows).sum();
    let mut scores = Scores {
        rows: vec![0],
        positives: vec![0],
        ..Scores::default()
    };
    let (mut seen, mut bin, mut before) = (0, 1, f64::NEG_INFINITY);
    for (at, [rows, positives]) in cells.points() {
        let begins = before < THRESHOLD && at >= THRESHOLD;
        let is_full = seen * SCORE_BINS >= bin * total;
        if seen > 0 && (begins || is_full) {
            scores.edges.push(if begins { THRESHOLD } else { at });
            scores.rows.push(0);
            scores.positives.push(0);
            bin = seen * SCORE_BINS / total.max(1) + 1;
        }
        if begins {
            scores.threshold = scores.rows.len() as u64 - 1;
        }
        before = at;
        seen += rows;
        *scores.rows.last_mut()? += rows;
        *scores.positives.last_mut()? += positives;
    }
    // Where no answer was class 1, none of the bins is.
    if before < THRESHOLD {
        scores.threshold = scores.rows.len() as u64;
    }
    (total > 0).then_some(scores)
}

fn only(feature: &RawFeature, rows: &[u32]) -> RawFeature {
    let rows = rows.iter().map(|row| *row as usize);
    let values = match &feature.values {
        Values::Number(values) => Values::Number(rows.map(|row| values[row]).collect()),
        Values::Category(values) => Values::Category(rows.map(|row| values[row].clone()).collect()),
        Values::Vector { length, values } => Values::Vector {
            length: *length,
            values: rows.map(|row| values[row].clone()).collect(),
        },
    };
    RawFeature {
        name: feature.name.clone(),
        values,
    }
}

fn asked(name: &str, kind: Kind) -> Asked {
    Asked {
        name: name.to_owned(),
        kind,
        starts: Vec::new(),
    }
}

fn kind(encoding: &Encoding) -> Kind {
    match encoding {
        Encoding::Number => Kind::Number,
        Encoding::Category { .. } => Kind::Category,
        Encoding::Text => Kind::Text,
        Encoding::Vector { length } => Kind::Embedding(usize::from(length.get())),
    }
}

fn predictions(classes: &[String], answers: &Answers) -> Values {
    if answers.width <= 1 {
        return Values::Number(answers.values.iter().copied().map(Some).collect());
    }
    let name = |row| classes.get(most_probable(answers.of(row))).cloned();
    Values::Category((0..answers.rows()).map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(values: Vec<f64>) -> Answers {
        Answers { values, width: 1 }
    }

    #[test]
    fn scores_are_told_with_a_bin_that_begins_at_the_threshold() {
        let signature = Signature::default();
        let mut baseline = Baseline::new(&signature, &[], None);
        let scores: Vec<f64> = (0..1000).map(|row| f64::from(row) / 1000.0).collect();
        let labels: Vec<f64> = (0..1000)
            .map(|row| f64::from(u8::from(row % 4 == 0)))
            .collect();
        let none = Members::default();
        baseline.add(Vec::new(), &[], &answers(scores), &labels, &none);
        let scores = baseline.profile().scores.expect("two classes");
        assert_eq!(scores.rows.iter().sum::<u64>(), 1000);
        assert_eq!(scores.positives.iter().sum::<u64>(), 250);
        let threshold = usize::try_from(scores.threshold).expect("small");
        assert!((scores.edges[threshold - 1] - 0.5).abs() < 1e-12);
        let below: u64 = scores.rows[..threshold].iter().sum();
        assert_eq!(below, 500);
        assert!(
            (95..=105).contains(&scores.rows.len()),
            "{}",
            scores.rows.len()
        );
    }

    #[test]
    fn of_values_that_are_no_classes_there_are_no_scores() {
        let signature = Signature::default();
        for (answer, label) in [(1.5, 1.0), (0.5, 2.0)] {
            let mut baseline = Baseline::new(&signature, &[], None);
            let none = Members::default();
            for (answer, label) in [(0.1, 1.0), (answer, label)] {
                let answers = answers(vec![answer]);
                baseline.add(Vec::new(), &[], &answers, &[label], &none);
            }
            assert_eq!(baseline.profile().scores, None);
        }
        let none = Baseline::new(&signature, &[], None);
        assert_eq!(none.profile().scores, None);
    }
}
