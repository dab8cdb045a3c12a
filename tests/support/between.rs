//! A place between an operator and the API server, where the operator can be killed at any of its requests.
//!
//! ```text
//!   operator ──plain HTTP on loopback──> Between ──TLS, as the operator's user──> API server
//! ```
//!
//! Requests that count are numbered as they come in. At the one that is aimed at, everything is held from then on: the
//! operator gets no answer and nothing of it is passed on, until the test has killed it and opens again. So nothing that
//! comes after the point has happened, as if the operator had died right there.
//!
//! It also keeps an operator to one namespace: where it asks for the objects of all of them, it gets those of one. So
//! several can be at work beside each other, each with its own Lease.
//!
//! And it lets faults befall requests and news for a while ([`super::befall`]). For that it counts all requests, and keeps
//! what lists said first: an operator that is started later can be told that again, as by an API server that is behind.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri, header};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::befall::{Answer, Fate as Befalls, Fault, What, news, refusal, wait_as_if_slow, whole};

/// One request of the operator's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Its path, without what is asked beside it.
    pub path: String,
}

impl Call {
    /// Whether it changes an object, Leases and Events apart, as everywhere in this project.
    pub fn is_write(&self) -> bool {
        let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let is_apart = |kind: &str| self.path.split('/').any(|part| part == kind);
        changes.contains(&self.method) && !is_apart("leases") && !is_apart("events")
    }
}

/// `PATCH deployments/churn-v1`.
impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_object = self.path.split_once("/namespaces/");
        let object = of_object.and_then(|(_, rest)| rest.split_once('/'));
        let what = object.map_or(self.path.as_str(), |(_, object)| object);
        write!(formatter, "{} {what}", self.method)
    }
}

/// On which side of a request the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    /// The API server never sees the request.
    Before,
    /// The API server has answered it, and the operator does not see the answer.
    After,
}

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The number of the request, from 1, among those that count.
    pub call: usize,
    /// On which side of it.
    pub when: When,
}

/// The place. It is closed when this is dropped.
pub struct Between {
    state: Arc<State>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

struct State {
    client: Client,
    namespace: String,
    counts: fn(&Call) -> bool,
    inner: Mutex<Inner>,
    reached: watch::Sender<Option<Call>>,
    /// Changes when all watches are cut.
    cut: watch::Sender<u64>,
}

struct Inner {
    /// What befalls requests, and how many of a hundred.
    befall: Option<(Fault, u32)>,
    /// All requests.
    requests: usize,
    /// What each list said first.
    lists: HashMap<String, Bytes>,
    /// Whether lists say that again.
    is_behind: bool,
    calls: Vec<Call>,
    point: Option<Point>,
    is_shut: bool,
    last: Instant,
}

/// What is to be done with a request.
enum Fate {
    Passes,
    DiesBefore,
    DiesAfter,
    IsHeld,
}

impl Between {
    /// Opens one for an operator that is kept to a namespace; which of its requests are numbered. `client` reaches the API
    /// server as somebody who may act for the operator's user.
    pub async fn start(
        client: Client,
        namespace: &str,
        counts: fn(&Call) -> bool,
        point: Option<Point>,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            client,
            namespace: namespace.to_owned(),
            counts,
            cut: watch::Sender::new(0),
            inner: Mutex::new(Inner {
                befall: None,
                requests: 0,
                lists: HashMap::new(),
                is_behind: false,
                calls: Vec::new(),
                point,
                is_shut: false,
                last: Instant::now(),
            }),
            reached: watch::Sender::new(None),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, state.clone()));
        Ok(Self {
            state,
            address,
            _serving: serving,
        })
    }

    /// Its address, for a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the point is reached, at which everything is held, and returns the request.
    pub async fn reached(&self) -> Result<Call> {
        let mut reached = self.state.reached.subscribe();
        let call = reached.wait_for(Option::is_some).await?;
        call.clone().context("it has just been waited for")
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.state.inner().is_shut = false;
    }

    /// Lets a fault befall so many of a hundred requests from now on, or none; and cuts all watches, so that each is asked for
    /// anew.
    pub fn befall(&self, fault: Option<(Fault, u32)>) {
        self.state.inner().befall = fault;
        self.state.cut.send_modify(|cuts| *cuts += 1);
    }

    /// From now on lists say what they said first, or what is so.
    pub fn fall_behind(&self, is_behind: bool) {
        self.state.inner().is_behind = is_behind;
    }

    /// How many requests there were so far, those that do not count too.
    pub fn requests(&self) -> usize {
        self.state.inner().requests
    }

    /// The requests so far that count.
    pub fn calls(&self) -> Vec<Call> {
        self.state.inner().calls.clone()
    }

    /// How long there has been none that counts.
    pub fn quiet(&self) -> Duration {
        self.state.inner().last.elapsed()
    }
}

