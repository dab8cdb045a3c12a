//! Draws that are the same wherever they are made.

/// A generator of a seed, for bootstraps: whoever computes an interval again gets the same one.
///
/// Source: Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators" (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    #[allow(clippy::cast_precision_loss)] // 53 bits
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        crate::normal::quantile(self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_their_laws() {
        let mut random = Random::new(7);
        let rows = 100_000;
        let mean = |draw: &mut dyn FnMut() -> f64| {
            let all: crate::mean::Mean = (0..rows).map(|_| draw()).collect();
            (all.value().expect("some"), all.variance().expect("some"))
        };
        let (uniform, spread) = mean(&mut || random.uniform());
        assert!((uniform - 0.5).abs() < 0.005 && (spread - 1.0 / 12.0).abs() < 0.002);
        let (normal, spread) = mean(&mut || random.normal());
        assert!(normal.abs() < 0.02 && (spread - 1.0).abs() < 0.03);
    }
}
