//! Values that are strings in a manifest and numbers in the program.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A string of a manifest that is not what its type allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct InvalidValue {
    value: String,
    expected: &'static str,
}

/// What a [`Decimal`] looks like, as CEL's regular expressions are written.
const DECIMAL: &str = r"^-?[0-9]+(\\.[0-9]+)?$";
/// What a [`GoDuration`] looks like.
const DURATION: &str = r"^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$";

/// A rule on the number in `self`, silent where it is none: its own rule says that, and better than a failed conversion.
pub(crate) fn where_decimal(rule: &str) -> String {
    format!("!self.matches('{DECIMAL}') || ({rule})")
}

/// A rule on several numbers where a condition holds, silent where one of them is none.
pub(crate) fn where_decimals(condition: &str, fields: &[&str], rule: &str) -> String {
    format!(
        "!({condition}) || ![{}].all(text, text.matches('{DECIMAL}')) || {rule}",
        fields.join(", ")
    )
}

/// A rule on the duration in `field`, silent where it is none.
pub(crate) fn where_duration(field: &str, rule: &str) -> String {
    format!("!{field}.matches('{DURATION}') || {rule}")
}

macro_rules! text_type {
    ($name:ident, $doc:literal, $schema:expr) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_type!(
    Decimal,
    "A decimal number as a string, `\"0.05\"`: floating point has no place in a Kubernetes API.",
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{DECIMAL}')"),
            "message": "must be a decimal number in quotes, such as \"0.05\""
        }]
    })
);

text_type!(
    GoDuration,
    "A duration as Go writes it: `90s`, `10m`, `1h30m`.",
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{DURATION}')"),
            "message": "must be a duration such as 90s, 10m or 1h30m"
        }, {
            "rule": format!("!self.matches('{DURATION}') || duration(self) <= duration('87600h')"),
            "message": "must be at most 87600h, which is ten years"
        }]
    })
);

/// An address of the web that leads to the machine which reads it, or to the metadata service of its cloud, as CEL's
/// regular expressions are written: names, and numbers in whatever way they are written. What a name of one's own resolves
/// to is for the network to decide.
pub(crate) const INWARD: &str = "(?i)^https?://([^/]*@)?(localhost|[^/:]*[.]localhost|metadata[.]google[.]internal|instance-data[.]ec2[.]internal|169[.]254[.][0-9.]*|127[.][0-9.]*|0[.][0-9.]*|100[.]100[.]100[.]200|(0x[0-9a-f]*|[0-9]+)([.](0x[0-9a-f]*|[0-9]+)){0,2}|([0-9]+[.])*0[0-9x][0-9a-fx.]*|[[]([0:]*1?|::ffff:.*|fe[89ab].*|fd00:ec2::254)[]])[.]?(:[0-9]*)?([/?#].*)?$";
/// What is said of such an address.
pub(crate) const INWARD_MESSAGE: &str = "must not lead to the machine that reads it or to its cloud's metadata service: names and numbers of loopback and of link-local networks are refused";

text_type!(
    Address,
    "Where data or a model lies: `pvc://claim/path`, `s3://bucket/key` or `https://host/path`.",
    json_schema!({
        "type": "string",
        "maxLength": 1024,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?|s3://[^/]+(/.*)?|https://[^/]+(/.*)?)$') && !self.contains('/../') && !self.endsWith('/..')",
            "message": "must be pvc://CLAIM/PATH, s3://BUCKET/KEY or https://HOST/PATH, without '..'"
        }, {
            "rule": format!("!self.matches('{INWARD}')"),
            "message": INWARD_MESSAGE
        }]
    })
);

/// An image's name, as CEL's regular expressions are written: a registry, a repository, and a tag, a digest or both.
const IMAGE: &str = "oci://[a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})";

/// The schema of an [`Address`] that a model's files may lie at: an image is read and cannot be written to, so that no
/// other address may be one.
pub(crate) struct ArtifactAddress;

impl JsonSchema for ArtifactAddress {
    fn schema_name() -> Cow<'static, str> {
        "ArtifactAddress".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 1024,
            "x-kubernetes-validations": [{
                "rule": "self.matches('^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/.*)?|s3://[^/]+(/.*)?|https://[^/]+(/.*)?|oci://.*)$') && !self.contains('/../') && !self.endsWith('/..')",
                "message": "must be pvc://CLAIM/PATH, s3://BUCKET/KEY, https://HOST/PATH or oci://REGISTRY/REPOSITORY@sha256:DIGEST, without '..'"
            }, {
                "rule": format!("!self.matches('{INWARD}')"),
                "message": INWARD_MESSAGE
            }, {
                "rule": format!("!self.startsWith('oci://') || self.matches('^{IMAGE}(#[^#/.][^#]*)?$')"),
                "message": "must be oci://REGISTRY/REPOSITORY@sha256:DIGEST, or :TAG in place of the digest, and #FOLDER after it where the files lie in a folder of the image"
            }]
        })
    }
}

/// An image that a model's files lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// Its name, as a container's is written.
    pub reference: &'a str,
    /// The folder in it that they lie in, without a slash at its ends; empty for all that is in the image.
    pub folder: &'a str,
}

