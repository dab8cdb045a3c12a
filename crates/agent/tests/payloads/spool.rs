//! What is left of the log after a crash, and after a store that was away.

use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};

use crate::common::proxy::{INFER, Proxy, logged, request, upstream};
use crate::common::{Place, names};

fn ids(batches: &[RecordBatch]) -> Vec<String> {
    let ids = batches
        .iter()
        .flat_map(|batch| batch["request_id"].as_string::<i32>().iter().flatten());
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_at_most_the_last_second_and_the_next_start_uploads_the_rest() {
    let place = Place::new();
    let arguments = ["--log-uri", "pvc://logs/x", "--flush-every", "1h"];
    let server = upstream().await;
    let mut proxy = Proxy::start(&place, server, &arguments);
    let mut sent = Vec::new();
    for number in 0..50 {
        let id = format!("early-{number:02}");
        proxy
            .infer(request(&id, &[[1.0, 2.0]]))
            .await
            .bytes()
            .await
            .expect("a body");
        sent.push(id);
    }
    // All that is older than a second is on disk; more comes until the very end.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for number in 0..20 {
        let id = format!("late-{number:02}");
        proxy
            .infer(request(&id, &[[1.0, 2.0]]))
            .await
            .bytes()
            .await
            .expect("a body");
    }
    // SIGKILL.
    proxy.child.kill().expect("killed");
    proxy.child.wait().expect("it is gone");
    assert_eq!(
        names(&place.path("volumes/logs/x")),
        Vec::<String>::new(),
        "nothing was uploaded yet"
    );

    let next = Proxy::start(&place, server, &arguments);
    next.observe(|observations| observations.rows_logged >= 50)
        .await;
    let there = ids(&logged(&place.path("volumes/logs/x/flights-3")));
    let early: Vec<String> = there
        .iter()
        .filter(|id| id.starts_with("early"))
        .cloned()
        .collect();
    assert_eq!(early, sent, "none is lost, and none is there twice");
    println!(
        "{} of 20 rows of the last second are there",
        there.len() - early.len()
    );
    let left = names(&place.path("spool"));
    assert!(left.is_empty(), "{left:?} is left in the spool");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_fails_is_tried_again() {
    let place = Place::new();
    // A file stands where the log's folder is to be.
    let obstacle = place.file("log", "in the way");
    let log = obstacle.to_string_lossy();
    let mut proxy = Proxy::start(&place, upstream().await, &["--log-uri", &log]);
    proxy
        .infer(request("a", &[[1.0, 2.0]]))
        .await
        .bytes()
        .await
        .expect("a body");
    let failed = "windlass_proxy_payload_uploads_failed_total 0";
    let mut text = failed.to_owned();
    while text.contains(failed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let metrics = proxy
            .client
            .get(format!("http://{}/metrics", proxy.metrics))
            .send();
        text = metrics
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
    }
    assert_eq!(proxy.observations().await.rows_logged, 0);
    std::fs::remove_file(&obstacle).expect("removed");
    proxy
        .observe(|observations| observations.rows_logged == 1)
        .await;
    assert_eq!(ids(&logged(&place.path("log/flights-3"))), ["a"]);
    proxy.terminate();
    proxy.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_does_not_end_does_not_keep_the_rows_of_others_from_the_store() {
    let place = Place::new();
    let arguments = [
        "--log-uri",
        "pvc://logs/x",
        "--flush-every",
        "1h",
        "--drain",
        "0s",
        "--finish",
        "2s",
    ];
    let mut proxy = Proxy::start(&place, upstream().await, &arguments);
    let sent = proxy.client.post(proxy.at(INFER));
    let stuck = sent
        .header("x-sleep", 60_000)
        .body(request("stuck", &[[1.0, 2.0]]));
    let stuck = tokio::spawn(stuck.send());
    let mut ended = Vec::new();
    for number in 0..10 {
        let id = format!("row-{number}");
        let answer = proxy.infer(request(&id, &[[1.0, 2.0]])).await;
        answer.bytes().await.expect("a body");
        ended.push(id);
    }
    proxy.terminate();
    let told = Instant::now();
    proxy.end().await;
    assert!(told.elapsed() < Duration::from_secs(10));
    assert_eq!(ids(&logged(&place.path("volumes/logs/x/flights-3"))), ended);
    let _ = stuck.await;
}
