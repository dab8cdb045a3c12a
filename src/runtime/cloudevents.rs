//! CloudEvents (CNCF, version 1.0) over HTTP, in structured mode, to the one address that the administrator configured.
//!
//! ```text
//!   reconcile ──tell──> queue (bounded) ──one after the other, tried for some two minutes──> who listens
//!                         └── full: dropped, and counted
//! ```
//!
//! No reconcile waits for it. What is told is derived from a status that was written: an operator that is killed just then has
//! not told it, and whoever has to know all reads the status. An event that is sent twice has the same id.
//!
//! The SDK for Rust is not used: its part that sends is bound to reqwest, and what is left of it is eight fields of JSON.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::client::Body;
use tokio::sync::{mpsc, watch};
use windlass_plan::driftmonitor::CloudEvent;

use super::metrics::Metrics;
use super::outside::Configured;

/// Events that wait at most: a few hundred kilobytes.
const WAITING: usize = 500;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long is waited before one is tried again.
const PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

/// Where events go.
pub struct Address {
    client: Client,
    path: String,
}

impl Address {
    /// As it was configured.
    ///
    /// # Errors
    /// Where the address cannot be meant or used, or a file not be read.
    pub fn new(
        url: &str,
        token_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let configured = Configured {
            name: "events",
            path: "the path at which CloudEvents are taken",
            url,
            token_file,
            ca_file,
        };
        let address = configured.address()?;
        let path = address.path().to_owned();
        // The path is given with each request, as it is: the client would add to it.
        let mut parts = address.into_parts();
        parts.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let host = http::Uri::from_parts(parts)?;
        let client = configured.client(host)?;
        Ok(Self { client, path })
    }

    /// Sends an event once.
    async fn send(&self, event: &[u8]) -> Answer {
        let request = http::Request::post(&self.path)
            .header(
                http::header::CONTENT_TYPE,
                "application/cloudevents+json; charset=UTF-8",
            )
            .body(Body::from(event.to_vec()))
            .expect("the path is one of an address");
        match tokio::time::timeout(TIMEOUT, self.client.send(request)).await {
            Err(_) => Answer::Away(format!("no answer within {TIMEOUT:?}")),
            Ok(Err(error)) => Answer::Away(error.to_string()),
            Ok(Ok(response)) => match response.status() {
                status if status.is_success() => Answer::Taken,
                status
                    if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) =>
                {
                    Answer::Away(format!("it answered {status}"))
                }
                status => Answer::Refused(status),
            },
        }
    }
}

enum Answer {
    Taken,
    /// It is tried again.
    Away(String),
    /// It would be refused again.
    Refused(http::StatusCode),
}

/// Takes events, to send them soon.
#[derive(Clone)]
pub struct Listener {
    queue: mpsc::Sender<Vec<u8>>,
    /// How many were taken, and are neither sent nor given up.
    left: Arc<watch::Sender<usize>>,
    metrics: Metrics,
}

impl Listener {
    /// Sends for as long as the process lives.
    pub fn new(address: Address, metrics: Metrics) -> Self {
        Self::with_pauses(address, metrics, &PAUSES)
    }

    fn with_pauses(address: Address, metrics: Metrics, pauses: &'static [Duration]) -> Self {
        metrics.cloud_events_are_sent();
        let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
        let left = Arc::new(watch::Sender::new(0));
        let (counts, open) = (metrics.clone(), left.clone());
        tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                counts.cloud_event(deliver(&address, &event, pauses).await);
                open.send_modify(|left| *left -= 1);
            }
        });
        Self {
            queue,
            left,
            metrics,
        }
    }

    /// Takes one; it is dropped where too many wait.
    pub fn tell(&self, event: &CloudEvent) {
        let Ok(text) = serde_json::to_vec(event) else {
            return;
        };
        self.left.send_modify(|left| *left += 1);
        if self.queue.try_send(text).is_err() {
            self.left.send_modify(|left| *left -= 1);
            self.metrics.cloud_event("dropped");
            tracing::warn!(
                id = event.id,
                "a CloudEvent was dropped: {WAITING} wait to be sent"
            );
        }
    }

    /// Waits until nothing is left to send, or for so long.
    pub async fn sent(&self, patience: Duration) {
        let mut left = self.left.subscribe();
        if tokio::time::timeout(patience, left.wait_for(|left| *left == 0))
            .await
            .is_err()
        {
            let left = *self.left.borrow();
            tracing::warn!(left, "CloudEvents were not sent in time");
        }
    }
}

