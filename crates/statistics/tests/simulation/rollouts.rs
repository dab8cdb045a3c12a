//! Roll-outs: traffic whose true shares of errors are known, looked at again and again, until something is decided.

use windlass_statistics::gate::Decision;
use windlass_statistics::normal;
use windlass_statistics::proportion::Proportion;
use windlass_statistics::random::Random;
use windlass_statistics::sequential::{Late, Shares};

/// By how much the canary's share of errors may lie above the stable version's.
pub const ALLOWED: f64 = 0.005;
/// The chance of calling a canary worse that is not, and of calling one no worse that is.
pub const LEVELS: [f64; 2] = [0.01, 0.05];
/// Requests to the canary between two looks.
const LOOK: u64 = 20;
/// Requests to the canary after which nobody waits any longer.
const MOST: u64 = 40_000;

/// Shares of errors, and how many requests the stable version has for each of the canary's.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub canary: f64,
    pub stable: f64,
    pub ratio: u64,
}

/// How many of the roll-outs ended how, and after how many requests to the canary.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    runs: u32,
    pub harmed: Vec<u64>,
    pub passed: Vec<u64>,
}

impl Ended {
    pub fn share_harmed(&self) -> f64 {
        share(self.harmed.len(), self.runs)
    }

    pub fn share_passed(&self) -> f64 {
        share(self.passed.len(), self.runs)
    }
}

fn share(count: usize, runs: u32) -> f64 {
    f64::from(u32::try_from(count).expect("small")) / f64::from(runs)
}

/// The middle one.
pub fn median(requests: &[u64]) -> f64 {
    let mut sorted = requests.to_vec();
    sorted.sort_unstable();
    let middle = sorted.get(sorted.len() / 2).copied();
    middle.map_or(f64::INFINITY, |middle| {
        f64::from(u32::try_from(middle).expect("small"))
    })
}

/// Requests until it is decided by [`Shares`].
pub fn decide(traffic: Traffic, runs: u32, seed: u64) -> Ended {
    let mut random = Random::new(seed);
    let mut ended = Ended {
        runs,
        ..Ended::default()
    };
    for _ in 0..runs {
        let mut shares = Shares::new(ALLOWED);
        while shares.candidate.trials < MOST {
            let (canary, stable) = look(&mut random, traffic);
            shares.take(canary, stable);
            let of = match shares.decision(LEVELS[0], LEVELS[1]) {
                Decision::Fail => &mut ended.harmed,
                Decision::Pass => &mut ended.passed,
                Decision::Inconclusive => continue,
            };
            of.push(shares.candidate.trials);
            break;
        }
    }
    ended
}

/// The share of roll-outs in which bets against the truth ever win, at the levels: on a canary that is worse by exactly
/// what is allowed, and is looked at however often. Neither ends the roll-out.
pub fn ever_wrong(traffic: Traffic, requests: u64, runs: u32, seed: u64) -> [f64; 2] {
    let mut random = Random::new(seed);
    let mut wrong = [0; 2];
    for _ in 0..runs {
        let mut shares = Shares::new(ALLOWED);
        let mut ever = [false; 2];
        while shares.candidate.trials < requests {
            let (canary, stable) = look(&mut random, traffic);
            shares.take(canary, stable);
            for (ever, (evidence, level)) in
                ever.iter_mut().zip(shares.evidence().iter().zip(LEVELS))
            {
                *ever |= *evidence >= -level.ln();
            }
        }
        for (wrong, ever) in wrong.iter_mut().zip(ever) {
            *wrong += usize::from(ever);
        }
    }
    wrong.map(|wrong| share(wrong, runs))
}

