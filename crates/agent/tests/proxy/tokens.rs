//! Streams of tokens, and counts of predictions.

use windlass_api::agent::prediction_bin;

use crate::common::Place;
use crate::common::proxy::{Proxy, request, upstream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_the_time_to_the_first_are_counted_as_they_stream_past() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--protocol", "OpenAI"]);
    let asked =
        r#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Count."}]}"#;
    for _ in 0..5 {
        let sent = proxy
            .client
            .post(proxy.at("/v1/chat/completions"))
            .body(asked);
        let text = sent
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
        assert!(text.contains("[DONE]"), "{text}");
    }
    let observations = proxy
        .observe(|observations| observations.requests == 5)
        .await;
    let tokens = observations.tokens.expect("it streams tokens");
    assert_eq!(tokens.tokens, 15);
    assert_eq!(tokens.seconds, 1, "5 times 0.2 s");
    let bounds = &observations.latency_bounds_ms;
    assert_eq!(tokens.first_token_counts.len(), bounds.len() + 1);
    let early = bounds.partition_point(|bound| *bound < 100.0);
    let late = bounds.partition_point(|bound| *bound < 300.0);
    assert_eq!(
        tokens.first_token_counts[early..late].iter().sum::<u64>(),
        5
    );
    // Three tokens over 0.2 s.
    let early = bounds.partition_point(|bound| *bound < 90.0);
    let late = bounds.partition_point(|bound| *bound < 200.0);
    assert_eq!(
        tokens.time_per_token_counts[early..late]
            .iter()
            .sum::<u64>(),
        5
    );
    assert_eq!(observations.predictions, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predictions_are_counted_by_their_bins_without_a_log() {
    let place = Place::new();
    let proxy = Proxy::start(&place, upstream().await, &["--count-predictions", "1"]);
    proxy
        .infer(request("", &[[0.5, 0.25], [0.5, 0.25], [40.0, 2.0]]))
        .await;
    proxy.infer("this is no request").await;
    let observations = proxy
        .observe(|observations| {
            observations
                .predictions
                .as_ref()
                .is_some_and(|bins| !bins.is_empty())
        })
        .await;
    let bins = observations.predictions.expect("they are counted");
    let bin = |number| prediction_bin(number).expect("a bin");
    assert_eq!(
        bins.into_iter().collect::<Vec<_>>(),
        [(bin(0.75), 2), (bin(42.0), 1)]
    );
    // Nothing is logged, so nothing is lost.
    assert_eq!(
        (observations.rows_logged, observations.rows_dropped),
        (0, 0)
    );
    assert!(!place.path("spool").exists());
}