/// Sends one, until it is taken or refused or was tried often enough: what became of it.
async fn deliver(address: &Address, event: &[u8], pauses: &[Duration]) -> &'static str {
    let mut pauses = pauses.iter();
    loop {
        let why = match address.send(event).await {
            Answer::Taken => return "sent",
            Answer::Refused(status) => {
                tracing::warn!(%status, "a CloudEvent was refused");
                return "refused";
            }
            Answer::Away(why) => why,
        };
        let Some(pause) = pauses.next() else {
            tracing::warn!(error = why, "a CloudEvent was dropped: it cannot be sent");
            return "dropped";
        };
        tracing::debug!(error = why, ?pause, "a CloudEvent is sent again later");
        tokio::time::sleep(*pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode, Uri};
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    const SHORT: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(10)];

    /// What was asked, and what is answered next.
    #[derive(Clone, Default)]
    struct Heard {
        requests: Arc<Mutex<Vec<(String, String, Value)>>>,
        answers: Arc<Mutex<Vec<u16>>>,
    }

    async fn hear(
        State(heard): State<Heard>,
        uri: Uri,
        headers: HeaderMap,
        body: String,
    ) -> StatusCode {
        let kind = headers["content-type"].to_str().expect("text").to_owned();
        let body = serde_json::from_str(&body).expect("JSON");
        let mut requests = heard.requests.lock().expect("one");
        requests.push((uri.path().to_owned(), kind, body));
        let answer = heard.answers.lock().expect("one").pop().unwrap_or(202);
        StatusCode::from_u16(answer).expect("a status")
    }

    /// Who listens, at a path, and answers so, the last first.
    async fn listening(answers: &[u16]) -> (Heard, Listener, Metrics) {
        let heard = Heard::default();
        *heard.answers.lock().expect("one") = answers.to_vec();
        let server = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!(
            "http://{}/growth/default",
            server.local_addr().expect("one")
        );
        let app = Router::new().fallback(hear).with_state(heard.clone());
        tokio::spawn(async move { axum::serve(server, app).await });
        let metrics = Metrics::new();
        let address = Address::new(&url, None, None).expect("an address");
        let listener = Listener::with_pauses(address, metrics.clone(), &SHORT);
        (heard, listener, metrics)
    }

    fn event(id: &str) -> CloudEvent {
        CloudEvent {
            specversion: "1.0",
            id: id.to_owned(),
            source: "/here".to_owned(),
            kind: "dev.windlass.test",
            subject: "it".to_owned(),
            time: Timestamp::UNIX_EPOCH,
            datacontenttype: "application/json",
            data: json!({"a": 1}),
        }
    }

    fn count(metrics: &Metrics, outcome: &str) -> String {
        let start = format!("windlass_cloud_events_total{{outcome=\"{outcome}\"}} ");
        let text = metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or("0").to_owned()
    }

    #[tokio::test]
    async fn an_event_is_sent_in_order_as_structured_json_and_again_while_nobody_takes_it() {
        let (heard, listener, metrics) = listening(&[503, 429]).await;
        listener.tell(&event("a"));
        listener.tell(&event("b"));
        listener.sent(Duration::from_secs(5)).await;
        let requests = heard.requests.lock().expect("one").clone();
        let ids: Vec<_> = requests
            .iter()
            .map(|(.., body)| body["id"].clone())
            .collect();
        assert_eq!(ids, ["a", "a", "a", "b"]);
        let (path, kind, body) = &requests[0];
        assert_eq!(path, "/growth/default");
        assert_eq!(kind, "application/cloudevents+json; charset=UTF-8");
        assert_eq!(
            *body,
            json!({"specversion": "1.0", "id": "a", "source": "/here", "type": "dev.windlass.test", "subject": "it",
                "time": "1970-01-01T00:00:00Z", "datacontenttype": "application/json", "data": {"a": 1}})
        );
        assert_eq!(count(&metrics, "sent"), "2");
    }

    #[tokio::test]
    async fn before_the_first_is_lost_none_was_so_that_the_first_is_an_increase() {
        let (_heard, _listener, metrics) = listening(&[]).await;
        for outcome in ["sent", "refused", "dropped"] {
            let series = format!("windlass_cloud_events_total{{outcome=\"{outcome}\"}} 0");
            assert!(metrics.text().contains(&series), "{}", metrics.text());
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_not_sent_again_and_what_nobody_takes_is_given_up() {
        let (heard, listener, metrics) = listening(&[500, 500, 500, 400]).await;
        listener.tell(&event("refused"));
        listener.tell(&event("away"));
        listener.tell(&event("taken"));
        listener.sent(Duration::from_secs(5)).await;
        assert_eq!(heard.requests.lock().expect("one").len(), 5);
        let counts = ["refused", "dropped", "sent"].map(|outcome| count(&metrics, outcome));
        assert_eq!(counts, ["1", "1", "1"]);
    }

    #[tokio::test]
    async fn nobody_waits_for_one_who_does_not_answer_and_what_is_too_much_is_dropped_and_counted()
    {
        // It takes connections, and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}", silent.local_addr().expect("one"));
        let metrics = Metrics::new();
        let address = Address::new(&url, None, None).expect("an address");
        let listener = Listener::with_pauses(address, metrics.clone(), &SHORT);
        let started = std::time::Instant::now();
        // None is taken off the queue before this task waits.
        for number in 0..WAITING + 20 {
            listener.tell(&event(&number.to_string()));
        }
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(count(&metrics, "dropped"), "20");
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_meant_is_refused_with_what_is() {
        for (url, expected) in [
            ("broker", "--events-url must be http://HOST:PORT"),
            ("http://broker/?x=1", "must be http://HOST:PORT"),
            ("http://a:b@broker", "--events-token-file"),
        ] {
            let error = Address::new(url, None, None).err();
            let error = error.map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
