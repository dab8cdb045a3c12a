//! What queries of the administrator's Prometheus answer, held to their limits.
//!
//! ```text
//!   queries(deployment) ──> asked by the operator, each in its interval ──> Reading … ──> so many good or bad in a row?
//! ```
//!
//! A value against a limit is no sequential test: nobody knows how often it is bad by chance. So it takes several of them
//! one after the other, in this step, to pass it or to take the canary back. What is no value does neither: it says what is
//! wrong with it, and the step waits.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use windlass_api::{Analysis, AnalysisMetric, Decimal, ModelDeployment};

use super::analysis::Finding;
use super::stages::span;

/// How often a query is asked where its check does not say.
const INTERVAL: SignedDuration = SignedDuration::from_secs(30);
/// How many answers in a row it takes where its check does not say.
const COUNT: usize = 3;
/// How many answers of a query are kept: as many as a check can ask for in a row.
pub const KEPT: usize = 20;
/// Intervals without an answer after which the last one says nothing any more, and what is allowed beside.
const PATIENCE: (i32, SignedDuration) = (3, SignedDuration::from_secs(30));
/// Bytes of what Prometheus says that go into a status.
const MOST_SAID: usize = 300;

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In PromQL, with everything that stands for something replaced.
    pub text: String,
    /// How often.
    pub every: SignedDuration,
}

/// What a query answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One number, which may be none (NaN).
    Value(f64),
    /// No series.
    Nothing,
    /// So many series, where there is to be one.
    Several(usize),
    /// Prometheus does not take the query.
    Refused(String),
    /// There was no answer, or none that could be read.
    Failed(String),
}

/// An answer, and when it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// Of what.
    pub answer: Answer,
}

/// What is known of a roll-out's queries.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Readings {
    /// The operator was given no Prometheus.
    #[default]
    NoPrometheus,
    /// The newest answers by the text of the query, the newest last.
    Of(BTreeMap<String, Vec<Reading>>),
}

/// The names that stand for something in a query.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The ModelDeployment's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The ModelVersion that serves.
    pub stable: &'a str,
    /// The one that is tried.
    pub canary: &'a str,
}

/// What a check of this metric is held to.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What was answered.
    pub readings: &'a Readings,
    /// Of whom.
    pub names: Names<'a>,
    /// Answers from before are not of this step.
    pub since: Timestamp,
    /// When it is looked at.
    pub now: Timestamp,
}

/// What is to be asked for a ModelDeployment that rolls; nothing where nothing does. What stands for nothing is not asked.
pub fn queries(deployment: &ModelDeployment) -> Vec<Query> {
    let Some(status) = &deployment.status else {
        return Vec::new();
    };
    let (Some(canary), Some(stable)) = (&status.canary, &status.stable) else {
        return Vec::new();
    };
    let names = Names {
        namespace: deployment.metadata.namespace.as_deref().unwrap_or_default(),
        name: deployment.metadata.name.as_deref().unwrap_or_default(),
        stable: &stable.version,
        canary: &canary.version,
    };
    let checks = deployment.spec.rollout.analysis.iter();
    let of = |check: &Analysis| {
        Some(Query {
            text: expanded(check.query.as_deref()?, names).ok()?,
            every: interval(check),
        })
    };
    checks
        .filter(|check| check.metric == AnalysisMetric::Prometheus)
        .filter_map(of)
        .collect()
}

fn interval(check: &Analysis) -> SignedDuration {
    check.interval.as_ref().map_or(INTERVAL, span)
}

