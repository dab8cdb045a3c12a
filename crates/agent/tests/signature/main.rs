//! `windlass-agent verify` and `fetch` with signatures that `model_signing` itself made (`make.py`, `VERSION`).

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::gateway::Gateway;
use common::{Place, names};
use serde_json::{Value, json};
use windlass_agent::address::Address;
use windlass_agent::tree;
use windlass_api::agent::{FailureReason, Report};

/// What of the model is signed.
const SIGNED: [&str; 4] = ["config.json", "deep/tokenizer.txt", "empty", "weights.bin"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/signature")
        .join(name)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The model in a folder of the place, with this signature in it.
fn model(place: &Place, at: &str, signature: &str) -> PathBuf {
    for name in names(&fixture("model")) {
        let content = fs::read(fixture("model").join(&name)).expect("read");
        place.file(&format!("{at}/{name}"), content);
    }
    let signature = fs::read(fixture("signatures").join(signature)).expect("read");
    place.file(&format!("{at}/model.sig"), signature);
    place.path(at)
}

fn key(name: &str) -> [String; 2] {
    ["--public-key".to_owned(), text(&fixture("keys").join(name))]
}

fn authority(name: &str) -> [String; 2] {
    let path = fixture("certificates").join(name);
    ["--certificate-authority".to_owned(), text(&path)]
}

fn verify(place: &Place, model: &Path, more: &[String]) -> Output {
    let mut command = place.command(&["verify", &text(model)]);
    command.args(more).output().expect("the program starts")
}

/// What is printed of a model that is good.
fn good(place: &Place, model: &Path, more: &[String]) -> String {
    let output = verify(place, model, more);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Sees to it that a model is refused for a reason, in words.
fn refused(name: &str, place: &Place, more: &[String], reason: FailureReason, words: &str) {
    let output = verify(place, &place.path("model"), more);
    let said = String::from_utf8_lossy(&output.stderr);
    let code = if reason == FailureReason::InvalidArguments {
        64
    } else {
        65
    };
    assert_eq!(output.status.code(), Some(code), "{name}: {said}");
    assert!(said.contains(&format!("{reason:?}")), "{name}: {said}");
    assert!(said.contains(words), "{name}: {said}");
    assert!(output.stdout.is_empty(), "{name}: nothing is verified");
}

/// The digest that a ModelVersion would record of a folder.
fn digest(folder: &Path) -> String {
    let address = Address::local("model", folder).expect("an address");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let tree = runtime.block_on(tree::digest(&address)).expect("a tree");
    tree.digest
}

/// Changes the signature in the model.
fn change(model: &Path, how: impl Fn(&mut Value)) {
    let path = model.join("model.sig");
    let mut bundle: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    how(&mut bundle);
    fs::write(path, bundle.to_string()).expect("written");
}

/// Changes what is in base64 in the envelope.
fn decoded(bundle: &mut Value, at: &str, how: impl Fn(&mut Vec<u8>)) {
    let value = bundle.pointer_mut(at).expect("there");
    let mut bytes = STANDARD
        .decode(value.as_str().expect("text"))
        .expect("base64");
    how(&mut bytes);
    *value = json!(STANDARD.encode(bytes));
}

#[test]
fn a_signature_by_a_key_of_each_curve_is_good() {
    for curve in ["p256", "p384", "p521"] {
        let place = Place::new();
        let model = model(&place, "model", &format!("key-{curve}.sig"));
        let said = good(&place, &model, &key(&format!("{curve}.pub")));
        // What was verified is the whole folder: the signature and what OMS leaves out are in it.
        assert!(said.contains("6 files"), "{said}");
        assert!(said.contains(&digest(&model)), "{said}");
        assert!(said.contains("signed by the key "), "{said}");
        assert!(said.contains(" GB/s)"), "{said}");
    }
}

#[test]
fn a_signature_by_a_certificate_is_good_if_it_leads_to_an_authority_that_is_given() {
    let place = Place::new();
    let model = model(&place, "model", "certificate.sig");
    for name in ["root.pem", "middle.pem"] {
        let said = good(&place, &model, &authority(name));
        assert!(
            said.contains("signed by the certificate of CN=Test certificate"),
            "{said}"
        );
    }
}

#[test]
fn a_signature_over_shards_is_good_with_and_without_a_digest() {
    let place = Place::new();
    let model = model(&place, "model", "shards.sig");
    good(&place, &model, &key("p256.pub"));
    let digest = digest(&model);
    let with_digest = [&key("p256.pub")[..], &["--digest".to_owned(), digest]].concat();
    good(&place, &model, &with_digest);
    place.file("model/weights.bin", [7; 200]);
    for more in [&key("p256.pub")[..], &with_digest] {
        refused(
            "another byte",
            &place,
            more,
            FailureReason::DigestMismatch,
            "",
        );
    }
}

#[test]
fn files_that_are_not_those_that_were_signed_are_named() {
    type Change = fn(&Place, &Path);
    let rows: [(&str, Change, &str); 7] = [
        (
            "one bit in one byte",
            |place, model| {
                let mut weights = fs::read(model.join("weights.bin")).expect("read");
                weights[123] ^= 1;
                place.file("model/weights.bin", weights);
            },
            "not those that were signed: changed: weights.bin",
        ),
        (
            "a byte less",
            |place, _| {
                place.file("model/config.json", "{\"layers\": 2}");
            },
            "changed: config.json",
        ),
        (
            "one is missing",
            |_, model| fs::remove_file(model.join("deep/tokenizer.txt")).expect("removed"),
            "missing: deep/tokenizer.txt",
        ),
        (
            "one more",
            |place, _| {
                place.file("model/deep/more.py", "import os");
            },
            "not signed: deep/more.py",
        ),
        (
            "one more, hidden",
            |place, _| {
                place.file("model/.hidden", "x");
            },
            "not signed: .hidden",
        ),
        (
            "another name",
            |_, model| {
                fs::rename(model.join("weights.bin"), model.join("w.bin")).expect("renamed");
            },
            "missing: weights.bin; not signed: w.bin",
        ),
        (
            "a link to what it should be",
            |place, model| {
                let there = place.path("elsewhere");
                fs::rename(model.join("weights.bin"), &there).expect("moved");
                std::os::unix::fs::symlink(there, model.join("weights.bin")).expect("linked");
            },
            "symbolic links: weights.bin, and the signer followed no links",
        ),
    ];
    for (name, change, words) in rows {
        for signature in ["key-p256.sig", "shards.sig"] {
            let place = Place::new();
            change(&place, &model(&place, "model", signature));
            refused(
                name,
                &place,
                &key("p256.pub"),
                FailureReason::DigestMismatch,
                words,
            );
        }
    }
}

#[test]
fn a_signature_that_is_not_good_or_not_by_whom_is_asked_for_is_refused() {
    let by_key = |name| key(name).to_vec();
    let by = |name| authority(name).to_vec();
    let rows = [
        (
            "another key",
            "key-p256.sig",
            by_key("other.pub"),
            "it was made with another key",
        ),
        (
            "a key on another curve",
            "key-p256.sig",
            by_key("p521.pub"),
            "it was made with another key",
        ),
        (
            "a certificate that has expired",
            "expired.sig",
            by("root.pem"),
            "CN=Test expired, or one that leads from it to an authority, expired at 2020-12-31T00:00:00Z",
        ),
        (
            "another authority of the same name",
            "certificate.sig",
            by("other-root.pem"),
            "does not lead to an authority that was given",
        ),
        (
            "an authority that has expired",
            "certificate.sig",
            by("expired-root.pem"),
            "no certificate of the authorities that were given is valid now",
        ),
        (
            "a certificate for encryption",
            "encrypting.sig",
            by("root.pem"),
            "its key usage has no digitalSignature",
        ),
        (
            "a certificate of a web server",
            "server.sig",
            by("root.pem"),
            "its extended key usage has no codeSigning",
        ),
        (
            "a key where a certificate is asked for",
            "key-p256.sig",
            by("root.pem"),
            "was made with a key that has no certificate, and a certificate is asked for",
        ),
        (
            "a certificate where a key is asked for",
            "certificate.sig",
            by_key("p256.pub"),
            "was made with a certificate, and a public key is asked for",
        ),
        (
            "another predicate",
            "predicate.sig",
            by_key("p256.pub"),
            "its predicateType is \"https://slsa.dev/provenance/v1\"",
        ),
        (
            "a keyless one",
            "keyless.sig",
            by("root.pem"),
            "is a keyless signature",
        ),
    ];
    for (name, signature, more, words) in rows {
        let place = Place::new();
        model(&place, "model", signature);
        // The words of an escaped text in the log are those of the message.
        refused(name, &place, &more, FailureReason::SignatureInvalid, words);
    }
}

#[test]
fn a_signature_that_was_changed_is_refused_before_any_file_is_read() {
    type Change = fn(&mut Value);
    let rows: [(&str, Change, &str); 5] = [
        (
            "another digest in the payload",
            |bundle| {
                decoded(bundle, "/dsseEnvelope/payload", |payload| {
                    let text = String::from_utf8_lossy(payload).into_owned();
                    *payload = text.replacen("sha256\"", "SHA256\"", 1).into_bytes();
                });
            },
            "it is not good for the key that was given",
        ),
        (
            "a space more in the payload",
            |bundle| {
                decoded(bundle, "/dsseEnvelope/payload", |payload| {
                    payload.push(b' ');
                });
            },
            "it is not good for the key that was given",
        ),
        (
            "a bit in the signature",
            |bundle| {
                decoded(bundle, "/dsseEnvelope/signatures/0/sig", |signature| {
                    let last = signature.len() - 1;
                    signature[last] ^= 1;
                });
            },
            "it is not good for the key that was given",
        ),
        (
            "no signature at all",
            |bundle| bundle["dsseEnvelope"]["signatures"] = json!([]),
            "its envelope has 0 signatures",
        ),
        (
            "another type",
            |bundle| bundle["dsseEnvelope"]["payloadType"] = json!("text/plain"),
            "its payloadType is",
        ),
    ];
    for (name, how, words) in rows {
        let place = Place::new();
        let model = model(&place, "model", "key-p256.sig");
        change(&model, how);
        // A file that cannot be read would be told of otherwise.
        fs::remove_file(model.join("weights.bin")).expect("removed");
        refused(
            name,
            &place,
            &key("p256.pub"),
            FailureReason::SignatureInvalid,
            words,
        );
    }
    let place = Place::new();
    let model = model(&place, "model", "certificate.sig");
    change(&model, |bundle| {
        decoded(bundle, "/dsseEnvelope/payload", |payload| {
            payload.push(b' ');
        });
    });
    refused(
        "by certificate",
        &place,
        &authority("root.pem"),
        FailureReason::SignatureInvalid,
        "it is not good for the certificate of CN=Test certificate",
    );
}

#[test]
fn what_is_missing_or_makes_no_sense_is_named() {
    let place = Place::new();
    let model = model(&place, "model", "key-p256.sig");
    let refused = |name, more: &[&str], reason, words| {
        let more: Vec<String> = more.iter().map(|&one| one.to_owned()).collect();
        refused(name, &place, &more, reason, words);
    };
    let public = text(&fixture("keys").join("p256.pub"));
    let root = text(&fixture("certificates").join("root.pem"));
    let invalid = FailureReason::InvalidArguments;
    refused(
        "nothing to verify",
        &[],
        invalid,
        "nothing was said to verify",
    );
    refused(
        "a signature of nobody",
        &["--signature", "model.sig"],
        invalid,
        "--signature needs --public-key or --certificate-authority",
    );
    refused(
        "both",
        &["--public-key", &public, "--certificate-authority", &root],
        invalid,
        "cannot be used with",
    );
    refused(
        "no key there",
        &["--public-key", "/nowhere/model.pub"],
        invalid,
        "--public-key /nowhere/model.pub cannot be used: No such file",
    );
    refused(
        "a certificate for a key",
        &["--public-key", &root],
        invalid,
        "it holds no public key in PEM",
    );
    refused(
        "a key for an authority",
        &["--certificate-authority", &public],
        invalid,
        "it holds no certificate in PEM",
    );
    refused(
        "another digest",
        &["--digest", "sha256:00"],
        FailureReason::DigestMismatch,
        "but sha256:00 was expected",
    );
    good(&place, &model, &["--digest".to_owned(), digest(&model)]);
    fs::remove_file(model.join("model.sig")).expect("removed");
    refused(
        "no signature there",
        &["--public-key", &public],
        FailureReason::SignatureInvalid,
        "is not signed: there is no signature at",
    );
    let elsewhere = text(&fixture("signatures").join("key-p256.sig"));
    let more = ["--public-key", &public, "--signature", &elsewhere].map(str::to_owned);
    good(&place, &model, &more);
}

#[test]
fn what_is_fetched_is_what_was_signed_and_nothing_else() {
    let place = Place::new();
    let model = model(&place, "model", "certificate.sig");
    let (to, root) = (text(&place.path("to")), authority("root.pem"));
    let fetch = |digest: &str, trust: &[String; 2]| {
        let arguments = [
            "fetch",
            "--uri",
            &text(&model),
            "--digest",
            digest,
            "--to",
            &to,
            &trust[0],
            &trust[1],
        ]
        .map(str::to_owned);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        place.agent(&arguments)
    };
    let recorded = digest(&model);
    let fetched = fetch(&recorded, &root);
    let Report::Fetch(report) = &fetched.report else {
        panic!("{:?}", fetched.report)
    };
    assert_eq!((report.tree.files, &report.tree.digest), (6, &recorded));
    assert_eq!(names(&place.path("to")), SIGNED);

    fs::remove_dir_all(&to).expect("removed");
    let other = fetch(&recorded, &authority("other-root.pem"));
    assert_eq!(other.failure().reason, FailureReason::SignatureInvalid);
    assert_eq!(other.output.status.code(), Some(65));
    let missing = ["--public-key", "/windlass/trust/keys/pem"].map(str::to_owned);
    assert_eq!(
        fetch(&recorded, &missing).failure().reason,
        FailureReason::InvalidArguments
    );

    // Registered anew after it was changed: the record is right, and the signature is not over it.
    place.file("model/weights.bin", "other weights");
    let changed = fetch(&recorded, &root);
    assert!(changed.failure().message.contains("not what was recorded"));
    let registered = fetch(&digest(&model), &root);
    assert_eq!(registered.failure().reason, FailureReason::DigestMismatch);
    assert!(
        registered
            .failure()
            .message
            .contains("changed: weights.bin"),
        "{:?}",
        registered.failure()
    );
    assert_eq!(names(&place.path("to")), Vec::<String>::new());
}

#[test]
fn where_it_is_mounted_a_model_may_have_nothing_that_was_not_signed() {
    let place = Place::new();
    let model = model(&place, "volumes/models/1", "key-p256.sig");
    let [option, public] = key("p256.pub");
    let (recorded, mounted) = (digest(&model), text(&model));
    let verify = |digest: &str, signature: &[&str]| {
        let arguments = [
            "fetch",
            "--uri",
            "pvc://models/1",
            "--digest",
            digest,
            "--mounted",
            &mounted,
            &option,
            &public,
        ];
        place.agent(&[&arguments[..], signature].concat())
    };
    // What the signer left out, Git's files among it, the server would see.
    let refused = verify(&recorded, &[]);
    let failure = refused.failure().clone();
    assert_eq!(failure.reason, FailureReason::SignatureInvalid);
    assert!(failure.message.contains("leaves out: "), "{failure:?}");
    for path in names(&model) {
        let is_signed = SIGNED.contains(&path.as_str());
        if !is_signed && path != "model.sig" {
            assert!(failure.message.contains(&path), "{path}: {failure:?}");
            fs::remove_file(model.join(path)).expect("removed");
        }
    }
    let recorded = digest(&model);
    // By the claim's own address too: it is the same file.
    for signature in [&[][..], &["--signature", "pvc://models/1/model.sig"]] {
        let verified = verify(&recorded, signature);
        assert!(
            matches!(verified.report, Report::Fetch(_)),
            "{:?}",
            verified.report
        );
    }
    place.file("volumes/models/1/more.py", "import os");
    let more = verify(&digest(&model), &[]);
    assert!(
        more.failure().message.contains("not signed: more.py"),
        "{:?}",
        more.failure()
    );
}

#[test]
fn what_lies_in_a_store_is_verified_on_its_way() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    for signature in ["key-p256.sig", "shards.sig"] {
        let model = model(&place, "s3/bucket/models/1", signature);
        let (recorded, to) = (digest(&model), text(&place.path("to")));
        let [option, public] = key("p256.pub");
        let arguments = [
            "fetch",
            "--uri",
            "s3://bucket/models/1",
            "--digest",
            &recorded,
            "--to",
            &to,
            &option,
            &public,
        ];
        let fetched = gateway.agent(&place, &arguments);
        assert!(
            matches!(fetched.report, Report::Fetch(_)),
            "{:?}",
            fetched.report
        );
        assert_eq!(names(&place.path("to")), SIGNED);
        fs::remove_dir_all(&to).expect("removed");
        place.file("s3/bucket/models/1/more.py", "import os");
        let recorded = digest(&model);
        let with_more = arguments.map(|one| {
            if one.starts_with("sha256:") {
                recorded.as_str()
            } else {
                one
            }
        });
        let refused = gateway.agent(&place, &with_more);
        assert!(
            refused.failure().message.contains("not signed: more.py"),
            "{:?}",
            refused.failure()
        );
        assert_eq!(names(&place.path("to")), Vec::<String>::new());
        fs::remove_file(model.join("more.py")).expect("removed");
    }
}
