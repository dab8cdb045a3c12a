//! `windlass-agent cache`, and `run` with what it keeps; the store is a small web server.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::gateway::Gateway;
use common::{Ended, Place, names};
use windlass_api::agent::{FailureReason, Report};

/// What the server answers with.
struct Page {
    tag: String,
    content: String,
}

/// A web server with the same page at every path but `/gone`.
struct Web {
    address: String,
    page: Arc<Mutex<Page>>,
    /// How often it was asked.
    asked: Arc<AtomicUsize>,
}

impl Web {
    fn start(content: &str) -> Self {
        Self::that_stalls(content, usize::MAX)
    }

    /// One that sends half of the page when it is asked for this time, from 1, and then nothing.
    fn that_stalls(content: &str, at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let web = Self {
            address,
            page: Arc::new(Mutex::new(Page {
                tag: "\"1\"".to_owned(),
                content: content.to_owned(),
            })),
            asked: Arc::default(),
        };
        let (page, asked) = (Arc::clone(&web.page), Arc::clone(&web.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (page, asked) = (Arc::clone(&page), Arc::clone(&asked));
                std::thread::spawn(move || answer(stream, &page, &asked, at));
            }
        });
        web
    }

    fn changes(&self, tag: &str, content: &str) {
        *self.page.lock().expect("no thread panics with it") = Page {
            tag: tag.to_owned(),
            content: content.to_owned(),
        };
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn input(&self, name: &str) -> String {
        format!("in=http://{}/{name}", self.address)
    }
}

fn answer(mut stream: TcpStream, page: &Mutex<Page>, asked: &AtomicUsize, stalls_at: usize) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    if head.starts_with(b"GET /gone") {
        let _ = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let time = asked.fetch_add(1, Ordering::SeqCst) + 1;
    let (tag, content) = {
        let page = page.lock().expect("no thread panics with it");
        (page.tag.clone(), page.content.clone())
    };
    let sent = if time == stalls_at {
        &content[..content.len() / 2]
    } else {
        &content
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nETag: {tag}\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{sent}",
        content.len()
    );
    let _ = stream.write_all(head.as_bytes());
    if time == stalls_at {
        // For longer than any test.
        std::thread::sleep(Duration::from_hours(1));
    }
}

const GIB: &str = "1073741824";

fn keep(place: &Place, more: &[&str]) -> std::process::Output {
    start(place, more).wait_with_output().expect("it ends")
}

/// The arguments with which a folder is a cache.
fn told<'a>(folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    // However full the disk of this machine is.
    let mut all = vec!["cache", "--folder", folder, "--disk-free", "0"];
    if !more.contains(&"--size") {
        all.extend(["--size", GIB]);
    }
    all.extend(more);
    all
}

fn start(place: &Place, more: &[&str]) -> Child {
    let folder = place.path("cache");
    place
        .command(&told(folder.to_str().expect("text"), more))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Keeps an input; the program has to have ended well, whatever it could do. What it logged.
fn kept(place: &Place, more: &[&str]) -> String {
    let output = keep(place, more);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    log
}

/// Trains on an input, with a copy of it as the model.
fn train(place: &Place, more: &[&str], script: &str) -> Ended {
    let folder = place.path("cache");
    let mut all = vec!["--input-cache", folder.to_str().expect("text")];
    all.extend(more);
    place.train(&all, script)
}

const COPY: &str = r#"cp -RL "$WINDLASS_INPUT_IN"/. "$WINDLASS_OUTPUT""#;

/// The entries, oldest name first.
fn entries(place: &Place) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = folders(place)
        .into_iter()
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().len() == 64)
        })
        .collect();
    entries.sort();
    entries
}

fn folders(place: &Place) -> Vec<PathBuf> {
    let Ok(all) = fs::read_dir(place.path("cache")) else {
        return Vec::new();
    };
    all.flatten().map(|entry| entry.path()).collect()
}

/// What was begun and not finished.
fn left(place: &Place) -> usize {
    let is_left = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with(".windlass-")
    };
    folders(place).iter().filter(|path| is_left(path)).count()
}

