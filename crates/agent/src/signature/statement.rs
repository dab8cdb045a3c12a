//! What was signed: an in-toto statement with OMS's predicate, made a [`Manifest`] of.
//!
//! Sources: in-toto Attestation Framework, Statement v1; OMS 1.0, sections 5, 6.3 and 6.5. A field that is not known is
//! passed over, as OMS prescribes; a value that is not, is refused.

use std::num::NonZeroU64;

use serde::Deserialize;
use serde_json::Number;
use sha2::{Digest, Sha256};

use super::SignatureError;
use super::manifest::{Manifest, Parts};
use crate::tree::is_inside;

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";
const SHA256: &str = "sha256";

/// What tells which kind of statement it is.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "_type")]
    type_: String,
    #[serde(rename = "predicateType")]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Statement {
    subject: Vec<Subject>,
    predicate: Predicate,
}

#[derive(Deserialize)]
struct Subject {
    digest: RootDigest,
}

#[derive(Deserialize)]
struct RootDigest {
    sha256: String,
}

#[derive(Deserialize)]
struct Predicate {
    resources: Vec<Resource>,
    serialization: Serialization,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    digest: String,
    algorithm: String,
}

#[derive(Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    shard_size: Option<Number>,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default)]
    ignore_paths: Vec<String>,
}

/// The list of files in a payload whose signature is good.
///
/// # Errors
/// [`SignatureError::Statement`] with what cannot be read.
pub(super) fn manifest(payload: &[u8]) -> Result<Manifest, SignatureError> {
    parse(payload).map_err(SignatureError::Statement)
}

fn parse(payload: &[u8]) -> Result<Manifest, String> {
    let unreadable =
        |problem: serde_json::Error| format!("it is no in-toto statement of OMS ({problem})");
    let kind: Kind = serde_json::from_slice(payload).map_err(unreadable)?;
    if kind.type_ != STATEMENT {
        return Err(format!(
            "its _type is {:?}, and {STATEMENT:?} can be read",
            kind.type_
        ));
    }
    if kind.predicate_type != PREDICATE {
        return Err(format!(
            "its predicateType is {:?}, and {PREDICATE:?} can be read; sign it with model_signing 1.0 or later",
            kind.predicate_type
        ));
    }
    let Statement { subject, predicate } = serde_json::from_slice(payload).map_err(unreadable)?;
    let [subject] = subject.as_slice() else {
        return Err(format!(
            "it has {} subjects, and has to have one",
            subject.len()
        ));
    };
    let Predicate {
        resources,
        serialization,
    } = predicate;
    let shard_size = shard_size(&serialization)?;
    if resources.is_empty() {
        return Err("it lists no file".to_owned());
    }
    let mut manifest = Manifest::new(
        shard_size,
        serialization.allow_symlinks,
        serialization.ignore_paths,
    );
    let mut root = Sha256::new();
    for resource in resources {
        root.update(bytes(&resource)?);
        let (path, parts) = parts(&resource, shard_size)?;
        manifest.expect(path, parts)?;
    }
    let root = format!("{:x}", root.finalize());
    if root != subject.digest.sha256 {
        return Err(format!(
            "its subject's digest is {}, and that of its list is {root}",
            subject.digest.sha256
        ));
    }
    Ok(manifest)
}

/// The bytes of a shard; none where whole files were hashed.
fn shard_size(serialization: &Serialization) -> Result<Option<NonZeroU64>, String> {
    if serialization.hash_type != SHA256 {
        return Err(format!(
            "its hash_type is {:?}, and {SHA256:?} alone can be verified; sign it with SHA-256, model_signing's default",
            serialization.hash_type
        ));
    }
    match (serialization.method.as_str(), &serialization.shard_size) {
        ("files", None) => Ok(None),
        ("shards", Some(size)) => positive(size).map(Some).ok_or_else(|| {
            format!("its shard_size is {size}, and has to be a whole number above 0")
        }),
        ("files" | "shards", _) => {
            Err("its shard_size has to be there for the method shards, and for no other".to_owned())
        }
        (other, _) => Err(format!(
            "its method is {other:?}, and \"files\" and \"shards\" can be verified"
        )),
    }
}

/// A whole number above 0; `model_signing` writes it with a fraction, `64.0`.
fn positive(number: &Number) -> Option<NonZeroU64> {
    let written = number.as_f64().map(|number| number.to_string());
    let size = number.as_u64().or_else(|| written?.parse().ok())?;
    NonZeroU64::new(size)
}

/// The 32 bytes of a resource's digest.
fn bytes(resource: &Resource) -> Result<[u8; 32], String> {
    let wrong = || {
        format!(
            "the digest of {:?} is not SHA-256 in 64 lower-case hexadecimal digits",
            resource.name
        )
    };
    // Shards are named sha256-sharded-<size> by some versions.
    let algorithm = resource.algorithm.as_str();
    if algorithm != SHA256 && !algorithm.starts_with("sha256-sharded-") {
        return Err(wrong());
    }
    let mut bytes = [0; 32];
    let digits = resource.digest.as_bytes();
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = 16 * digit(pair[0]).ok_or_else(wrong)? + digit(pair[1]).ok_or_else(wrong)?;
    }
    Ok(bytes)
}

fn digit(text: u8) -> Option<u8> {
    match text {
        b'0'..=b'9' => Some(text - b'0'),
        b'a'..=b'f' => Some(text - b'a' + 10),
        _ => None,
    }
}