impl State {
    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder panics")
    }

    fn fate(&self, call: &Call) -> Fate {
        let mut inner = self.inner();
        if inner.is_shut {
            return Fate::IsHeld;
        }
        if !(self.counts)(call) {
            return Fate::Passes;
        }
        inner.calls.push(call.clone());
        inner.last = Instant::now();
        let number = inner.calls.len();
        match inner.point.filter(|point| point.call == number) {
            None => Fate::Passes,
            Some(Point { when, .. }) => match when {
                When::Before => {
                    inner.is_shut = true;
                    Fate::DiesBefore
                }
                When::After => Fate::DiesAfter,
            },
        }
    }

    /// What befalls a request, and how many of a hundred are befallen.
    fn befalls(&self, what: What) -> (Befalls, u32) {
        let mut inner = self.inner();
        inner.requests += 1;
        let befall = inner.befall;
        befall.map_or((Befalls::Passes, 0), |(fault, percent)| {
            (fault.befalls(what, percent), percent)
        })
    }

    /// What a list said first, where it says that again.
    fn said_first(&self, asked: &str) -> Option<Bytes> {
        let inner = self.inner();
        let said = inner.lists.get(asked).cloned();
        said.filter(|_| inner.is_behind)
    }

    /// Holds everything from now on, and says at which request.
    fn shut(&self, call: Call) {
        self.inner().is_shut = true;
        self.reached.send_replace(Some(call));
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    // They end with this place.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(converse(stream, state.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    // Small answers are not to wait for each other.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| pass(state.clone(), request));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // The operator may end in the midst of it.
    let _ = connection.await;
}

/// Passes a request on, and its answer back, unless the operator dies here: then it hears nothing more.
async fn pass(state: Arc<State>, request: Request<Incoming>) -> Result<Answer> {
    let (mut head, body) = request.into_parts();
    // A request counts once all of it is here.
    let body = body.collect().await?.to_bytes();
    let call = Call {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
    };
    let fate = state.fate(&call);
    match fate {
        Fate::IsHeld => return std::future::pending().await,
        Fate::DiesBefore => {
            state.shut(call);
            return std::future::pending().await;
        }
        Fate::Passes | Fate::DiesAfter => {}
    }
    let what = what(&head.method, &head.uri);
    let (befalls, percent) = state.befalls(what);
    match befalls {
        Befalls::Answered(code) => return Ok(refusal(code)),
        Befalls::Silent => return std::future::pending().await,
        _ => {}
    }
    let asked = head.uri.to_string();
    if let Some(said) = state.said_first(&asked) {
        let said = http_body_util::Full::new(said).map_err(|never: Infallible| match never {});
        let mut answer = Response::new(said.boxed_unsync());
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        return Ok(answer);
    }
    head.uri = kept_to(&head.uri, &state.namespace)?;
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    let request = Request::from_parts(head, Body::from(body));
    // The operator may give up waiting: what it has sent is passed on all the same, and it dies where it is to.
    let sending = state.clone();
    let sent = tokio::spawn(async move {
        if befalls == Befalls::Later {
            wait_as_if_slow().await;
        }
        let answer = sending.client.send(request).await;
        if matches!(fate, Fate::DiesAfter) {
            sending.shut(call);
            return std::future::pending().await;
        }
        answer
    });
    let mut answer = sent.await??;
    match befalls {
        Befalls::AnsweredAfter(code) => return Ok(refusal(code)),
        Befalls::SilentAfter => return std::future::pending().await,
        _ => {}
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    match what {
        What::Watch if answer.status().is_success() => {
            let cut = state.cut.subscribe();
            Ok(news(answer, befalls, percent, cut))
        }
        What::Read if asked.contains("limit=") && answer.status().is_success() => {
            let (head, body) = answer.into_parts();
            let said = body.collect().await?.to_bytes();
            let mut inner = state.inner();
            inner.lists.entry(asked).or_insert_with(|| said.clone());
            Ok(whole(Response::from_parts(head, Body::from(said.to_vec()))))
        }
        _ => Ok(whole(answer)),
    }
}

fn what(method: &Method, uri: &Uri) -> What {
    if method != Method::GET {
        return What::Write;
    }
    let is_watch = uri
        .query()
        .is_some_and(|query| query.contains("watch=true"));
    if is_watch { What::Watch } else { What::Read }
}

/// The same address for the objects of one namespace, where it is for those of all. Nodes are in none.
fn kept_to(uri: &Uri, namespace: &str) -> Result<Uri> {
    let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let (group, kind) = match parts[..] {
        ["api", version, kind] => (format!("api/{version}"), kind),
        ["apis", group, version, kind] => (format!("apis/{group}/{version}"), kind),
        _ => return Ok(uri.clone()),
    };
    if kind == "nodes" {
        return Ok(uri.clone());
    }
    let query = uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("/{group}/namespaces/{namespace}/{kind}{query}").parse()?)
}
