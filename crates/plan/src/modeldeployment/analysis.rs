//! Whether a canary does as well as the stable version, from what their proxies counted.
//!
//! Harm stops a roll-out at once; good is only said when enough was seen, and in the last step only of what has been shown to
//! be no worse. Between the two the step goes on. All of it is looked at again and again: it is decided by tests that may be
//! ([`windlass_statistics::sequential`]), and the one in a hundred of good canaries that may be taken back is shared out
//! between them ([`super::levels`]).

mod labelled;

use jiff::Timestamp;
use windlass_api::{Analysis, AnalysisMetric, LabelledSeen};
use windlass_statistics::gate::Decision;
use windlass_statistics::histogram;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::sequential::{Distance, Share, Shares};

use super::comparison::{Comparison, KNOWN, Slow};
use super::evidence::{Evidence, limit};
use super::levels::{LEVEL_OF_HARM, LEVEL_OF_PASS, Levels, decides_at};
use super::pace::Pace;
use super::readings::{self, Asked, Names, Readings};
use super::traffic::{Traffic, float};

/// What the analysis of a step says.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Everything holds, on enough requests.
    Good(String),
    /// Nothing is known to be wrong, but not enough is known.
    Wait(String),
    /// The canary is worse.
    Harm(String),
}

/// What has been seen of both sides.
#[allow(
    clippy::struct_excessive_bools,
    reason = "what was seen, each by itself"
)]
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The canary's traffic in this step.
    pub canary: &'a Traffic,
    /// The stable version's.
    pub stable: &'a Traffic,
    /// Whether the stable version has a pod that answers.
    pub stable_answers: bool,
    /// How they compare; absent before both were asked.
    pub evidence: Option<&'a Evidence>,
    /// What queries of Prometheus answered.
    pub readings: &'a Readings,
    /// What labels said; absent where none are asked for.
    pub labelled: Option<&'a LabelledSeen>,
    /// Of whom.
    pub names: Names<'a>,
    /// When the step began.
    pub since: Timestamp,
    /// When it is looked at.
    pub now: Timestamp,
    /// How many steps there are.
    pub steps: usize,
    /// Whether it is the last step, after which the canary takes all.
    pub is_last: bool,
    /// Whether the steps are over, and only pods are awaited.
    pub is_over: bool,
    /// Whether both have traffic to be compared; where they have not, Prometheus alone is asked.
    pub is_compared: bool,
}

impl Seen<'_> {
    /// How fast something comes of which so many were counted in this step.
    fn pace(&self, count: u64) -> Pace {
        Pace {
            count,
            since: self.canary.since.unwrap_or(self.since),
            now: self.now,
        }
    }
}

/// Judges a canary against the stable version.
pub fn judge(checks: &[Analysis], seen: &Seen<'_>, min_requests: u64) -> Finding {
    let mut said = Vec::new();
    let requests = seen.canary.requests;
    let mut enough = seen.is_over || requests >= min_requests;
    if !enough {
        let left = float(min_requests.saturating_sub(requests));
        said.push(format!(
            "the canary has answered {requests} of {min_requests} requests that a step needs ({})",
            seen.pace(requests).until(left)
        ));
    }
    let judged = Judged {
        seen,
        levels: Levels::of(checks, seen.steps),
    };
    let is_judged =
        |check: &Analysis| seen.is_compared || check.metric == AnalysisMetric::Prometheus;
    let judged_checks = checks.iter().enumerate();
    for (number, check) in judged_checks.filter(|(_, check)| is_judged(check)) {
        let finding = match check.metric {
            AnalysisMetric::ErrorRate => judged.errors(checks),
            AnalysisMetric::LatencyP99
            | AnalysisMetric::TimeToFirstToken
            | AnalysisMetric::TimePerOutputToken => judged.time(check),
            AnalysisMetric::PredictionDrift => judged.predictions(checks),
            AnalysisMetric::Agreement => judged.agreement(checks),
            AnalysisMetric::LabelledErrorRate => judged.labels(checks),
            AnalysisMetric::Prometheus => judged.reading(number, check),
        };
        match finding {
            Finding::Harm(why) => return Finding::Harm(why),
            Finding::Good(why) => said.push(why),
            Finding::Wait(why) => {
                enough = false;
                said.push(why);
            }
        }
    }
    let said = said.join("; ");
    if enough {
        Finding::Good(said)
    } else {
        Finding::Wait(said)
    }
}

