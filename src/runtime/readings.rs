//! What queries of Prometheus answer that roll-outs are judged by.
//!
//! Absent on purpose: any judgement on what is answered (`windlass_plan::modeldeployment`), and a query that no roll-out
//! under way has.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use serde::de::IgnoredAny;
use windlass_api::ModelDeployment;
use windlass_plan::modeldeployment::{Answer, KEPT_READINGS, Query, Reading, Readings, queries};

use super::Context;
use super::kept::UNDER_WAY;
use super::prometheus::{Prometheus, PrometheusError, Values};

/// How often it is looked which query is due.
const EVERY: Duration = Duration::from_secs(1);
/// Queries that are asked at once, whatever roll-outs ask for.
const AT_ONCE: usize = 4;
/// Queries that are asked in one round: those that have waited longest, which is looked at anew afterwards. A Prometheus that
/// hangs holds up a round for as long as eight of them in turn may take.
const IN_A_ROUND: usize = 8 * AT_ONCE;
/// How long an answer may take. A roll-out waits for several, and for others' meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that an answer may have: it is to be one number, and several are told by their count.
const MAX_BYTES: usize = 1 << 20;

/// A ModelDeployment by its uid, and a query of its.
type Key = (String, String);

/// What was answered.
#[derive(Default)]
pub struct Answers(Mutex<HashMap<Key, Vec<Reading>>>);

impl Answers {
    /// What is known of a roll-out's queries.
    pub fn of(&self, deployment: &ModelDeployment) -> Readings {
        let uid = deployment.uid().unwrap_or_default();
        let all = self.0.lock().expect("no holder panics");
        let known = queries(deployment).into_iter().filter_map(|query| {
            let readings = all.get(&(uid.clone(), query.text.clone()))?;
            Some((query.text, readings.clone()))
        });
        Readings::Of(known.collect::<BTreeMap<_, _>>())
    }

    /// Those that are to be asked now, each once and as many as a round has, the one that was asked least recently
    /// first; what nobody asks for is forgotten.
    fn due(&self, wanted: &[(Key, Query)], now: Timestamp) -> Vec<Key> {
        let mut all = self.0.lock().expect("no holder panics");
        all.retain(|key, _| wanted.iter().any(|(wanted, _)| wanted == key));
        let last = |key: &Key| {
            all.get(key)
                .and_then(|known| known.last())
                .map(|last| last.at)
        };
        let is_due = |(key, query): &&(Key, Query)| {
            last(key).is_none_or(|last| now.duration_since(last) >= query.every)
        };
        let mut due: Vec<Key> = wanted
            .iter()
            .filter(is_due)
            .map(|(key, _)| key.clone())
            .collect();
        // Two checks may differ in no more than how their placeholders are written.
        due.sort();
        due.dedup();
        due.sort_by_key(|key| last(key));
        due.truncate(IN_A_ROUND);
        due
    }

    fn note(&self, key: Key, reading: Reading) {
        let mut all = self.0.lock().expect("no holder panics");
        let known = all.entry(key).or_default();
        known.push(reading);
        let surplus = known.len().saturating_sub(KEPT_READINGS);
        known.drain(..surplus);
    }
}

/// Asks, for ever; never, where there is no Prometheus.
pub async fn run(context: Arc<Context>) {
    let Some(prometheus) = &context.prometheus else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(EVERY).await;
        let deployments = context.stores.model_deployments.everywhere(UNDER_WAY, "");
        let wanted: Vec<(Key, Query)> = deployments
            .iter()
            .flat_map(|deployment| {
                let uid = deployment.uid().unwrap_or_default();
                let of = move |query: Query| ((uid.clone(), query.text.clone()), query);
                queries(deployment).into_iter().map(of)
            })
            .collect();
        let due = context.answers.due(&wanted, Timestamp::now());
        stream::iter(due)
            .for_each_concurrent(AT_ONCE, async |key| {
                let (is_answered, answer) = ask(prometheus, &key.1).await;
                context.metrics.asked_prometheus(is_answered);
                let at = Timestamp::now();
                context.answers.note(key, Reading { at, answer });
            })
            .await;
    }
}

