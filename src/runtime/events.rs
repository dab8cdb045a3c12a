//! Events are published beside the reconciles that have something to tell: no write waits for them.
//!
//! kube's recorder keeps each Event for six minutes, whole, so that one that is repeated is counted and not made anew;
//! and it looks through all of them each time. Where thousands of jobs come and go in six minutes, that is most of the
//! operator's memory. Here it is a new recorder after every few hundred: what is forgotten with the old one is made anew
//! if it is said again, no more.

use std::sync::Mutex;

use futures::StreamExt as _;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

use super::apply::WRITE;

/// How many Events are remembered at most.
const REMEMBERED: usize = 256;
/// How many may wait to be published. What comes beyond is lost, as with client-go: it is for people, and of what they see
/// the status is what holds.
const WAITING: usize = 1000;
/// How many are published at once.
const AT_ONCE: usize = 8;

/// Takes Events, to publish them soon.
pub struct Events(Mutex<Queue>);

struct Queue {
    // One for all: each clone of a sender has room for one more.
    sender: mpsc::Sender<(Event, ObjectReference)>,
    /// Whether the last one was lost.
    is_full: bool,
}

impl Events {
    /// Events of this reporter, published for as long as the process lives and the client lets it write.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let (sender, waiting) = mpsc::channel(WAITING);
        tokio::spawn(publish(client, reporter, waiting));
        Self(Mutex::new(Queue {
            sender,
            is_full: false,
        }))
    }

    /// Takes one.
    pub fn publish(&self, event: Event, about: ObjectReference) {
        let mut queue = self.0.lock().expect("no holder panics");
        let is_full = queue.sender.try_send((event, about)).is_err();
        if is_full && !queue.is_full {
            tracing::warn!("{WAITING} Events wait to be published; those that come now are lost");
        }
        queue.is_full = is_full;
    }
}

async fn publish(
    client: Client,
    reporter: Reporter,
    waiting: mpsc::Receiver<(Event, ObjectReference)>,
) {
    let new = || Recorder::new(client.clone(), reporter.clone());
    let (mut recorder, mut left) = (new(), REMEMBERED);
    waiting
        .map(|one| {
            if left == 0 {
                (recorder, left) = (new(), REMEMBERED);
            }
            left -= 1;
            (recorder.clone(), one)
        })
        .for_each_concurrent(
            AT_ONCE,
            async |(recorder, (event, about))| match tokio::time::timeout(
                WRITE,
                recorder.publish(&event, &about),
            )
            .await
            {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an Event was not published"),
                Err(_) => tracing::warn!("an Event was not published within {WRITE:?}"),
            },
        )
        .await;
}
