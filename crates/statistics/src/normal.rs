//! The standard normal distribution.

/// Φ(x): the probability that a standard normal variable is at most `x`.
///
/// Source: Abramowitz & Stegun (1964), 7.1.6 (series, |x| small) and 7.1.14 (continued fraction). Relative error
/// below 1e-12 for x > -37.
pub fn cdf(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// Φ⁻¹(p): the value that a standard normal variable does not pass with probability `p`.
///
/// -∞ at 0, ∞ at 1, NaN outside of [0, 1]. Source: Wichura (1988), "Algorithm AS 241", PPND16; relative error
/// about 1e-16.
pub fn quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * ratio(&CENTRE, r);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-tail.ln()).sqrt();
    let value = if r <= 5.0 {
        ratio(&MIDDLE, r - 1.6)
    } else {
        ratio(&FAR, r - 5.0)
    };
    value.copysign(q)
}

/// The z of a two-sided interval: Φ⁻¹((1 + confidence) / 2); 1.96 at 0.95.
pub fn two_sided(confidence: f64) -> f64 {
    quantile(0.5 + confidence / 2.0)
}

/// The z of a one-sided bound: Φ⁻¹(confidence); 1.64 at 0.95.
pub fn one_sided(confidence: f64) -> f64 {
    quantile(confidence)
}

type Coefficients = ([f64; 8], [f64; 8]);

fn ratio((over, under): &Coefficients, r: f64) -> f64 {
    let polynomial = |terms: &[f64; 8]| terms.iter().rev().fold(0.0, |sum, term| sum * r + term);
    polynomial(over) / polynomial(under)
}

#[allow(clippy::unreadable_literal, clippy::excessive_precision)] // as printed in AS 241
const CENTRE: Coefficients = (
    [
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ],
    [
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ],
);
#[allow(clippy::unreadable_literal, clippy::excessive_precision)] // as printed in AS 241
const MIDDLE: Coefficients = (
    [
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ],
    [
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ],
);
#[allow(clippy::unreadable_literal, clippy::excessive_precision)] // as printed in AS 241
const FAR: Coefficients = (
    [
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ],
    [
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ],
);

fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.0 {
        1.0 - erf_series(x)
    } else {
        erfc_fraction(x)
    }
}

/// 7.1.6: erf x = 2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1)).
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term > sum * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// 7.1.14: erfc x = e^(-x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …)))).
fn erfc_fraction(x: f64) -> f64 {
    let depth = 80;
    let fraction = (1..=depth)
        .rev()
        .fold(x, |rest, k| x + f64::from(k) / 2.0 / rest);
    (-x * x).exp() / std::f64::consts::PI.sqrt() / fraction
}

#[cfg(test)]
#[allow(clippy::float_cmp, clippy::excessive_precision)] // as printed
mod tests {
    use super::*;

    /// scipy 1.17: `norm.cdf`, `norm.ppf`.
    #[test]
    fn distribution_and_quantile_are_those_of_scipy() {
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.959_963_984_540_054, 0.025),
            (-3.0, 0.001_349_898_031_630_094_5),
            (-6.0, 9.865_876_450_376_981e-10),
            (-10.0, 7.619_853_024_160_525e-24),
        ] {
            assert!(
                (cdf(x) / expected - 1.0).abs() < 1e-12,
                "cdf({x}) = {}",
                cdf(x)
            );
        }
        for (p, expected) in [
            (0.975, 1.959_963_984_540_054),
            (0.95, 1.644_853_626_951_472_2),
            (0.6, 0.253_347_103_135_799_7),
            (1e-6, -4.753_424_308_822_899),
            (1e-20, -9.262_340_089_798_409),
        ] {
            assert!(
                (quantile(p) / expected - 1.0).abs() < 1e-12,
                "quantile({p}) = {}",
                quantile(p)
            );
        }
        assert_eq!(quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(quantile(1.0), f64::INFINITY);
        assert!(quantile(1.5).is_nan());
    }

    #[test]
    fn quantile_and_distribution_undo_each_other() {
        for step in 1..1000 {
            let p = f64::from(step) / 1000.0;
            assert!((cdf(quantile(p)) - p).abs() < 1e-13, "{p}");
        }
    }
}
