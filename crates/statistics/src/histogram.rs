//! Quantiles of a histogram with fixed buckets.

use crate::float;

/// The value below which the share `share` (in [0, 1]) of the counted lies, by linear interpolation in its bucket;
/// absent when nothing was counted or the shapes do not fit.
///
/// `bounds` are the buckets' upper bounds, ascending, in any unit; `counts` is one longer, its last bucket is open.
/// The first bucket begins at 0. In the open bucket the answer is the largest bound: the value is at least that.
/// Source: the definition of Prometheus' `histogram_quantile`. The error is at most the bucket's width.
pub fn quantile(bounds: &[f64], counts: &[u64], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 || counts.len() != bounds.len() + 1 || !(0.0..=1.0).contains(&share) {
        return None;
    }
    let rank = share * float(total);
    let (mut before, mut low) = (0.0, 0.0);
    for (bound, count) in bounds.iter().zip(counts) {
        let count = float(*count);
        if count > 0.0 && before + count >= rank {
            return Some(low + (bound - low) * (rank - before) / count);
        }
        before += count;
        low = *bound;
    }
    bounds.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let (bounds, counts) = ([10.0, 20.0, 50.0], [50, 40, 9, 1]);
        assert_eq!(quantile(&bounds, &counts, 0.5), Some(10.0));
        assert_eq!(quantile(&bounds, &counts, 0.7), Some(15.0));
        assert_eq!(quantile(&bounds, &counts, 0.99), Some(50.0));
        assert_eq!(quantile(&bounds, &counts, 1.0), Some(50.0));
        assert_eq!(quantile(&bounds, &[0; 4], 0.5), None);
        assert_eq!(quantile(&bounds, &[1; 3], 0.5), None);
    }
}
