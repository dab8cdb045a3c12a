//! What the words of the page mean, in plain English.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use windlass_api::agent::WindowVerdict;
use windlass_statistics::drift::method::Method;

use super::super::results::Results;
use super::super::saying;

/// The words, with those of the distances that were used.
pub fn section(results: &Results) -> String {
    let mut page = "<dl>\n".to_owned();
    let mut say = |word: &str, meaning: &str| {
        let _ = writeln!(page, "<dt>{word}</dt>\n<dd>{meaning}</dd>");
    };
    for verdict in [
        WindowVerdict::Healthy,
        WindowVerdict::Drifting,
        WindowVerdict::Drifted,
        WindowVerdict::DataBroken,
        WindowVerdict::NotEnoughData,
        WindowVerdict::Failed,
    ] {
        say(saying::verdict(verdict), saying::meaning(verdict));
    }
    for (word, meaning) in WORDS {
        say(word, meaning);
    }
    let segments = results.segments.iter().map(|segment| &segment.columns);
    let columns = [&results.columns].into_iter().chain(segments).flatten();
    let methods: BTreeSet<Method> = columns.map(|column| column.method).collect();
    for method in methods {
        say(method.title(), meaning(method));
    }
    page.push_str("</dl>\n");
    page
}

const WORDS: [(&str, &str); 9] = [
    (
        "Window, reference",
        "The rows that are judged, and those that they are compared with: what the model was judged on, or the data that were given.",
    ),
    (
        "Distance",
        "How different the two distributions of a column are; 0 if they are the same. Two samples of the same thing are never quite equal: what chance alone adds at these numbers of rows is taken off.",
    ),
    (
        "At least",
        "The lower confidence bound of the distance. It is what the threshold is held against, so that a distance that is only large by chance is no drift.",
    ),
    (
        "Threshold",
        "How large a distance matters. It is a matter of opinion, which is why it can be set for each column.",
    ),
    (
        "p-value",
        "How often samples of one and the same distribution would differ as much by chance. It is corrected for the number of columns. A small one says that there is a difference, and not that it is large.",
    ),
    (
        "Mean shift",
        "How far the mean has moved, in standard deviations (sd) of the reference.",
    ),
    (
        "No value",
        "Rows in which the column is empty: their share in the reference and in the window.",
    ),
    (
        "Worth in independent rows",
        "Rows of the same user or device resemble each other and say less than as many rows of different ones. This is how many independent rows would say as much.",
    ),
    (
        "Interval",
        "Where the true value is to be expected, at the confidence that was asked for.",
    ),
];

const fn meaning(method: Method) -> &'static str {
    match method {
        Method::Psi => {
            "Population stability index: a distance of the shares of rows in ten or so bins, or levels. 0.1 is often called a small change, 0.2 or 0.25 a large one."
        }
        Method::JensenShannon => {
            "The root of how much a row's bin or level tells of whether it is of the reference or of the window: from 0 to 1."
        }
        Method::Hellinger => {
            "A distance of the roots of the shares of rows in bins or levels: from 0 to 1."
        }
        Method::ChiSquare => {
            "What the chi-square statistic comes to in two samples of one size, whatever size they are: from 0 to 1."
        }
        Method::CramersV => {
            "How strongly a row's bin or level depends on whether it is of the reference or of the window: from 0 to 1."
        }
        Method::TotalVariation => {
            "The share of rows that would have to change their bin or level for both distributions to be the same: from 0 to 1."
        }
        Method::KolmogorovSmirnov => {
            "The largest difference of the shares of rows up to a value, over all values: from 0 to 1."
        }
        Method::MeanShift => {
            "How far the mean has moved, in standard deviations of the reference. Beside PSI it is enough by itself: PSI is slow to see it."
        }
        Method::MeanEmbedding => {
            "How far the mean vector has moved, over how far vectors lie from theirs in the reference: 0 where it has not."
        }
        Method::DomainClassifier => {
            "How well a classifier tells rows of the window from rows of the reference: 0 where it cannot, 1 where it always can."
        }
        Method::Wasserstein => {
            "How far values have to be moved on average for both distributions to be the same, in standard deviations of the reference."
        }
    }
}
