//! Events are published beside the reconciles that have something to tell: no write waits for them.
//!
//! kube's recorder counts an Event that is repeated, and does not make it anew; but it tells Events apart by their reason
//! alone, and one that says another thing for the same reason would be counted as the first. So there is a recorder for each
//! thing that is said of an object. It keeps its Event for six minutes: here so many are remembered at most, and what is
//! forgotten is made anew if it is said again, no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};
use tokio::sync::watch;

use super::apply::WRITE;

/// How many Events are remembered at most.
const REMEMBERED: usize = 256;
/// How many may wait to be published. What comes beyond is lost, as with client-go: it is for people, and of what they see
/// the status is what holds.
const WAITING: usize = 1000;
/// How many are published at once.
const AT_ONCE: usize = 8;

/// Takes Events, to publish them soon.
pub struct Events {
    queue: Mutex<Queue>,
    /// How many were taken and are not published yet.
    left: Arc<watch::Sender<usize>>,
}

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
        let left = Arc::new(watch::Sender::new(0));
        tokio::spawn(publish(client, reporter, waiting, Arc::clone(&left)));
        let queue = Mutex::new(Queue {
            sender,
            is_full: false,
        });
        Self { queue, left }
    }

    /// Takes one.
    pub fn publish(&self, event: Event, about: ObjectReference) {
        let mut queue = self.queue.lock().expect("no holder panics");
        self.left.send_modify(|left| *left += 1);
        let is_full = queue.sender.try_send((event, about)).is_err();
        if is_full {
            self.left.send_modify(|left| *left -= 1);
            if !queue.is_full {
                tracing::warn!(
                    "{WAITING} Events wait to be published; those that come now are lost"
                );
            }
        }
        queue.is_full = is_full;
    }

    /// Waits until all that was taken is published, or for so long.
    pub async fn published(&self, patience: Duration) {
        let mut left = self.left.subscribe();
        let all = left.wait_for(|left| *left == 0);
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!(
                left = *self.left.borrow(),
                "Events were not published in time"
            );
        }
    }
}

/// What is said, and of whom.
type Key = (Option<String>, String, Option<String>);

async fn publish(
    client: Client,
    reporter: Reporter,
    waiting: mpsc::Receiver<(Event, ObjectReference)>,
    left: Arc<watch::Sender<usize>>,
) {
    let mut recorders: HashMap<Key, Recorder> = HashMap::new();
    waiting
        .map(|(event, about)| {
            if recorders.len() >= REMEMBERED {
                recorders.clear();
            }
            let key = (about.uid.clone(), event.reason.clone(), event.note.clone());
            let recorder = recorders
                .entry(key)
                .or_insert_with(|| Recorder::new(client.clone(), reporter.clone()));
            (recorder.clone(), event, about)
        })
        .for_each_concurrent(AT_ONCE, async |(recorder, event, about)| {
            match tokio::time::timeout(WRITE, recorder.publish(&event, &about)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an Event was not published"),
                Err(_) => tracing::warn!("an Event was not published within {WRITE:?}"),
            }
            left.send_modify(|left| *left -= 1);
        })
        .await;
}