/// The path of the file that a resource is of, and which part of it: `path`, or `path:start:end` for a shard.
fn parts(resource: &Resource, shard_size: Option<NonZeroU64>) -> Result<(&str, Parts), String> {
    let Resource { name, digest, .. } = resource;
    let (path, start, end) = match shard_size {
        None => (name.as_str(), 0, u64::MAX),
        Some(_) => shard(name).ok_or_else(|| {
            format!("{name:?} is no shard: PATH:START:END is, with START before END")
        })?,
    };
    // What a signature says is not trusted so far that a path of it could lead out of a folder.
    if !is_inside(path) {
        return Err(format!("{path:?} is no path in a folder"));
    }
    Ok((path, Parts::one(start, end, digest)))
}

/// A path may have colons of its own: the last two are meant.
fn shard(name: &str) -> Option<(&str, u64, u64)> {
    let (rest, end) = name.rsplit_once(':')?;
    let (path, start) = rest.rsplit_once(':')?;
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    (start < end).then_some((path, start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ONE: &str = "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b";

    /// A statement with the digest that goes with its list.
    fn statement(resources: &Value, serialization: &Value) -> Value {
        let listed: Vec<u8> = resources
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| one["digest"].as_str())
            .flat_map(|digest| {
                bytes(&Resource {
                    name: String::new(),
                    digest: digest.to_owned(),
                    algorithm: SHA256.to_owned(),
                })
                .unwrap_or_default()
            })
            .collect();
        json!({
            "_type": STATEMENT, "predicateType": PREDICATE,
            "subject": [{"name": "m", "digest": {"sha256": format!("{:x}", Sha256::digest(listed))}}],
            "predicate": {"resources": resources, "serialization": serialization},
        })
    }

    fn files() -> Value {
        json!({"method": "files", "hash_type": "sha256", "allow_symlinks": false})
    }

    fn good() -> Value {
        statement(
            &json!([{"name": "a", "digest": ONE, "algorithm": "sha256"}]),
            &files(),
        )
    }

    fn shards(name: &str) -> Value {
        statement(
            &json!([{"name": name, "digest": ONE, "algorithm": "sha256-sharded-8"}]),
            &json!({"method": "shards", "hash_type": "sha256", "allow_symlinks": false, "shard_size": 8}),
        )
    }

    #[test]
    fn a_list_of_files_and_one_of_shards_is_read() {
        parse(good().to_string().as_bytes()).expect("files");
        let manifest = parse(shards("a:b:0:8").to_string().as_bytes()).expect("shards");
        assert_eq!(manifest.shard_size().map(NonZeroU64::get), Some(8));
        assert_eq!(shard("a:b:0:8"), Some(("a:b", 0, 8)));
        assert_eq!(shard("a"), None);
    }

    #[test]
    fn a_shard_has_a_whole_number_of_bytes_however_it_is_written() {
        for (written, expected) in [
            (json!(64), Some(64)),
            (json!(64.0), Some(64)),
            (json!(1e9), Some(1_000_000_000)),
            (json!(64.5), None),
            (json!(0), None),
            (json!(0.0), None),
            (json!(-64), None),
            (json!(1e300), None),
        ] {
            let number = written.as_number().expect("a number");
            let size = positive(number).map(NonZeroU64::get);
            assert_eq!(size, expected, "{written}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        type Change = fn(&mut Value);
        let rows: [(&str, Change); 13] = [
            ("its _type is \"x\"", |all| all["_type"] = json!("x")),
            ("its predicateType is", |all| {
                all["predicateType"] = json!("https://model_signing/Digests/v0.1");
            }),
            ("no in-toto statement", |all| all["predicate"] = json!({})),
            ("has 0 subjects", |all| all["subject"] = json!([])),
            ("its subject's digest is 00", |all| {
                all["subject"][0]["digest"]["sha256"] = json!("00");
            }),
            ("its hash_type is \"blake3\"", |all| {
                all["predicate"]["serialization"]["hash_type"] = json!("blake3");
            }),
            ("its method is \"tensors\"", |all| {
                all["predicate"]["serialization"]["method"] = json!("tensors");
            }),
            ("its shard_size has to be there", |all| {
                all["predicate"]["serialization"]["method"] = json!("shards");
            }),
            ("lists no file", |all| {
                *all = statement(&json!([]), &files());
            }),
            ("\"a\" is not SHA-256", |all| {
                all["predicate"]["resources"][0]["digest"] = json!("00");
            }),
            ("\"a\" is not SHA-256", |all| {
                all["predicate"]["resources"][0]["algorithm"] = json!("md5");
            }),
            ("\"../a\" is no path", |all| {
                all["predicate"]["resources"][0]["name"] = json!("../a");
            }),
            ("\"a\" is listed twice", |all| {
                let one = all["predicate"]["resources"][0].clone();
                *all = statement(&json!([one, one]), &files());
            }),
        ];
        for (expected, change) in rows {
            let mut statement = good();
            change(&mut statement);
            let why = parse(statement.to_string().as_bytes()).expect_err(expected);
            assert!(why.contains(expected), "{why}");
        }
        for name in ["a", "a:0", "a:8:0", "a:x:8"] {
            let why = parse(shards(name).to_string().as_bytes()).expect_err(name);
            assert!(why.contains("is no shard"), "{why}");
        }
    }
}
