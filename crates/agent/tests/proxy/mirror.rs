//! Copies of requests for another version.

use std::time::{Duration, Instant};

use windlass_api::agent::Mirrored;

use crate::common::Place;
use crate::common::proxy::{INFER, Proxy, request, upstream, upstream_that_adds};

fn at(address: std::net::SocketAddr) -> String {
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_both_versions_are_compared_row_by_row() {
    let place = Place::new();
    // Half a unit more: of 100 within a hundredth, of 1 not.
    let other = upstream_that_adds(0.5).await;
    let beside = Place::new();
    let candidate = Proxy::start(&beside, other, &[]);
    let mirror = format!("http://{}", candidate.listen);
    let proxy = Proxy::start(&place, upstream().await, &["--mirror", &mirror]);
    let answer = proxy
        .infer(request("", &[[60.0, 40.0], [0.5, 0.5], [90.0, 10.0]]))
        .await;
    let answer = answer.text().await.expect("a body");
    assert!(
        answer.contains("[100.0,1.0,100.0]"),
        "the client's is the first version's: {answer}"
    );
    let failed = proxy.client.post(proxy.at(INFER)).header("x-status", 503);
    assert_eq!(
        failed.body("{}").send().await.expect("an answer").status(),
        503
    );
    let is_over = |counts: Option<Mirrored>| {
        counts.is_some_and(|counts| counts.sent == 2 && counts.compared > 0)
    };
    let observations = proxy
        .observe(|observations| is_over(observations.mirror))
        .await;
    let expected = Mirrored {
        sent: 2,
        errors: 1,
        dropped: 0,
        compared: 3,
        agreed: 2,
    };
    assert_eq!(observations.mirror, Some(expected));
    // The other version's proxy answers as usual, and counts.
    let observations = candidate
        .observe(|observations| observations.requests == 2)
        .await;
    assert_eq!((observations.errors, observations.mirror), (1, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_copy_and_copies_are_bounded() {
    let place = Place::new();
    // Takes connections, and never answers.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mirror = at(hangs.local_addr().expect("an address"));
    let proxy = Proxy::start(&place, upstream().await, &["--mirror", &mirror]);
    let started = Instant::now();
    for _ in 0..200 {
        let answer = proxy.infer(request("", &[[1.0, 2.0]])).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
    }
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let observations = proxy
        .observe(|observations| observations.requests == 200)
        .await;
    let counts = observations.mirror.expect("it mirrors");
    assert_eq!((counts.sent, counts.dropped), (0, 200 - 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_copied_and_a_copy_is_not_copied_again() {
    let place = Place::new();
    let mirror = at(upstream().await);
    let proxy = Proxy::start(
        &place,
        upstream().await,
        &["--mirror", &mirror, "--mirror-share", "0.5"],
    );
    for _ in 0..200 {
        proxy
            .infer(request("", &[[1.0, 2.0]]))
            .await
            .bytes()
            .await
            .expect("a body");
        let copy = proxy
            .client
            .post(proxy.at(INFER))
            .header("x-windlass-mirrored", "true");
        let copy = copy
            .body(request("", &[[1.0, 2.0]]))
            .send()
            .await
            .expect("an answer");
        copy.bytes().await.expect("a body");
    }
    let observations = proxy
        .observe(|observations| {
            let sent = observations.mirror.map_or(0, |counts| counts.sent);
            observations.requests == 400 && sent > 60
        })
        .await;
    let counts = observations.mirror.expect("it mirrors");
    assert!(
        (60..140).contains(&(counts.sent + counts.dropped)),
        "{counts:?}"
    );
    assert_eq!(counts.compared, counts.agreed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_hangs_costs_the_other_one_no_row_of_its_log() {
    let place = Place::new();
    // Takes connections, and never answers.
    let hangs = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mirror = at(hangs.local_addr().expect("an address"));
    let arguments = ["--mirror", &mirror, "--log-uri", "pvc://logs/x"];
    let proxy = Proxy::start(&place, upstream().await, &arguments);
    // Copies of sixty of them would be all that is kept for the log.
    let padding = "x".repeat(128 << 10);
    let body = request("", &[[1.0, 2.0]]).replacen('{', &format!("{{\"pad\": \"{padding}\", "), 1);
    let mut observations = proxy.observations().await;
    for sent in 1..=100 {
        let answer = proxy.infer(body.clone()).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.expect("a body");
        // The log itself keeps up.
        if sent % 10 == 0 {
            let is_read = |rows| rows >= sent;
            observations = proxy
                .observe(|observations| {
                    is_read(observations.rows_logged + observations.rows_dropped)
                })
                .await;
        }
    }
    assert_eq!(
        (observations.rows_logged, observations.rows_dropped),
        (100, 0)
    );
    // Copies are as many as there is room for.
    let dropped = observations.mirror.expect("it mirrors").dropped;
    assert!((40..100).contains(&dropped), "{dropped}");
}