/// A query with the names that it is about; or what stands for nothing in it.
fn expanded(query: &str, names: Names<'_>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or("{{ without }}")?;
        text.push_str(before);
        text.push_str(match name.trim() {
            "namespace" => names.namespace,
            "name" => names.name,
            "stable" => names.stable,
            "canary" => names.canary,
            other => return Err(format!("{{{{ {other} }}}}")),
        });
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// What is so with the check of this number.
pub fn judge(number: usize, check: &Analysis, asked: &Asked<'_>) -> Finding {
    let field = format!("spec.rollout.analysis[{number}].query");
    let query = check.query.as_deref().unwrap_or_default();
    let text = match expanded(query, asked.names) {
        Ok(text) => text,
        Err(unknown) => {
            return Finding::Wait(format!(
                "{field} has {unknown}, which stands for nothing: {{{{ namespace }}}}, {{{{ name }}}}, {{{{ stable }}}} and {{{{ canary }}}} do. Mend it: until then the step waits"
            ));
        }
    };
    let all = match asked.readings {
        Readings::NoPrometheus => {
            return Finding::Wait(format!(
                "{field} is asked of nobody: the operator was given no Prometheus. Who runs it gives it one (prometheus.url of the chart), or take the check out: until then the step waits"
            ));
        }
        Readings::Of(all) => all.get(&text).map_or(&[][..], Vec::as_slice),
    };
    let first = all.partition_point(|reading| reading.at < asked.since);
    let all = &all[first..];
    let every = interval(check);
    let stale = every * PATIENCE.0 + PATIENCE.1;
    let newest = all.last().map(|reading| (&reading.answer, reading.at));
    let Some((answer, at)) = newest else {
        return Finding::Wait(format!("{field} has no answer in this step yet"));
    };
    if asked.now.duration_since(at) > stale {
        return Finding::Wait(format!(
            "{field} was answered at {at} last: the step waits until it is again"
        ));
    }
    match answer {
        Answer::Value(value) if value.is_finite() => held(&field, check, all, *value, asked.now),
        other => Finding::Wait(format!("{field} {}", unusable(other, &text))),
    }
}

/// Why an answer is of no use, and what to do.
fn unusable(answer: &Answer, text: &str) -> String {
    match answer {
        Answer::Value(value) => format!(
            "answers {value}, which is no number to hold to a limit (often of a division by a rate of 0): the step waits until it is one"
        ),
        Answer::Nothing => format!(
            "answers nothing: Prometheus has no series for {}. Look at its labels and names there: until then the step waits",
            cut(text)
        ),
        Answer::Several(count) => format!(
            "answers {count} series where it has to be one: put sum(…), max(…) or avg(…) around it. Until then the step waits"
        ),
        Answer::Refused(why) => format!(
            "is refused by Prometheus: {}. Mend it: until then the step waits",
            cut(why)
        ),
        Answer::Failed(why) => format!(
            "has no answer: {}. The step waits until Prometheus answers",
            cut(why)
        ),
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_SAID)]
}

