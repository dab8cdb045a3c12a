//! What room the nodes have, asked for only while a decision or a message needs it.
//!
//! ```text
//!   observe ──get(job, how new)──> Known, or Asked ──> list nodes and pods, once for all that ask ──> their triggers
//! ```
//!
//! Nodes and the pods of others are not watched: a cluster has many, and few jobs ever wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use windlass_api::TrainingJob;
use windlass_plan::room::Room;
use windlass_plan::trainingjob::{RoomAge, Rooms as Known};

use super::Context;

/// The pause between two lists.
const PAUSE: Duration = Duration::from_secs(5);
/// How long nobody is asked again after a list that failed.
const AFTER_FAILURE: Duration = Duration::from_mins(1);
/// Objects of a page.
const PAGE: u32 = 200;
/// Pods that hold something of a node.
const PODS: &str = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";

/// What is known of the nodes' room, and who waits for it.
pub struct Rooms {
    /// Whether nodes and the pods of all namespaces may be seen.
    may_be_seen: bool,
    state: Mutex<State>,
    wanted: Notify,
}

#[derive(Default)]
struct State {
    /// When it was begun to be seen, and what was seen.
    room: Option<(Instant, Arc<Room>)>,
    failed: Option<Instant>,
    /// Jobs that wait for it, by namespace and name, each with when it first asked.
    waiting: HashMap<(String, String), Instant>,
    /// Those that were told, each with when it had asked.
    told: HashMap<(String, String), Instant>,
}

impl Rooms {
    /// Nothing is known yet; nor ever, where the operator works in some namespaces alone and may not see the nodes.
    pub fn new(may_be_seen: bool) -> Self {
        Self {
            may_be_seen,
            state: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// The room, if what is known of it is new enough; else it is asked for, and the job triggered then.
    pub fn get(&self, job: &TrainingJob, age: RoomAge) -> Known {
        if !self.may_be_seen {
            return Known::Unknown;
        }
        let key = (job.namespace().unwrap_or_default(), job.name_any());
        let mut state = self.state.lock().expect("no holder panics");
        let asked = state.told.remove(&key);
        if let Some((seen, room)) = &state.room {
            let is_new = match age {
                RoomAge::AtMost(age) => seen.elapsed() <= age,
                RoomAge::AsOfNow => asked.is_some_and(|asked| asked <= *seen),
            };
            if is_new {
                return Known::Known(room.clone());
            }
        }
        if state.failed.is_some_and(|at| at.elapsed() < AFTER_FAILURE) {
            return Known::Unknown;
        }
        state.waiting.entry(key).or_insert_with(Instant::now);
        self.wanted.notify_one();
        Known::Asked
    }
}

/// Asks when somebody wants to know, for ever.
pub async fn run(context: Arc<Context>) {
    loop {
        context.rooms.wanted.notified().await;
        let begun = Instant::now();
        let room = room(&context.client).await;
        let told: Vec<_> = {
            let mut state = context.rooms.state.lock().expect("no holder panics");
            match room {
                Ok(room) => {
                    state.room = Some((begun, Arc::new(room)));
                    state.failed = None;
                }
                Err(error) => {
                    tracing::warn!(%error, "the nodes' room cannot be seen: jobs are told less, and elastic ones guess");
                    state.failed = Some(Instant::now());
                }
            }
            // Who asked since is told the next time.
            let (now, later) = std::mem::take(&mut state.waiting)
                .into_iter()
                .partition(|(_, asked)| *asked <= begun);
            state.waiting = later;
            state.told = now;
            if !state.waiting.is_empty() {
                context.rooms.wanted.notify_one();
            }
            state.told.keys().cloned().collect()
        };
        for (namespace, name) in told {
            context.senders.training_job_named(&namespace, &name);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn room(client: &Client) -> kube::Result<Room> {
    let mut room = Room::default();
    each(client, ListParams::default(), |node: Node| {
        room.add_node(node);
    })
    .await?;
    each(client, ListParams::default().fields(PODS), |pod: Pod| {
        room.add_pod(&pod);
    })
    .await?;
    Ok(room)
}

/// Lists all objects of a kind, page by page.
async fn each<K>(client: &Client, params: ListParams, mut take: impl FnMut(K)) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut params = params.limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}