fn the_digest(place: &Place) -> String {
    let entries = entries(place);
    assert_eq!(entries.len(), 1, "{entries:?}");
    let name = entries[0].file_name().expect("a name").to_string_lossy();
    format!("sha256:{name}")
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_known_by_its_digest_is_read_without_its_store() {
    let place = Place::new();
    let web = Web::start("a,b\n1,2\n");
    let input = web.input("codes.csv");
    kept(&place, &["--input", &input]);
    let digest = format!("in={}", the_digest(&place));
    let before = web.asked();
    let by_digest = ["--input", &input, "--input-digest", &digest];
    kept(&place, &by_digest);
    let ended = train(&place, &by_digest, COPY);
    let training = ended.training();
    assert_eq!(place.read("work/output/codes.csv"), "a,b\n1,2\n");
    let tree = &training.inputs[0].tree;
    assert_eq!(format!("in={}", tree.digest), digest);
    assert_eq!(format!("in={}", tree.uri), input);
    assert_eq!((tree.files, tree.bytes), (1, 8));
    assert_eq!(web.asked(), before, "nobody asked the store");
}

#[test]
fn what_has_no_digest_yet_is_known_again_by_its_tag_and_fetched_when_that_changes() {
    let place = Place::new();
    let web = Web::start("one");
    let input = web.input("codes.csv");
    let input = ["--input", &input];
    kept(&place, &input);
    let first = web.asked();
    kept(&place, &input);
    assert_eq!(web.asked(), first + 1, "only what it is like was asked");
    train(&place, &input, COPY).training();
    assert_eq!(web.asked(), first + 2);
    assert_eq!(place.read("work/output/codes.csv"), "one");

    web.changes("\"2\"", "two");
    let ended = train(&place, &input, COPY);
    ended.training();
    assert_eq!(
        place.read("work/output/codes.csv"),
        "two",
        "not what was kept"
    );
    assert_eq!(
        entries(&place).len(),
        1,
        "the trainer's side writes nothing"
    );
    kept(&place, &input);
    assert_eq!(entries(&place).len(), 2);
    // The same content under another tag is there already.
    web.changes("\"3\"", "one");
    kept(&place, &input);
    assert_eq!((entries(&place).len(), left(&place)), (2, 0));
}

#[test]
fn of_several_at_a_time_one_fetches_and_the_others_wait_for_it() {
    let place = Place::new();
    let web = Web::start(&"x".repeat(1 << 20));
    let input = web.input("large");
    let all: Vec<Child> = (0..4)
        .map(|_| start(&place, &["--input", &input]))
        .collect();
    for child in all {
        assert!(child.wait_with_output().expect("it ends").status.success());
    }
    assert_eq!(
        web.asked(),
        4 + 1,
        "each asked what it is like, one fetched"
    );
    assert_eq!((entries(&place).len(), left(&place)), (1, 0));
}

#[test]
fn what_is_cut_off_under_way_is_never_taken_for_whole() {
    for (signal, leaves) in [
        (rustix::process::Signal::KILL, 1),
        (rustix::process::Signal::TERM, 0),
    ] {
        let place = Place::new();
        let web = Web::that_stalls("0123456789", 2);
        let input = web.input("half");
        let input = ["--input", &input];
        let child = start(&place, &input);
        wait_for("the fetch has begun", || {
            folders(&place)
                .iter()
                .any(|folder| folder.join("files/half").exists())
        });
        let id = i32::try_from(child.id()).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("an id");
        rustix::process::kill_process(id, signal).expect("told");
        child.wait_with_output().expect("it ends");
        assert_eq!(entries(&place), [] as [PathBuf; 0], "{signal:?}");
        assert_eq!(left(&place), leaves, "{signal:?}");
        kept(&place, &input);
        assert_eq!((entries(&place).len(), left(&place)), (1, 0), "{signal:?}");
        train(&place, &input, COPY).training();
        assert_eq!(place.read("work/output/half"), "0123456789");
    }
}

#[test]
fn what_was_bent_is_not_trained_on_and_is_fetched_anew() {
    let place = Place::new();
    let web = Web::start("good");
    let input = web.input("x");
    kept(&place, &["--input", &input]);
    let digest = format!("in={}", the_digest(&place));
    let input = ["--input", &input, "--input-digest", &digest];
    let file = entries(&place)[0].join("files/x");
    // The kernel's clock has gone on since it was verified.
    std::thread::sleep(Duration::from_millis(30));
    fs::remove_file(&file).expect("removed");
    fs::write(&file, "bent").expect("written");

    let ended = train(&place, &input, COPY);
    ended.training();
    assert_eq!(place.read("work/output/x"), "good");
    let log = String::from_utf8_lossy(&ended.output.stderr).into_owned();
    assert!(
        log.contains("x has not the digest in its manifest"),
        "{log}"
    );

    let log = kept(&place, &input);
    assert!(log.contains("is fetched anew"), "{log}");
    assert_eq!(fs::read_to_string(&file).expect("read"), "good");
    let asked = web.asked();
    train(&place, &input, COPY).training();
    assert_eq!(
        (place.read("work/output/x").as_str(), web.asked()),
        ("good", asked)
    );
}

#[test]
fn data_that_is_no_longer_what_was_checked_is_not_kept_under_that_digest() {
    let place = Place::new();
    let web = Web::start("other");
    let (input, digest) = (web.input("x"), format!("in=sha256:{}", "0".repeat(64)));
    let input = ["--input", &input, "--input-digest", &digest];
    let log = kept(&place, &input);
    assert!(log.contains("was asked for"), "{log}");
    assert_eq!((entries(&place).len(), left(&place)), (0, 0));
    let ended = train(&place, &input, "true");
    assert_eq!(ended.failure().reason, FailureReason::DigestMismatch);
}

#[test]
fn what_was_not_used_for_longest_makes_room_and_what_is_in_use_does_not() {
    let place = Place::new();
    let pages = ["aaaaaa", "bbbbbb", "cccccc", "dddddd", "eeeeee"];
    let webs: Vec<Web> = pages.iter().map(|page| Web::start(page)).collect();
    let room = |at: usize, more: &[&str]| {
        let input = webs[at].input("x");
        let all = ["--size", "14", "--input", &input];
        kept(&place, &[&all[..], more].concat())
    };
    let now = ["--stays", "0s"];
    let there = || -> String {
        let mut there: Vec<char> = entries(&place)
            .iter()
            .map(|entry| fs::read_to_string(entry.join("files/x")).expect("read"))
            .filter_map(|content| content.chars().next())
            .collect();
        there.sort_unstable();
        there.into_iter().collect()
    };
    room(0, &now);
    room(1, &now);
    room(0, &now);
    assert_eq!(there(), "ab");
    let log = room(2, &[]);
    assert!(
        log.contains("no room"),
        "what was used just now stays: {log}"
    );
    assert_eq!(there(), "ab");
    room(2, &now);
    assert_eq!(there(), "ac", "b was not used for longest");

    let hold = |letter: &str| {
        let entries = entries(&place);
        let holds = |entry: &&PathBuf| {
            fs::read_to_string(entry.join("files/x"))
                .expect("read")
                .starts_with(letter)
        };
        let entry = entries.iter().find(holds).expect("it is there");
        let used = fs::File::open(entry.join("used")).expect("opened");
        used.lock_shared().expect("held");
        used
    };
    let first = hold("a");
    room(3, &now);
    assert_eq!(there(), "ad", "a is held");
    let second = hold("d");
    let log = room(4, &now);
    assert!(log.contains("no room"), "{log}");
    assert_eq!(there(), "ad");
    drop((first, second));
    room(4, &now);
    assert_eq!(there(), "de");
    assert_eq!(left(&place), 0);
}

#[test]
fn what_a_trainer_reads_stays_while_it_runs() {
    let place = Place::new();
    let (web, other) = (Web::start("aaaaaa"), Web::start("bbbbbb"));
    let input = web.input("x");
    kept(&place, &["--input", &input]);
    let folder = place.path("cache");
    let work = place.path("work");
    let script = format!(
        "touch {0}/READY; while ! test -e {0}/GO; do sleep 0.01; done; cat $WINDLASS_INPUT_IN/x > $WINDLASS_OUTPUT/x",
        place.path("").display()
    );
    let run = place
        .command(&[
            "run",
            "--work-dir",
            work.to_str().expect("text"),
            "--input-cache",
            folder.to_str().expect("text"),
            "--input",
            &input,
            "--",
            "sh",
            "-c",
            &script,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    wait_for("the trainer runs", || place.path("READY").exists());
    let next = other.input("x");
    let next = ["--size", "10", "--stays", "0s", "--input", &next];
    let log = kept(&place, &next);
    assert!(log.contains("no room"), "{log}");
    place.file("GO", "");
    let output = run.wait_with_output().expect("it ends");
    assert!(matches!(place.report(&output), Report::Training(_)));
    assert_eq!(place.read("work/output/x"), "aaaaaa");
    let log = kept(&place, &next);
    assert!(log.contains("makes room"), "{log}");
}

#[test]
fn what_cannot_be_kept_fails_nothing() {
    let place = Place::new();
    let web = Web::start("content");
    web.changes("W/\"1\"", "content");
    let weak = web.input("x");
    let log = kept(&place, &["--input", &weak]);
    assert!(log.contains("no strong ETag"), "{log}");
    place.file("here", "x");
    let here = format!("in={}", place.path("here").display());
    kept(&place, &["--input", &here]);
    let log = kept(&place, &["--input", &web.input("gone")]);
    assert!(log.contains("is not kept"), "{log}");
    let log = kept(
        &place,
        &[
            "--size",
            "3",
            "--input",
            &weak,
            "--input-digest",
            &format!("in=sha256:{}", "0".repeat(64)),
        ],
    );
    assert!(log.contains("no room"), "{log}");
    assert_eq!((entries(&place).len(), left(&place)), (0, 0));
    // And who reads it does as if there was no cache.
    train(&place, &["--input", &weak], COPY).training();
    assert_eq!(place.read("work/output/x"), "content");

    let wrong = keep(
        &place,
        &["--input", &weak, "--input-digest", "other=sha256:0"],
    );
    assert_eq!(wrong.status.code(), Some(64));
}

#[test]
fn a_bucket_is_kept_whole_as_it_was_checked() {
    let place = Place::new();
    let Some(mut gateway) = Gateway::start(&place) else {
        return;
    };
    place.file("s3/bucket/data/a name with spaces.csv", "n\n1\n");
    place.file("s3/bucket/data/deep/b.csv", "n\n2\n");
    let input = ["--input", "in=s3://bucket/data"];
    let checked = gateway.agent(
        &place,
        &[&["check"], &input[..], &["--input-format", "in=CSV"]].concat(),
    );
    let Report::Check(report) = &checked.report else {
        panic!("{:?}", checked.report)
    };
    let digest = format!("in={}", report.inputs[0].tree.digest);
    let as_of = format!(
        "in={}",
        report.inputs[0].as_of.expect("a folder has a time")
    );
    place.file("s3/bucket/data/later.csv", "n\n3\n");
    let input = [
        &input[..],
        &["--input-digest", &digest, "--input-as-of", &as_of],
    ]
    .concat();
    let folder = place.path("cache");
    let folder = folder.to_str().expect("text");
    let output = gateway
        .command(&place, &told(folder, &input))
        .output()
        .expect("the program starts");
    assert!(output.status.success());
    assert_eq!(format!("in={}", the_digest(&place)), digest);
    gateway.stop();
    let cached = ["--input-cache", folder];
    let ended = gateway.train(&place, &[&input[..], &cached].concat(), COPY);
    assert_eq!(ended.training().inputs[0].tree.files, 2);
    assert_eq!(
        names(&place.path("work/output")),
        ["a name with spaces.csv", "deep/b.csv"]
    );
}

#[test]
fn a_bucket_without_a_digest_is_known_again_by_its_listing() {
    let place = Place::new();
    let Some(gateway) = Gateway::start(&place) else {
        return;
    };
    let upload = |content: &str| {
        let script = format!("echo {content} > $WINDLASS_OUTPUT/a");
        gateway
            .train(&place, &["--output", "s3://bucket/data"], &script)
            .training();
    };
    let folder = place.path("cache");
    let folder = folder.to_str().expect("text");
    let keep = || {
        let output = gateway
            .command(&place, &told(folder, &["--input", "in=s3://bucket/data"]))
            .output()
            .expect("the program starts");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    upload("one");
    let log = keep();
    assert_eq!(entries(&place).len(), 1, "{log}");
    let mark = fs::metadata(entries(&place)[0].join("manifest.json")).expect("there");
    keep();
    let again = fs::metadata(entries(&place)[0].join("manifest.json")).expect("there");
    assert_eq!(
        mark.modified().expect("a time"),
        again.modified().expect("a time")
    );
    upload("two");
    keep();
    assert_eq!(entries(&place).len(), 2);
    let input = ["--input", "in=s3://bucket/data", "--input-cache", folder];
    let ended = gateway.train(&place, &input, COPY);
    ended.training();
    assert_eq!(place.read("work/output/a"), "two\n");
    let log = String::from_utf8_lossy(&ended.output.stderr).into_owned();
    assert!(log.contains("it is in the node's cache"), "{log}");
}
