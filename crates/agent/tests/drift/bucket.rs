//! A payload log in a bucket that does not answer as it should: each ends in bounded time with a failure or a verdict of its
//! own, and none is "no drift".

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use windlass_api::agent::{FailureReason, Report, WindowVerdict};

use crate::{START, payload, reference, rows};

/// How the bucket answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answers {
    /// With a status, and what S3 calls it.
    With(u16, &'static str),
    /// With the file, a tenth of a second late and in pieces.
    Slowly,
    /// It takes a request, and says no more.
    Never,
    /// It lists a file that is not there any more.
    Gone,
}

/// What was read may take so long, with all that is tried again.
const BOUNDED: Duration = Duration::from_mins(4);

const KEY: &str = "payloads/flights-1";

/// Serves a folder's only file as S3 would, in path style, one request a connection.
fn serve(file: Arc<Vec<u8>>, name: String, answers: Answers) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (file, name) = (Arc::clone(&file), name.clone());
            thread::spawn(move || {
                let _ = answer(stream, &file, &name, answers);
            });
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, file: &[u8], name: &str, answers: Answers) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(of) = line.strip_prefix("range: bytes=") {
            let (from, to) = of.split_once('-').unwrap_or((of, ""));
            range = Some((
                from.parse().unwrap_or(0),
                to.parse().unwrap_or(file.len() - 1),
            ));
        }
    }
    let is_list = request.contains("list-type=2");
    match answers {
        Answers::Never => {
            thread::sleep(BOUNDED);
            return Ok(());
        }
        Answers::With(status, code) => {
            return respond(&mut stream, status, "", error(code).as_bytes(), false);
        }
        Answers::Gone if !is_list => {
            return respond(&mut stream, 404, "", error("NoSuchKey").as_bytes(), false);
        }
        Answers::Gone | Answers::Slowly => {}
    }
    if is_list {
        let body = format!(
            "<?xml version=\"1.0\"?><ListBucketResult><Name>bucket</Name><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>{KEY}/{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>",
            file.len()
        );
        return respond(&mut stream, 200, "", body.as_bytes(), false);
    }
    let (from, to) = range.unwrap_or((0, file.len() - 1));
    let to = to.min(file.len() - 1);
    let more = format!(
        "Content-Range: bytes {from}-{to}/{}\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n",
        file.len()
    );
    respond(&mut stream, 206, &more, &file[from..=to], true)
}

fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as it is</Message></Error>")
}

fn respond(
    stream: &mut TcpStream,
    status: u16,
    more: &str,
    body: &[u8],
    is_slow: bool,
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nContent-Type: application/xml\r\n{more}Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    for piece in body.chunks(body.len().div_ceil(4).max(1)) {
        if is_slow {
            thread::sleep(Duration::from_millis(100));
        }
        stream.write_all(piece)?;
    }
    stream.flush()
}

/// What the agent says of a window in such a bucket, and how long it took.
fn said(folder: &Path, endpoint: &str, name: &str, reference: &str) -> (Report, Duration) {
    let message = folder.join(format!("message-{name}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass-agent"));
    command
        .arg("--termination-message")
        .arg(&message)
        .args(["drift", "--reference", reference])
        .args([
            "--payloads",
            "s3://bucket/payloads",
            "--version",
            "flights-1",
        ])
        .args([
            "--window-start",
            "2013-04-01T00:00:00Z",
            "--window-end",
            "2013-04-01T00:01:00Z",
        ])
        .envs([
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            // Thirty seconds are usual; what is tried again is tried as often.
            ("AWS_TIMEOUT", "2s"),
        ]);
    let started = Instant::now();
    let output = command.output().expect("the program starts");
    let written = std::fs::read(&message).unwrap_or_else(|problem| {
        panic!(
            "no message ({problem}): {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (
        serde_json::from_slice(&written).expect("a report"),
        started.elapsed(),
    )
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_as_it_should_is_named_in_bounded_time() {
    let folder = tempfile::tempdir().expect("a folder");
    reference(folder.path()).await;
    payload(folder.path(), &rows(1000, 2, 0.0), START);
    let name = format!("{START}-{}-pod-a.parquet", START + 999);
    let path = folder.path().join(KEY).join(&name);
    let file = Arc::new(std::fs::read(path).expect("a file"));
    let baseline = folder.path().join("baseline.json").display().to_string();
    let in_bucket = "s3://bucket/baseline.json".to_owned();
    let unreadable = Err(FailureReason::InputUnreadable);
    let not_enough = Ok(WindowVerdict::NotEnoughData);
    let no_reference = Err(FailureReason::ReferenceUnreadable);
    let cases: [(Answers, &String, Result<WindowVerdict, FailureReason>, &str); 8] = [
        (
            Answers::With(403, "AccessDenied"),
            &baseline,
            unreadable,
            "AccessDenied",
        ),
        // A folder that is not there has no rows; a bucket that is not there is somebody's mistake.
        (
            Answers::With(404, "NoSuchBucket"),
            &baseline,
            unreadable,
            "NoSuchBucket",
        ),
        (Answers::Gone, &baseline, not_enough, "0 rows"),
        (
            Answers::With(500, "InternalError"),
            &baseline,
            unreadable,
            "InternalError",
        ),
        (Answers::Never, &baseline, unreadable, "the payload log"),
        (
            Answers::Slowly,
            &baseline,
            Ok(WindowVerdict::Healthy),
            "0 of 3 columns",
        ),
        (
            Answers::With(403, "AccessDenied"),
            &in_bucket,
            no_reference,
            "AccessDenied",
        ),
        (
            Answers::With(404, "NoSuchKey"),
            &in_bucket,
            no_reference,
            "nothing at s3://bucket/baseline.json",
        ),
    ];
    thread::scope(|scope| {
        let (folder, file, name) = (folder.path(), &file, &name);
        for (at, (answers, reference, expected, words)) in cases.into_iter().enumerate() {
            scope.spawn(move || {
                let endpoint = serve(Arc::clone(file), name.clone(), answers);
                let (report, took) = said(folder, &endpoint, &at.to_string(), reference);
                assert!(took < BOUNDED, "{answers:?}: {took:?}");
                let (found, message) = match report {
                    Report::Drift(report) => (Ok(report.verdict), report.message),
                    Report::Failure(failure) => (Err(failure.reason), failure.message),
                    other => panic!("{other:?}"),
                };
                assert_eq!(found, expected, "{answers:?}: {message}");
                assert!(message.contains(words), "{answers:?}: {message}");
                println!("{answers:?}: {took:?}: {message}");
            });
        }
    });
}
