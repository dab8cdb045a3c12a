//! A canary is seldom taken back wrongly, and soon rightly; `make bench-statistics` does it ten times as often.

#[path = "simulation/mod.rs"]
mod simulation;

use simulation::rollouts::{Traffic, bound, by_peeking, decide, ever_wrong, median};

const RUNS: u32 = 1000;

#[test]
fn a_canary_that_is_no_worse_is_seldom_taken_back_and_one_that_is_worse_soon_and_surely() {
    for (stable, ratio) in [(0.01, 1), (0.01, 4), (0.01, 19), (0.0, 4)] {
        let traffic = |canary| Traffic {
            canary,
            stable,
            ratio,
        };
        let same = decide(traffic(stable), RUNS, 41);
        println!(
            "{stable} {ratio}: taken back {}, passes {} after {}",
            same.share_harmed(),
            same.share_passed(),
            median(&same.passed)
        );
        // Three standard errors above 1%, at this number of runs.
        assert!(same.share_harmed() <= 0.02, "{}", same.share_harmed());
        assert!(same.share_passed() >= 0.9, "{}", same.share_passed());
        let worse = decide(traffic(stable + 0.03), RUNS, 42);
        let (share, requests) = (worse.share_harmed(), median(&worse.harmed));
        println!(
            "{stable} {ratio}: taken back {share} after {requests}, bound {}",
            bound(traffic(stable + 0.03), 0.01)
        );
        assert!(share >= 0.98, "{share}");
        if stable <= 0.01 && ratio > 1 {
            assert!(requests <= 600.0, "{requests}");
        }
    }
}

#[test]
fn whoever_looks_again_and_again_is_not_wrong_more_often_than_was_said() {
    for ratio in [1, 4] {
        let traffic = Traffic {
            canary: 0.015,
            stable: 0.01,
            ratio,
        };
        let [harm, pass] = ever_wrong(traffic, 4000, RUNS, 43);
        println!("{ratio}: {harm} {pass}");
        assert!(harm <= 0.02, "{harm}");
        assert!(pass <= 0.071, "{pass}");
    }
    // The same looks, by a test that is valid for one of them.
    let same = Traffic {
        canary: 0.01,
        stable: 0.01,
        ratio: 4,
    };
    let peeked = by_peeking(same, 100, 0.05, RUNS, 44);
    assert!(peeked >= 0.2, "{peeked}");
}
