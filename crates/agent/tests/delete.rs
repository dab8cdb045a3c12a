//! `windlass-agent delete` on files: what was recorded goes, and nothing else.

mod common;

use std::os::unix::fs::symlink;

use common::{Ended, Place, names};
use windlass_api::agent::{FailureReason, Report};

const SCRIPT: &str = r#"
    printf hello > "$WINDLASS_OUTPUT/a"; mkdir -p "$WINDLASS_OUTPUT/deep/er"
    printf hello > "$WINDLASS_OUTPUT/deep/er/b"; printf hello > "$WINDLASS_OUTPUT/c"
"#;
/// SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const MODEL: &str = "pvc://claim/models/m";
const FILES: &str = "volumes/claim/models";

/// A place with a model in a claim, a file beside it, and the model's digest.
fn trained() -> (Place, String) {
    let place = Place::new();
    std::fs::create_dir_all(place.path("volumes/claim")).expect("made");
    let trained = place.train(&["--output", MODEL], SCRIPT);
    let digest = trained.training().output.clone().expect("an output").digest;
    place.file(&format!("{FILES}/m2/a"), "another model");
    (place, digest)
}

fn delete(place: &Place, uri: &str, digest: &str) -> Ended {
    place.agent(&["delete", "--uri", uri, "--digest", digest])
}

fn files(ended: &Ended) -> Vec<u64> {
    let Report::Delete(report) = &ended.report else {
        panic!("it was not deleted: {:?}", ended.report)
    };
    report.deleted.iter().map(|one| one.files).collect()
}

#[test]
fn a_model_goes_with_the_agent_s_own_note_and_what_is_gone_is_well() {
    let (place, digest) = trained();
    assert_eq!(
        names(&place.path(FILES)),
        [".windlass-m.json", "m/a", "m/c", "m/deep/er/b", "m2/a"]
    );
    let ended = delete(&place, MODEL, &digest);
    assert_eq!(files(&ended), [3]);
    assert_eq!(ended.output.status.code(), Some(0));
    assert_eq!(names(&place.path(FILES)), ["m2/a"]);
    assert!(!place.path(&format!("{FILES}/m")).exists());
    assert_eq!(files(&delete(&place, MODEL, &digest)), [0]);
}

#[test]
fn what_is_not_as_it_was_recorded_stays_whole() {
    let (place, digest) = trained();
    let before = names(&place.path(FILES));
    let is_refused = |uri: &str, digest: &str| {
        let ended = delete(&place, uri, digest);
        assert_eq!(
            ended.failure().reason,
            FailureReason::DigestMismatch,
            "{uri}"
        );
        assert_eq!(ended.output.status.code(), Some(65), "{uri}");
    };
    is_refused(MODEL, &digest.replace(&digest[10..12], "xx"));
    // The folder around it.
    is_refused("pvc://claim/models", &digest);
    assert_eq!(names(&place.path(FILES)), before);
    let more = place.file(&format!("{FILES}/m/thesis"), "years of work");
    is_refused(MODEL, &digest);
    assert!(more.exists() && place.path(&format!("{FILES}/m/a")).exists());
}

#[test]
fn of_several_none_goes_where_one_is_not_as_it_was_recorded() {
    let (place, digest) = trained();
    let before = names(&place.path(FILES));
    let other = "pvc://claim/models/m2";
    let both = [
        "delete", "--uri", MODEL, "--digest", &digest, "--uri", other,
    ];
    let ended = place.agent(&[&both[..], &["--digest", &digest]].concat());
    assert_eq!(ended.failure().reason, FailureReason::DigestMismatch);
    assert_eq!(names(&place.path(FILES)), before);
    let ended = place.agent(&both);
    assert_eq!(ended.failure().reason, FailureReason::InvalidArguments);
    assert_eq!(ended.output.status.code(), Some(64));

    let (_, rest) = delete(&place, other, &digest)
        .failure()
        .message
        .split_once("its digest is ")
        .map(|(before, rest)| (before.to_owned(), rest.to_owned()))
        .expect("its digest");
    let of_other = rest.split(' ').next().expect("a word");
    let ended = place.agent(&[&both[..], &["--digest", of_other]].concat());
    assert_eq!(files(&ended), [3, 1]);
    assert_eq!(names(&place.path(FILES)), Vec::<String>::new());
}

#[test]
fn a_deletion_that_was_cut_short_goes_on_and_takes_nothing_else() {
    let (place, digest) = trained();
    let all = ["a", "deep/er/b", "c"]
        .map(|path| format!(r#"{{"path":"{path}","size":5,"sha256":"{HELLO}"}}"#))
        .join(",");
    let note = |digest: &str| {
        let note = format!(r#"{{"digest":"{digest}","files":[{all}]}}"#);
        place.file(&format!("{FILES}/.windlass-m.deleting.json"), note);
    };
    note(&digest);
    std::fs::remove_file(place.path(&format!("{FILES}/m/a"))).expect("removed");

    // What came meanwhile is not of it.
    let more = place.file(&format!("{FILES}/m/more"), "x");
    let refused = delete(&place, MODEL, &digest);
    assert_eq!(refused.failure().reason, FailureReason::DigestMismatch);
    std::fs::remove_file(more).expect("removed");
    // Nor is a file of the same name.
    place.file(&format!("{FILES}/m/c"), "hullo");
    let refused = delete(&place, MODEL, &digest);
    assert_eq!(refused.failure().reason, FailureReason::DigestMismatch);
    place.file(&format!("{FILES}/m/c"), "hello");
    // A note on another deletion says nothing of this one.
    note(&format!("sha256:{}", "0".repeat(64)));
    let refused = delete(&place, MODEL, &digest);
    assert_eq!(refused.failure().reason, FailureReason::DigestMismatch);

    note(&digest);
    assert_eq!(files(&delete(&place, MODEL, &digest)), [2]);
    assert_eq!(names(&place.path(FILES)), ["m2/a"]);
}

#[test]
fn a_link_leads_to_what_is_another_s_and_nothing_is_deleted() {
    let (place, digest) = trained();
    let others = place.file("elsewhere/a", "hello");
    let inside = place.path(&format!("{FILES}/m/a"));
    std::fs::remove_file(&inside).expect("removed");
    symlink(&others, &inside).expect("a link");
    // Its digest is as it was.
    let ended = delete(&place, MODEL, &digest);
    assert_eq!(ended.failure().reason, FailureReason::InvalidArguments);
    assert!(ended.failure().message.contains("is a link"));
    std::fs::remove_file(&inside).expect("removed");
    place.file(&format!("{FILES}/m/a"), "hello");

    let latest = place.path("volumes/claim/latest");
    symlink(place.path(&format!("{FILES}/m")), &latest).expect("a link");
    let ended = delete(&place, "pvc://claim/latest", &digest);
    assert_eq!(ended.failure().reason, FailureReason::InvalidArguments);
    assert!(others.exists() && inside.exists() && latest.exists());
    assert_eq!(files(&delete(&place, MODEL, &digest)), [3]);
}

#[test]
fn what_can_only_be_read_is_refused_with_the_reason() {
    let place = Place::new();
    let digest = format!("sha256:{}", "0".repeat(64));
    for uri in ["https://models.example/churn", "oci://registry.example/m:1"] {
        let ended = delete(&place, uri, &digest);
        assert_eq!(ended.failure().reason, FailureReason::InvalidArguments);
        let message = &ended.failure().message;
        assert!(message.starts_with(uri) && message.contains("can only be read"));
    }
}