/// What more of would show most.
const REQUESTS: &str = "requests to the canary";

/// What looks worse than is allowed, and is not shown to be.
fn may_be_chance(words: &str, of: &str, shares: &Shares) -> Finding {
    let [higher, allowed] = [higher(shares), shares.allowed].map(|share| share * 100.0);
    Finding::Wait(format!(
        "{words}: the share of {of} lies higher by {higher:.1} percentage points ({allowed:.1} are allowed), which may be chance"
    ))
}

/// How a comparison of two shares is told.
struct Told<'a> {
    /// The counts, such as `errors 3/100 against 1/400 of the stable version`.
    words: fn(&Shares) -> String,
    /// What the share is of, such as `errors`.
    of: &'a str,
    /// What more of would show it.
    trials: &'a str,
    /// How fast what is counted comes.
    pace: Pace,
}

struct Judged<'a> {
    seen: &'a Seen<'a>,
    levels: Levels,
}

impl Judged<'_> {
    fn errors(&self, checks: &[Analysis]) -> Finding {
        if super::evidence::allowed_errors(checks).is_none() {
            return Finding::Good("errors are not judged".to_owned());
        }
        let evidence = self.seen.evidence;
        let errors = evidence.and_then(|evidence| evidence.errors);
        let known = errors.map_or(0, |errors| errors.rollout.stable.trials);
        let requests = self.seen.canary.requests;
        let is_alone = requests > 0
            && self.seen.stable.requests == 0
            && (known == 0 || !self.seen.stable_answers);
        let alone = evidence.and_then(|evidence| evidence.alone);
        if let Some(alone) = alone.filter(|alone| is_alone && alone.seen.trials > 0) {
            return self.alone(&alone);
        }
        let told = Told {
            words: |shares| {
                format!(
                    "errors {} against {} of the stable version",
                    counts(shares.candidate),
                    counts(shares.stable)
                )
            },
            of: "errors",
            trials: REQUESTS,
            pace: self.seen.pace(requests),
        };
        match errors.filter(|_| known > 0) {
            Some(errors) => self.shares(&errors, &told),
            None => Finding::Wait("no request to the canary yet".to_owned()),
        }
    }

    /// Where the stable version has had no request (it may have no pods left), nothing is held in its favour.
    fn alone(&self, errors: &Share) -> Finding {
        let words = format!(
            "errors {}, and none of the stable version's to compare them with ({} is allowed)",
            counts(errors.seen),
            errors.limit
        );
        match errors.decision(self.levels.alone, LEVEL_OF_PASS) {
            Decision::Fail => Finding::Harm(words),
            Decision::Pass => Finding::Good(words),
            Decision::Inconclusive => {
                let share = errors.seen.value().unwrap_or(0.0);
                let pace = self.seen.pace(self.seen.canary.requests);
                let wanted = wanted(errors.trials_to_pass(LEVEL_OF_PASS), "requests", pace);
                if self.seen.is_last || share > errors.limit {
                    Finding::Wait(format!("{words}: that is not shown yet; {wanted}"))
                } else {
                    Finding::Good(words)
                }
            }
        }
    }

    /// How long something of a request takes.
    fn time(&self, check: &Analysis) -> Finding {
        let of = match check.metric {
            AnalysisMetric::TimeToFirstToken => "p99 time to the first token",
            AnalysisMetric::TimePerOutputToken => "p99 time of each token",
            _ => "p99 latency",
        };
        let allowed = limit(std::slice::from_ref(check), check.metric).unwrap_or(f64::INFINITY);
        let times = [self.seen.canary, self.seen.stable].map(|side| side.times(check.metric));
        let [new, old] = times
            .each_ref()
            .map(|times| histogram::quantile(&times.bounds_ms, &times.counts, 0.99));
        let slow = self.seen.evidence.and_then(|one| one.slow(check.metric));
        let words = match (new, old) {
            (Some(new), Some(old)) => {
                format!(
                    "{of} {} against {} ms ({allowed} times is allowed)",
                    ms(new),
                    ms(old)
                )
            }
            (Some(new), None)
                if !self.seen.stable_answers
                    || slow.is_none_or(|slow| slow.slow_from().is_none()) =>
            {
                let words = format!(
                    "{of} {} ms, and none of the stable version's to compare it with",
                    ms(new)
                );
                // Where nothing else serves, nobody is held up by it.
                return if self.seen.is_last && self.seen.stable_answers {
                    Finding::Wait(format!(
                        "{words}: that it is no slower is not shown; send the stable version requests, too, or let it pass"
                    ))
                } else {
                    Finding::Good(words)
                };
            }
            _ => {
                return Finding::Wait(format!("no {} measured yet", of.trim_start_matches("p99 ")));
            }
        };
        let told = Told {
            words: |shares| {
                format!(
                    "{} requests were slow against {} of the stable version",
                    counts(shares.candidate),
                    counts(shares.stable)
                )
            },
            of: "slow requests",
            trials: REQUESTS,
            pace: self.seen.pace(times[0].all()),
        };
        // What is slow has to be told from what is not.
        let [_, old] = &times;
        let from = slow.and_then(Slow::slow_from).or_else(|| old.slow_from());
        let longest = old.bounds_ms.last().copied().unwrap_or(f64::INFINITY);
        let is_measured = from.is_some_and(|from| from * allowed <= longest);
        if old.all() >= KNOWN && !is_measured {
            return Finding::Wait(format!(
                "{words}: what is slow would lie above {} s, the longest time that is told from longer ones; take this check out of spec.rollout.analysis, or let the model answer sooner",
                longest / 1000.0
            ));
        }
        let is_known = |slow: &&Slow| slow.shares.rollout.stable.trials > 0;
        let Some(slow) = slow.filter(is_known) else {
            return Finding::Wait(format!(
                "{words}: too few requests of the stable version to tell which are slow"
            ));
        };
        match self.shares(&slow.shares, &told) {
            Finding::Harm(why) => Finding::Harm(format!("{words}: {why}")),
            Finding::Wait(why) => Finding::Wait(format!("{words}: {why}")),
            Finding::Good(_) => Finding::Good(words),
        }
    }

    /// What is so with two shares that are compared.
    fn shares(&self, compared: &Comparison, told: &Told<'_>) -> Finding {
        if let Some(why) = self.harm(compared, told) {
            return Finding::Harm(why);
        }
        let step = &compared.step;
        let (words, points) = ((told.words)(step), step.allowed * 100.0);
        match step.decision(self.levels.step, LEVEL_OF_PASS) {
            Decision::Pass | Decision::Fail => Finding::Good(words),
            Decision::Inconclusive if higher(step) > step.allowed => {
                may_be_chance(&words, told.of, step)
            }
            // Only who is to take all the traffic has to have shown that it is no worse.
            Decision::Inconclusive if !self.seen.is_last => Finding::Good(words),
            Decision::Inconclusive => {
                let wanted = wanted(step.trials_to_pass(LEVEL_OF_PASS), told.trials, told.pace);
                Finding::Wait(format!(
                    "{words}: that the share of {} is higher by no more than {points:.1} percentage points is not shown yet; {wanted}",
                    told.of
                ))
            }
        }
    }

    /// Why a canary is worse by what is compared.
    fn harm(&self, compared: &Comparison, told: &Told<'_>) -> Option<String> {
        let Comparison {
            rollout,
            step,
            late,
            ..
        } = compared;
        let levels = &self.levels;
        let all = [
            (
                rollout,
                rollout.evidence()[0],
                levels.rollout,
                "is higher",
                "",
            ),
            (
                step,
                step.evidence()[0],
                levels.step,
                "is higher",
                " in this step",
            ),
            (
                step,
                late.evidence(),
                levels.late,
                "has become higher",
                " in this step",
            ),
        ];
        let (shares, _, _, is, place) = all
            .into_iter()
            .find(|(_, evidence, level, ..)| *evidence >= decides_at(*level))?;
        Some(format!(
            "{}{place}: the share of {} {is} by more than the {:.1} percentage points that are allowed (by {:.1}; of canaries that are no worse, one in {:.0} at most would seem so)",
            (told.words)(shares),
            told.of,
            shares.allowed * 100.0,
            higher(shares) * 100.0,
            1.0 / levels.metric
        ))
    }

    fn predictions(&self, checks: &[Analysis]) -> Finding {
        let allowed = limit(checks, AnalysisMetric::PredictionDrift).unwrap_or(1.0);
        let evidence = self.seen.evidence;
        let distance = evidence.and_then(|evidence| evidence.predictions.as_ref());
        let has_both = |distance: &&Distance| distance.counts().iter().all(|count| *count > 0);
        let Some(distance) = distance.filter(has_both) else {
            return Finding::Wait("no predictions of both seen yet".to_owned());
        };
        self.distance(distance, allowed)
    }

    fn distance(&self, distance: &Distance, allowed: f64) -> Finding {
        let [canary, stable] = distance.counts();
        let (value, interval) = (distance.value(), distance.interval());
        let words = format!(
            "predictions lie {value:.2} apart ({allowed} is allowed), of {canary} and {stable}"
        );
        if interval.lower > allowed {
            let at_least = interval.lower;
            return Finding::Harm(format!("{words}: by {at_least:.2} at least"));
        }
        if interval.upper <= allowed || (!self.seen.is_last && value <= allowed) {
            return Finding::Good(words);
        }
        // Intervals become narrower with the root of what they are of.
        let least = float(canary.min(stable));
        let times = ((interval.upper - value) / (allowed - value)).powi(2);
        let missing = (value < allowed && least > 0.0).then(|| least * (times - 1.0).max(0.0));
        let seen = self.seen.canary.predictions.values().sum();
        let wanted = wanted(missing, "predictions of both", self.seen.pace(seen));
        Finding::Wait(format!(
            "{words}: that it is no more is not shown yet (it may be {:.2}); {wanted}",
            interval.upper
        ))
    }

    fn agreement(&self, checks: &[Analysis]) -> Finding {
        let least = limit(checks, AnalysisMetric::Agreement).unwrap_or(0.0);
        let share = self.seen.evidence.and_then(|evidence| evidence.disagreed);
        let Some(share) = share.filter(|share| share.seen.trials > 0) else {
            return Finding::Wait("no answers of both to compare yet".to_owned());
        };
        self.disagreement(&share, least)
    }

    fn disagreement(&self, share: &Share, least: f64) -> Finding {
        let agreed = share.seen.trials - share.seen.successes;
        let words = format!(
            "{agreed}/{} rows answered alike ({least} is asked for)",
            share.seen.trials
        );
        match share.decision(self.levels.metric, LEVEL_OF_PASS) {
            Decision::Fail => Finding::Harm(format!("{words}: that is too few")),
            Decision::Pass => Finding::Good(words),
            Decision::Inconclusive => {
                let pace = self.seen.pace(self.seen.stable.compared);
                let wanted = wanted(share.trials_to_pass(LEVEL_OF_PASS), "rows", pace);
                Finding::Wait(format!("{words}: which may be chance; {wanted}"))
            }
        }
    }

    /// What a query of Prometheus says.
    fn reading(&self, number: usize, check: &Analysis) -> Finding {
        let asked = Asked {
            readings: self.seen.readings,
            names: self.seen.names,
            since: self.seen.since,
            now: self.seen.now,
        };
        match readings::judge(number, check, &asked) {
            // What is wrong may be so with the stable version.
            Finding::Harm(why) if self.seen.canary.requests == 0 => Finding::Wait(format!(
                "{why}; the canary has had no request in this step, and it is not held against it"
            )),
            finding => finding,
        }
    }
}

/// What is missing until something is shown, and when that will be there.
fn wanted(missing: Option<f64>, of: &str, pace: Pace) -> String {
    missing.map_or_else(
        || format!("as it is it would never be: other {of} decide it"),
        |missing| {
            let missing = missing.ceil();
            format!(
                "about {missing:.0} more {of} would show it ({})",
                pace.until(missing)
            )
        },
    )
}

/// What is so with a version that serves alone, by the share of its errors: whether it does harm, and why.
pub fn harm_alone(errors: &Share) -> Option<String> {
    (errors.decision(LEVEL_OF_HARM, LEVEL_OF_PASS) == Decision::Fail).then(|| {
        format!(
            "errors {}: more than the {:.1}% that the version before had and what is allowed beside it",
            counts(errors.seen),
            errors.limit * 100.0
        )
    })
}

fn counts(counts: Proportion) -> String {
    format!("{}/{}", counts.successes, counts.trials)
}

/// Milliseconds, to three digits.
fn ms(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

/// By how much the canary's share lies above the stable version's.
fn higher(shares: &Shares) -> f64 {
    shares.candidate.value().unwrap_or(0.0) - shares.stable.value().unwrap_or(0.0)
}
