//! Histograms of times: fine ones for the operator, which compares versions, and classical ones for Prometheus.
//!
//! Atomics throughout, and the trace of an example is taken down only where nobody else does: a request waits for no other.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::trace::Trace;

/// Upper bounds of the classical histogram's buckets, seconds.
pub const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Buckets of the fine histogram for each power of two.
const PER_OCTAVE: u32 = 8;
/// Powers of two from the first bound to the last.
const OCTAVES: u32 = 22;
/// The fine histogram's first bound, milliseconds.
const FIRST_MS: f64 = 0.25;

/// Upper bounds of the fine histogram's buckets, milliseconds: geometric, from 0.25 ms to some 17 minutes, which a long generation may take.
pub static FINE_BOUNDS_MS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    (0..=PER_OCTAVE * OCTAVES)
        .map(|step| FIRST_MS * (f64::from(step) / f64::from(PER_OCTAVE)).exp2())
        .collect()
});

/// A measurement that stands for others of its bucket.
#[derive(Clone, Copy, Debug)]
pub struct Exemplar {
    /// The trace that it is of.
    pub trace: u128,
    /// What was measured, seconds.
    pub seconds: f64,
    /// When.
    pub time: Timestamp,
}

/// A histogram of times.
#[derive(Debug)]
pub struct Histogram {
    fine: Vec<AtomicU64>,
    classical: [AtomicU64; BOUNDS.len() + 1],
    exemplars: [Mutex<Option<Exemplar>>; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            fine: (0..=FINE_BOUNDS_MS.len())
                .map(|_| AtomicU64::new(0))
                .collect(),
            classical: Default::default(),
            exemplars: Default::default(),
            nanoseconds: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts a time. It may become an example where its trace is recorded: a link to any other would lead nowhere.
    pub fn observe(&self, time: Duration, trace: Option<Trace>) {
        let seconds = time.as_secs_f64();
        let bucket = FINE_BOUNDS_MS.partition_point(|bound| *bound < seconds * 1000.0);
        self.fine[bucket].fetch_add(1, Relaxed);
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.classical[bucket].fetch_add(1, Relaxed);
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
        if let Some(trace) = trace.filter(|trace| trace.is_sampled)
            && let Ok(mut exemplar) = self.exemplars[bucket].try_lock()
        {
            *exemplar = Some(Exemplar {
                trace: trace.id,
                seconds,
                time: Timestamp::now(),
            });
        }
    }

    /// Times in each fine bucket, not cumulative; one longer than the bounds.
    pub fn fine_counts(&self) -> Vec<u64> {
        self.fine.iter().map(|count| count.load(Relaxed)).collect()
    }

    /// Times in each classical bucket, not cumulative, with an example where there is one.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, Option<Exemplar>)> + '_ {
        let exemplars = self
            .exemplars
            .iter()
            .map(|exemplar| *exemplar.lock().expect("no thread panics with it"));
        let counts = self.classical.iter().map(|count| count.load(Relaxed));
        counts.zip(exemplars)
    }

    /// The times' sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fine_bounds_are_eight_for_each_power_of_two() {
        let bounds = &*FINE_BOUNDS_MS;
        assert_eq!(bounds.len(), 177);
        let some = (bounds[0], bounds[8], bounds[176]);
        assert_eq!(some, (0.25, 0.5, 1_048_576.0));
        for pair in bounds.windows(2) {
            assert!((pair[1] / pair[0] - 2_f64.powf(0.125)).abs() < 1e-12);
        }
        assert_eq!(Histogram::default().fine_counts().len(), 178);
    }

    #[test]
    fn a_time_on_a_bound_is_in_the_bucket_that_the_bound_closes() {
        for (micros, fine, classical) in [
            (1, 0, 0),
            (250, 0, 0),
            (251, 1, 0),
            (500, 8, 0),
            (501, 9, 1),
            (1000, 16, 1),
            (10_000_000, 123, 13),
            (10_000_001, 123, 14),
            (65_536_000, 144, 14),
            (1_048_576_000, 176, 14),
            (1_048_576_001, 177, 14),
        ] {
            let histogram = Histogram::default();
            histogram.observe(Duration::from_micros(micros), None);
            let place = |counts: Vec<u64>| counts.iter().position(|count| *count == 1);
            assert_eq!(place(histogram.fine_counts()), Some(fine), "{micros}");
            let counts = histogram.buckets().map(|(count, _)| count).collect();
            assert_eq!(place(counts), Some(classical), "{micros}");
        }
    }

    #[test]
    fn only_a_trace_that_is_recorded_is_an_example() {
        let histogram = Histogram::default();
        let trace = |is_sampled| Trace { id: 7, is_sampled };
        histogram.observe(Duration::from_millis(2), Some(trace(false)));
        assert!(histogram.buckets().all(|(_, exemplar)| exemplar.is_none()));
        histogram.observe(Duration::from_millis(2), Some(trace(true)));
        let exemplars: Vec<Exemplar> = histogram
            .buckets()
            .filter_map(|(_, exemplar)| exemplar)
            .collect();
        assert_eq!((exemplars.len(), exemplars[0].trace), (1, 7));
    }
}