/// Whether so many values in a row are good, or bad.
fn held(field: &str, check: &Analysis, all: &[Reading], value: f64, now: Timestamp) -> Finding {
    let of = |limit: &Option<Decimal>| limit.as_ref().and_then(|limit| limit.value().ok());
    let (min, max) = (of(&check.min), of(&check.max));
    let is_good =
        |value: f64| min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max);
    let good = is_good(value);
    let is_alike = |reading: &&Reading| match reading.answer {
        Answer::Value(value) => value.is_finite() && is_good(value) == good,
        Answer::Nothing | Answer::Several(_) | Answer::Refused(_) | Answer::Failed(_) => false,
    };
    let wanted = check
        .count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(COUNT);
    let row = all.iter().rev().take_while(is_alike).count();
    let limits = match (&check.min, &check.max) {
        (Some(min), Some(max)) => format!("{min} to {max} is good"),
        (Some(min), None) => format!("{min} or more is good"),
        (None, Some(max)) => format!("{max} or less is good"),
        (None, None) => "no limit is given".to_owned(),
    };
    let told = Decimal::from_f64(value).map_or_else(|| value.to_string(), |told| told.0);
    let words = format!("{field} answers {told} ({limits})");
    if row >= wanted {
        let words = format!("{words}, {wanted} times one after the other");
        return if good {
            Finding::Good(words)
        } else {
            Finding::Harm(words)
        };
    }
    let left = i32::try_from(wanted - row).unwrap_or(i32::MAX);
    let end = interval(check)
        .checked_mul(left)
        .and_then(|left| now.checked_add(left).ok())
        .and_then(|end| end.round(jiff::Unit::Second).ok())
        .map(|end| format!(", at about {end}"))
        .unwrap_or_default();
    let then = if good {
        "the step may pass"
    } else {
        "the canary is taken back"
    };
    Finding::Wait(format!(
        "{words}, {row} of {wanted} times one after the other: after that {then}{end}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    const NAMES: Names<'static> = Names {
        namespace: "growth",
        name: "churn",
        stable: "churn-1",
        canary: "churn-2",
    };

    fn check() -> Analysis {
        Analysis {
            query: Some("up{v=\"{{ canary }}\"}".to_owned()),
            max: Some("0.01".into()),
            ..Analysis::of(AnalysisMetric::Prometheus)
        }
    }

    /// What is found of these answers, one each half a minute from the beginning of the step, a second after the last.
    fn found(check: &Analysis, answers: &[Answer]) -> Finding {
        let all = answers.iter().zip(0..).map(|(answer, place)| Reading {
            at: at(1000 + 30 * place),
            answer: answer.clone(),
        });
        let all: Vec<Reading> = all.collect();
        let now = all
            .last()
            .map_or(at(1001), |last| last.at + SignedDuration::from_secs(1));
        let readings = Readings::Of([("up{v=\"churn-2\"}".to_owned(), all)].into());
        judge(3, check, &asked(&readings, 1000, now))
    }

    fn asked(readings: &Readings, since: i64, now: Timestamp) -> Asked<'_> {
        Asked {
            readings,
            names: NAMES,
            since: at(since),
            now,
        }
    }

    #[test]
    fn names_stand_for_what_they_say_and_nothing_else_does() {
        for (query, expected) in [
            ("up", Ok("up")),
            (
                r#"up{namespace="{{ namespace }}",version=~"{{canary}}|{{ stable }}",d="{{name}}"}"#,
                Ok(r#"up{namespace="growth",version=~"churn-2|churn-1",d="churn"}"#),
            ),
            ("up{a='{{ target }}'}", Err("{{ target }}")),
            ("up{a='{{ canary }'}", Err("{{ without }}")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(expanded(query, NAMES), expected, "{query}");
        }
    }

    #[test]
    fn so_many_values_in_a_row_decide_and_no_others() {
        use Answer::{Failed, Nothing, Refused, Several, Value};
        let (good, bad) = (Value(0.01), Value(0.011));
        let rows: [(&str, Vec<Answer>, &str); 13] = [
            ("nothing yet", vec![], "Wait"),
            ("two good ones", vec![good.clone(), good.clone()], "Wait"),
            ("three good ones", vec![good.clone(); 3], "Good"),
            ("two bad ones", vec![bad.clone(); 2], "Wait"),
            ("three bad ones", vec![bad.clone(); 3], "Harm"),
            (
                "a good one among bad ones",
                vec![
                    bad.clone(),
                    bad.clone(),
                    good.clone(),
                    bad.clone(),
                    bad.clone(),
                ],
                "Wait",
            ),
            (
                "a bad one after good ones",
                vec![good.clone(), good.clone(), good.clone(), bad.clone()],
                "Wait",
            ),
            (
                "a gap among bad ones",
                vec![bad.clone(), bad.clone(), Nothing, bad.clone()],
                "Wait",
            ),
            (
                "no series",
                vec![bad.clone(), bad.clone(), bad.clone(), Nothing],
                "Wait",
            ),
            (
                "several",
                vec![good.clone(), good.clone(), good.clone(), Several(2)],
                "Wait",
            ),
            (
                "no number",
                vec![bad.clone(), bad.clone(), bad.clone(), Value(f64::NAN)],
                "Wait",
            ),
            (
                "a division by nothing",
                vec![Value(f64::INFINITY); 4],
                "Wait",
            ),
            (
                "refused, then away",
                vec![Refused(String::new()), Failed(String::new())],
                "Wait",
            ),
        ];
        for (what, answers, expected) in rows {
            let found = format!("{:?}", found(&check(), &answers));
            assert!(found.starts_with(expected), "{what}: {found}");
        }
    }

    #[test]
    fn a_value_is_good_between_its_limits_and_as_often_as_is_asked_for() {
        for (min, max, value, expected) in [
            (None, Some("0.5"), 0.5, "Good"),
            (Some("0.5"), None, 0.5, "Good"),
            (Some("0.5"), None, 0.4, "Harm"),
            (Some("-1"), Some("1"), 0.0, "Good"),
            (Some("-1"), Some("1"), -1.5, "Harm"),
            (Some("-1"), Some("1"), 1.5, "Harm"),
        ] {
            let check = Analysis {
                min: min.map(Into::into),
                max: max.map(Into::into),
                count: Some(1),
                ..check()
            };
            let found = format!("{:?}", found(&check, &[Answer::Value(value)]));
            assert!(
                found.starts_with(expected),
                "{min:?} {max:?} {value}: {found}"
            );
        }
    }

    #[test]
    fn what_is_no_value_is_told_with_its_place_its_cause_and_what_to_do() {
        let refused = "invalid parameter \"query\": 1:5: parse error: unclosed left brace";
        for (answer, parts) in [
            (
                Answer::Nothing,
                [
                    "answers nothing",
                    "no series for up{v=\"churn-2\"}",
                    "labels",
                ],
            ),
            (
                Answer::Several(7),
                ["answers 7 series", "has to be one", "sum("],
            ),
            (
                Answer::Value(f64::NAN),
                ["answers NaN", "division", "waits"],
            ),
            (
                Answer::Refused(refused.to_owned()),
                ["is refused", refused, "Mend it"],
            ),
            (
                Answer::Failed("asking Prometheus: connection refused".to_owned()),
                [
                    "has no answer",
                    "connection refused",
                    "waits until Prometheus answers",
                ],
            ),
        ] {
            let Finding::Wait(said) = found(&check(), std::slice::from_ref(&answer)) else {
                panic!("{answer:?}");
            };
            assert!(
                said.starts_with("spec.rollout.analysis[3].query "),
                "{said}"
            );
            for part in parts {
                assert!(said.contains(part), "{said} has no {part}");
            }
        }
        let other = Analysis {
            query: Some("up{a='{{ target }}'}".to_owned()),
            ..check()
        };
        for (check, readings, part) in [
            (
                &other,
                Readings::Of(BTreeMap::new()),
                "has {{ target }}, which stands for nothing: {{ namespace }}",
            ),
            (
                &check(),
                Readings::NoPrometheus,
                "the operator was given no Prometheus",
            ),
        ] {
            let Finding::Wait(said) = judge(0, check, &asked(&readings, 0, at(1))) else {
                panic!("{readings:?}");
            };
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn answers_of_the_step_before_and_those_that_are_old_say_nothing() {
        let all = (0..5).map(|place| Reading {
            at: at(1000 + 30 * place),
            answer: Answer::Value(9.0),
        });
        let readings = Readings::Of([("up{v=\"churn-2\"}".to_owned(), all.collect())].into());
        let of = |since, now| {
            format!(
                "{:?}",
                judge(0, &check(), &asked(&readings, since, at(now)))
            )
        };
        assert!(of(1000, 1121).starts_with("Harm"), "{}", of(1000, 1121));
        assert!(
            of(1061, 1121).contains("2 of 3 times"),
            "{}",
            of(1061, 1121)
        );
        assert!(of(1121, 1121).contains("no answer in this step yet"));
        assert!(of(1000, 1240).starts_with("Harm"), "{}", of(1000, 1240));
        let old = of(1000, 1241);
        assert!(
            old.contains("was answered at 1970-01-01T00:18:40Z last"),
            "{old}"
        );
    }
}