/// Requests to the canary from when its share of errors becomes `then` until it is called worse at a level, by all that was
/// seen and by bets that begin at every look; those of roll-outs where it was called so before are apart, as shares of all.
pub fn found_late(
    traffic: Traffic,
    (good, then): (u64, f64),
    level: f64,
    runs: u32,
    seed: u64,
) -> [(Vec<u64>, f64); 2] {
    let mut random = Random::new(seed);
    let mut found = [const { Vec::new() }; 2];
    let mut early = [0; 2];
    for _ in 0..runs {
        let (mut all, mut late) = (Shares::new(ALLOWED), Late::new(ALLOWED));
        let mut at = [None; 2];
        let mut requests = 0;
        while requests < good + MOST && at.contains(&None) {
            let is_good = requests < good;
            let canary = if is_good { traffic.canary } else { then };
            let (canary, stable) = look(&mut random, Traffic { canary, ..traffic });
            requests += canary.trials;
            all.take(canary, stable);
            late.take(canary, stable);
            for (at, evidence) in at.iter_mut().zip([all.evidence()[0], late.evidence()]) {
                if evidence >= -level.ln() {
                    at.get_or_insert(requests);
                }
            }
        }
        for ((at, found), early) in at.iter().zip(&mut found).zip(&mut early) {
            match at {
                Some(at) if *at <= good => *early += 1,
                Some(at) => found.push(at - good),
                None => {}
            }
        }
    }
    let [all, late] = found;
    [(all, share(early[0], runs)), (late, share(early[1], runs))]
}

/// As progressive delivery does it elsewhere: at each of so many checks, the share of errors of the last requests is held
/// to a threshold; so many failed checks are harm, and it passes otherwise.
pub fn by_threshold(traffic: Traffic, [checks, failures]: [u32; 2], runs: u32, seed: u64) -> Ended {
    let mut random = Random::new(seed);
    let mut ended = Ended {
        runs,
        ..Ended::default()
    };
    for _ in 0..runs {
        let (mut failed, mut requests) = (0, 0);
        for _ in 0..checks {
            // A minute's requests.
            let canary = draw(&mut random, 3 * LOOK, traffic.canary);
            requests += canary.trials;
            let is_over = canary.value().is_some_and(|value| value > 0.01 + ALLOWED);
            failed += u32::from(is_over);
            if failed >= failures {
                break;
            }
        }
        if failed >= failures {
            ended.harmed.push(requests);
        } else {
            ended.passed.push(requests);
        }
    }
    ended
}

/// As a test does it that is valid for one look: a two-sided z test of the difference at so many looks, significant at least
/// once.
pub fn by_peeking(traffic: Traffic, looks: u32, level: f64, runs: u32, seed: u64) -> f64 {
    let mut random = Random::new(seed);
    let z = normal::two_sided(1.0 - level);
    let wrong = (0..runs).filter(|_| {
        let mut all = [Proportion {
            successes: 0,
            trials: 0,
        }; 2];
        (0..looks).any(|_| {
            let (canary, stable) = look(&mut random, traffic);
            for (all, more) in all.iter_mut().zip([canary, stable]) {
                all.successes += more.successes;
                all.trials += more.trials;
            }
            let [p, q] = all.map(|one| one.value().unwrap_or(0.0));
            let variance = |share: f64, of: Proportion| {
                share * (1.0 - share) / f64::from(u32::try_from(of.trials).expect("small"))
            };
            let error = (variance(p, all[0]) + variance(q, all[1])).sqrt();
            error > 0.0 && (p - q).abs() / error > z
        })
    });
    share(wrong.count(), runs)
}

/// Requests to the canary that any test at this level needs, in the mean: what is to be shown over what each is worth at
/// most (Wald 1945, "Sequential tests of statistical hypotheses").
pub fn bound(traffic: Traffic, level: f64) -> f64 {
    let ratio = f64::from(u32::try_from(traffic.ratio).expect("small"));
    let divergence = |p: f64, q: f64| p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
    let worth =
        |at: f64| divergence(traffic.canary, at + ALLOWED) + ratio * divergence(traffic.stable, at);
    // The least over all points that are just allowed, by a search in a convex function.
    let (mut low, mut high) = (1e-9, 1.0 - ALLOWED - 1e-9);
    for _ in 0..200 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if worth(left) < worth(right) {
            high = right;
        } else {
            low = left;
        }
    }
    -level.ln() / worth(low)
}

fn look(random: &mut Random, traffic: Traffic) -> (Proportion, Proportion) {
    let canary = draw(random, LOOK, traffic.canary);
    (canary, draw(random, LOOK * traffic.ratio, traffic.stable))
}

fn draw(random: &mut Random, trials: u64, share: f64) -> Proportion {
    let successes = (0..trials).filter(|_| random.uniform() < share).count();
    Proportion {
        successes: u64::try_from(successes).expect("small"),
        trials,
    }
}