/// What a query answers, and whether that is an answer at all.
async fn ask(prometheus: &Prometheus, query: &str) -> (bool, Answer) {
    let asked = prometheus.query(query, MAX_BYTES);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(values)) => (true, answer(&values)),
        Ok(Err(PrometheusError::Refused(why))) => (false, Answer::Refused(why)),
        Ok(Err(error)) => (false, Answer::Failed(error.to_string())),
        Err(_) => {
            let why = format!("asking Prometheus: no answer within {PATIENCE:?}");
            (false, Answer::Failed(why))
        }
    }
}

fn answer(values: &Values<IgnoredAny>) -> Answer {
    match &values.0[..] {
        [] => Answer::Nothing,
        // As Prometheus writes them, `NaN` and `+Inf` are read as well.
        [one] => one.value.1.parse().map_or_else(
            |_| Answer::Failed(format!("{:?} is no number", one.value.1)),
            Answer::Value,
        ),
        several => Answer::Several(several.len()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::prometheus::read;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn wanted(name: &str, every: i64) -> (Key, Query) {
        let text = name.to_owned();
        let every = SignedDuration::from_secs(every);
        (("uid".to_owned(), name.to_owned()), Query { text, every })
    }

    #[test]
    fn each_query_is_asked_in_its_interval_the_longest_waiting_first_and_what_is_gone_is_forgotten()
    {
        let answers = Answers::default();
        let all = [wanted("a", 30), wanted("b", 5)];
        let due = |now| {
            let due = answers.due(&all, at(now));
            due.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        let note = |name: &str, second| {
            let reading = Reading {
                at: at(second),
                answer: Answer::Nothing,
            };
            answers.note(wanted(name, 0).0, reading);
        };
        assert_eq!(due(0), ["a", "b"]);
        note("a", 0);
        note("b", 1);
        assert!(due(5).is_empty());
        assert_eq!(due(6), ["b"]);
        note("b", 31);
        assert_eq!(due(36), ["a", "b"]);
        for second in 40..90 {
            note("a", second);
        }
        let kept = |name: &str| {
            let all = answers.0.lock().expect("no holder panics");
            all.get(&wanted(name, 0).0).map(Vec::len)
        };
        assert_eq!(kept("a"), Some(KEPT_READINGS));
        answers.due(&all[1..], at(99));
        assert_eq!((kept("a"), kept("b")), (None, Some(2)));
    }

    #[test]
    fn a_query_that_two_checks_have_is_asked_once_and_a_round_has_an_end_after_which_the_others_come()
     {
        let answers = Answers::default();
        let names: Vec<String> = (0..=IN_A_ROUND).map(|one| format!("{one:03}")).collect();
        let mut all: Vec<_> = names.iter().map(|name| wanted(name, 30)).collect();
        all.extend(names.iter().map(|name| wanted(name, 5)));
        let first = answers.due(&all, at(0));
        let asked: Vec<&String> = first.iter().map(|(_, text)| text).collect();
        assert_eq!(asked, names[..IN_A_ROUND].iter().collect::<Vec<_>>());
        for key in first {
            let answer = Answer::Nothing;
            answers.note(key, Reading { at: at(1), answer });
        }
        let next = answers.due(&all, at(50));
        assert_eq!(next.len(), IN_A_ROUND);
        assert_eq!(next[0].1, names[IN_A_ROUND]);
    }

    #[test]
    fn one_number_is_a_value_and_anything_else_is_told_apart() {
        let of = |result: &str| {
            let body = format!(r#"{{"status":"success","data":{result}}}"#);
            let values = read(http::StatusCode::OK, body.as_bytes()).expect("an answer");
            answer(&values)
        };
        let series = r#"{"metric":{"a":"b"},"value":[1,"0.5"]}"#;
        let vector = |inner: &str| format!(r#"{{"resultType":"vector","result":[{inner}]}}"#);
        assert_eq!(of(&vector("")), Answer::Nothing);
        assert_eq!(of(&vector(series)), Answer::Value(0.5));
        assert_eq!(
            of(&vector(&format!("{series},{series}"))),
            Answer::Several(2)
        );
        assert_eq!(
            of(r#"{"resultType":"scalar","result":[1,"+Inf"]}"#),
            Answer::Value(f64::INFINITY)
        );
        let Answer::Value(value) = of(&vector(&series.replace("0.5", "NaN"))) else {
            panic!("it is read");
        };
        assert!(value.is_nan());
    }
}