impl Image<'_> {
    /// Whether it is named by its digest: then it is the same whenever it is pulled. A tag may be moved.
    pub fn is_pinned(&self) -> bool {
        self.reference.contains('@')
    }
}

impl Decimal {
    /// The number.
    ///
    /// # Errors
    /// When it is not a decimal number (a CRD that is in force does not let that happen).
    pub fn value(&self) -> Result<f64, InvalidValue> {
        self.0
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .ok_or_else(|| InvalidValue {
                value: self.0.clone(),
                expected: "a decimal number",
            })
    }

    /// A number with at most six decimals, as short as it can be. What has more than 24 digits before the point stands
    /// for 'very much' and is cut there; what is no finite number is none.
    pub fn from_f64(number: f64) -> Option<Self> {
        /// Past this, the text would be longer than the schema lets in.
        const MOST: f64 = 1e23;
        if !number.is_finite() {
            return None;
        }
        let text = format!("{:.6}", number.clamp(-MOST, MOST));
        let text = text.trim_end_matches('0').trim_end_matches('.');
        Some(Self(if text == "-0" { "0" } else { text }.to_owned()))
    }
}

impl GoDuration {
    /// The duration.
    ///
    /// # Errors
    /// When it is not a duration as Go writes it.
    pub fn value(&self) -> Result<Duration, InvalidValue> {
        let invalid = || InvalidValue {
            value: self.0.clone(),
            expected: "a duration such as 90s, 10m or 1h30m",
        };
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(invalid)?;
            let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
            rest = &rest[digits..];
            let letters = rest
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(rest.len());
            let seconds = match &rest[..letters] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(invalid()),
            };
            total += Duration::try_from_secs_f64(number * seconds).map_err(|_| invalid())?;
            rest = &rest[letters..];
        }
        Ok(total)
    }
}

impl Address {
    /// The claim's name and the path inside it, for a `pvc://` address.
    pub fn claim(&self) -> Option<(&str, &str)> {
        let rest = self.0.strip_prefix("pvc://")?;
        Some(rest.split_once('/').unwrap_or((rest, "")))
    }

    /// The image and the folder in it, for an `oci://` address.
    pub fn image(&self) -> Option<Image<'_>> {
        let rest = self.0.strip_prefix("oci://")?;
        let (reference, folder) = rest.split_once('#').unwrap_or((rest, ""));
        let folder = folder.trim_matches('/');
        Some(Image { reference, folder })
    }

    /// The address of something below this one.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        Self(format!(
            "{}/{}",
            self.0.trim_end_matches('/'),
            path.trim_start_matches('/')
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read_as_go_reads_them() {
        for (text, seconds) in [
            ("90s", 90.0),
            ("1h30m", 5400.0),
            ("250ms", 0.25),
            ("1.5h", 5400.0),
            ("0s", 0.0),
        ] {
            assert_eq!(
                GoDuration::from(text).value().map(|d| d.as_secs_f64()),
                Ok(seconds),
                "{text}"
            );
        }
        for text in ["", "10", "h", "10d", "-5s", "1 h"] {
            assert!(GoDuration::from(text).value().is_err(), "{text}");
        }
    }

    #[test]
    fn a_decimal_is_written_as_short_as_it_can_be() {
        let decimal = |number| Decimal::from_f64(number).map(|decimal| decimal.0);
        assert_eq!(decimal(0.75), Some("0.75".to_owned()));
        assert_eq!(decimal(3.0), Some("3".to_owned()));
        assert_eq!(decimal(0.123_456_78), Some("0.123457".to_owned()));
        assert_eq!(decimal(-1e-9), Some("0".to_owned()));
        assert_eq!((decimal(f64::NAN), decimal(f64::INFINITY)), (None, None));
        for huge in [
            f64::MAX,
            -f64::MAX,
            1e30,
            -123_456_789_012_345_678_901_234.5,
        ] {
            let text = decimal(huge).expect("a number");
            assert!(text.len() <= 32, "{text}");
        }
    }

    #[test]
    fn an_address_knows_its_claim() {
        assert_eq!(
            Address::from("pvc://flights/labels/x").claim(),
            Some(("flights", "labels/x"))
        );
        assert_eq!(
            Address::from("pvc://flights").claim(),
            Some(("flights", ""))
        );
        assert_eq!(Address::from("s3://a/b").claim(), None);
    }

    #[test]
    fn an_address_knows_its_image_and_whether_that_can_become_another() {
        for (address, reference, folder, is_pinned) in [
            ("oci://r:5000/a/b:1", "r:5000/a/b:1", "", false),
            ("oci://r/a@sha256:00", "r/a@sha256:00", "", true),
            ("oci://r/a:1@sha256:00#m/1/", "r/a:1@sha256:00", "m/1", true),
        ] {
            let address = Address::from(address);
            let image = address.image().expect("an image");
            assert_eq!((image.reference, image.folder), (reference, folder));
            assert_eq!(image.is_pinned(), is_pinned, "{address}");
        }
        assert_eq!(Address::from("pvc://oci/b").image(), None);
    }
}
