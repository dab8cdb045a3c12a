//! Numbers as people read them.

/// Numbers at least as large as this are written in groups of three digits.
const GROUPED: usize = 5;
/// Significant digits of a measured number.
const DIGITS: i32 = 4;

/// A measured number with four significant digits, none left out before the point: `0.7812`, `12.30`, `182 341`, and
/// `4.200e-6` where that is hard to read.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{}", value + 0.0);
    }
    rounded(value, magnitude(value) - DIGITS + 1)
}

/// A number rounded to this power of ten.
pub fn rounded(value: f64, power: i32) -> String {
    // What is nothing after rounding is nothing, and has no sign.
    let half = 0.5 * 10_f64.powi(power);
    if value.abs() < half {
        return "0".to_owned();
    }
    let size = magnitude(value);
    let digits = |count: i32| usize::try_from(count).unwrap_or(0);
    if (-4..9).contains(&size) {
        let text = format!("{value:.*}", digits(-power));
        grouped(&text)
    } else {
        format!("{value:.*e}", digits(size - power))
    }
}

/// A count.
pub fn count(count: impl TryInto<u64>) -> String {
    grouped(&count.try_into().unwrap_or_default().to_string())
}

/// Digits in groups of three before the point, with narrow spaces that no line is broken at, as ISO 80000-1 has it.
fn grouped(text: &str) -> String {
    let whole = text.trim_start_matches('-').split('.').next().unwrap_or("");
    if whole.len() < GROUPED {
        return text.to_owned();
    }
    let end = text.len() - text.trim_start_matches('-').len() + whole.len();
    let mut grouped = text.to_owned();
    let mut at = end;
    while at > end - whole.len() + 3 {
        at -= 3;
        grouped.insert(at, '\u{202f}');
    }
    grouped
}

/// The power of ten of the first digit.
#[allow(clippy::cast_possible_truncation)] // it lies between -324 and 308
fn magnitude(value: f64) -> i32 {
    value.abs().log10().floor() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_four_digits_that_matter_whatever_its_size() {
        for (value, expected) in [
            (0.7812, "0.7812"),
            (0.031_25, "0.03125"),
            (1.0, "1.000"),
            (12.3, "12.30"),
            (-8.5, "-8.500"),
            (1234.5, "1234"),
            (9999.7, "10\u{202f}000"),
            (21044.2, "21\u{202f}044"),
            (-182_340.51, "-182\u{202f}341"),
            (125_000_000.0, "125\u{202f}000\u{202f}000"),
            (1.25e9, "1.250e9"),
            (1.23e100, "1.230e100"),
            (4.2e-6, "4.200e-6"),
            (0.0, "0"),
            (-0.0, "0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), expected, "{value}");
        }
    }

    #[test]
    fn counts_are_in_groups_where_they_are_long() {
        for (number, expected) in [
            (0_i64, "0"),
            (9999, "9999"),
            (10_000, "10\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(count(number), expected);
        }
    }
}
