//! Shapes of arguments that several commands share.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::profile::reading::parts::CountedBy;

/// `NAME=VALUE` on the command line; the value may hold further `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What stands before the first `=`; never empty.
    pub name: String,
    /// What stands after it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err(format!("'{text}' is not of the form NAME=VALUE")),
        }
    }
}

/// `COLUMN=VALUE`: the column's name may hold further `=`, and the value none.
///
/// # Errors
/// A sentence, where it is not of that form.
pub fn of_column(text: &str) -> Result<Pair, String> {
    match text.rsplit_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Pair {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err(format!("'{text}' is not of the form COLUMN=VALUE")),
    }
}

/// Inputs by their names, and as what they were checked.
#[derive(Clone, Debug, clap::Args)]
pub struct Inputs {
    /// An input and its address.
    #[arg(long = "input", value_name = "NAME=URI")]
    pub all: Vec<Pair>,
    /// The digest that an input had when it was checked; data with any other is not used.
    #[arg(long = "input-digest", value_name = "NAME=DIGEST")]
    pub digests: Vec<Pair>,
    /// The time at which an input was checked: files of it that were changed later are left out.
    #[arg(long = "input-as-of", value_name = "NAME=TIME", value_parser = named_time)]
    pub as_of: Vec<(String, Timestamp)>,
}

impl Inputs {
    /// Says what makes no sense in them and in their formats.
    ///
    /// # Errors
    /// A sentence, where a name is no name or is there twice, or something is said of an input that is not there.
    pub fn validate(&self, formats: &[(String, DataFormat)]) -> Result<(), String> {
        validate_inputs(&self.all, formats)?;
        let is_input = |name: &str| self.all.iter().any(|input| input.name == name);
        let digests = self.digests.iter();
        let named = digests.map(|digest| ("--input-digest", &digest.name));
        let times = self.as_of.iter();
        let mut named = named.chain(times.map(|(name, _)| ("--input-as-of", name)));
        match named.find(|(_, name)| !is_input(name)) {
            Some((option, name)) => Err(format!(
                "{option} names the input '{name}', which is not there"
            )),
            None => Ok(()),
        }
    }

    /// The digest that an input had when it was checked.
    pub fn digest(&self, name: &str) -> Option<&str> {
        let mut digests = self.digests.iter();
        let digest = digests.find(|digest| digest.name == name)?;
        Some(&digest.value)
    }

    /// The time at which an input was checked.
    pub fn as_of(&self, name: &str) -> Option<Timestamp> {
        let mut times = self.as_of.iter();
        times.find(|(of, _)| of == name).map(|(_, time)| *time)
    }
}

/// What counts Parquet data.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EngineArguments {
    /// A Ballista scheduler whose executors count Parquet data, to the same result; they have to reach the data as this program
    /// does. Without it this program counts.
    #[arg(long = "engine", value_name = "ballista://HOST:PORT")]
    pub address: Option<String>,
    /// What was made of the address.
    #[arg(skip)]
    pub counted_by: CountedBy,
}

/// Format of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum DataFormat {
    /// Comma-separated values with a header line.
    #[value(name = "CSV")]
    Csv,
    /// Apache Parquet.
    Parquet,
    /// One JSON object a line.
    #[value(name = "JSON")]
    Json,
}

/// Parses `NAME=FORMAT`; for clap's `value_parser`.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn input_format(text: &str) -> Result<(String, DataFormat), String> {
    let Pair { name, value } = text.parse()?;
    let format = <DataFormat as clap::ValueEnum>::from_str(&value, false)
        .map_err(|_| format!("'{value}' is not a format; accepted are CSV, Parquet and JSON"))?;
    Ok((name, format))
}

/// Parses `NAME=TIME`; for clap's `value_parser`.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn named_time(text: &str) -> Result<(String, Timestamp), String> {
    let Pair { name, value } = text.parse()?;
    Ok((name, time(&value)?))
}

/// Says what makes no sense in the inputs and their formats.
///
/// # Errors
/// A sentence, where a name is no name or is there twice, or a format is that of no input.
pub fn validate_inputs(inputs: &[Pair], formats: &[(String, DataFormat)]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for Pair { name, .. } in inputs {
        let is_name = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_name || name.starts_with('.') {
            return Err(format!(
                "'{name}' is not the name of an input: letters, digits, '-', '_' and '.' are"
            ));
        }
        if !names.insert(name.as_str()) {
            return Err(format!("there are two inputs with the name '{name}'"));
        }
    }
    match formats
        .iter()
        .find(|(name, _)| !names.contains(name.as_str()))
    {
        Some((name, _)) => Err(format!(
            "--input-format names the input '{name}', which is not there"
        )),
        None => Ok(()),
    }
}

/// Parses a Go-style duration such as `5s`, `1m30s` or `250ms`; for clap's `value_parser`.
///
/// # Errors
/// A sentence that says what is accepted, when the text is no duration or is negative.
pub fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| format!("'{text}' is not a duration such as 500ms, 10s, 5m or 1h30m"))
}

/// Parses a number of bytes such as `1048576`, `512Ki` or `2Mi`; for clap's `value_parser`.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" => Some(1),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        _ => None,
    };
    unit.and_then(|unit| digits.parse::<u64>().ok()?.checked_mul(unit))
        .ok_or_else(|| {
            format!("'{text}' is not a number of bytes such as 1048576, 512Ki, 256Mi or 1Gi")
        })
}

/// Parses an RFC 3339 time; for clap's `value_parser`.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a time such as 2026-11-01T00:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("5").is_err());
        assert!(duration("-5s").is_err());
    }

    #[test]
    fn bytes_are_those_of_kubernetes() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("512Ki"), Ok(512 << 10));
        assert_eq!(bytes("256Mi"), Ok(256 << 20));
        assert_eq!(bytes("1Gi"), Ok(1 << 30));
        for text in ["", "Mi", "1.5Gi", "-1", "1 Mi", "1MB", "99999999999999Gi"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pair_is_cut_at_the_first_sign() {
        let pair: Pair = "uri=s3://b/k?x=1".parse().expect("a pair");
        assert_eq!(
            (pair.name.as_str(), pair.value.as_str()),
            ("uri", "s3://b/k?x=1")
        );
        assert!("=x".parse::<Pair>().is_err());
        assert!("x".parse::<Pair>().is_err());
    }

    #[test]
    fn what_is_said_of_a_column_is_cut_at_the_last_sign() {
        let pair = of_column("a=b=0.5").expect("a pair");
        assert_eq!((pair.name.as_str(), pair.value.as_str()), ("a=b", "0.5"));
        assert!(of_column("=0.5").is_err() && of_column("a").is_err());
    }
}
