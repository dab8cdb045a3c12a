//! Events, and how many of them are remembered.
//!
//! kube's recorder keeps each Event for six minutes, whole, so that one that is repeated is counted and not made anew;
//! and it looks through all of them each time. Where thousands of jobs come and go in six minutes, that is most of the
//! operator's memory. Here it is a new recorder after every few hundred: what is forgotten with the old one is made anew
//! if it is said again, no more.

use std::sync::Mutex;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

/// How many Events are remembered at most.
const REMEMBERED: usize = 256;

/// Gives out the recorder of Events.
pub struct Events {
    client: Client,
    reporter: Reporter,
    current: Mutex<Current>,
}

struct Current {
    recorder: Recorder,
    left: usize,
}

impl Events {
    /// Events of this reporter.
    pub fn new(client: Client, reporter: Reporter) -> Self {
        let current = Current {
            recorder: Recorder::new(client.clone(), reporter.clone()),
            left: REMEMBERED,
        };
        Self {
            client,
            reporter,
            current: Mutex::new(current),
        }
    }

    /// The recorder for one Event.
    pub fn recorder(&self) -> Recorder {
        let mut current = self.current.lock().expect("no holder panics");
        if current.left == 0 {
            *current = Current {
                recorder: Recorder::new(self.client.clone(), self.reporter.clone()),
                left: REMEMBERED,
            };
        }
        current.left -= 1;
        current.recorder.clone()
    }
}
